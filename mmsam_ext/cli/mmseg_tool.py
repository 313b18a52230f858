"""Running MMSegmentation's own command line tools."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import mmseg

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.model_loading import config_path, load_config


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
    sys.argv[1:] = with_config_path(arguments)
    runpy.run_path(str(script), run_name='__main__')


def with_config_path(arguments: Sequence[str]) -> list[str]:
    """Replace the name of one of our configs, as the first argument, by the path of its file.

    Raises:
        SystemExit: There is no such config (the message suggests the nearest names), or it cannot be read or has no
            model.

    Example:
        >>> with_config_path(['spt_tiny_mtd', '--resume'])
        ['.../configs/spt_tiny_mtd.py', '--resume']
    """
    if not arguments or arguments[0].startswith('-'):
        return list(arguments)
    try:
        path = config_path(arguments[0])
        load_config(path)
        return [str(path), *arguments[1:]]
    except InferenceError as error:
        sys.exit(f'error: {error}')
