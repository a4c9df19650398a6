"""Architectures for images and fields, as their authors write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.case import Case, floats, together


class NonLocal(nn.Module):
    """A block in which every position looks at all others (Wang et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.theta = nn.Conv2d(8, 4, 1)
        self.phi = nn.Conv2d(8, 4, 1)
        self.g = nn.Conv2d(8, 4, 1)
        self.out = nn.Conv2d(4, 8, 1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x)))
        b, _, h, w = x.shape
        t = self.theta(x).flatten(2).transpose(1, 2)
        p = self.phi(x).flatten(2)
        g = self.g(x).flatten(2).transpose(1, 2)
        a = torch.softmax(t @ p, -1)
        y = (a @ g).transpose(1, 2).reshape(b, -1, h, w)
        x = x + self.out(y)
        return self.fc(F.relu(self.conv2(x)).mean((2, 3)))


class GlobalFilter(nn.Module):
    """A filter of the frequencies, one per channel."""

    def __init__(self, d: int, h: int, w: int) -> None:
        super().__init__()
        self.complex_weight = nn.Parameter(torch.randn(h, w // 2 + 1, d, 2) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        _, H, W, _ = x.shape
        f = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
        f = f * torch.view_as_complex(self.complex_weight)
        return torch.fft.irfft2(f, s=(H, W), dim=(1, 2), norm="ortho")


class GFBlock(nn.Module):
    """A filter, then a layer per position."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.filter = GlobalFilter(d, 4, 4)
        self.norm2 = nn.LayerNorm(d)
        self.fc1 = nn.Linear(d, 2 * d)
        self.fc2 = nn.Linear(2 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.gelu(self.fc1(self.norm2(self.filter(self.norm1(x))))))


class GFNet(nn.Module):
    """Global filters (Rao et al., 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, 2)
        self.blocks = nn.Sequential(*[GFBlock(8) for _ in range(2)])
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        return self.head(self.norm(self.blocks(x)).mean((1, 2)))


class SpectralConv2d(nn.Module):
    """A linear map of the channels at each low frequency."""

    def __init__(self, i: int, o: int, m1: int, m2: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.modes1, self.modes2 = i, o, m1, m2
        sc = 1 / (i * o)
        self.weights1 = nn.Parameter(sc * torch.rand(i, o, m1, m2, dtype=torch.cfloat))
        self.weights2 = nn.Parameter(sc * torch.rand(i, o, m1, m2, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        xf = torch.fft.rfft2(x)
        out = torch.zeros(
            b,
            self.out_channels,
            x.size(-2),
            x.size(-1) // 2 + 1,
            dtype=torch.cdouble,
            device=x.device,
        )
        out[:, :, : self.modes1, : self.modes2] = torch.einsum(
            "bixy,ioxy->boxy", xf[:, :, : self.modes1, : self.modes2], self.weights1
        )
        out[:, :, -self.modes1 :, : self.modes2] = torch.einsum(
            "bixy,ioxy->boxy", xf[:, :, -self.modes1 :, : self.modes2], self.weights2
        )
        return torch.fft.irfft2(out, s=(x.size(-2), x.size(-1)))


class FNO(nn.Module):
    """A Fourier neural operator (Li et al., 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Linear(3, 6)
        self.conv0 = SpectralConv2d(6, 6, 2, 2)
        self.conv1 = SpectralConv2d(6, 6, 2, 2)
        self.w0 = nn.Conv2d(6, 6, 1)
        self.w1 = nn.Conv2d(6, 6, 1)
        self.fc1 = nn.Linear(6, 10)
        self.fc2 = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).permute(0, 3, 1, 2)
        x = F.gelu(self.conv0(x) + self.w0(x))
        x = self.conv1(x) + self.w1(x)
        return self.fc2(F.gelu(self.fc1(x.permute(0, 2, 3, 1))))


def _operator() -> nn.Module:
    m = FNO()
    for p in (m.conv0, m.conv1):
        p.weights1 = nn.Parameter(p.weights1.to(torch.cdouble))
        p.weights2 = nn.Parameter(p.weights2.to(torch.cdouble))
    return m


class FNO1d(nn.Module):
    """A Fourier layer whose weights are two real tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv1d(2, 6, 1)
        self.wr = nn.Parameter(torch.randn(6, 6, 3) * 0.2)
        self.wi = nn.Parameter(torch.randn(6, 6, 3) * 0.2)
        self.skip = nn.Conv1d(6, 6, 1)
        self.head = nn.Conv1d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        f = torch.fft.rfft(x, dim=-1)
        w = torch.complex(self.wr, self.wi)
        f = torch.einsum("bim,iom->bom", f[..., :3], w)
        y = torch.fft.irfft(f, n=x.size(-1), dim=-1)
        return self.head(F.gelu(y + self.skip(x)))


class STN(nn.Module):
    """A spatial transformer (Jaderberg et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Conv2d(1, 4, 3)
        self.l2 = nn.Conv2d(4, 6, 3)
        self.g1 = nn.Linear(6 * 2 * 2, 8)
        self.g2 = nn.Linear(8, 6)
        self.c1 = nn.Conv2d(1, 6, 3)
        self.c2 = nn.Conv2d(6, 8, 3)
        self.f1 = nn.Linear(8, 10)
        self.f2 = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = F.relu(F.max_pool2d(self.l1(x), 2))
        t = F.relu(F.max_pool2d(self.l2(t), 2)).flatten(1)
        theta = self.g2(F.relu(self.g1(t))).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.size()), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        x = F.relu(self.c2(F.relu(self.c1(x))))
        return self.f2(F.relu(self.f1(x.mean((2, 3)))))


class VQVAE(nn.Module):
    """A nearest code for every position (van den Oord et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.e1 = nn.Conv2d(3, 8, 4, 2, 1)
        self.e2 = nn.Conv2d(8, 5, 3, padding=1)
        self.code = nn.Embedding(7, 5)
        self.d1 = nn.Conv2d(5, 8, 3, padding=1)
        self.d2 = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.e2(F.relu(self.e1(x)))
        zp = z.permute(0, 2, 3, 1).contiguous()
        flat = zp.view(-1, self.code.embedding_dim)
        d = (
            (flat**2).sum(1, keepdim=True)
            + (self.code.weight**2).sum(1)
            - 2 * flat @ self.code.weight.t()
        )
        q = self.code(d.argmin(1)).view(zp.shape).permute(0, 3, 1, 2)
        q = z + (q - z).detach()
        return self.d2(F.relu(self.d1(q)))


class NeRF(nn.Module):
    """A field with a skip connection (Mildenhall et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.L = nn.ModuleList(
            [nn.Linear(15, 8), nn.Linear(8, 8), nn.Linear(8 + 15, 8), nn.Linear(8, 8)]
        )
        self.sigma = nn.Linear(8, 1)
        self.feat = nn.Linear(8, 8)
        self.views = nn.Linear(8 + 3, 6)
        self.rgb = nn.Linear(6, 3)

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        fr = [x]
        for i in range(2):
            fr += [torch.sin(2.0**i * x), torch.cos(2.0**i * x)]
        e = torch.cat(fr, -1)
        h = e
        for i, layer in enumerate(self.L):
            h = F.relu(layer(h))
            if i == 1:
                h = torch.cat([e, h], -1)
        sg = self.sigma(h)
        h = self.feat(h)
        h = F.relu(self.views(torch.cat([h, v], -1)))
        return torch.cat([torch.sigmoid(self.rgb(h)), F.relu(sg)], -1)


class FiLM(nn.Module):
    """Feature maps that another input scales and shifts (Perez et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, padding=1)
        self.c2 = nn.Conv2d(8, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6, affine=False)
        self.cond = nn.Linear(4, 10)
        self.film = nn.Linear(10, 12)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        g, b = self.film(F.relu(self.cond(c))).chunk(2, -1)
        x = self.bn(self.c2(F.relu(self.c1(x))))
        x = F.relu((1 + g[..., None, None]) * x + b[..., None, None])
        return self.fc(x.mean((2, 3)))


class Caps(nn.Module):
    """Capsules with routing by agreement (Sabour et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.prim = nn.Conv2d(8, 12, 3, 2)
        self.W = nn.Parameter(torch.randn(1, 12, 3, 5, 4) * 0.2)
        self.dec = nn.Linear(15, 8)
        self.out = nn.Linear(8, 2)

    @staticmethod
    def squash(x):
        n = (x**2).sum(-1, keepdim=True)
        return n / (1 + n) * x / torch.sqrt(n + 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prim(F.relu(self.conv(x)))
        u = self.squash(x.view(x.size(0), -1, 4))
        uh = (self.W @ u[:, :, None, :, None]).squeeze(-1)
        b = torch.zeros_like(uh[..., :1])
        for _ in range(2):
            v = self.squash((b.softmax(2) * uh).sum(1, keepdim=True))
            b = b + (uh * v).sum(-1, keepdim=True)
        return self.out(F.relu(self.dec(v.flatten(1))))


class SKNet(nn.Module):
    """Two kernels that a gate chooses between (Li et al., 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.c0 = nn.Conv2d(3, 8, 3, padding=1)
        self.b1 = nn.Conv2d(8, 8, 3, padding=1)
        self.b2 = nn.Conv2d(8, 8, 5, padding=2)
        self.fc = nn.Linear(8, 4)
        self.fcs = nn.ModuleList(nn.Linear(4, 8) for _ in range(2))
        self.o = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c0(x))
        u = torch.stack([F.relu(self.b1(x)), F.relu(self.b2(x))], 1)
        g = F.relu(self.fc(u.sum(1).mean((2, 3))))
        a = torch.stack([f(g) for f in self.fcs], 1).softmax(1)
        v = (u * a[..., None, None]).sum(1)
        return self.o(v.mean((2, 3)))


class DynConv(nn.Module):
    """Kernels that attention mixes for each image (Chen et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.c0 = nn.Conv2d(3, 6, 3, padding=1)
        self.att = nn.Linear(6, 3)
        self.w = nn.Parameter(torch.randn(3, 8, 6, 3, 3) * 0.2)
        self.o = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c0(x))
        a = self.att(x.mean((2, 3))).softmax(-1)
        b, c, h, w = x.shape
        W = torch.einsum("bk,koixy->boixy", a, self.w)
        W = W.reshape(-1, c, 3, 3)
        y = F.conv2d(x.reshape(1, b * c, h, w), W, padding=1, groups=b).reshape(b, -1, h, w)
        return self.o(F.relu(y).mean((2, 3)))


class Involution(nn.Module):
    """A kernel for every position (Li et al., 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 8, 1)
        self.r = nn.Conv2d(8, 4, 1)
        self.sp = nn.Conv2d(4, 9 * 2, 1)
        self.o = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c(x))
        b, c, h, w = x.shape
        k = self.sp(F.relu(self.r(x))).view(b, 2, 9, h, w).unsqueeze(2)
        u = F.unfold(x, 3, padding=1).view(b, 2, c // 2, 9, h, w)
        y = (k * u).sum(3).view(b, c, h, w)
        return self.o(y.mean((2, 3)))


class ConvLSTMCell(nn.Module):
    """A recurrent cell over images."""

    def __init__(self, i: int, h: int) -> None:
        super().__init__()
        self.hidden_dim = h
        self.conv = nn.Conv2d(i + h, 4 * h, 3, padding=1)

    def forward(self, x: Tensor, st: Tensor) -> tuple[Tensor, Tensor]:
        h, c = st
        cc = self.conv(torch.cat([x, h], 1))
        a, f, o, g = torch.split(cc, self.hidden_dim, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(a) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class ConvLSTM(nn.Module):
    """Two cells over a short film (Shi et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = ConvLSTMCell(2, 5)
        self.cell2 = ConvLSTMCell(5, 4)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _, h, w = x.shape
        st = tuple(torch.zeros(b, self.cell.hidden_dim, h, w, dtype=x.dtype) for _ in range(2))
        st2 = tuple(torch.zeros(b, self.cell2.hidden_dim, h, w, dtype=x.dtype) for _ in range(2))
        for i in range(t):
            st = self.cell(x[:, i], st)
            st2 = self.cell2(st[0], st2)
        return self.out(st2[0])


CASES = (
    Case("nonlocal", NonLocal, floats(3, 6, 6), outputs=("fc",)),
    Case("gfnet", GFNet, floats(3, 8, 8), outputs=("head",)),
    Case("fno", _operator, floats(8, 8, 3), outputs=("fc2",)),
    Case("fno1d", FNO1d, floats(2, 8), outputs=("head",)),
    Case("stn", STN, floats(1, 16, 16), outputs=("f2", "g2")),
    Case("vqvae", VQVAE, floats(3, 8, 8), outputs=("d2",)),
    Case("nerf", NeRF, together(floats(3), floats(3)), outputs=("rgb", "sigma")),
    Case("film", FiLM, together(floats(3, 6, 6), floats(4)), outputs=("fc",)),
    Case("capsule", Caps, floats(1, 7, 7), outputs=("out",)),
    Case("sknet", SKNet, floats(3, 6, 6), outputs=("o",)),
    Case("dynconv", DynConv, floats(3, 5, 5), outputs=("o", "att")),
    Case("involution", Involution, floats(3, 5, 5), outputs=("o",)),
    Case("convlstm", ConvLSTM, floats(3, 2, 4, 4), outputs=("out",)),
)
