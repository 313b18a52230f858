"""Running MMSegmentation's own command line tools."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import mmseg
from mmengine.config import Config

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.model_loading import config_path, load_config
from mmsam_ext.nearest import did_you_mean

#: Tools that cannot work on any model, and why.
BROKEN = {
    'get_flops.py': 'it asks for model.decode_head, which a promptable segmentor does not have, and passes both '
    '`input_shape` and `inputs`, which mmengine 0.10 rejects. Run `python -m mmsam_ext model-cost CONFIG`'
}
#: Tools that cannot work on a promptable segmentor, and why.
UNSUITABLE = {
    'visualization_cam.py': 'it draws the gradients of class scores, which a promptable segmentor does not have',
    'pytorch2torchscript.py': 'it traces a model without prompts',
}


def main(arguments: Sequence[str]) -> None:
    """Run MMSeg's tool that the first argument names, by its path in MMSeg's ``tools``.

    Raises:
        SystemExit: no tool is named, or it cannot work on this model; the message says why.
    """
    if not arguments or arguments[0] in ('-h', '--help'):
        sys.exit('usage: mmseg TOOL ARGUMENTS, where TOOL is a path such as analysis_tools/benchmark.py')
    name, *rest = arguments
    reason = BROKEN.get(Path(name).name)
    if reason is None and Path(name).name in UNSUITABLE and _is_promptable(rest):
        reason = UNSUITABLE[Path(name).name]
    if reason is not None:
        sys.exit(f'{name}: {reason}')
    run_mmseg_tool(name, rest)


def _is_promptable(arguments: Sequence[str]) -> bool:
    """Whether the config among the arguments is not of an EncoderDecoder of MMSeg."""
    path = next((argument for argument in arguments if argument.endswith('.py')), None)
    return path is None or 'EncoderDecoder' not in Config.fromfile(path).model.type


def run_mmseg_tool(name: str, arguments: Sequence[str]) -> None:
    """Run MMSeg's script `name` as the main program.

    Args:
        name: 'train.py', 'test.py', or one in a folder, such as 'analysis_tools/benchmark.py'.
        arguments: Its command line.

    Raises:
        SystemExit: the script is not installed, or it exits itself.
    """
    package = Path(mmseg.__file__).parent
    folders = (package / '.mim' / 'tools', package.parent / 'tools')  # a wheel, a source checkout
    script = next((path for folder in folders if (path := folder / name).is_file()), None)
    if script is None:
        known = [path.relative_to(folder).as_posix() for folder in folders for path in folder.rglob('*.py')]
        sys.exit(
            f"MMSegmentation's tool {name!r} does not exist; {did_you_mean(name, known)}"
            if known
            else f"MMSegmentation's tools are in neither {' nor '.join(map(str, folders))}; expected "
            'mmsegmentation==1.2.2 from PyPI or a source checkout of it'
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
