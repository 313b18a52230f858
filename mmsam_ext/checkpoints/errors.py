"""The error of checkpoint files that cannot be used."""

from __future__ import annotations

EXPECTED = 'expected a state dict or an mmengine checkpoint written by torch.save, or a .safetensors file'
#: Longest path that an error message shows.
SHOWN = 300


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used. The message names the file, what was found and what was expected."""


def shown(path: object) -> str:
    """Return a path as text for a message: control characters are escaped, and long paths are shortened.

    A path may come from a checkpoint of a stranger, where it could hold terminal escape codes.
    """
    text = str(path)
    text = text if len(text) <= SHOWN else f'{text[:SHOWN]}... ({len(text)} characters)'
    return text if text.isprintable() else repr(text)
