"""A throw-away environment with Hugging Face's transformers and peft, on top of the one that runs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

#: What is compared with. These versions are installed for the comparison only, never into the running environment.
PACKAGES = ('transformers==5.24.0', 'peft>=0.18')


def make_environment(folder: Path, say: Callable[[str], None]) -> Path:
    """Make a virtual environment that sees the packages of the running one, and install the peers into it.

    Packages that the running environment has (PyTorch above all) are used as they are, so that both sides compute with
    the same libraries.

    Args:
        folder: Where to make it; the caller removes it.
        say: Gets a line of progress.

    Returns:
        The environment's Python.

    Raises:
        RuntimeError: The packages cannot be installed; with the end of pip's output.
    """
    say(f'installing {", ".join(PACKAGES)} into a throw-away environment ...')
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / ('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
    asked = subprocess.run(
        [python, '-c', "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # A path file makes both pip and Python see what is installed here.
    parents = {sysconfig.get_path(kind) for kind in ('purelib', 'platlib')}
    (Path(asked.stdout.strip()) / 'parent.pth').write_text('\n'.join(sorted(parents)) + '\n')
    command = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'peers: pip could not install {", ".join(PACKAGES)}:\n{done.stderr[-2000:]}')
    return python
