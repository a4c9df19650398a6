"""Architectures for sequences, as their authors write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.case import Case, floats, together, tokens


class Luong(nn.Module):
    """A translator with general attention (Luong et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.src = nn.Embedding(11, 6)
        self.tgt = nn.Embedding(12, 6)
        self.enc = nn.GRU(6, 8, batch_first=True)
        self.dec = nn.GRU(6, 8, batch_first=True)
        self.attn = nn.Linear(8, 8)
        self.concat = nn.Linear(16, 8)
        self.out = nn.Linear(8, 12)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        enc, h = self.enc(self.src(src))
        dec, _ = self.dec(self.tgt(tgt), h)
        score = torch.bmm(dec, self.attn(enc).transpose(1, 2))
        ctx = torch.bmm(score.softmax(-1), enc)
        return self.out(torch.tanh(self.concat(torch.cat([ctx, dec], -1))))


class LuongDot(nn.Module):
    """A translator with attention by dot products."""

    def __init__(self) -> None:
        super().__init__()
        self.src = nn.Embedding(11, 6)
        self.tgt = nn.Embedding(12, 6)
        self.enc = nn.LSTM(6, 8, batch_first=True)
        self.dec = nn.LSTM(6, 8, batch_first=True)
        self.concat = nn.Linear(16, 10)
        self.out = nn.Linear(10, 12)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        enc, h = self.enc(self.src(src))
        dec, _ = self.dec(self.tgt(tgt), h)
        w = F.softmax(torch.bmm(dec, enc.transpose(1, 2)), dim=-1)
        return self.out(torch.tanh(self.concat(torch.cat([torch.bmm(w, enc), dec], -1))))


class Bahdanau(nn.Module):
    """A translator with additive attention (Bahdanau et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.src = nn.Embedding(11, 6)
        self.tgt = nn.Embedding(12, 6)
        self.enc = nn.GRU(6, 8, batch_first=True, bidirectional=True)
        self.cell = nn.GRUCell(6 + 16, 8)
        self.Wa = nn.Linear(8, 7)
        self.Ua = nn.Linear(16, 7)
        self.va = nn.Linear(7, 1)
        self.init = nn.Linear(8, 8)
        self.out = nn.Linear(8, 12)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        enc, h = self.enc(self.src(src))
        h = torch.tanh(self.init(h[-1]))
        outs = []
        for t in range(tgt.shape[1]):
            e = self.va(torch.tanh(self.Wa(h).unsqueeze(1) + self.Ua(enc)))
            ctx = (e.softmax(1) * enc).sum(1)
            h = self.cell(torch.cat([self.tgt(tgt[:, t]), ctx], -1), h)
            outs.append(self.out(h))
        return torch.stack(outs, 1)


class TextCNN(nn.Module):
    """Kernels as wide as the embedding (Kim, 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(21, 10)
        self.convs = nn.ModuleList(nn.Conv2d(1, 6, (k, 10)) for k in (2, 3, 4))
        self.fc = nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.emb(x).unsqueeze(1)
        x = [F.relu(c(x)).squeeze(3) for c in self.convs]
        x = [F.max_pool1d(i, i.size(2)).squeeze(2) for i in x]
        return self.fc(torch.cat(x, 1))


class CrossAttn(nn.Module):
    """Attention to another sequence, its width split into heads."""

    def __init__(self, d: int, h: int, kd: int | None = None) -> None:
        super().__init__()
        self.h = h
        self.q = nn.Linear(d, d)
        self.kv = nn.Linear(kd or d, 2 * d)
        self.o = nn.Linear(d, d)
        self.scale = (d // h) ** -0.5
        self.nq = nn.LayerNorm(d)
        self.nk = nn.LayerNorm(kd or d)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        n = self.nq(x)
        q = self.q(n)
        k, v = self.kv(self.nk(c)).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.h, -1)).transpose(1, 2) for t in (q, k, v))
        a = (torch.einsum("bhid,bhjd->bhij", q, k) * self.scale).softmax(-1)
        y = torch.einsum("bhij,bhjd->bhid", a, v).transpose(1, 2).flatten(2)
        return x + self.o(y)


class FF(nn.Module):
    """A gated layer per position."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.n = nn.LayerNorm(d)
        self.a = nn.Linear(d, 4 * d)
        self.b = nn.Linear(2 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        y, g = self.a(self.n(x)).chunk(2, -1)
        return x + self.b(y * F.gelu(g))


class Perceiver(nn.Module):
    """Latent vectors that read a long input with a single head (Jaegle et al., 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(5, 8))
        self.inp = nn.Linear(3, 6)
        self.pos = nn.Parameter(torch.randn(7, 6))
        self.cross = CrossAttn(8, 1, 6)
        self.ff1 = FF(8)
        self.self_ = CrossAttn(8, 2)
        self.ff2 = FF(8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        c = self.inp(x) + self.pos
        z = self.latents.expand(x.shape[0], -1, -1)
        z = self.ff1(self.cross(z, c))
        z = self.ff2(self.self_(z, z))
        return self.head(self.norm(z.mean(1)))


class RWKV(nn.Module):
    """A mean that decays over time (Peng et al., 2023)."""

    def __init__(self) -> None:
        super().__init__()
        d = 8
        self.e = nn.Embedding(11, d)
        self.ln = nn.LayerNorm(d)
        self.mk = nn.Parameter(torch.rand(1, 1, d))
        self.mv = nn.Parameter(torch.rand(1, 1, d))
        self.mr = nn.Parameter(torch.rand(1, 1, d))
        self.shift = nn.ZeroPad2d((0, 0, 1, -1))
        self.k = nn.Linear(d, 10, bias=False)
        self.v = nn.Linear(d, 10, bias=False)
        self.r = nn.Linear(d, 10, bias=False)
        self.o = nn.Linear(10, d, bias=False)
        self.decay = nn.Parameter(torch.randn(10))
        self.first = nn.Parameter(torch.randn(10))
        self.lnf = nn.LayerNorm(d)
        self.head = nn.Linear(d, 11)

    def forward(self, i: Tensor) -> Tensor:
        x0 = self.e(i)
        x = self.ln(x0)
        xx = self.shift(x)
        k = self.k(x * self.mk + xx * (1 - self.mk))
        v = self.v(x * self.mv + xx * (1 - self.mv))
        r = torch.sigmoid(self.r(x * self.mr + xx * (1 - self.mr)))
        w = -torch.exp(self.decay)
        a = torch.zeros_like(k[:, 0])
        b = torch.zeros_like(a)
        out = []
        for t in range(i.shape[1]):
            ek = torch.exp(k[:, t])
            eu = torch.exp(k[:, t] + self.first)
            out.append((a + eu * v[:, t]) / (b + eu))
            a = torch.exp(w) * a + ek * v[:, t]
            b = torch.exp(w) * b + ek
        y = torch.stack(out, 1)
        return self.head(self.lnf(x0 + self.o(r * y)))


class S4D(nn.Module):
    """A diagonal state space as a long convolution."""

    def __init__(self, H: int = 6, N: int = 4) -> None:
        super().__init__()
        self.logA = nn.Parameter(torch.rand(H, N))
        self.Aim = nn.Parameter(torch.rand(H, N))
        self.C = nn.Parameter(torch.randn(H, N, 2))
        self.logdt = nn.Parameter(torch.rand(H) - 3)
        self.D = nn.Parameter(torch.randn(H))
        self.out = nn.Sequential(nn.Conv1d(H, 2 * H, 1), nn.GLU(dim=-2))

    def forward(self, u: Tensor) -> Tensor:
        L = u.size(-1)
        dt = torch.exp(self.logdt)
        Cc = torch.view_as_complex(self.C)
        A = -torch.exp(self.logA) + 1j * self.Aim
        dtA = A * dt.unsqueeze(-1)
        K = dtA.unsqueeze(-1) * torch.arange(L)
        Cc = Cc * (torch.exp(dtA) - 1.0) / A
        k = 2 * torch.einsum("hn, hnl -> hl", Cc, torch.exp(K)).real
        kf = torch.fft.rfft(k, n=2 * L)
        uf = torch.fft.rfft(u, n=2 * L)
        y = torch.fft.irfft(uf * kf, n=2 * L)[..., :L]
        return self.out(F.gelu(y + u * self.D.unsqueeze(-1)))


class S4(nn.Module):
    """Two state spaces with norms behind them (Gu et al., 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Linear(3, 6)
        self.l1 = S4D()
        self.n1 = nn.LayerNorm(6)
        self.l2 = S4D()
        self.n2 = nn.LayerNorm(6)
        self.dec = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enc(x).transpose(-1, -2)
        for layer, n in ((self.l1, self.n1), (self.l2, self.n2)):
            x = n((layer(x) + x).transpose(-1, -2)).transpose(-1, -2)
        return self.dec(x.transpose(-1, -2).mean(1))


class Mamba(nn.Module):
    """A selective state space (Gu and Dao, 2023)."""

    def __init__(self) -> None:
        super().__init__()
        d, di, N, R = 6, 8, 3, 2
        self.inp = nn.Linear(3, d)
        self.norm = nn.LayerNorm(d)
        self.in_proj = nn.Linear(d, 2 * di, bias=False)
        self.conv = nn.Conv1d(di, di, 3, padding=2, groups=di)
        self.x_proj = nn.Linear(di, R + 2 * N, bias=False)
        self.dt_proj = nn.Linear(R, di)
        self.A_log = nn.Parameter(torch.rand(di, N))
        self.D = nn.Parameter(torch.ones(di))
        self.out_proj = nn.Linear(di, d, bias=False)
        self.head = nn.Linear(d, 2)
        self.R, self.N = R, N

    def forward(self, u: Tensor) -> Tensor:
        h = self.inp(u)
        x, z = self.in_proj(self.norm(h)).chunk(2, -1)
        L = x.shape[1]
        x = F.silu(self.conv(x.transpose(1, 2))[..., :L].transpose(1, 2))
        dt, B, Cc = self.x_proj(x).split([self.R, self.N, self.N], -1)
        dt = F.softplus(self.dt_proj(dt))
        A = -torch.exp(self.A_log)
        dA = torch.exp(torch.einsum("bld,dn->bldn", dt, A))
        dBx = torch.einsum("bld,bln,bld->bldn", dt, B, x)
        st = torch.zeros_like(dA[:, 0])
        ys = []
        for t in range(L):
            st = dA[:, t] * st + dBx[:, t]
            ys.append(torch.einsum("bdn,bn->bd", st, Cc[:, t]))
        y = torch.stack(ys, 1) + x * self.D
        return self.head((h + self.out_proj(y * F.silu(z))).mean(1))


class WaveNet(nn.Module):
    """Dilated gates with skips (van den Oord et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Conv1d(2, 6, 1)
        self.dil = nn.ModuleList(nn.Conv1d(6, 16, 2, dilation=2**i, padding=2**i) for i in range(2))
        self.res = nn.ModuleList(nn.Conv1d(8, 6, 1) for _ in range(2))
        self.skip = nn.ModuleList(nn.Conv1d(8, 7, 1) for _ in range(2))
        self.o1 = nn.Conv1d(7, 7, 1)
        self.o2 = nn.Conv1d(7, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inp(x)
        sk = 0
        for d, r, k in zip(self.dil, self.res, self.skip, strict=True):
            f, g = d(x)[..., : x.size(-1)].chunk(2, 1)
            z = torch.tanh(f) * torch.sigmoid(g)
            sk = sk + k(z)
            x = x + r(z)
        return self.o2(F.relu(self.o1(F.relu(sk))))


def _story(b: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 15, (b, 4, 5), generator=g), torch.randint(0, 15, (b, 5), generator=g))


class MemN2N(nn.Module):
    """Two hops over a memory (Sukhbaatar et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Embedding(15, 8)
        self.C = nn.Embedding(15, 8)
        self.B = nn.Embedding(15, 8)
        self.TA = nn.Parameter(torch.randn(4, 8))
        self.H = nn.Linear(8, 8)
        self.W = nn.Linear(8, 15)

    def forward(self, story: Tensor, q: Tensor) -> Tensor:
        m = self.A(story).sum(2) + self.TA
        c = self.C(story).sum(2)
        u = self.B(q).sum(1)
        for _ in range(2):
            p = torch.softmax((m * u.unsqueeze(1)).sum(2), -1)
            o = (p.unsqueeze(-1) * c).sum(1)
            u = self.H(u) + o
        return self.W(u)


class CoAttn(nn.Module):
    """Two sequences that look at each other (Lu et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(11, 8)
        self.rnn = nn.GRU(8, 6, batch_first=True)
        self.W = nn.Parameter(torch.randn(6, 6) * 0.3)
        self.o = nn.Linear(12, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, _ = self.rnn(self.e(a))
        b, _ = self.rnn(self.e(b))
        L = a @ self.W @ b.transpose(1, 2)
        ca = L.softmax(-1) @ b
        return self.o(torch.cat([a, ca], -1).mean(1))


class ContextVec(nn.Module):
    """Attention by a learned context (Yang et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(11, 6)
        self.g = nn.GRU(6, 5, bidirectional=True, batch_first=True)
        self.l = nn.Linear(10, 8)
        self.u = nn.Parameter(torch.randn(8))
        self.o = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.g(self.e(x))
        a = torch.softmax(torch.tanh(self.l(h)) @ self.u, 1)
        return self.o((a.unsqueeze(-1) * h).sum(1))


CASES = (
    Case("luong", Luong, together(tokens(5, 11), tokens(4, 12)), outputs=("out",)),
    Case("luong_dot", LuongDot, together(tokens(5, 11), tokens(4, 12)), outputs=("out",)),
    Case("bahdanau", Bahdanau, together(tokens(5, 11), tokens(4, 12)), outputs=("out",)),
    Case("textcnn", TextCNN, tokens(9, 21), outputs=("fc",)),
    Case("perceiver", Perceiver, floats(7, 3), outputs=("head",)),
    Case("rwkv", RWKV, tokens(4, 11), outputs=("head",)),
    Case("s4", S4, floats(8, 3), outputs=("dec",)),
    Case("mamba", Mamba, floats(5, 3), outputs=("head",)),
    Case("wavenet", WaveNet, floats(2, 8), outputs=("o2",)),
    Case("memn2n", MemN2N, _story, outputs=("W",)),
    Case("coattn", CoAttn, together(tokens(5, 11), tokens(4, 11)), outputs=("o",)),
    Case("han", ContextVec, tokens(5, 11), outputs=("o",)),
)
