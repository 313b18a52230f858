"""Turn labels of another tool into a folder that `fit` trains on.

    python -m mmsam_ext import-labels annotations.json --images IMAGES --out DATASET

LABELS is a COCO file, a folder of labelme files, or a folder of YOLO labels (with data.yaml or classes.txt). The folder
gets images/ (copies), masks/ and, for several classes, classes.json.
"""

from __future__ import annotations

import argparse


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('labels', metavar='LABELS', help='COCO file, or folder of labelme or YOLO files')
    parser.add_argument('--images', required=True, metavar='DIR', help='folder of the images')
    parser.add_argument('--out', required=True, metavar='DATASET', help='folder to write to')
    parser.add_argument('--overwrite', action='store_true', help='replace files that no earlier run wrote')
    return parser.parse_args(arguments)
