"""Write the SAM in a checkpoint of this project under Meta's key names, without optimizer state and added modules.

    python -m mmsam_ext export-plain-sam work_dirs/run/iter_600.pth sam.safetensors --half

``segment_anything`` loads a `.pth` file of ViT-B, -L or -H (``sam_model_registry['vit_b'](checkpoint=...)``), and so do
this project's configs. Keys that plain SAM does not have are left out and counted.

With ``--average OTHER SHARE`` the weights are (1 - SHARE) times those of the checkpoint and SHARE times those of OTHER.
With the weights that a training started from, much of what it lost comes back (Wortsman et al., Robust fine-tuning of
zero-shot models, CVPR 2022).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from mmsam_ext.checkpoints.plain_sam import plain_sam
from mmsam_ext.utils import check_output_file, replacing


def _load(path: str) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    """Return the plain SAM in a file, and what it leaves out."""
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    try:
        return plain_sam(checkpoint.get('state_dict', checkpoint))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def averaged(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Return (1 - share) times `state` and share times `other`, in fp32; integers are those of `state`.

    Raises:
        ValueError: The two have not the same keys and shapes; names the first that differs.
    """
    for key in [*state, *other]:
        one, two = (tuple(tensors[key].shape) if key in tensors else None for tensors in (state, other))
        if one != two:
            raise ValueError(
                f'--average: {key} has the shapes {one} and {two} (None: missing), expected the same model'
            )
    return {
        key: (1 - share) * value.float() + share * other[key].float() if value.is_floating_point() else value
        for key, value in state.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a checkpoint of this project')
    parser.add_argument('out', type=Path, help='the .pth or .safetensors file to write')
    parser.add_argument('--average', nargs=2, metavar=('OTHER', 'SHARE'), help='average with another checkpoint')
    parser.add_argument('--half', action='store_true', help='store fp16')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    if args.out.suffix not in ('.pth', '.safetensors'):
        parser.error(f'{args.out}: expected a .pth or .safetensors file')
    share = 0.0
    if args.average:
        try:
            share = float(args.average[1])
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            parser.error(f'--average {" ".join(args.average)}: expected a file and a share from 0 to 1')
    sources = [args.checkpoint, *([args.average[0]] if args.average else [])]
    try:
        check_output_file(args.out, sources, args.overwrite)
        plain, left_out = _load(args.checkpoint)
        if args.average:
            plain = averaged(plain, _load(args.average[0])[0], share)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'export-plain-sam: error: {error}')
    if args.half:
        plain = {key: value.half() if value.is_floating_point() else value for key, value in plain.items()}
    with replacing(args.out, args.overwrite) as temporary:
        if args.out.suffix == '.pth':
            torch.save(plain, temporary)
        else:
            save_file(plain, temporary)
    print(f'{args.out}: {len(plain)} tensors, {args.out.stat().st_size / 2**20:.1f} MB')
    for name, number in left_out.items():
        print(f'  left out: {number} of {name}')
