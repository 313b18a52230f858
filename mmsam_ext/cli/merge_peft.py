"""Merge LoRA or DoRA into the weights of SAM, or take LoRA out of them again.

    python -m mmsam_ext merge-peft lora_vitb_industrial work_dirs/run/iter_30000.pth merged.pth
    python -m mmsam_ext merge-peft lora_vitb_industrial work_dirs/run/iter_30000.pth sam.pth --undo merged.pth

The output has Meta's key names, so ``segment_anything`` (``sam_model_registry['vit_b'](checkpoint=...)``) and any
config of this project load it. A self-draft decoder or a plugin is not part of SAM: --drop leaves it out, and
--ours keeps it. A file written with --ours is for the same config with every rule of `model.peft` set to None, and with
`model.trainable=()` if that names only PEFT layers. Auxiliary heads, which only training needs, are never written.

--ours also accepts a config without `model.peft`: PLM trained with PMM becomes one file with SAM and PLM, even if the
checkpoint has only the trained part.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.checkpoints.keys import rename_official_keys
from mmsam_ext.checkpoints.plain_sam import PEFT, plain_sam
from mmsam_ext.models.peft import merge_peft, unmerge_peft
from mmsam_ext.utils import check_output_file, replacing


def load(path: str) -> dict[str, Tensor]:
    """Return the state dict of a checkpoint file."""
    return CheckpointLoader.load_checkpoint(path, map_location='cpu')['state_dict']


def merge(model: nn.Module, adapted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Load `adapted` into a model with PEFT layers, merge these layers, and return the state dict.

    Raises:
        ValueError: `adapted` has no PEFT layers.
        TypeError: A layer does not support merging.
    """
    if not any(key.endswith(PEFT) for key in adapted):
        raise ValueError('it has no weights of PEFT layers; are they merged already?')
    model.load_state_dict(adapted)
    merge_peft(model)
    return dict(model.state_dict())


def undo(model: nn.Module, adapted: dict[str, Tensor], merged: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the PEFT layers of `adapted` out of the weights `merged`, and return the state dict of SAM as it was before.

    Raises:
        ValueError: `adapted` has no PEFT layers, or `merged` still has some.
        TypeError: A layer does not support unmerging.
    """
    if any(key.endswith(PEFT) for key in merged):
        raise ValueError('the file of --undo has weights of PEFT layers; expected a file in which they are merged')
    added = {key: value for key, value in adapted.items() if key.endswith(PEFT)}
    if not added:
        raise ValueError('it has no weights of PEFT layers; expected the checkpoint whose layers were merged')
    merged = dict(merged)
    rename_official_keys(merged)  # to the names of `added`
    model.load_state_dict({**merged, **added})
    unmerge_peft(model)
    return {key: value for key, value in model.state_dict().items() if not key.endswith(PEFT)}


def run(args: argparse.Namespace) -> dict[str, Tensor]:
    """Return the state dict to write.

    Raises:
        ValueError: As :func:`merge` and :func:`undo`, or parts that do not belong to SAM would be lost.
    """
    config = load_config(args.config)
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
            f'{", ".join(left_out)} does not belong to SAM and would be lost; pass --ours to keep it (for this '
            'project) or --drop to leave it out'
        )
    return plain


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='name or path of the config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint of a training run, whole or of the trained part')
    parser.add_argument('out', type=Path, help='the .pth file to write')
    parser.add_argument('--undo', metavar='MERGED', help='take LoRA out of this file, into which it was merged')
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        '--ours', action='store_true', help="keep what does not belong to SAM; writes this project's key names"
    )
    kind.add_argument('--drop', action='store_true', help='leave out what does not belong to SAM')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    try:
        inputs = [args.config, args.checkpoint, *([args.undo] if args.undo else [])]
        check_output_file(args.out, inputs, args.overwrite)
        state = run(args)
    except (InferenceError, OSError, RuntimeError) as error:
        sys.exit(f'merge-peft: error: {error}')
    except (KeyError, TypeError, ValueError) as error:
        sys.exit(f'merge-peft: error: {args.checkpoint}: {error}')
    with replacing(args.out, args.overwrite) as temporary:
        torch.save(dict(state), temporary)
    print(f'{args.out}: {len(state)} tensors, {args.out.stat().st_size / 2**20:.1f} MB')
