"""Folds LoRA or DoRA into the weights of SAM, and LoRA out of them again.

    python tools/merge_peft.py configs/lora_vitb_industrial.py work_dirs/run/iter_30000.pth merged.pth
    python tools/merge_peft.py configs/lora_vitb_industrial.py work_dirs/run/iter_30000.pth sam.pth --undo merged.pth

The file written has Meta's key names: ``segment_anything`` loads it (``sam_model_registry['vit_b'](checkpoint=...)``),
and so does any config of this project. A self-draft decoder or a plugin is no part of SAM: with --ours they are kept,
and the file is for the same config with every rule of `model.peft` set to None, and `model.trainable=()` where that
names PEFT layers alone; with --drop they are left out. Auxiliary heads, which only training needs, are never written.
With --ours a config without `model.peft` will do: PLM trained with PMM becomes one file of SAM and PLM, also where the
checkpoint holds the trained part alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.checkpoints.plain_sam import PEFT, plain_sam
from mmsam_ext.models.peft import merge_peft, unmerge_peft
from mmsam_ext.utils import check_output_file, replacing


def load(path: str) -> dict[str, Tensor]:
    """The state dict in a file."""
    return CheckpointLoader.load_checkpoint(path, map_location='cpu')['state_dict']


def merge(model: nn.Module, adapted: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `model`, with PEFT layers, after `adapted` is loaded and they are folded into plain weights.

    Raises:
        ValueError: nothing to merge in it.
        TypeError: a kind of layer that cannot be merged.
    """
    if not any(key.endswith(PEFT) for key in adapted):
        raise ValueError('no weights of PEFT layers in it; was it merged already?')
    model.load_state_dict(adapted)
    merge_peft(model)
    return dict(model.state_dict())


def undo(model: nn.Module, adapted: dict[str, Tensor], merged: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of SAM as it was before `adapted` was merged, from the `merged` weights.

    Raises:
        ValueError: nothing to take out, or `merged` was not merged.
        TypeError: a kind of layer that cannot be taken out.
    """
    if any(key.endswith(PEFT) for key in merged):
        raise ValueError('the file of --undo has weights of PEFT layers; expected one with them merged')
    added = {key: value for key, value in adapted.items() if key.endswith(PEFT)}
    if not added:
        raise ValueError('no weights of PEFT layers in it; expected those that were merged')
    model.load_state_dict({**merged, **added})
    unmerge_peft(model)
    return {key: value for key, value in model.state_dict().items() if not key.endswith(PEFT)}


def run(args: argparse.Namespace) -> dict[str, Tensor]:
    """What to write.

    Raises:
        ValueError: as :func:`merge` and :func:`undo`; or parts that are not SAM would be lost.
    """
    config = Config.fromfile(args.config)
    init_default_scope(config.get('default_scope', 'mmseg'))
    model = MODELS.build(config.model).eval()
    adapted = load(args.checkpoint)
    if args.undo:
        state = undo(model, adapted, load(args.undo))
    elif args.ours and not config.model.get('peft'):
        model.load_state_dict(adapted)  # with its base
        state = dict(model.state_dict())
    else:
        state = merge(model, adapted)
    state = {key: value for key, value in state.items() if not key.startswith('auxiliary_heads.')}
    if args.ours:
        return state
    plain, left_out = plain_sam(state)
    if left_out and not args.drop:
        raise ValueError(
            f'{", ".join(left_out)} is no part of SAM and would be lost; expected --ours (keep it, for this project) '
            'or --drop'
        )
    return plain


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='of a training run, whole or of the trained part alone')
    parser.add_argument('out', type=Path, help='the file to write, .pth')
    parser.add_argument('--undo', metavar='MERGED', help='take LoRA out of this file, which it was merged into')
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument('--ours', action='store_true', help="write this project's names, with all that is not SAM")
    kind.add_argument('--drop', action='store_true', help='leave out what is not SAM')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    try:
        inputs = [args.config, args.checkpoint, *([args.undo] if args.undo else [])]
        check_output_file(args.out, inputs, args.overwrite)
        state = run(args)
    except (OSError, RuntimeError) as error:
        sys.exit(f'merge_peft.py: {error}')
    except (KeyError, TypeError, ValueError) as error:
        sys.exit(f'merge_peft.py: {args.checkpoint}: {error}')
    with replacing(args.out, args.overwrite) as temporary:
        torch.save(dict(state), temporary)
    print(f'{args.out}: {len(state)} tensors, {args.out.stat().st_size / 2**20:.1f} MB')
