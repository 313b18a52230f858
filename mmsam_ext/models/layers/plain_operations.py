"""Whether functions with their own backward pass must give way to plain operations."""

from __future__ import annotations

import torch


def needs_plain_operations() -> bool:
    """Return whether something reads or transforms the operations, and does not know functions that work in place.

    These are torch.compile (which fuses the operations anyway), torch.jit.trace (MMEngine's counters of operations and
    TensorBoard's graph use it) and torch.func.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return True
    return torch._C._are_functorch_transforms_active()  # noqa: SLF001 (there is no public name for it)
