"""Public architectures from `transformers`, tiny and randomly initialised, built when asked for.

Names of classes, not the classes themselves, stand in the table, so that importing this module
imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from tests.zoo.case import Case, Example, floats, named, tokens


def _build(config: str, model: str, options: dict[str, Any]) -> nn.Module:
    import transformers

    settings = getattr(transformers, config)(**options)
    built: nn.Module = getattr(transformers, model)(settings)
    return built


def _public(
    name: str,
    config: str,
    model: str,
    example: Example,
    *,
    outputs: tuple[str, ...],
    **options: Any,
) -> Case:
    return Case(name, lambda: _build(config, model, options), example, outputs=outputs)


_TEXT = named(input_ids=tokens(7, 31))
_IMAGE = named(pixel_values=floats(3, 32, 32))
_SMALL_IMAGE = named(pixel_values=floats(3, 16, 16))
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
}

# The encoder's output is its stream, with all that writes into it.
_T5_STREAM = (
    "encoder.embed_tokens",
    *(f"encoder.block.{i}.layer.0.SelfAttention.o" for i in range(2)),
    *(f"encoder.block.{i}.layer.1.DenseReluDense.wo" for i in range(2)),
)

_CASES = (
    _public(
        "vit",
        "ViTConfig",
        "ViTForImageClassification",
        _SMALL_IMAGE,
        outputs=("classifier",),
        image_size=16,
        patch_size=8,
        num_labels=3,
        **_TRANSFORMER,
    ),
    _public(
        "gpt2",
        "GPT2Config",
        "GPT2LMHeadModel",
        _TEXT,
        outputs=("lm_head",),
        n_embd=16,
        n_head=2,
        n_layer=2,
        vocab_size=31,
        n_positions=16,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    ),
    _public(
        "llama",
        "LlamaConfig",
        "LlamaForCausalLM",
        _TEXT,
        outputs=("lm_head",),
        vocab_size=31,
        num_key_value_heads=2,
        use_cache=False,
        **(_TRANSFORMER | {"num_attention_heads": 4}),
    ),
    _public(
        "mistral",
        "MistralConfig",
        "MistralForCausalLM",
        _TEXT,
        outputs=("lm_head",),
        vocab_size=31,
        num_key_value_heads=2,
        head_dim=4,
        use_cache=False,
        tie_word_embeddings=True,
        **(_TRANSFORMER | {"num_attention_heads": 4}),
    ),
    _public(
        "bert",
        "BertConfig",
        "BertForSequenceClassification",
        _TEXT,
        outputs=("classifier",),
        vocab_size=31,
        max_position_embeddings=16,
        num_labels=3,
        **_TRANSFORMER,
    ),
    _public(
        "distilbert",
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        _TEXT,
        outputs=("classifier",),
        vocab_size=31,
        max_position_embeddings=16,
        dim=16,
        n_heads=2,
        n_layers=2,
        hidden_dim=24,
        num_labels=3,
    ),
    _public(
        "t5_encoder",
        "T5Config",
        "T5EncoderModel",
        _TEXT,
        outputs=_T5_STREAM,
        vocab_size=31,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=2,
        num_heads=4,
        use_cache=False,
    ),
    _public(
        "swin",
        "SwinConfig",
        "SwinForImageClassification",
        _IMAGE,
        outputs=("classifier",),
        image_size=32,
        patch_size=4,
        embed_dim=8,
        depths=[1, 2],
        num_heads=[2, 4],
        window_size=2,
        num_labels=3,
    ),
    _public(
        "convnext",
        "ConvNextConfig",
        "ConvNextForImageClassification",
        _IMAGE,
        outputs=("classifier",),
        hidden_sizes=[8, 12],
        depths=[1, 2],
        num_stages=2,
        num_labels=3,
    ),
    _public(
        "resnet",
        "ResNetConfig",
        "ResNetForImageClassification",
        _IMAGE,
        outputs=("classifier.1",),
        embedding_size=8,
        hidden_sizes=[8, 12],
        depths=[1, 2],
        layer_type="basic",
        num_labels=3,
    ),
    _public(
        "resnet_bottleneck",
        "ResNetConfig",
        "ResNetForImageClassification",
        _IMAGE,
        outputs=("classifier.1",),
        embedding_size=8,
        hidden_sizes=[16, 24],
        depths=[1, 1],
        layer_type="bottleneck",
        num_labels=3,
    ),
    _public(
        "regnet",
        "RegNetConfig",
        "RegNetForImageClassification",
        _IMAGE,
        outputs=("classifier.1",),
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        groups_width=4,
        layer_type="y",
        num_labels=3,
    ),
    _public(
        "mobilenet_v2",
        "MobileNetV2Config",
        "MobileNetV2ForImageClassification",
        _IMAGE,
        outputs=("classifier",),
        depth_multiplier=0.25,
        image_size=32,
        num_labels=3,
    ),
    _public(
        "segformer",
        "SegformerConfig",
        "SegformerForImageClassification",
        _IMAGE,
        outputs=("classifier",),
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        num_labels=3,
    ),
    _public(
        "electra",
        "ElectraConfig",
        "ElectraForSequenceClassification",
        _TEXT,
        outputs=("classifier.out_proj",),
        vocab_size=31,
        embedding_size=12,
        max_position_embeddings=16,
        num_labels=3,
        **_TRANSFORMER,
    ),
    _public(
        "opt",
        "OPTConfig",
        "OPTForCausalLM",
        _TEXT,
        outputs=("lm_head",),
        vocab_size=31,
        hidden_size=16,
        ffn_dim=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        word_embed_proj_dim=16,
        use_cache=False,
    ),
)

_DECODER: dict[str, Any] = {
    **_TRANSFORMER,
    "vocab_size": 31,
    "max_position_embeddings": 16,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_NORMS = (
    _public(
        "gemma",
        "GemmaConfig",
        "GemmaForCausalLM",
        _TEXT,
        outputs=("lm_head",),
        head_dim=8,
        num_key_value_heads=2,
        **_DECODER,
    ),
    _public(
        "nemotron",
        "NemotronConfig",
        "NemotronForCausalLM",
        _TEXT,
        outputs=("lm_head",),
        num_key_value_heads=2,
        **_DECODER,
    ),
    _public("olmo", "OlmoConfig", "OlmoForCausalLM", _TEXT, outputs=("lm_head",), **_DECODER),
    _public(
        "hifigan",
        "SpeechT5HifiGanConfig",
        "SpeechT5HifiGan",
        named(spectrogram=floats(6, 8)),
        outputs=("conv_post",),
        model_in_dim=8,
        upsample_initial_channel=16,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    ),
    _public(
        "wav2vec2",
        "Wav2Vec2Config",
        "Wav2Vec2ForCTC",
        named(input_values=floats(400)),
        outputs=("lm_head",),
        vocab_size=11,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        apply_spec_augment=False,
        layerdrop=0.0,
        **_TRANSFORMER,
    ),
    _public(
        "poolformer",
        "PoolFormerConfig",
        "PoolFormerForImageClassification",
        _IMAGE,
        outputs=("classifier",),
        hidden_sizes=[8, 12],
        depths=[1, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        padding=[2, 1],
        num_encoder_blocks=2,
        mlp_ratio=2.0,
        num_labels=3,
    ),
)

PUBLIC = {case.name: case for case in (*_CASES, *_NORMS)}
