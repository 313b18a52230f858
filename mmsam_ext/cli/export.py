"""Export a model, or results and labels.

The arguments are in :mod:`.arguments.export`.
"""

from __future__ import annotations

import argparse
import sys

from mmsam_ext.apis.errors import InferenceError

from .arguments.export import LABELS, parse

#: Least IoU with PyTorch's masks of files in full precision.
PARITY = 0.999


def export_labels(args: argparse.Namespace) -> int:
    """Write results or labels in another format; returns the exit code."""
    from mmsam_ext.apis.exchange import WRITERS, read_source
    from mmsam_ext.utils.result_files import ResultFolder

    results = ResultFolder(args.out, args.overwrite)
    results.prepare()
    number = WRITERS[args.format](read_source(args.source), results)
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
