"""Transformers and attention in the ways that users write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.case import Case, floats, together, tokens


class EncoderClassifier(nn.Module):
    """`nn.TransformerEncoderLayer` in a small classifier."""

    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=norm_first)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.stem(x))).mean(1))


class CausalAttention(nn.Module):
    """Self-attention with one fused projection, as minGPT writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.n_head = heads
        self.n_embd = width
        self.register_buffer("mask", torch.tril(torch.ones(8, 8)).view(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.size()
        q, k, v = self.qkv(x).split(self.n_embd, dim=2)
        q = q.view(batch, length, self.n_head, width // self.n_head).transpose(1, 2)
        k = k.view(batch, length, self.n_head, width // self.n_head).transpose(1, 2)
        v = v.view(batch, length, self.n_head, width // self.n_head).transpose(1, 2)
        weights = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
        weights = weights.masked_fill(self.mask[:, :, :length, :length] == 0, float("-inf"))
        y = functional.softmax(weights, dim=-1) @ v
        return self.proj(y.transpose(1, 2).contiguous().view(batch, length, width))


class GptBlock(nn.Module):
    """Attention and an MLP on a pre-norm stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Gpt(nn.Module):
    """A GPT-like language model: own attention, tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 8)
        self.positions = nn.Embedding(8, 8)
        self.blocks = nn.ModuleList([GptBlock(8, 2)])
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x) + self.positions(torch.arange(x.size(1), device=x.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class SeparateHeads(nn.Module):
    """Separate projections, heads given by an attribute, the width of a head too."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.head_dim = 4
        self.scale = self.head_dim**-0.5
        self.stem = nn.Linear(6, 6)
        self.query = nn.Linear(6, 8)
        self.key = nn.Linear(6, 8)
        self.value = nn.Linear(6, 8)
        self.out = nn.Linear(8, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shape = (x.shape[0], x.shape[1], self.heads, self.head_dim)
        q = self.query(x).view(shape).transpose(1, 2)
        k = self.key(x).view(shape).transpose(1, 2)
        v = self.value(x).view(shape).transpose(1, 2)
        weights = torch.softmax(q @ k.transpose(-1, -2) * self.scale, -1)
        y = (weights @ v).permute(0, 2, 1, 3).contiguous()
        return self.head(x + self.out(y.view(x.shape[0], x.shape[1], self.heads * self.head_dim)))


class GroupedQuery(nn.Module):
    """Grouped-query attention: two key and value heads for four query heads."""

    def __init__(self, *, repeat: bool) -> None:
        super().__init__()
        self.repeat = repeat
        self.num_heads = 4
        self.num_kv_heads = 2
        self.head_dim = 2
        self.stem = nn.Linear(6, 8)
        self.norm = nn.RMSNorm(8, eps=1e-6)
        self.q = nn.Linear(8, 8, bias=False)
        self.k = nn.Linear(8, 4, bias=False)
        self.v = nn.Linear(8, 4, bias=False)
        self.o = nn.Linear(8, 8, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, length, _ = x.shape
        y = self.norm(x)
        q = self.q(y).view(batch, length, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k(y).view(batch, length, self.num_kv_heads, self.head_dim).transpose(1, 2)
        v = self.v(y).view(batch, length, self.num_kv_heads, self.head_dim).transpose(1, 2)
        if self.repeat:
            k = k.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)
            v = v.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)
        y = functional.scaled_dot_product_attention(q, k, v, enable_gqa=not self.repeat)
        return self.head(x + self.o(y.transpose(1, 2).reshape(batch, length, -1)))


class TimmAttention(nn.Module):
    """A fused projection that is reshaped and unbound, as timm writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.stem = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 24)
        self.proj = nn.Linear(8, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, length, _ = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, length, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.head(x + self.proj(y.transpose(1, 2).reshape(batch, length, -1)))


class MultiheadModule(nn.Module):
    """`nn.MultiheadAttention` on a residual stream, without weights and with."""

    def __init__(self, *, weights: bool) -> None:
        super().__init__()
        self.weights = weights
        self.stem = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.attention(x, x, x, need_weights=self.weights)[0])


class CrossAttention(nn.Module):
    """`nn.MultiheadAttention` between streams of different widths (kdim and vdim)."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(5, 6)
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = self.left(x), self.right(y)
        return self.head(self.attention(x, y, y, need_weights=False)[0])


class EinsumAttention(nn.Module):
    """Projections held as parameters with an axis of heads, applied by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.query = nn.Parameter(0.5 * torch.randn(6, 2, 4))
        self.key = nn.Parameter(0.5 * torch.randn(6, 2, 4))
        self.value = nn.Parameter(0.5 * torch.randn(6, 2, 3))
        self.out = nn.Parameter(0.5 * torch.randn(2, 3, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        q = torch.einsum("bni,ihd->bhnd", x, self.query)
        k = torch.einsum("bni,ihd->bhnd", x, self.key)
        v = torch.einsum("bni,ihd->bhnd", x, self.value)
        weights = torch.softmax(torch.einsum("bhnd,bhmd->bhnm", q, k) / q.shape[-1] ** 0.5, -1)
        y = torch.einsum("bhnm,bhmd->bhnd", weights, v)
        return self.head(x + torch.einsum("bhnd,hdo->bno", y, self.out))


CASES = (
    Case(
        "encoder_layer",
        lambda: EncoderClassifier(norm_first=False),
        floats(4, 6),
        laws=True,
        outputs=("head",),
    ),
    Case(
        "encoder_layer_pre",
        lambda: EncoderClassifier(norm_first=True),
        floats(4, 6),
        laws=True,
        outputs=("head",),
    ),
    Case("gpt", Gpt, tokens(5, 11), laws=True, outputs=("head",)),
    Case("separate_heads", SeparateHeads, floats(4, 6), laws=True, outputs=("head",)),
    Case(
        "grouped_query",
        lambda: GroupedQuery(repeat=False),
        floats(4, 6),
        laws=True,
        outputs=("head",),
    ),
    Case(
        "grouped_query_repeat", lambda: GroupedQuery(repeat=True), floats(4, 6), outputs=("head",)
    ),
    Case("timm_attention", TimmAttention, floats(4, 6), outputs=("head",)),
    Case("multihead", lambda: MultiheadModule(weights=False), floats(4, 6), outputs=("head",)),
    Case(
        "multihead_weights", lambda: MultiheadModule(weights=True), floats(4, 6), outputs=("head",)
    ),
    Case(
        "cross_attention", CrossAttention, together(floats(4, 6), floats(3, 5)), outputs=("head",)
    ),
    Case("einsum_attention", EinsumAttention, floats(4, 6), outputs=("head",)),
)
