"""A network that is widened and deepened by number: layer 0, layer 1, and so on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.arguments import check_number, check_whole
from structure_net.core.statistics import network_stats
from structure_net.den.hidden import HiddenLayer, activation_name, hidden_layers, insertion
from structure_net.den.layers import DrawnIncoming, ExpandableLinear, scheme_for
from structure_net.errors import CheckpointError
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal, carry_out
from structure_net.surgery import (
    AddNeurons,
    AddResidualBlock,
    Checkpoint,
    EventEntry,
    Journal,
    RemoveNeurons,
    architecture,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import START
from structure_net.surgery.lineage import final_widths, widths

TaskType = Literal["regression", "classification"]


class DynamicExpandableNetwork(nn.Module):
    """A fully connected network whose hidden layers grow in width and in number.

    Both expansions keep the output: new units read with weights by Kaiming's or Xavier's rule, and
    are read with weights of zero; a new layer begins as the identity, or beside a signal that goes
    around it. Parameters stay the same objects, so that optimizers and schedulers go on.

    Args:
        input_size: Inputs.
        output_size: Outputs.
        hidden_sizes: The units of each hidden layer at birth; at least one.
        activation: Makes the activation behind each hidden layer: a class, or a function.
        dropout: Behind each activation that the network was born with; the probability in [0, 1).
        task_type: What the outputs are: values, or scores of classes.
        seed: What weights are drawn from; taken from torch's default generator if None.

    Shape:
        ``(N, *)`` with ``input_size`` entries per sample, to ``(N, output_size)``.

    Raises:
        ValueError: An argument is out of range or unknown.
        TypeError: A size is no whole number, or ``activation`` makes no module.
    """

    def __init__(  # noqa: PLR0913 - what such a network consists of
        self,
        input_size: int,
        output_size: int,
        hidden_sizes: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        task_type: TaskType = "regression",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        _check(input_size, output_size, hidden_sizes, dropout, task_type)
        made = _made(activation)
        self.input_size, self.output_size = input_size, output_size
        self.task_type: TaskType = task_type
        self.dropout = dropout
        self.scheme = scheme_for(made)
        self.seed = int(torch.randint(2**31, ())) if seed is None else seed
        self._birth = tuple(int(size) for size in hidden_sizes)
        self._make_activation = activation
        self._activation = activation_name(made)
        self.inputs = nn.Flatten()
        sizes = (input_size, *self._birth)
        draw = torch.Generator().manual_seed(self.seed)
        self.layers = nn.ModuleList(
            ExpandableLinear(m, n, scheme=self.scheme, generator=draw) for m, n in pairwise(sizes)
        )
        self.output = ExpandableLinear(sizes[-1], output_size, scheme="xavier", generator=draw)
        self.activations = nn.ModuleList(_made(activation) for _ in self._birth)
        self.dropouts = nn.ModuleList(nn.Dropout(dropout) for _ in self._birth if dropout)
        self.journal = Journal([EventEntry(START, detail=architecture(self))])

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps ``(N, *)`` to ``(N, output_size)``."""
        hidden = self.inputs(inputs)
        for place, (layer, activation) in enumerate(
            zip(self.layers, self.activations, strict=True)
        ):
            hidden = activation(layer(hidden))
            if self.dropout:
                hidden = self.dropouts[place](hidden)
        output: Tensor = self.output(hidden)
        return output

    @property
    def hidden(self) -> tuple[HiddenLayer, ...]:
        """The hidden layers, in the order in which they run."""
        stages = (
            (f"{name}.{place}", module)
            for place, pair in enumerate(zip(self.layers, self.activations, strict=True))
            for name, module in zip(("layers", "activations"), pair, strict=True)
        )
        return hidden_layers(iter([("inputs", self.inputs), *stages]))

    @property
    def deepens(self) -> bool:
        """Whether layers can be added: edits must know the activation by a name.

        They know ReLU, GELU, Tanh, SiLU, ELU, LeakyReLU, Sigmoid and Identity as torch makes them
        without arguments. An added layer is rebuilt from the journal, which holds names and
        numbers and no code, so that the activation behind it must be one that they know. Behind
        the layers of birth any module may stand; they widen.
        """
        return self._activation is not None

    def get_layer_sizes(self) -> list[int]:
        """The units of each hidden layer, in the order in which they run."""
        return [layer.size for layer in self.hidden]

    def get_num_parameters(self) -> int:
        """How many parameters are trained."""
        return network_stats(self)["total_parameters"]

    @property
    def example(self) -> Tensor:
        """Two samples of zeros, with which surgery traces the network."""
        weight = self.output.weight
        return torch.zeros(2, self.input_size, dtype=weight.dtype, device=weight.device)

    @property
    def recipe(self) -> dict[str, Any]:
        """What it was born from, as JSON can hold it."""
        return {
            "input_size": self.input_size,
            "output_size": self.output_size,
            "hidden_sizes": list(self._birth),
            "activation": repr(_made(self._make_activation)),
            "dropout": self.dropout,
            "task_type": self.task_type,
            "seed": self.seed,
        }

    def width_edit(self, layer_idx: int, num_neurons: int) -> Edit:
        """The edit that `expand_layer_width` carries out."""
        check_whole(1, num_neurons=num_neurons)
        return AddNeurons(self._layer(layer_idx).name, num_neurons)

    def depth_edit(self, position: int, num_neurons: int) -> Edit:
        """The edit that `expand_depth` carries out.

        Raises:
            ValueError: There is no such position, or no edit knows the network's activation.
        """
        check_whole(1, num_neurons=num_neurons)
        check_whole(None, position=position)
        layers = self.hidden
        if not 0 <= position <= len(layers):
            raise ValueError(f"position must be in 0 to {len(layers)}; got {position}.")
        if self._activation is None:
            raise ValueError(
                f"No edit knows a name for the activation {_made(self._make_activation)}, so that"
                " no layer can be added. Use one that `deepens` names, or widen layers."
            )
        return insertion(layers, position, num_neurons, self._activation)

    def prune_edit(self, layer_idx: int, neuron_indices: Sequence[int]) -> Edit:
        """The edit that `prune_neurons` carries out.

        Raises:
            IndexError: There is no such layer.
            ValueError: There is no such unit, or none would be left.
        """
        layer = self._layer(layer_idx)
        indices = sorted(set(neuron_indices))
        if not indices or not 0 <= indices[0] <= indices[-1] < layer.size:
            raise ValueError(
                f"neuron_indices must be in 0 to {layer.size - 1}, at least one;"
                f" got {list(neuron_indices)}."
            )
        if len(indices) == layer.size:
            raise ValueError(f"Layer {layer_idx} must keep a unit of its {layer.size}.")
        return RemoveNeurons(layer.name, tuple(indices))

    def proposal(self, edit: Edit, reason: str) -> Proposal:
        """An edit with the way in which this network's new units begin."""
        begins = not isinstance(edit, AddResidualBlock | RemoveNeurons)
        return Proposal(edit, reason, DrawnIncoming(self.scheme) if begins else None)

    def expand_layer_width(self, layer_idx: int, num_neurons: int) -> None:
        """Adds units to a hidden layer; the output stays.

        Args:
            layer_idx: Counted from 0, as in `get_layer_sizes`; negative from the end.
            num_neurons: How many.

        Raises:
            IndexError: There is no such layer.
            ValueError: ``num_neurons`` is below 1.
        """
        self._carry_out(self.width_edit(layer_idx, num_neurons))

    def expand_depth(self, position: int, num_neurons: int) -> None:
        """Adds a hidden layer; the output stays.

        At least as wide as the layer before it, the new layer begins as the identity. A narrower
        one, and one in front of all others, begins beside the signal, which goes around it. One
        that is put in front of another of the latter kind comes right behind that.

        Args:
            position: Its place among the hidden layers, from 0 to their number.
            num_neurons: Its units.

        Raises:
            ValueError: An argument is out of range, or the activation cannot be named (`deepens`).
        """
        self._carry_out(self.depth_edit(position, num_neurons))

    def prune_neurons(self, layer_idx: int, neuron_indices: Sequence[int]) -> None:
        """Removes units of a hidden layer; the output stays where nothing reads them.

        Raises:
            IndexError: There is no such layer.
            ValueError: A unit does not exist, none is named, or none would be left.
        """
        self._carry_out(self.prune_edit(layer_idx, neuron_indices))

    def save_checkpoint(
        self,
        path: str | Path,
        *,
        journal: Journal | None = None,
        optimizer: Optimizer | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes the network to one file, which holds no code.

        Args:
            path: The file.
            journal: The lineage, where another one than the network's own grew it: that of the
                context which an evolution system returned.
            optimizer: Its optimizer.
            history: Plain data, one mapping per epoch.
            metadata: Plain data.

        Raises:
            CheckpointError: The journal does not lead to this architecture, or the file cannot be
                written.
        """
        lineage = self.journal if journal is None else journal
        if final_widths(lineage) != widths(architecture(self)):
            raise CheckpointError(
                "The network was grown by edits that are not in the journal, so that nothing could"
                " lead back to its architecture. Give the journal of the context that an evolution"
                " system returned: save_checkpoint(path, journal=context.journal)."
            )
        save_checkpoint(
            path,
            self,
            optimizer=optimizer,
            journal=lineage,
            history=history,
            example=self.example,
            metadata={"recipe": self.recipe, **(metadata or {})},
        )

    def load_checkpoint(self, path: str | Path) -> Checkpoint:
        """Becomes the network of a checkpoint, whatever sizes this one has now.

        Its parameters are new objects: an optimizer must be made anew, as `DENTrainer` does.

        Args:
            path: The file.

        Returns:
            The checkpoint, whose ``model`` holds the same parameters as this network.

        Raises:
            CheckpointError: The file is missing, damaged, or holds another kind of network; this
                one is as it was.
        """
        recipe = (read_header(path).metadata or {}).get("recipe")
        if not isinstance(recipe, Mapping):
            raise CheckpointError(f"'{path}' holds no DynamicExpandableNetwork.")
        try:
            born = self._born_again(recipe).to(self.output.weight)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The network of '{path}' cannot be built: {error}") from error
        born.train(self.training)
        checkpoint = load_checkpoint(path, born, example=born.example)
        born.journal = checkpoint.journal
        self.__dict__.update(born.__dict__)
        return checkpoint

    def _born_again(self, recipe: Mapping[str, Any]) -> Self:
        """A network of another `recipe`, as it was born, with this one's kind of activation."""
        wanted, own = recipe["activation"], self.recipe["activation"]
        if wanted != own:
            raise ValueError(
                f"It has the activation {wanted}, this network {own}. Make it with that activation."
            )
        arguments = {key: value for key, value in recipe.items() if key != "activation"}
        return type(self)(**arguments, activation=self._make_activation)

    def _layer(self, layer_idx: int) -> HiddenLayer:
        check_whole(None, layer_idx=layer_idx)
        layers = self.hidden
        if not -len(layers) <= layer_idx < len(layers):
            raise IndexError(
                f"layer_idx must be below {len(layers)}, the number of hidden layers;"
                f" got {layer_idx}."
            )
        return layers[layer_idx]

    def _carry_out(self, edit: Edit) -> None:
        context = NetworkContext(
            self, (), journal=self.journal, example=self.example, seed=self.seed
        )
        carry_out(context, [self.proposal(edit, "asked for")], component=type(self).__name__)


def _made(activation: Callable[[], nn.Module]) -> nn.Module:
    instead = isinstance(activation, nn.Module) or not callable(activation)
    made = None if instead else activation()
    if not isinstance(made, nn.Module):
        raise TypeError(
            "activation must be a class or function that makes a module, such as nn.ReLU;"
            f" got {activation!r:.80}."
        )
    return made


def _check(
    input_size: int, output_size: int, hidden_sizes: Sequence[int], dropout: float, task: str
) -> None:
    check_whole(1, input_size=input_size, output_size=output_size)
    given: object = hidden_sizes
    if not isinstance(given, Collection):
        raise TypeError(f"hidden_sizes must be a list of whole numbers; got {hidden_sizes!r}.")
    if not len(hidden_sizes):
        raise ValueError("hidden_sizes must hold at least one layer; got none.")
    for size in hidden_sizes:
        check_whole(1, **{"each of hidden_sizes": size})
    check_number(dropout=dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1); got {dropout}.")
    if task not in get_args(TaskType):
        raise ValueError(f"task_type must be 'regression' or 'classification'; got {task!r}.")
    if task == "classification" and output_size < 2:
        raise ValueError(
            f"Classification needs a score for each class, so 2 outputs or more; got {output_size}."
        )
