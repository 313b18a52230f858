"""Segment an image, or a folder of images, by boxes and points.

    python -m mmsam_ext infer IMAGE_OR_DIR [MODEL] --box X1 Y1 X2 Y2 [--box ...] --out DIR
    python -m mmsam_ext infer IMAGE_OR_DIR --model sam2.1_hiera_s --weights sam2.1_hiera_small.pt --box X1 Y1 X2 Y2
    python -m mmsam_ext infer IMAGE_OR_DIR [MODEL] --point X Y [--label 1] [--point X Y --label 0 ...] --out DIR
    python -m mmsam_ext infer IMAGE_OR_DIR [MODEL] --prompts FILE [--min-score S] --out DIR
    python -m mmsam_ext infer IMAGE_OR_DIR [MODEL] --text "scratch. dent." [--detector NAME_OR_DIR] --out DIR

Every --box is a separate prompt. All --point together are one prompt; with one --box, they refine it. Coordinates are
pixels of the image, x to the right and y down. --prompts gives each image its own prompts by file name: a JSON list as
in COCO's result format with `file_name`, the same as CSV, or COCO annotations. --text finds boxes by words with
GroundingDINO (pip install "mmsam_ext[text]"). The table goes to stdout, row by row, and everything else to stderr.
--out writes masks, overlays and scores.csv.

Exit code: 0 for success, 1 if some images of a folder could not be used (they are named; the others are done), 2 for an
error.
"""

from __future__ import annotations

import argparse

from mmsam_ext.apis.model_names import NAMED_MODELS
from mmsam_ext.apis.options import BOX_FORMATS, DTYPES, MASK_FORMATS

from ..choices import one_of

DEFAULT_MODEL = 'sam_tiny'
DETECTOR = 'IDEA-Research/grounding-dino-tiny'


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', metavar='IMAGE_OR_DIR', help='image file or folder of images')
    parser.add_argument('model', metavar='MODEL', nargs='?', help='name or path of a config, or short '
                        f'name of a model: {", ".join(NAMED_MODELS)}')  # fmt: skip
    parser.add_argument('--model', dest='model_option', metavar='MODEL', help='the same, as an option')
    parser.add_argument('--box', nargs=4, type=float, action='append', metavar=('X1', 'Y1', 'X2', 'Y2'))
    parser.add_argument('--point', nargs=2, type=float, action='append', metavar=('X', 'Y'))
    parser.add_argument(
        '--label', type=int, action='append', choices=(0, 1),
        help='label of each --point, in order: 1 on the object (the default), 0 off it',
    )  # fmt: skip
    parser.add_argument(
        '--mask', metavar='FILE', action='append',
        help='mask prompt for each --box, or alone: a mask image, or logits in a .npy file',
    )  # fmt: skip
    parser.add_argument('--whole-image', action='store_true', help='prompt each image by a box around all of it, '
                        'as models that `fit` trained take it')  # fmt: skip
    parser.add_argument('--prompts', metavar='FILE', help='prompts of each image by file name: JSON or CSV')
    parser.add_argument('--text', metavar='"A. B."', help='what to look for, each followed by a full stop')
    parser.add_argument('--detector', default=DETECTOR, help='of --text: a GroundingDINO by name or folder')
    parser.add_argument('--min-score', type=float, help='least score of a box; default: 0 of --prompts, 0.25 of --text')
    parser.add_argument(
        '--box-format', type=one_of(BOX_FORMATS), metavar='FORMAT',
        help='of --box: xyxy, x1 y1 x2 y2 in pixels (default); xywh, x y w h; normalized, x1 y1 x2 y2 between 0 and 1',
    )  # fmt: skip
    parser.add_argument(
        '--mask-format', type=one_of(MASK_FORMATS), metavar='FORMAT',
        help='of --mask: binary (default), probability, or logits (default for .npy files)',
    )  # fmt: skip
    parser.add_argument('--chunk-mb', type=int, default=128, help='memory for bringing masks to the size of images')
    parser.add_argument('--weights', help="checkpoint; default: the config's own")
    parser.add_argument(
        '--untrained', action='store_true', help='go on if the weights lack parts that this config trains'
    )
    parser.add_argument('--threshold', type=float, default=0.5, help='probability above which pixels belong to a mask')
    parser.add_argument('--min-area', type=int, default=0, help='leave out regions of a mask with fewer pixels')
    parser.add_argument('--out', metavar='DIR', help='where to write masks, overlays and scores.csv')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace files in --out that no earlier run wrote, too'
    )
    parser.add_argument('--multimask', action='store_true', help='predict three masks and keep the best')
    parser.add_argument(
        '--rounds', type=int, metavar='N', help='run the decoder N times, with its last mask as a mask prompt'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--dtype', choices=DTYPES, help='format to compute in; auto: bf16 where that is fast')
    parser.add_argument('--batch-size', type=int, default=1, help='images encoded together')
    args = parser.parse_args(arguments)
    if args.model_option is not None and args.model not in (None, args.model_option):
        parser.error(f'MODEL is {args.model!r} and --model is {args.model_option!r}, expected one of them')
    if args.rounds is not None and args.rounds < 1:
        parser.error(f'--rounds {args.rounds}: expected 1 or more')
    args.model = args.model_option or args.model or DEFAULT_MODEL
    return args
