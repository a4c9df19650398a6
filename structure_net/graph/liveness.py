"""Which calls of an exported program matter: those that the result depends on, and dead ones that
read a parameter or whose sizes are computed with.

What nobody reads says nothing about sizes (averaged attention weights, for one). A call that reads
a parameter runs nevertheless, and so does what is done with its result: their sizes have to fit.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from torch.fx import Node

from structure_net.graph.recording import call_of

WRAPPERS: Final = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Operations that run a subprogram in another mode, and the position of the subprogram among their
arguments."""


ALIASES: Final = {
    "multiply": "mul", "divide": "div", "true_divide": "div", "subtract": "sub", "negative": "neg",
    "absolute": "abs", "clip": "clamp", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "not_equal": "ne", "swapdims": "transpose",
    "moveaxis": "movedim", "concat": "cat", "concatenate": "cat", "linalg_matmul": "matmul",
    "fix": "trunc", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "special_expm1": "expm1",
    "special_log1p": "log1p", "special_erf": "erf", "special_softmax": "softmax",
    "special_log_softmax": "log_softmax", "special_logsumexp": "logsumexp",
    "special_sinc": "sinc", "float_power": "pow", "row_stack": "vstack", "trapezoid": "trapz",
    "conj_physical": "conj",
}  # fmt: skip
"""Operations by another name."""


def operation_of(target: Any) -> str:
    """``aten.add_.Tensor`` is ``add``, and so is what is only another name for it."""
    packet = getattr(target, "overloadpacket", target)
    name = str(getattr(packet, "__name__", packet))
    name = name.rpartition("::")[2]
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return ALIASES.get(plain, plain)


def live_tensors(program: Any) -> frozenset[str]:
    """The parameters and buffers, by the names in the program's signature, that its results depend
    on."""
    signature = program.graph_signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    live = _live(program.graph_module.graph)
    return frozenset(stored[node.name] for node in live if node.name in stored)


def strip(program: Any, measured: Collection[int] = ()) -> None:
    """Removes the calls that do not matter from a program.

    Args:
        program: The exported program, which is changed.
        measured: The numbers of calls whose results' sizes the model's code computes with.
    """
    signature = program.graph_signature
    stored = {*signature.inputs_to_parameters, *signature.inputs_to_buffers}
    nodes = program.graph_module.graph.nodes
    _strip(program.graph_module, {node for node in nodes if node.name in stored}, measured)


def _strip(graph_module: Any, stored: Collection[Node], measured: Collection[int]) -> None:
    graph = graph_module.graph
    known = _computed(graph, stored)
    for node in graph.nodes:
        position = WRAPPERS.get(operation_of(node.target))
        if position is not None:
            inner = getattr(graph_module, node.args[position].target)
            places = [n for n in inner.graph.nodes if n.op == "placeholder"]
            given = zip(places, node.args[position + 1 :], strict=False)
            _strip(inner, {place for place, source in given if source in known}, measured)
    kept = _kept(graph, known) | {node for node in graph.nodes if call_of(node) in measured}
    for node in reversed(graph.nodes):
        if not node.users and not node.is_impure() and node not in kept:
            graph.erase_node(node)


def _live(graph: Any) -> set[Node]:
    """What the results depend on, and what is written in place."""
    live: set[Node] = set()
    for node in reversed(graph.nodes):
        if node in live or node.op == "output" or (node.op == "call_function" and node.is_impure()):
            live.add(node)
            live.update(node.all_input_nodes)
    return live


def _computed(graph: Any, stored: Collection[Node]) -> set[Node]:
    """The parameters and what is computed from them alone."""
    known = set(stored)
    for node in graph.nodes:
        if node.all_input_nodes and known.issuperset(node.all_input_nodes):
            known.add(node)
    return known


def _kept(graph: Any, known: Collection[Node]) -> set[Node]:
    """Dead calls that bring a parameter together with something else, and what follows from
    them."""
    live, kept = _live(graph), set[Node]()
    for node in graph.nodes:
        among = [source in known for source in node.all_input_nodes]
        reads = any(among) and not all(among)
        if node not in live and (reads or not kept.isdisjoint(node.all_input_nodes)):
            kept.add(node)
    return kept
