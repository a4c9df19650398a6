"""Which modules are layers, and which axis of what they give holds their units."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from structure_net.core.sparsity import SparseLayer

_CONVOLUTIONS: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_DENSE: Final = (nn.Linear, nn.Embedding, nn.Bilinear)
_RECURRENT: Final = (nn.RNNBase, nn.RNNCellBase)
_WITH_UNITS_LAST: Final = (*_DENSE, *_RECURRENT, nn.MultiheadAttention)


def unit_axis(module: nn.Module) -> int | None:
    """The axis of a layer's output (and input) that holds its units; None for what is no layer.

    Layers are sparse layers, linear layers, embeddings, convolutions, recurrent layers and cells,
    `nn.MultiheadAttention`, and a user's own modules without children that own one matrix, which
    are taken for linear layers.
    """
    if isinstance(module, SparseLayer):
        return module.channel_dim
    if isinstance(module, _WITH_UNITS_LAST):
        return -1
    if isinstance(module, _CONVOLUTIONS):
        return -1 - len(module.kernel_size)
    if not (module._parameters or module._modules):
        return None  # what most modules are, told in little time
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) or any(True for _ in module.children()):
        return None
    weights = [p for p in module.parameters() if p.dim() >= 2 and p.numel() > max(p.shape)]
    return -1 if len(weights) == 1 and weights[0].dim() == 2 else None


def units_of(module: nn.Module, output: Any) -> Tensor | None:
    """The part of a layer's output that holds its units; None where none does.

    Of a recurrent layer: the states of its last layer at every step, both directions one behind the
    other (of a packed sequence, the steps that exist). Of a cell: the new state.
    """
    if isinstance(output, Tensor):
        if not output.is_floating_point():
            return None
        if isinstance(module, (nn.Linear, SparseLayer, *_DENSE, *_CONVOLUTIONS, *_RECURRENT)):
            return output
    elif isinstance(module, (*_RECURRENT, nn.MultiheadAttention)) and isinstance(output, tuple):
        states = output[0]
        return states.data if isinstance(states, PackedSequence) else states
    else:
        return None
    known = any(output.size(-1) in p.shape for p in module.parameters() if p.dim() == 2)
    return output if known else None


def samples_second(module: nn.Module) -> bool:
    """Whether a layer takes samples along the second axis, behind the steps."""
    return isinstance(module, nn.RNNBase | nn.MultiheadAttention) and not module.batch_first


def is_recurrent(module: nn.Module) -> bool:
    """Whether a layer is a recurrent one, or a cell of one."""
    return isinstance(module, _RECURRENT)


def directions(module: nn.Module) -> int:
    """How often a unit stands in the layer's output: twice in a recurrent layer that reads both
    ways, whose hidden units have a state in each direction."""
    return 2 if isinstance(module, nn.RNNBase) and module.bidirectional else 1


def is_own_leaf(module: nn.Module) -> bool:
    """Whether a module without children is a user's own; torch's are one function each."""
    return not (module._modules or type(module).__module__.startswith("torch.nn.modules."))


def own_activation(module: nn.Module) -> str | None:
    """The activation that is a part of the layer itself: "tanh" or "relu" of a plain recurrent
    layer, "lstm" or "gru" of a gated one."""
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return "lstm"
    if isinstance(module, nn.GRU | nn.GRUCell):
        return "gru"
    return str(module.nonlinearity) if isinstance(module, nn.RNN | nn.RNNCell) else None


def observed_layers(network: nn.Module) -> dict[str, tuple[nn.Module, nn.Module]]:
    """The layers by name, in the order of registration; a layer inside a layer is a part of it.

    Returns:
        The layer, and the module whose calls are its calls: itself, but for the projection behind
        the heads of `nn.MultiheadAttention`, which is computed without being called. What the heads
        hand to it is not seen.
    """
    found: dict[str, tuple[nn.Module, nn.Module]] = {}
    inside: set[nn.Module] = set()
    for name, module in network.named_modules():
        if module in inside or unit_axis(module) is None:
            continue
        if module._modules:
            inside.update(module.modules())
        if isinstance(module, nn.MultiheadAttention):
            found[f"{name}.out_proj".removeprefix(".")] = (module.out_proj, module)
        else:
            found[name] = (module, module)
    return found
