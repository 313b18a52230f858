"""Train a model with MMSegmentation's own ``tools/train.py``, after importing this package."""

from __future__ import annotations

from collections.abc import Sequence

from .mmseg_tool import run_mmseg_tool


def main(arguments: Sequence[str]) -> None:
    """Run MMSeg's train.py; ``--help`` lists its arguments."""
    run_mmseg_tool('train.py', arguments)
