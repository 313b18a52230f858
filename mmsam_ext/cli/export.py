"""Export a model, or results and labels.

    python -m mmsam_ext export --format onnx --weights best.pth --out DIR [--precision int8] [--one-graph]
    python -m mmsam_ext export --format coco RESULTS_OR_DATASET --out DIR

Models: `onnx` writes encoder.onnx and decoder.onnx with the inputs and outputs of Meta's decoder (--one-graph: a
single model.onnx, for methods without prompts); `x-anylabeling` writes the pair and the yaml of that tool;
`torch-export` writes .pt2 files. LoRA and DoRA are merged. Input size, classes and thresholds are stored inside. The
masks are compared with those of PyTorch.

Results of `inspect`, or a labelled folder: `coco` (RLE with holes), `labelme`, `yolo`, `csv`, `masks`.
"""

from __future__ import annotations

import argparse
import sys

from mmsam_ext.apis.errors import InferenceError

from .choices import one_of

MODELS = ('onnx', 'x-anylabeling', 'torch-export')
LABELS = ('coco', 'labelme', 'yolo', 'csv', 'masks')
FORMATS = (*MODELS, *LABELS)
#: Least IoU with PyTorch's masks of files in full precision.
PARITY = 0.999


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='?', help='results of `inspect`, or a labelled folder; for label formats')
    parser.add_argument('--format', required=True, type=one_of(FORMATS), help=', '.join(FORMATS))
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument('--weights', help='checkpoint of the model')
    parser.add_argument('--model', metavar='CONFIG', help='name or path of the config; default: that of the weights')
    parser.add_argument('--precision', default='fp32', help='of ONNX files: fp32, fp16 or int8')
    parser.add_argument('--one-graph', action='store_true', help='one graph from image to masks')
    parser.add_argument('--dynamo', action='store_true', help='export ONNX by torch.export instead of tracing')
    parser.add_argument('--untrained', action='store_true', help='go on if the weights lack parts that training brings')
    parser.add_argument('--overwrite', action='store_true', help='replace files that no earlier run wrote')
    args = parser.parse_args(arguments)
    if args.format in LABELS and args.source is None:
        parser.error(f'--format {args.format} needs the results of `inspect`, or a labelled folder')
    if args.format in MODELS and args.weights is None and args.model is None:
        parser.error(f'--format {args.format} needs --weights, --model CONFIG, or both')
    if args.precision not in ('fp32', 'fp16', 'int8'):
        parser.error(f'--precision {args.precision}: expected fp32, fp16 or int8')
    return args


def export_labels(args: argparse.Namespace) -> int:
    """Write results or labels in another format; returns the exit code."""
    from mmsam_ext.apis.exchange import WRITERS, read_source
    from mmsam_ext.utils.result_files import ResultFolder

    number = WRITERS[args.format](read_source(args.source), ResultFolder(args.out, args.overwrite))
    print(f'{number} images are in {args.out}')
    return 0


def export(args: argparse.Namespace) -> int:
    """Write a model; returns the exit code."""
    from mmsam_ext.apis.exporting import export_model
    from mmsam_ext.apis.inspection import Decision

    from .infer import messages_to_stderr
    from .inspect_images import config_of

    model = args.model or config_of(args.weights, Decision.load(args.weights).config)
    with messages_to_stderr():
        done = export_model(
            model, args.weights, args.out, args.format, args.precision, args.one_graph, args.dynamo, args.overwrite,
            args.untrained,
        )  # fmt: skip
    print(f'{", ".join(done["files"])} are in {args.out}')
    print(f"IoU with PyTorch's masks: {done['iou']:.5f}")
    if done['speed'] is not None:
        print(f"PyTorch's time over that of onnxruntime, on this machine as busy as it is: {done['speed']:.2f}")
    if args.precision == 'fp32' and done['iou'] < PARITY:
        print(f'export: error: the masks differ from those of PyTorch, expected an IoU above {PARITY}', file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    try:
        return export_labels(args) if args.format in LABELS else export(args)
    except (InferenceError, FileExistsError, FileNotFoundError) as error:
        print(f'export: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
