"""Attributes of PyTorch's own layers that say a size and reach no operation, as ``out_features``.

Each stands for an axis of one of the module's tensors, so that ``print(model)`` is right after an
edit.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from structure_net.graph.terms import Attribute, Combined, Dimension, Term

_Entry = tuple[type[nn.Module], str, str, int]

_AXES: tuple[_Entry, ...] = (
    (nn.Linear, "out_features", "weight", 0),
    (nn.Linear, "in_features", "weight", 1),
    (nn.Bilinear, "out_features", "weight", 0),
    (nn.Bilinear, "in1_features", "weight", 1),
    (nn.Bilinear, "in2_features", "weight", 2),
    (nn.Embedding, "num_embeddings", "weight", 0),
    (nn.Embedding, "embedding_dim", "weight", 1),
    (nn.EmbeddingBag, "num_embeddings", "weight", 0),
    (nn.EmbeddingBag, "embedding_dim", "weight", 1),
    (nn.modules.batchnorm._NormBase, "num_features", "weight", 0),
    (nn.modules.batchnorm._NormBase, "num_features", "running_mean", 0),
    (nn.GroupNorm, "num_channels", "weight", 0),
    (nn.PReLU, "num_parameters", "weight", 0),
    (nn.RNNCellBase, "input_size", "weight_ih", 1),
    (nn.RNNCellBase, "hidden_size", "weight_hh", 1),
    (nn.RNNBase, "input_size", "weight_ih_l0", 1),
    (nn.RNNBase, "hidden_size", "weight_hh_l0", 1),
    (nn.MultiheadAttention, "embed_dim", "out_proj.weight", 0),
    (nn.MultiheadAttention, "kdim", "in_proj_weight", 1),
    (nn.MultiheadAttention, "vdim", "in_proj_weight", 1),
    (nn.MultiheadAttention, "kdim", "k_proj_weight", 1),
    (nn.MultiheadAttention, "vdim", "v_proj_weight", 1),
)


def declared(model: nn.Module) -> Iterator[tuple[Attribute, Term]]:
    """Each declared attribute of ``model`` with the term that gives its value.

    The first of several entries for one attribute counts. An attribute that does not hold what its
    tensor says is left out.
    """
    canonical = _canonical_names(model)
    for path, module in model.named_modules():
        seen: set[str] = set()
        for name, term, value in _declarations(path, module, canonical):
            if name not in seen and vars(module).get(name) == value:
                seen.add(name)
                yield Attribute(path, name), term
        if isinstance(module, nn.modules.conv._ConvNd):
            yield from _kernel(path, module, canonical)


def _declarations(
    path: str, module: nn.Module, canonical: dict[int, str]
) -> Iterator[tuple[str, Term, int]]:
    for kind, attribute, tensor, dim in _AXES:
        if isinstance(module, kind):
            axis = _axis(module, tensor, dim, canonical)
            if axis is not None:
                yield attribute, axis, axis.size
    if isinstance(module, nn.modules.conv._ConvNd):
        yield from _convolution(path, module, canonical)
    if type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers."):
        for attribute, dim in (("nx", 0), ("nf", 1)):
            axis = _axis(module, "weight", dim, canonical)
            if axis is not None:
                yield attribute, axis, axis.size


def _convolution(
    path: str, module: nn.modules.conv._ConvNd, canonical: dict[int, str]
) -> Iterator[tuple[str, Term, int]]:
    first, second = (_axis(module, "weight", dim, canonical) for dim in (0, 1))
    if first is None or second is None:
        return
    whole, split = "out_channels", "in_channels"
    if module.transposed:
        whole, split = split, whole
    yield whole, first, first.size
    groups = Attribute(path, "groups")
    yield split, Combined("*", second, groups), second.size * module.groups


def _kernel(
    path: str, module: nn.modules.conv._ConvNd, canonical: dict[int, str]
) -> Iterator[tuple[Attribute, Term]]:
    """The extents of a kernel, which can read the channels of what it moves over."""
    for i, extent in enumerate(module.kernel_size):
        axis = _axis(module, "weight", 2 + i, canonical)
        if axis is not None and axis.size == extent:
            yield Attribute(path, "kernel_size", i), axis


def _axis(module: nn.Module, tensor: str, dim: int, canonical: dict[int, str]) -> Dimension | None:
    owner, _, name = tensor.rpartition(".")
    holder = module.get_submodule(owner)
    stored = holder._parameters.get(name, holder._buffers.get(name))
    if stored is None or id(stored) not in canonical:
        return None
    return Dimension(canonical[id(stored)], 0, dim, stored.shape[dim])


def _canonical_names(model: nn.Module) -> dict[int, str]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {id(tensor): name for name, tensor in tensors}
