"""Train on a folder of labelled images, without a config file, in a given time.

    python -m mmsam_ext fit DATASET --minutes 20

DATASET has images/ and masks/, paired by name (a mask without foreground is an image without a defect), as
`python -m mmsam_ext annotate` writes them. The input size or tiles, the batch, the schedule, the split and the
thresholds are chosen and printed. The results are best.pth, config.py (an ordinary config to go on with),
best.decision.json (thresholds for `inspect`) and report.html.
"""

from __future__ import annotations

import argparse

from mmsam_ext.apis.fitting.recipes import METHODS, MODELS


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', metavar='DATASET', help='folder with images/ and masks/')
    defaults = ', '.join(f'{one.method} for {name}' for name, one in MODELS.items())
    parser.add_argument('--method', help=f'one of {", ".join(METHODS)}; default: {defaults}')
    parser.add_argument('--model', default='sam_tiny', help=f'one of {", ".join(MODELS)}; default: sam_tiny')
    parser.add_argument('--minutes', type=float, default=20.0, help='time for all of it; default: 20')
    parser.add_argument('--out', metavar='DIR', help='folder of the results; default: work_dirs/fit_NAME_NUMBER')
    parser.add_argument('--size', type=int, help='side of the network input in pixels; default: chosen by the defects')
    parser.add_argument('--checkpoint', help="weights of the model; default: Meta's in checkpoints/")
    parser.add_argument('--from', dest='load_from', metavar='WEIGHTS', help='go on from the best.pth of an earlier fit')
    parser.add_argument('--iterations', type=int, help='number of steps; default: what fits into --minutes')
    parser.add_argument('--device', help='for the scores after the training; default: a GPU if there is one')
    return parser.parse_args(arguments)
