"""Fourier transforms, and complex numbers made of pairs of real ones."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.elementwise import broadcast, joined, parametric
from structure_net.graph.rules.registry import rule

ALONG_ONE = ("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft")
ALONG_SOME = (
    "fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn",
    "fft_irfftn", "fft_fftshift", "fft_ifftshift",
)  # fmt: skip
FOURIER = (*ALONG_ONE, *ALONG_SOME)


@rule(*FOURIER)
def fourier(call: Call) -> Axes:
    """Mixes the entries of some axes, whose number may change; the others are bystanders."""
    x = call.tensor("self")
    mixed = _mixed(call, x)
    for i in mixed:
        call.freeze_unknown(x.expr(i))
    call.use_all(x, Role.TABLE)
    return tuple(
        call.fixed(call.shape[i], "which mixes the channels") if i in mixed else Dim(dim.expr)
        for i, dim in enumerate(x.axes)
    )


def _mixed(call: Call, x: Operand) -> set[int]:
    """The axes that are transformed: all of them, or the last ones, where none is named."""
    named = call["dim"]
    if named is None:
        sizes = call["s"]
        named = range(-len(sizes), 0) if sizes else range(x.dims)
    return {call.dim(d, x.dims) for d in ([named] if isinstance(named, int) else named)}


@rule("view_as_complex")
def paired(call: Call) -> Axes:
    """The last axis, of real and imaginary part, becomes one number."""
    x = call.tensor("self")
    call.freeze(x.expr(-1), "which takes real and imaginary parts")
    call.use(x.axes[-1], Role.TABLE)
    return x.axes[:-1]


@rule("view_as_real")
def unpaired(call: Call) -> Axes:
    """Real and imaginary part become a last axis."""
    x = call.tensor("self")
    return (*x.axes, call.fixed(2, "which takes real and imaginary parts"))


@rule("complex")
def complex_number(call: Call) -> Axes:
    """``a + i b``: where both are parameters, so is the sum."""
    operands = call.operands
    axes = broadcast(call, operands)
    if all(map(parametric, operands)):
        return joined(operands, axes)
    for operand in operands:
        call.use_all(operand, Role.WRITES)
    return axes
