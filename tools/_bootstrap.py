"""What every script in tools/ starts with: it finds the package, and runs one of its commands.

A checkout works without ``pip install``, from any folder; worker processes find the package by the same path.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

TOOLS = Path(__file__).resolve().parent
if (TOOLS.parent / 'mmsam_ext').is_dir():  # not in an installed package, which is on the path already
    sys.path.insert(0, str(TOOLS.parent))


def run_command(name: str) -> NoReturn:
    """Run ``python -m mmsam_ext NAME`` with this process's arguments, and exit with its exit code."""
    try:
        from mmsam_ext.cli import run_command
    except ModuleNotFoundError as error:
        if (error.name or '').startswith('mmsam_ext'):
            raise  # a mistake in this package, not in the environment
        sys.exit(
            f'{type(error).__name__}: {error}\n'
            f'To see what is missing and how to install it, run: python {TOOLS / "check_env.py"}'
        )
    sys.exit(run_command(name, sys.argv[1:]))
