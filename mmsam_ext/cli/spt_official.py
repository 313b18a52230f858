"""Convert a checkpoint that SPT's authors published (spt_vit_b.pth, spt_vit_l.pth, spt_vit_h.pth) into one of ours.

    python -m mmsam_ext convert spt-official spt_vit_b.pth checkpoints/sam_vit_b_01ec64.pth spt_vit_b_ours.pth
    python -m mmsam_ext test spt_vitb_industrial spt_vit_b_ours.pth

SAM's own weights come from Meta's file. The authors' ``mask_decoder`` makes the draft and their ``draft_decoder`` the
refined mask; beta of the VRA-Adapter is ``lora_sim_scale``. Where alpha is above zero, their evaluation code divides
the relation by its column sums: for such a checkpoint, set `alpha` and ``renormalize='column'`` of the VRAAdapter.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

from mmsam_ext.checkpoints.spt_official import convert
from mmsam_ext.utils import check_output_file, replacing


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help="the authors' file")
    parser.add_argument('base', help="Meta's file of the SAM that it was trained from")
    parser.add_argument('out', type=Path, help='the .pth file to write')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    try:
        check_output_file(args.out, [args.checkpoint, args.base], args.overwrite)
        theirs, sam = (
            CheckpointLoader.load_checkpoint(name, map_location='cpu')['state_dict']
            for name in (args.checkpoint, args.base)
        )
        ours = convert(theirs, sam)
    except (OSError, RuntimeError) as error:
        sys.exit(f'spt-official: error: {error}')
    except (KeyError, ValueError) as error:
        sys.exit(f'spt-official: error: {args.checkpoint}: {error}')
    with replacing(args.out, args.overwrite) as temporary:
        torch.save(dict(state_dict=ours, meta={}), temporary)
    added = sum('lora_' in key or '.beta.' in key for key in ours)
    print(f'{args.out}: {len(ours)} tensors, {added} of them are not in plain SAM')
