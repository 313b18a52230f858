"""Runs one of MMSegmentation's own command line tools, from any folder, whether or not this package is installed."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def run_mmseg_tool(name: str, edit: Callable[[list[str]], list[str]] | None = None) -> None:
    """Import mmsam_ext, then run MMSeg's script `name` with this process's arguments, after `edit` where given.

    Raises:
        SystemExit: something is not installed (the message says what mends it), or the script itself exits.
    """
    # A checkout works without `pip install`; worker processes find the package by the same path.
    sys.path.insert(0, str(REPO))
    try:
        import mmseg

        import mmsam_ext  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or '').startswith('mmsam_ext'):
            raise  # a mistake in this package, not in the environment
        sys.exit(
            f'{type(error).__name__}: {error}\nWhat is missing, and the command that mends it: '
            f'python {REPO / "tools" / "check_env.py"}'
        )
    package = Path(mmseg.__file__).parent
    candidates = (package / '.mim' / 'tools' / name, package.parent / 'tools' / name)  # a wheel, a source checkout
    script = next((path for path in candidates if path.is_file()), None)
    if script is None:
        sys.exit(
            f"MMSegmentation's tools/{name} is not in {' or '.join(map(str, candidates))}; "
            'expected mmsegmentation==1.2.2 from PyPI or a source checkout of it'
        )
    if edit is not None:
        sys.argv[1:] = edit(sys.argv[1:])
    runpy.run_path(str(script), run_name='__main__')
