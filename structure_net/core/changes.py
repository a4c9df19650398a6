"""What an edit does to one tensor, as a value: its new data, and how old state follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class TensorChange:
    """New data for one parameter or buffer.

    Args:
        tensor: The tensor's dotted name, relative to the module that describes the change.
        data: The tensor after the edit: any shape, the old dtype and device.
        carry: Takes a tensor of the OLD shape that belongs to the parameter (a gradient, an
            optimizer's moment) to the new shape; new entries are zero, split entries share their
            origin's value.
    """

    tensor: str
    data: Tensor
    carry: Callable[[Tensor], Tensor]
