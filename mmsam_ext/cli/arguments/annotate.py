"""Label images in the browser by clicks, and train on the labels.

    python -m mmsam_ext annotate IMAGES --out DATASET

Open the address that is printed. Click on a defect (Shift-click: not this), or draw a box; C saves it. Every change is
saved at once, so the program may be stopped at any time and started again. "Train on these" starts `fit`; its weights
then propose what to label. DATASET can be given to `fit` and to `export --format coco`.

The page is served on this computer only (--host changes that, with the token as the only protection).
"""

from __future__ import annotations

import argparse

from mmsam_ext.apis.fitting.recipes import MODELS
from mmsam_ext.apis.options import DTYPES

from .infer import DETECTOR

LAST_PORT = 65535


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', metavar='IMAGES', help='folder of images')
    parser.add_argument('--out', required=True, metavar='DATASET', help='folder for the labels')
    parser.add_argument('--classes', nargs='+', default=['defect'], help='classes of a new DATASET; default: defect')
    parser.add_argument('--model', default='sam_tiny', help=f'one of {", ".join(MODELS)}; default: sam_tiny')
    parser.add_argument('--checkpoint', help="weights of the model; default: Meta's in checkpoints/")
    first = parser.add_mutually_exclusive_group()
    first.add_argument('--everything', action='store_true', help='propose all small objects before the first training')
    first.add_argument('--boxes', metavar='FILE', help='propose by the boxes in a file, as `infer --prompts` takes it')
    first.add_argument('--text', metavar='"A. B."', help='propose what these words find, each followed by a full stop')
    parser.add_argument('--detector', default=DETECTOR, help='of --text: a GroundingDINO by name or folder')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on; default: this computer only')
    parser.add_argument('--port', type=int, default=0, help=f'0 to {LAST_PORT}; default: any that is free')
    parser.add_argument('--device', help='cpu, cuda, ...; default: a GPU if there is one')
    parser.add_argument('--dtype', choices=DTYPES, help='format to compute in; auto: bf16 where that is fast')
    args = parser.parse_args(arguments)
    if not 0 <= args.port <= LAST_PORT:
        parser.error(f'--port {args.port}: expected 0 to {LAST_PORT}')
    return args
