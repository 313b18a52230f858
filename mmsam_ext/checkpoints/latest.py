"""Find the checkpoint that a training in a work folder goes on from."""

from __future__ import annotations

import logging
import os
import os.path as osp
import re
import zipfile
from collections.abc import Mapping

import torch
from mmengine.logging import print_log

from .contents import file_kind
from .errors import CheckpointError, shown
from .loaders import load_file

#: mmengine writes the path of the newest checkpoint into this file.
POINTER = 'last_checkpoint'
#: Names of training checkpoints, as mmengine writes them.
NUMBERED = re.compile(r'(?P<stem>iter_|epoch_)(?P<number>\d+)\.pth')
LONGEST_POINTER = 4096


def newest_checkpoint(work_dir: str) -> str | None:
    """Find the newest checkpoint of a work folder that loads and from which a training can be resumed.

    First comes the one that ``last_checkpoint`` names, at its place or, after the folder was moved, beside that file;
    then the older ones of the folder, from new to old. Without ``last_checkpoint`` the one of the highest number is the
    newest. Newer files than ``last_checkpoint`` says are of another training, and are not taken.

    Args:
        work_dir: Folder with `iter_<N>.pth` or `epoch_<N>.pth`.

    Returns:
        The path, None where the folder has no checkpoint at all.

    Raises:
        CheckpointError: there are checkpoints, but none that a training can be resumed from; the message says why of
            each. Starting over would overwrite them.
    """
    named = _named(work_dir)
    reasons: list[str] = []
    candidates = _candidates(work_dir, named, reasons)
    for path in candidates:
        problem = folder_problem(path) if osp.isdir(path) else resume_problem(path)
        if problem is None:
            if reasons:
                print_log(f'Resumes from {shown(path)}, because: {"; ".join(reasons)}', 'current', logging.WARNING)
            return path
        reasons.append(problem)
    others = sorted(name for name in _listed(work_dir) if name.endswith('.pth'))
    if not (reasons or others):
        return None
    raise CheckpointError(
        f'--resume: no checkpoint in {shown(work_dir)} can be resumed from ({"; ".join(reasons) or "no iter_*.pth"}). '
        f'The folder holds {", ".join(map(shown, others[:5])) or "no other one"}. A new training would overwrite its '
        'files: give one of them by `load_from=...` beside `resume=True`, or take another work_dir'
    )


def resume_problem(path: str) -> str | None:
    """Return why a training cannot be resumed from a file; None if it can."""
    try:
        checkpoint = load_file(path, 'cpu')
    except (CheckpointError, FileNotFoundError) as error:
        return str(error)
    if file_kind(path) == 'zip' and torch.serialization.get_crc32_options():
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load itself does not look at the checksums of tensors
        if damaged is not None:
            return f'{shown(path)}: record {damaged!r} is damaged (its checksum differs)'
    meta = checkpoint.get('meta')
    for name in ('epoch', 'iter'):
        if not isinstance(meta, Mapping) or not isinstance(meta.get(name), int):
            return f'{shown(path)}: no meta.{name} in it, so it is not the checkpoint of a training'
    return None if 'message_hub' in checkpoint else f'{shown(path)}: no message_hub in it, so it holds weights alone'


def folder_problem(path: str) -> str | None:
    """Return why a folder cannot be a checkpoint; None if it may be one of DeepSpeed."""
    return None if os.listdir(path) else f'{shown(path)}: is an empty folder'


def _named(work_dir: str) -> str | None:
    """Return what ``last_checkpoint`` says, None where it does not exist."""
    path = osp.join(work_dir, POINTER)
    if osp.exists(path) and not osp.isfile(path):
        return ''  # a named pipe would never end
    try:
        with open(path, 'rb') as file:
            return file.read(LONGEST_POINTER).decode('utf-8', 'replace').strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _candidates(work_dir: str, named: str | None, reasons: list[str]) -> list[str]:
    """Return the paths to try, from new to old; `reasons` gets what is wrong with ``last_checkpoint``."""
    pointer = osp.join(work_dir, POINTER)
    numbered = numbered_checkpoints(work_dir)
    if named is None:
        if numbered:
            reasons.append(f'{shown(pointer)} is missing')
        return [path for _, path in numbered]
    if '://' in named:
        reasons.append(f'{shown(pointer)} holds the URL {shown(named)}, which is not followed')
        return [path for _, path in numbered]
    first = [path for path in (named, osp.join(work_dir, osp.basename(named))) if osp.exists(path) and named][:1]
    if not first:
        reasons.append(f'{shown(pointer)} names {shown(named) or "nothing"}, which does not exist')
    elif first[0] != named:
        reasons.append(f'{shown(named)}, which {shown(pointer)} names, does not exist, and this file beside it does')
    found = NUMBERED.fullmatch(osp.basename(named))
    if found is None:
        return first + [path for _, path in numbered if not first or osp.realpath(path) != osp.realpath(first[0])]
    newest = int(found['number'])
    older = [path for number, path in numbered_checkpoints(work_dir, found['stem']) if number < newest]
    newer = [path for number, path in numbered_checkpoints(work_dir, found['stem']) if number > newest]
    if newer and not first and not older:
        reasons.append(f'{", ".join(map(shown, newer))} would be newer than it, so of another training')
    return first + older


def numbered_checkpoints(work_dir: str, stem: str | None = None) -> list[tuple[int, str]]:
    """Return number and path of training checkpoints, from the highest number; iterations before epochs."""
    found = [NUMBERED.fullmatch(name) for name in _listed(work_dir)]
    kept = [one for one in found if one is not None and stem in (None, one['stem'])]
    kept.sort(key=lambda one: (one['stem'] == 'iter_', int(one['number'])), reverse=True)
    return [(int(one['number']), osp.join(work_dir, one[0])) for one in kept]


def _listed(work_dir: str) -> list[str]:
    return os.listdir(work_dir) if osp.isdir(work_dir) else []
