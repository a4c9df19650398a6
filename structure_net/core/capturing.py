"""Whether operations become a program: of `torch.compile`, or of `torch.export`."""

from __future__ import annotations

import torch


def capturing() -> bool:
    """Whether what this thread computes becomes a program.

    `torch.compiler.is_compiling` says so to all threads while one of them exports; the modes that
    record operations are a thread's own.
    """
    return torch.compiler.is_compiling() and (
        torch.compiler.is_dynamo_compiling() or torch._C._len_torch_dispatch_stack() > 0
    )
