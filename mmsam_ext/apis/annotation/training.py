"""Training from the page: `fit` as a process of its own, whose progress the page shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmsam_ext.engine.hooks.progress_file_hook import PROGRESS

from ..errors import InferenceError
from ..fitting import METHODS, MODELS
from .store import STATE

LOG = 'fit.log'


class Training:
    """At most one training at a time on a labelled folder.

    Args:
        dataset: The folder.
        options: Further arguments of `fit`, such as ['--size', '256'].
    """

    def __init__(self, dataset: str | Path, options: tuple[str, ...] = ()) -> None:
        self.dataset, self.options = Path(dataset), tuple(options)
        self.runs = self.dataset / STATE / 'runs'
        self._process: subprocess.Popen | None = None
        found = sorted((int(path.name), path) for path in self.runs.glob('*') if path.name.isdigit())
        self.folder: Path | None = found[-1][1] if found else None

    @property
    def running(self) -> bool:
        """Whether a training runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, minutes: float, method: str | None, model: str, go_on: bool = True) -> None:
        """Start `fit`.

        Args:
            minutes: Time for it.
            method: See `fit`; None for the model's default.
            model: See `fit`.
            go_on: Start from the weights of the last training of the same method and model, if there are some.

        Raises:
            InferenceError: A training runs already, or an argument is wrong.
        """
        if self.running:
            raise InferenceError('a training runs already; wait for it, or stop it')
        method = MODELS[model].method if method is None and model in MODELS else method
        if method not in METHODS or model not in MODELS or not 0 < minutes <= 7 * 24 * 60:
            raise InferenceError(
                f'training of {minutes} minutes, method {method!r}, model {model!r}; expected above 0 minutes, one of '
                f'{", ".join(METHODS)}, and one of {", ".join(MODELS)}'
            )
        last = self.best
        number = 1 + int(self.folder.name) if self.folder is not None else 1
        folder = self.runs / str(number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        words = ['--minutes', f'{minutes:g}', '--method', method, '--model', model, '--out', str(folder)]
        if go_on and last is not None and f'method {method}, model {model}.' in (last.parent / 'config.py').read_text():
            words += ['--from', str(last)]
        command = [sys.executable, '-m', 'mmsam_ext', 'fit', str(self.dataset), *words, *self.options]
        paths = os.pathsep.join(path for path in sys.path if path)
        with (self.runs / f'{number}.{LOG}').open('wb') as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, 'PYTHONPATH': paths}
            )
        self.folder = folder

    def stop(self) -> None:
        """End the training that runs; the process gets a moment to go."""
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()

    @property
    def best(self) -> Path | None:
        """The weights of the last training that came to its end, or None."""
        found = sorted((int(path.parent.name), path) for path in self.runs.glob('*/best.pth'))
        done = [path for _, path in found if path.with_suffix('.decision.json').is_file()]
        return done[-1] if done else None

    def state(self) -> dict[str, Any]:
        """Return the progress of the last training, as ``progress.json`` has it.

        `state` is 'none', 'starting', 'measuring', 'training', 'trained', 'calibrating', 'done', 'failed' or 'stopped';
        `error` is the reason of a failure.
        """
        if self.folder is None:
            return dict(state='none')
        path = self.folder / PROGRESS
        content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else dict(state='starting')
        if content['state'] not in ('done', 'failed') and not self.running:
            code = None if self._process is None else self._process.returncode
            ended = 'stopped' if code is not None and code < 0 else 'failed'
            content.update(
                state=ended, error=self._last_lines(self.folder.name) or f'the training ended with code {code}'
            )
        return content

    def _last_lines(self, name: str) -> str:
        path = self.runs / f'{name}.{LOG}'
        lines = path.read_text(errors='replace').strip().splitlines() if path.is_file() else []
        return '\n'.join(lines[-3:])[-1000:]
