"""Write the SAM in a checkpoint of this project under Meta's key names, without optimizer state and added modules.

    python -m mmsam_ext export-plain-sam work_dirs/run/iter_600.pth sam.safetensors --half

``segment_anything`` loads a `.pth` file of ViT-B, -L or -H (``sam_model_registry['vit_b'](checkpoint=...)``), and so do
this project's configs. Keys that plain SAM does not have are left out and counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from mmsam_ext.checkpoints.plain_sam import plain_sam
from mmsam_ext.utils import check_output_file, replacing


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a checkpoint of this project')
    parser.add_argument('out', type=Path, help='the .pth or .safetensors file to write')
    parser.add_argument('--half', action='store_true', help='store fp16')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    if args.out.suffix not in ('.pth', '.safetensors'):
        parser.error(f'{args.out}: expected a .pth or .safetensors file')
    try:
        check_output_file(args.out, [args.checkpoint], args.overwrite)
        checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, map_location='cpu')
        plain, left_out = plain_sam(checkpoint['state_dict'])
    except (OSError, RuntimeError) as error:
        sys.exit(f'export-plain-sam: error: {error}')
    except ValueError as error:
        sys.exit(f'export-plain-sam: error: {args.checkpoint}: {error}')
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
