"""A throw-away environment with public implementations, on top of the environment that runs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

#: What is compared with. These versions are installed for the comparison only, never into the running environment.
PACKAGES = ('transformers==5.24.0', 'peft>=0.18')


@contextmanager
def environment(folder: str | None, packages: Sequence[str], say: Callable[[str], None]) -> Iterator[Path]:
    """Give the Python of an environment that has some packages, and remove the environment afterwards.

    Args:
        folder: Where it is kept for the next time; None for a temporary folder. An environment that is there is used
            as it is if it has the packages, and completed otherwise.
        packages: As :func:`make_environment`.
        say: Gets a line of progress.
    """
    if folder is not None:
        yield make_environment(Path(folder), say, packages)
        return
    with TemporaryDirectory() as temporary:
        yield make_environment(Path(temporary) / 'peers', say, packages)


def make_environment(folder: Path, say: Callable[[str], None], packages: Sequence[str] = ()) -> Path:
    """Make a virtual environment that sees the packages of the running one, and install the peers into it.

    Packages that the running environment has (PyTorch above all) are used as they are, so that both sides compute with
    the same libraries.

    Args:
        folder: Where to make it; the caller removes it. One that is there is completed where packages are missing.
        say: Gets a line of progress.
        packages: What to install, as pip takes it; :data:`PACKAGES` where empty.

    Returns:
        The environment's Python.

    Raises:
        RuntimeError: The packages cannot be installed; with the end of pip's output.
    """
    packages = packages or PACKAGES
    python = folder / ('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
    if not python.exists():
        venv.create(folder, with_pip=True, symlinks=True)
    say(f'installing {", ".join(packages)} into the environment {folder} ...')
    asked = subprocess.run(
        [python, '-c', "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # A path file makes both pip and Python see what is installed here.
    parents = {sysconfig.get_path(kind) for kind in ('purelib', 'platlib')}
    (Path(asked.stdout.strip()) / 'parent.pth').write_text('\n'.join(sorted(parents)) + '\n')
    command = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'peers: pip could not install {", ".join(packages)}:\n{done.stderr[-2000:]}')
    return python
