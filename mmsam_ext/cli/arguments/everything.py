"""Segment everything in an image, or in each image of a folder, without a prompt.

    python -m mmsam_ext everything IMAGE_OR_DIR [MODEL] --out DIR [--points-per-side 32] [--pred-iou 0.88]
        [--stability 0.95] [--crop-layers 0] [--min-area 0]

Writes DIR/NAME_everything.png, the image with every mask in a colour of its own, and DIR/NAME_everything.json, the
records of its masks: bbox (x, y, width, height), area, predicted_iou, stability_score, point_coords, crop_box, and
segmentation as an uncompressed run-length encoding (COCO's). Exit code: 0; 1 if some images could not be used; 2 for an
error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmsam_ext.apis.options import DTYPES

from .infer import DEFAULT_MODEL


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', metavar='IMAGE_OR_DIR', help='image file, or folder of them')
    parser.add_argument('model', metavar='MODEL', nargs='?', default=DEFAULT_MODEL, help='config name or path')
    parser.add_argument('--out', metavar='DIR', required=True, help='where to write pictures and records')
    parser.add_argument('--weights', help="checkpoint; default: the config's own")
    parser.add_argument(
        '--untrained', action='store_true', help='go on if the weights lack parts that this config trains'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--dtype', choices=DTYPES, help='format to compute in; auto: bf16 where that is fast')
    parser.add_argument('--points-per-side', type=int, default=32, help='points along each side of the grid')
    parser.add_argument('--pred-iou', type=float, default=0.88, help='least predicted IoU of a mask')
    parser.add_argument('--stability', type=float, default=0.95, help='least stability score of a mask')
    parser.add_argument('--crop-layers', type=int, default=0, help='layers of tiles that are segmented, too')
    parser.add_argument('--min-area', type=int, default=0, help='regions and holes of fewer pixels are removed')
    parser.add_argument('--overwrite', action='store_true', help='replace files that no earlier run wrote, too')
    return parser.parse_args(arguments)
