"""Decide for each image whether it has a defect, and list the defects.

    python -m mmsam_ext inspect IMAGES --weights best.pth --out DIR

`python -m mmsam_ext fit` trains a model for this and writes the weights, the config and the thresholds. For weights
that were trained otherwise, choose the thresholds on labelled images first: --calibrate DATASET --model CONFIG.

--out writes results.jsonl, images.csv, defects.csv, report.html and pictures. A run that was stopped goes on where it
was. One line per image goes to stdout, everything else to stderr.

Exit code: 0 no image has a defect, 3 some image has one, 1 some images could not be used (they are named), 2 an error,
or no image could be used.
"""

from __future__ import annotations

import argparse
import math

from mmsam_ext.apis.options import DTYPES


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', metavar='IMAGES', nargs='?', help='image file or folder of images')
    parser.add_argument('--weights', required=True, help='checkpoint of `fit`, or any with --calibrate')
    parser.add_argument('--model', metavar='CONFIG', help='name or path of the config; default: that of the weights')
    parser.add_argument('--out', metavar='DIR', help='where to write tables, pictures and the report')
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument('--f1', action='store_true', help='threshold of the best F1 on validation images (default)')
    choice.add_argument('--recall', type=float, help='find at least this share of the defective validation images')
    choice.add_argument('--false-alarm', type=float, help='report at most this share of those without a defect')
    parser.add_argument('--min-area', type=int, default=0, help='least pixels of a defect')
    parser.add_argument('--mm-per-pixel', type=float, help='adds areas and lengths in mm')
    parser.add_argument('--calibrate', metavar='DATASET', help='choose thresholds on this folder (images/, masks/)')
    parser.add_argument('--list', metavar='FILE', default='', help='of --calibrate: the samples to use, one a line')
    parser.add_argument('--overwrite', action='store_true', help='replace results of other settings in --out')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--dtype', choices=DTYPES, help='format to compute in; auto: bf16 where that is fast')
    args = parser.parse_args(arguments)
    if args.inputs is None and args.calibrate is None:
        parser.error('give IMAGES, or --calibrate DATASET')
    if args.mm_per_pixel is not None and not (math.isfinite(args.mm_per_pixel) and args.mm_per_pixel > 0):
        parser.error(f'--mm-per-pixel is {args.mm_per_pixel}, expected a number above 0')
    return args
