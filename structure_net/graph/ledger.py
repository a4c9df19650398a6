"""What a walk over a traced program collects: axes of tensors, what tensors do on them, layers and
normalisations.

Rules read operands and write here; `structure_net.graph.states` and the channel graph read it
afterwards. Nothing here refers to the program or to the model, so that it outlives both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from structure_net.graph.attributes import Requirements
from structure_net.graph.channels import Role, SpectralNormSite, WeightNormSite
from structure_net.graph.sizes import Expr, Var

Origin = tuple[str, int]
"""An axis of a parameter or buffer: the tensor's name and the dimension."""


@dataclass(frozen=True, slots=True)
class Dim:
    """One axis of a tensor in the program.

    Args:
        expr: Its size.
        origins: The parameter axes behind it, all of which must be zero for zeros here and scaled
            for a scaled result; not empty only where the tensor is computed from parameters alone
            by linear operations.
    """

    expr: Expr
    origins: tuple[Origin, ...] = ()


Axes = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Tag:
    """A stage of a normalisation that is written out by hand.

    Args:
        stage: What the tensor holds: ``square``, ``mean``, ``centred``, ``power`` (mean square or
            variance), ``shifted`` (plus epsilon), ``root``, ``inverse``, ``function`` (any other
            function of the power), ``normalised``, ``gained``.
        source: The step whose output is normalised.
        expr: The axis that it is normalised over.
        centred: Whether the mean was subtracted.
        norm: The index of the normalisation, once it is complete.
        epsilon: The constant that was added, and the module that added it.
        steps: The steps that led here.
        gain: The parameter that has multiplied the centred channels already.
        lost: 1 where the variance is divided by one less than the number of channels.
    """

    stage: str
    source: int
    expr: Expr
    centred: bool = False
    norm: int | None = None
    epsilon: tuple[float, str] | None = None
    steps: tuple[int, ...] = ()
    gain: str | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the program.

    Args:
        name: Its name in the program.
        operation: The ATen operation's name, without overload and trailing underscore.
        inputs: The steps whose tensors it reads.
        outputs: The axes of each tensor that it returns.
        module: The dotted name of the innermost module.
        numbers: Its numeric arguments, in order.
    """

    name: str
    operation: str
    inputs: tuple[int, ...]
    outputs: tuple[Axes, ...]
    module: str
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """What a tensor does on one of its axes in one step; ``operand`` is the step that supplies what
    it reads."""

    role: Role
    step: int
    operand: int | None = None


@dataclass(slots=True)
class Norm:
    """A normalisation over one axis, or something else that only copying all of it keeps.

    Args:
        kind: ``layer`` or ``rms``; ``group`` for the channels inside a group; else ``mixing``: a
            mean or an extremum.
        expr: The axis.
        step: The step that needs the state of its input.
        source: The step of that input.
        module: The dotted name of the innermost module.
        gain: The parameter that multiplies the result, if that is the only use of the result.
        epsilon: The constant under the root, None where the operation supplies it.
        epsilon_module: The module that adds it.
        operation: The ATen operation that completes the normalisation.
        offset: What the code adds to the gain before it multiplies, as in ``1 + weight``.
        members: The steps that the normalisation is made of.
        lost: 1 where the variance is divided by one less than the number of channels.
    """

    kind: str
    expr: Expr
    step: int
    source: int
    module: str
    gain: str | None = None
    epsilon: float | None = None
    epsilon_module: str = ""
    operation: str = "mean"
    offset: float = 0.0
    members: tuple[int, ...] = ()
    lost: int = 0

    def __str__(self) -> str:
        if self.kind == "mixing":
            return f"operation '{self.operation}'"
        where = f"in '{self.module}'" if self.module else "in the model's own code"
        return f"the normalisation {where}"


@dataclass(frozen=True, slots=True)
class Contraction:
    """A sum over channels that no parameter reads: of products of two tensors, or of one tensor.

    Args:
        expr: The axis that is summed.
        step: The step that sums.
        sources: The steps of the one or two tensors.
        operation: The ATen operation's name.
        lead: The axes beside which it is summed, the attention heads among them.
        linear: Whether it is linear in its terms; else channels only drop out where they are zero,
            as under a norm.
        root: Whether the sum is divided by the root of the number of channels.
    """

    expr: Expr
    step: int
    sources: tuple[int, ...]
    operation: str
    lead: tuple[Expr, ...] = ()
    linear: bool = True
    root: bool = False

    def __str__(self) -> str:
        return f"operation '{self.operation}'"


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A weight that writes an axis.

    Args:
        weight: The weight's name; of the layer itself where it is a leaf.
        kind: ``linear``, ``convolution``, ``transposed convolution``, ``embedding``, ``recurrent``,
            ``product`` or ``sparse``.
        output: The axis of its output channels.
        step: The step that applies it.
        module: The dotted name of the innermost module.
    """

    weight: str
    kind: str
    output: Expr
    step: int
    module: str


@dataclass(slots=True)
class Ledger:
    """Everything a walk collects.

    Attributes:
        tensors: The axes of each parameter and buffer that the program uses, by canonical name.
        aliases: Every name of each of them, where it has several.
        trainable: Which of them are parameters.
        integers: Which of them hold integers or booleans.
        leaves: The names among them that are layers which rearrange themselves.
        uses: What each axis does.
        layers: The weights that write, in order of execution.
        norms: Normalisations over an axis.
        weight_norms: Weights that are computed as a gain times a direction.
        spectral_norms: Weights that are divided by their spectral norm.
        contractions: Sums over an axis that no parameter reads.
        copies: The step that a copy holds the values of.
        in_place: Steps that write into their first input.
        heads: Variables that count attention heads.
        steps: The program.
        bare_norms: Indices of normalisations whose result is used without a gain.
        parameter_steps: The name of the parameter or buffer that a step supplies.
        requirements: What the model's own integers ask of the sizes.
        training: Whether the program is that of training mode.
        results: The steps that supply the model's output.
    """

    tensors: dict[str, tuple[Expr, ...]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trainable: set[str] = field(default_factory=set)
    integers: set[str] = field(default_factory=set)
    leaves: set[str] = field(default_factory=set)
    uses: dict[Origin, list[Use]] = field(default_factory=dict)
    layers: list[LayerRecord] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)
    weight_norms: list[WeightNormSite] = field(default_factory=list)
    spectral_norms: list[SpectralNormSite] = field(default_factory=list)
    contractions: list[Contraction] = field(default_factory=list)
    copies: dict[int, int] = field(default_factory=dict)
    in_place: set[int] = field(default_factory=set)
    heads: list[Var] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    bare_norms: set[int] = field(default_factory=set)
    parameter_steps: dict[int, str] = field(default_factory=dict)
    requirements: Requirements = field(default_factory=Requirements)
    training: bool = False
    results: set[int] = field(default_factory=set)
