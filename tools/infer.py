"""Segment an image, or a folder of images, by boxes and points.

Usage: python tools/infer.py IMAGE_OR_DIR [MODEL] --box X1 Y1 X2 Y2 [--box ...] --out DIR
       python tools/infer.py IMAGE_OR_DIR [MODEL] --point X Y [--label 1] [--point X Y --label 0 ...] --out DIR

Every --box is a prompt of its own. All --point together are one prompt, and refine the box where there is one.
Coordinates are pixels of the image, x to the right and y down. Prints a table; --out writes masks, overlays and
scores.csv.
Exit code: 0; 1 where some images of a folder could not be used (they are named, the others are done); 2 for an error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout works without `pip install`

from mmsam_ext.apis import InferenceError, PromptSegInferencer

DEFAULT_MODEL = 'sam_tiny_synthetic'


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', metavar='IMAGE_OR_DIR', help='image file, or folder of them')
    parser.add_argument('model', metavar='MODEL', nargs='?', default=DEFAULT_MODEL, help='config name or path')
    parser.add_argument('--box', nargs=4, type=float, action='append', metavar=('X1', 'Y1', 'X2', 'Y2'))
    parser.add_argument('--point', nargs=2, type=float, action='append', metavar=('X', 'Y'))
    parser.add_argument(
        '--label', type=int, action='append', choices=(0, 1),
        help='of each --point in order: 1 on the object (default of all), 0 off it',
    )  # fmt: skip
    parser.add_argument('--weights', help="checkpoint; default: the config's own")
    parser.add_argument('--out', metavar='DIR', help='where to write masks, overlays and scores.csv')
    parser.add_argument('--multimask', action='store_true', help='take the best of three masks')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--batch-size', type=int, default=1, help='images encoded together')
    return parser.parse_args(arguments)


def prompts(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Boxes and points as the inferencer takes them.

    Raises:
        InferenceError: labels that do not match the points, or points beside several boxes.
    """
    given: dict[str, np.ndarray] = {}
    if args.box:
        given['boxes'] = np.array(args.box)
    if args.label and len(args.label) != len(args.point or ()):
        raise InferenceError(
            f'{len(args.label)} --label for {len(args.point or ())} --point; expected one each, or none'
        )
    if args.point:
        if args.box and len(args.box) > 1:
            raise InferenceError(f'--point beside {len(args.box)} --box; points refine one box, expected one')
        given['points'] = np.array(args.point)[None]
        given['point_labels'] = np.array(args.label or [1] * len(args.point))[None]
    return given


def table(predictions: list[dict]) -> str:
    """A row for each prompt of each image."""
    rows = [('image', 'prompt', 'score', 'area')]
    for one in predictions:
        for prompt, score, mask in zip(one['prompts'], one['scores'], one['masks'], strict=True):
            rows.append((one['name'], prompt, f'{score:.3f}', f'{100 * mask.mean():.2f} %'))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return '\n'.join(
        '  '.join([*(text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)),
                   *(text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))])
        for row in rows
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    try:
        given = prompts(args)
        inferencer = PromptSegInferencer(args.model, args.weights, args.device)
        result = inferencer(
            args.inputs,
            **given,
            multimask=True if args.multimask else None,
            batch_size=args.batch_size,
            out_dir=args.out,
        )
    except InferenceError as error:
        print(f'infer.py: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    print(table(result['predictions']))
    if args.out is None:
        print('Nothing was written (no --out DIR).')
    else:
        print(f'Masks, overlays and scores.csv are in {args.out}')
    failed = result['failed']
    if failed:  # the reasons were logged; after a long table their names once more
        number = len(failed) + len(result['predictions'])
        print(f'{len(failed)} of {number} images could not be used: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
