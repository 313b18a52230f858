"""Export a model, or results and labels.

    python -m mmsam_ext export --format onnx --weights best.pth --out DIR [--precision int8] [--one-graph]
    python -m mmsam_ext export --format coco RESULTS_OR_DATASET --out DIR

Models: `onnx` writes encoder.onnx and decoder.onnx with the inputs and outputs of Meta's decoder (--one-graph: a
single model.onnx, for methods without prompts and for several classes); `x-anylabeling` writes the pair and the yaml of
that tool; `torch-export` writes .pt2 files. LoRA and DoRA are merged. Input size, classes and thresholds are stored
inside. The masks are compared with those of PyTorch.

Results of `inspect`, or a labelled folder: `coco` (RLE with holes), `labelme`, `yolo`, `csv`, `masks`.
"""

from __future__ import annotations

import argparse

from ..choices import one_of

MODELS = ('onnx', 'x-anylabeling', 'torch-export')
LABELS = ('coco', 'labelme', 'yolo', 'csv', 'masks')
FORMATS = (*MODELS, *LABELS)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='?', help='results of `inspect`, or a labelled folder; for label formats')
    parser.add_argument('--format', required=True, type=one_of(FORMATS), help=', '.join(FORMATS))
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument('--weights', help='checkpoint of the model')
    parser.add_argument('--model', metavar='CONFIG', help='name or path of the config; default: that of the weights')
    parser.add_argument('--precision', default='fp32', help='of ONNX files: fp32, fp16 or int8')
    parser.add_argument('--one-graph', action='store_true', help='one graph from the image to a mask for each class')
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
