"""The configs that come with this project, found by name in an installed package and in a checkout alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .nearest import did_you_mean

PACKAGE = Path(__file__).resolve().parent
#: Where configs are: in an installed package (OpenMMLab's place for them), or in a checkout.
CONFIG_FOLDERS = (PACKAGE / '.mim' / 'configs', PACKAGE.parent / 'configs')
#: How a config outside of this project names one of ours: ``_base_ = 'mmsam_ext::spt_tiny_synthetic.py'``.
PREFIX = 'mmsam_ext::'


def known_configs() -> dict[str, Path]:
    """Return name -> file of every config that can be run, without those in ``_base_``."""
    return {path.stem: path for folder in CONFIG_FOLDERS for path in sorted(folder.glob('*.py'))}


def packaged_config(name: str) -> Path:
    """Return the file of a config that comes with this project.

    Args:
        name: Path of the config below ``configs/``, with or without '.py' and a leading '/', and with or without the
            prefix 'mmsam_ext::'.

    Raises:
        FileNotFoundError: there is no such config; the message suggests the nearest names.

    Example:
        >>> packaged_config('spt_tiny_synthetic').name
        'spt_tiny_synthetic.py'
        >>> packaged_config('mmsam_ext::_base_/peft/lora.py').name
        'lora.py'
    """
    wanted = name.removeprefix(PREFIX).lstrip('/').removesuffix('.py')
    for folder in CONFIG_FOLDERS:
        path = folder / f'{wanted}.py'
        if os.path.isfile(path):  # of a name that is too long, too
            return path
    raise FileNotFoundError(f'there is no config {name!r} in mmsam_ext; {suggestion(wanted)}')


def suggestion(name: str, others: Sequence[str] = ()) -> str:
    """Return the end of an error message about an unknown config: the nearest names, and where all of them are.

    Args:
        name: The unknown name.
        others: Names that could be meant as well, beside those of configs.
    """
    folders = [folder for folder in CONFIG_FOLDERS if folder.is_dir()]
    names = [
        str(path.relative_to(folder).with_suffix('')) for folder in folders for path in sorted(folder.rglob('*.py'))
    ]
    if not names:
        return f'this installation has no configs of its own: there are none in {" or ".join(map(str, CONFIG_FOLDERS))}'
    return f'{did_you_mean(name, [*others, *names])} All configs are in {folders[0]}'
