"""Architectures for sets, graphs, tables and experts, as their authors write them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.case import Case, floats, together, tokens


class TNet(nn.Module):
    """A square map of the points, computed from them."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.c1 = nn.Conv1d(k, 8, 1)
        self.c2 = nn.Conv1d(8, 12, 1)
        self.b1 = nn.BatchNorm1d(8)
        self.b2 = nn.BatchNorm1d(12)
        self.f1 = nn.Linear(12, 8)
        self.f2 = nn.Linear(8, k * k)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.b1(self.c1(x)))
        x = F.relu(self.b2(self.c2(x)))
        x = torch.max(x, 2)[0]
        x = self.f2(F.relu(self.f1(x)))
        return x.view(-1, self.k, self.k) + torch.eye(self.k, dtype=x.dtype)


class PointNet(nn.Module):
    """Points, aligned by what they are (Qi et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.t1 = TNet(3)
        self.c1 = nn.Conv1d(3, 8, 1)
        self.b1 = nn.BatchNorm1d(8)
        self.t2 = TNet(8)
        self.c2 = nn.Conv1d(8, 10, 1)
        self.c3 = nn.Conv1d(10, 16, 1)
        self.f1 = nn.Linear(16, 8)
        self.f2 = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        t = self.t1(x)
        x = torch.bmm(x.transpose(2, 1), t).transpose(2, 1)
        x = F.relu(self.b1(self.c1(x)))
        t = self.t2(x)
        x = torch.bmm(x.transpose(2, 1), t).transpose(2, 1)
        x = F.relu(self.c2(x))
        x = self.c3(x)
        x = torch.max(x, 2)[0]
        return self.f2(F.relu(self.f1(x)))


class DeepSets(nn.Module):
    """A sum over a set (Zaheer et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8))
        self.lam = nn.Linear(8, 8, bias=False)
        self.gam = nn.Linear(8, 8)
        self.rho = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.phi(x)
        xm = h.max(1, keepdim=True)[0]
        h = self.gam(h) - self.lam(xm)
        return self.rho(F.elu(h).sum(1))


class GraphConv(nn.Module):
    """A layer over a dense adjacency."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(i, o) * 0.3)
        self.bias = nn.Parameter(torch.zeros(o))

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return a @ (x @ self.weight) + self.bias


class GCN(nn.Module):
    """Graph convolutions (Kipf and Welling, 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.g1 = GraphConv(4, 8)
        self.g2 = GraphConv(8, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return self.fc(F.relu(self.g2(F.relu(self.g1(x, a)), a)).mean(1))


class GATLayer(nn.Module):
    """Attention along edges."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.out_features = o
        self.W = nn.Parameter(torch.randn(i, o) * 0.3)
        self.a = nn.Parameter(torch.randn(2 * o, 1) * 0.3)

    def forward(self, h: Tensor, adj: Tensor) -> Tensor:
        Wh = h @ self.W
        e1 = Wh @ self.a[: self.out_features, :]
        e2 = Wh @ self.a[self.out_features :, :]
        e = F.leaky_relu(e1 + e2.transpose(1, 2), 0.2)
        att = torch.where(adj > 0, e, -9e15 * torch.ones_like(e)).softmax(-1)
        return F.elu(att @ Wh)


class GAT(nn.Module):
    """Graph attention (Velickovic et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([GATLayer(4, 6) for _ in range(2)])
        self.out = GATLayer(12, 5)
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        return self.fc(self.out(torch.cat([h(x, adj) for h in self.heads], -1), adj).mean(1))


class MoE2(nn.Module):
    """Experts in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(4, 8)
        self.gate = nn.Linear(8, 3)
        self.w1 = nn.Parameter(torch.randn(3, 8, 10) * 0.3)
        self.b1 = nn.Parameter(torch.zeros(3, 10))
        self.w2 = nn.Parameter(torch.randn(3, 10, 6) * 0.3)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.inp(x))
        g = self.gate(x).softmax(-1)
        h = F.relu(torch.einsum("bd,edh->beh", x, self.w1) + self.b1)
        y = torch.einsum("beh,eho->beo", h, self.w2)
        return self.head(torch.einsum("be,beo->bo", g, y))


class TopKMoE(nn.Module):
    """The two best of four experts (Shazeer et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(4, 8)
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 8)) for _ in range(4)
        )
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.inp(x))
        v, i = self.gate(x).topk(2, -1)
        w = torch.zeros(x.shape[0], 4, dtype=x.dtype).scatter(1, i, v.softmax(-1))
        y = torch.stack([e(x) for e in self.experts], 1)
        return self.head((w.unsqueeze(-1) * y).sum(1))


class Hyper(nn.Module):
    """A layer whose weights another network writes (Ha et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Linear(3, 6)
        self.w = nn.Linear(6, 4 * 8)
        self.b = nn.Linear(6, 8)
        self.body = nn.Linear(5, 4)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        z = F.relu(self.emb(c))
        W = self.w(z).view(-1, 8, 4)
        h = F.relu(self.body(x))
        h = F.relu(torch.bmm(W, h.unsqueeze(-1)).squeeze(-1) + self.b(z))
        return self.head(h)


class Hyper2(Hyper):
    """The same, with sizes taken from tensors."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        z = F.relu(self.emb(c))
        h = F.relu(self.body(x))
        W = self.w(z).view(z.shape[0], -1, h.shape[-1])
        h = F.relu(torch.bmm(W, h.unsqueeze(-1)).squeeze(-1) + self.b(z))
        return self.head(h)


class Bil(nn.Module):
    """A bilinear form of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 6)
        self.r = nn.Linear(3, 5)
        self.bil = nn.Bilinear(6, 5, 7)
        self.o = nn.Linear(7, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.o(torch.tanh(self.bil(F.relu(self.l(x)), F.relu(self.r(y)))))


class DeepFM(nn.Module):
    """Factorised interactions beside a deep net (Guo et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Embedding(20, 1)
        self.bias = nn.Parameter(torch.zeros(1))
        self.emb = nn.Embedding(20, 6)
        self.mlp = nn.Sequential(
            nn.Linear(18, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        e = self.emb(x)
        sq = e.sum(1) ** 2
        ss = (e**2).sum(1)
        fm = 0.5 * (sq - ss).sum(1, keepdim=True)
        return torch.sigmoid(
            (self.lin(x).sum(1) + self.bias + fm + self.mlp(e.view(x.shape[0], -1))).squeeze(1)
        )


class Highway(nn.Module):
    """Layers with a gated carry (Srivastava et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.i = nn.Linear(4, 8)
        self.n = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.t = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.o = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.i(x))
        for n, t in zip(self.n, self.t, strict=True):
            g = torch.sigmoid(t(x))
            x = g * F.relu(n(x)) + (1 - g) * x
        return self.o(x)


class TwoTower(nn.Module):
    """Two towers that meet in a dot product."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Embedding(9, 6)
        self.i = nn.Embedding(8, 6)
        self.f1 = nn.Linear(6, 10)
        self.f2 = nn.Linear(10, 7)
        self.g1 = nn.Linear(6, 9)
        self.g2 = nn.Linear(9, 7)

    def forward(self, x: Tensor) -> Tensor:
        a = self.f2(F.relu(self.f1(self.u(x[:, 0]))))
        b = self.g2(F.relu(self.g1(self.i(x[:, 1] % 8))))
        return (a * b).sum(-1)


class MF(nn.Module):
    """Factors of users and of items."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Embedding(9, 6)
        self.i = nn.Embedding(9, 6)
        self.ub = nn.Embedding(9, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.u(x[:, 0]) * self.i(x[:, 1])).sum(-1) + self.ub(x[:, 0]).squeeze(-1)


CASES = (
    Case("pointnet", PointNet, floats(3, 9), outputs=("f2",)),
    Case("deepsets", DeepSets, floats(5, 3), outputs=("rho.2",)),
    Case("gcn", GCN, together(floats(5, 4), floats(5, 5)), outputs=("fc",)),
    Case("gat", GAT, together(floats(5, 4), floats(5, 5)), outputs=("fc",)),
    Case("moe_einsum", MoE2, floats(4), outputs=("head", "gate")),
    Case("moe_topk", TopKMoE, floats(4), outputs=("head", "gate")),
    Case("hypernet", Hyper2, together(floats(5), floats(3)), outputs=("head",)),
    Case("bilinear", Bil, together(floats(4), floats(3)), outputs=("o",)),
    Case("deepfm", DeepFM, tokens(3, 20), outputs=("mlp.4", "lin")),
    Case("highway", Highway, floats(4), outputs=("o",)),
    Case("twotower", TwoTower, tokens(2, 9), outputs=()),
    Case("mf", MF, tokens(2, 9), outputs=("ub",)),
)
