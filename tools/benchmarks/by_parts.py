"""Timing of the parts of a model, in turn in one process: finer than the noise between whole runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from mmsam_ext.cli.measuring import timed

Rounds = dict[str, list[float]]


def time_parts(
    works: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, say: Callable[[str], None]
) -> tuple[Rounds, Rounds]:
    """Run all works in turn, `repeats` times after a warm-up round.

    Returns:
        Name -> seconds of each round, and name -> CPU seconds of the process's threads, which other programs on the
        machine disturb less.
    """
    seconds: Rounds = {name: [] for name in works}
    cpu: Rounds = {name: [] for name in works}
    for number in range(repeats + 1):
        for name, work in works.items():
            start = time.process_time()
            elapsed = timed(work, device)
            if number:
                seconds[name].append(elapsed)
                cpu[name].append(time.process_time() - start)
        say(f'round {number} of {repeats}')
    return seconds, cpu


def medians(rounds: Rounds) -> dict[str, float]:
    """Return name -> median."""
    return {name: statistics.median(values) for name, values in rounds.items()}
