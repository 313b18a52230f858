"""Contenders in separate processes, run in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmsam_ext.cli.measuring import memory_mb, peak_memory_mb, timed

#: Command line, after Python, of a process that is one contender: the name of its benchmark and its arguments follow.
CONTENDER = [str(Path(__file__).resolve().parents[1] / 'benchmark.py'), '--contender']


@dataclass
class Outcome:
    """Measurements of a contender.

    Attributes:
        seconds: Wall-clock time of each round.
        cpu_seconds: CPU time of the process in each round; other programs on the machine disturb it less.
        peak_memory_mb: Peak memory of the process, see ``MEMORY_KIND``.
        output: What the work returned, on the CPU in fp32.
        extra_memory_mb: The peak less what the process held (PyTorch, inputs) before its work was done first.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    peak_memory_mb: float
    output: Tensor
    extra_memory_mb: float = 0.0


def serve(work: Callable[[], Tensor], device: torch.device, output: str) -> None:
    """Run the contender's side: warm up, save the output, time a round for each line of stdin, report peak memory."""
    before = memory_mb(device)
    torch.save(work().detach().float().cpu(), output)
    print(json.dumps(dict(ready=True)), flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        seconds = timed(work, device)
        print(json.dumps(dict(round=[seconds, time.process_time() - start])), flush=True)
    peak = peak_memory_mb(device)
    print(json.dumps(dict(memory_mb=[peak, peak - before])), flush=True)


class Contender:
    """A process that calls :func:`serve`.

    Args:
        name: Used in messages.
        command: Python's command line, as :data:`CONTENDER`; the path for its output is added as the last argument.
        folder: For its files.
        python: The Python that runs it; None for this one.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path, python: str | None = None) -> None:
        self.name = name
        self.output = folder / f'{name}.pt'
        self.errors = folder / f'{name}.log'
        with self.errors.open('w') as errors:
            self.process = subprocess.Popen(
                [python or sys.executable, *command, str(self.output)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def read(self, key: str) -> Any:
        """Wait for its next message.

        Returns:
            What it says under `key`.

        Raises:
            RuntimeError: it ended instead; with the end of its stderr.
        """
        for line in self.process.stdout:
            if line.startswith('{'):
                return json.loads(line)[key]
        raise RuntimeError(
            f'benchmark: {self.name} ended ({self.process.wait()}) before it said {key!r}:\n'
            f'{self.errors.read_text()[-3000:]}'
        )

    def round(self) -> tuple[float, float]:
        """Time one round; returns seconds and CPU seconds."""
        self.process.stdin.write('go\n')
        self.process.stdin.flush()
        return tuple(self.read('round'))

    def finish(self) -> tuple[float, float]:
        """End the process; returns its peak memory in MB, and how much of it the work added."""
        self.process.stdin.close()
        return tuple(self.read('memory_mb'))

    def stop(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def interleave(
    commands: Mapping[str, Sequence[str]],
    repeats: int,
    progress: Callable[[str], None],
    pythons: Mapping[str, str] | None = None,
) -> dict[str, Outcome]:
    """Run contenders in turn, A B A B ..., each in a separate process.

    Args:
        commands: Name -> command of each :class:`Contender`.
        repeats: Timed rounds of each, after an untimed one.
        progress: Gets a line after every round.
        pythons: Name -> the Python that runs a contender, where it is another than this one.

    Raises:
        RuntimeError: a contender failed.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        others = pythons or {}
        contenders = {
            name: Contender(name, command, Path(folder), others.get(name)) for name, command in commands.items()
        }
        for contender in contenders.values():
            stack.callback(contender.stop)
        for contender in contenders.values():
            contender.read('ready')
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for number in range(repeats):
            for name, contender in contenders.items():
                rounds[name].append(contender.round())
            times = ', '.join(f'{name} {values[-1][0]:.4g} s' for name, values in rounds.items())
            progress(f'round {number + 1} of {repeats}: {times}')
        outcomes = {}
        for name, contender in contenders.items():
            seconds, cpu_seconds = (list(values) for values in zip(*rounds[name], strict=True))
            peak, extra = contender.finish()
            output = torch.load(contender.output, weights_only=True)
            outcomes[name] = Outcome(seconds, cpu_seconds, peak, output, extra)
        return outcomes
