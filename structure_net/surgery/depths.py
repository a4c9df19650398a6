"""Plans of edits that put modules behind layers, or take them away again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from torch import Tensor, nn

from structure_net.errors import SurgeryError
from structure_net.surgery.edits import (
    ActivationName,
    AddResidualBlock,
    AddSkipConnection,
    InsertLayer,
    RemoveLayer,
    RemoveSkipConnection,
)
from structure_net.surgery.grafts import (
    Grafted,
    InsertedLayer,
    SkipSource,
    SkipTarget,
    resolved,
)
from structure_net.surgery.moves import AddGraft, Block, Move, RemoveGraft, SetAttribute, Skip
from structure_net.surgery.sites import Site

DepthEdit = InsertLayer | RemoveLayer | AddResidualBlock | AddSkipConnection | RemoveSkipConnection
DEPTH_EDITS = (InsertLayer, RemoveLayer, AddResidualBlock, AddSkipConnection, RemoveSkipConnection)


def observed_layers(edit: DepthEdit) -> tuple[str, ...]:
    """The layers whose outputs the plan has to know."""
    match edit:
        case InsertLayer() | AddResidualBlock():
            return (edit.layer,)
        case AddSkipConnection():
            return (edit.source, edit.target)
        case _:
            return ()


def planned_depth(edit: DepthEdit, model: nn.Module, sites: Mapping[str, Site]) -> tuple[Move, ...]:
    """The moves of an edit of depth.

    Args:
        edit: The edit.
        model: Read only.
        sites: What `structure_net.surgery.sites.sites` says of `observed_layers`.

    Raises:
        SurgeryError: The layer is unknown, or the shapes or the order do not allow the edit.
    """
    match edit:
        case InsertLayer():
            return _insert(model, sites[edit.layer], edit.width, edit.activation)
        case AddResidualBlock():
            site = sites[edit.layer]
            width = _positive(edit.width, site.channels)
            block = Block("residual", site, width, edit.activation)
            return _behind(model, site, "residual", block)
        case AddSkipConnection():
            return _skip(model, sites[edit.source], sites[edit.target])
        case RemoveLayer():
            return _remove(model, edit.layer)
        case RemoveSkipConnection():
            return _remove_skip(model, edit.source, edit.target)


def _insert(
    model: nn.Module, site: Site, width: int | None, activation: ActivationName
) -> tuple[Move, ...]:
    units = _positive(width, site.channels)
    if units < site.channels:
        return _behind(model, site, "inserted", Block("residual", site, units, activation))
    exact = activation == "relu" and site.before_relu
    return _behind(
        model,
        site,
        "inserted",
        Block("exact" if exact else "partial", site, site.channels, activation),
    )


def _positive(width: int | None, default: int) -> int:
    if width is not None and width < 1:
        raise SurgeryError(f"width must be at least 1; got {width}.")
    return default if width is None else width


def _behind(model: nn.Module, site: Site, kind: str, block: Block) -> tuple[Move, ...]:
    name = _free_name(kind, model.get_submodule(site.outer))
    return (AddGraft(site.outer, name, block), *_slow_paths(model, site.outer))


def _free_name(kind: str, *places: nn.Module) -> str:
    taken = {name for place in places if isinstance(place, Grafted) for name in place.grafts}
    return next(name for name in (f"{kind}{i}" for i in count(1)) if name not in taken)


def _slow_paths(model: nn.Module, name: str) -> tuple[Move, ...]:
    """Encoder layers around ``name`` whose fused inference reads weights and would pass a graft
    by.
    """
    parts = name.split(".")
    around = [".".join(parts[:i]) for i in range(len(parts))]
    return tuple(
        SetAttribute(path, "activation_relu_or_gelu", None, 0)
        for path in around
        if isinstance(model.get_submodule(path), nn.TransformerEncoderLayer)
    )


def _skip(model: nn.Module, source: Site, target: Site) -> tuple[Move, ...]:
    for site in (source, target):
        if site.calls != 1:
            raise SurgeryError(
                f"{site.layer!r} runs {site.calls} times in a forward pass; a skip connection "
                "needs layers that run once."
            )
    if source.finished >= target.finished:
        raise SurgeryError(
            f"A skip connection needs its source before its target; {source.layer!r} runs after "
            f"{target.layer!r}. "
            "Exchange the two."
        )
    _check_meeting(source, target)
    if _connection(model, source.outer, target.outer) is not None:
        raise SurgeryError(f"{source.layer!r} is connected to {target.layer!r} already.")
    places = model.get_submodule(source.outer), model.get_submodule(target.outer)
    name = _free_name("skip", *places)
    return (
        AddGraft(target.outer, name, Skip("target", source, target)),
        AddGraft(source.outer, name, Skip("source", source, target)),
        *_slow_paths(model, target.outer),
        *_slow_paths(model, source.outer),
    )


def _check_meeting(source: Site, target: Site) -> None:
    """Whether a projection can take the source's output to the target's shape."""
    vector = len(target.shape) == 2
    images = source.spatial > 0 and target.spatial == source.spatial
    to_vector = source.spatial > 0 and vector
    alike = source.spatial == target.spatial == 0 and source.shape[:-1] == target.shape[:-1]
    if source.shape[0] == target.shape[0] and (images or to_vector or alike):
        return
    raise SurgeryError(
        f"The output of {source.layer!r}, shape {source.shape}, cannot be projected onto that of "
        f"{target.layer!r}, "
        f"shape {target.shape}: they must agree but for the channels and have these on the same "
        "axis, be images of one rank, or "
        "be an image and a "
        "vector."
    )


def _remove(model: nn.Module, name: str) -> tuple[Move, ...]:
    parts = resolved(model, name).split(".")
    for end in range(len(parts), 2, -1):
        outer, middle, last = ".".join(parts[: end - 2]), parts[end - 2], parts[end - 1]
        owner = model.get_submodule(outer)
        if isinstance(owner, Grafted) and middle == "grafts":
            if isinstance(owner.grafts[last], SkipSource | SkipTarget):
                raise SurgeryError(f"{name!r} is a skip connection; use RemoveSkipConnection.")
            _check_square(name, owner.grafts[last])
            return (RemoveGraft(outer, last),)
    raise SurgeryError(
        f"{name!r} was not put there by InsertLayer or AddResidualBlock; only such layers can be "
        "removed. Their names "
        "hold '.grafts.'."
    )


def _check_square(name: str, graft: nn.Module) -> None:
    """Whether what stands before and behind a graft fits together without it."""
    if not isinstance(graft, InsertedLayer):
        return
    weight = getattr(graft.linear, "weight", None)
    if isinstance(weight, Tensor) and weight.shape[0] != weight.shape[1]:
        raise SurgeryError(
            f"{name!r} reads {weight.shape[1]} channels and writes {weight.shape[0]}; it can be "
            "removed once both are equal. Use RemoveNeurons or AddNeurons on it first."
        )


def _remove_skip(model: nn.Module, source: str, target: str) -> tuple[Move, ...]:
    places = [_outermost(model, resolved(model, name)) for name in (source, target)]
    name = _connection(model, places[0], places[1])
    if name is None:
        raise SurgeryError(f"There is no skip connection from {source!r} to {target!r}.")
    return RemoveGraft(places[1], name), RemoveGraft(places[0], name)


def _outermost(model: nn.Module, layer: str) -> str:
    while layer.endswith(".origin") and isinstance(
        model.get_submodule(layer.removesuffix(".origin")), Grafted
    ):
        layer = layer.removesuffix(".origin")
    return layer


def _connection(model: nn.Module, source: str, target: str) -> str | None:
    """The name of the skip connection between two places."""
    begin, end = model.get_submodule(source), model.get_submodule(target)
    if not (isinstance(begin, Grafted) and isinstance(end, Grafted)):
        return None
    for name, graft in end.grafts.items():
        other = begin.grafts._modules.get(name)
        if not isinstance(graft, SkipTarget) or not isinstance(other, SkipSource):
            continue
        if graft.carrier is other.carrier:
            return name
    return None
