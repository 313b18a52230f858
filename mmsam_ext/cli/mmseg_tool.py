"""Running MMSegmentation's own command line tools."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import mmseg


def run_mmseg_tool(name: str, arguments: Sequence[str]) -> None:
    """Run MMSeg's script `name` as the main program.

    Args:
        name: 'train.py' or 'test.py'.
        arguments: Its command line.

    Raises:
        SystemExit: the script is not installed, or it exits itself.
    """
    package = Path(mmseg.__file__).parent
    candidates = (package / '.mim' / 'tools' / name, package.parent / 'tools' / name)  # a wheel, a source checkout
    script = next((path for path in candidates if path.is_file()), None)
    if script is None:
        sys.exit(
            f"MMSegmentation's tools/{name} is not in {' or '.join(map(str, candidates))}; "
            'expected mmsegmentation==1.2.2 from PyPI or a source checkout of it'
        )
    sys.argv[1:] = arguments
    runpy.run_path(str(script), run_name='__main__')
