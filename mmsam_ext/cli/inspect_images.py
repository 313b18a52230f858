"""Decide for each image whether it has a defect, and list the defects.

The arguments are in :mod:`.arguments.inspect_images`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import cv2

from mmsam_ext.apis.errors import InferenceError
from mmsam_ext.apis.image_inputs import list_sources
from mmsam_ext.apis.inspection import Criteria, Decision, Inspection, Inspector, calibrate, labelled_folder
from mmsam_ext.apis.inspection.records import RecordFile, read_records, to_record
from mmsam_ext.apis.inspection.report import PICTURES, picture, write_page, write_tables
from mmsam_ext.apis.model_loading import in_dtype, load_config
from mmsam_ext.apis.prompt_seg_inferencer import PromptSegInferencer
from mmsam_ext.config_files import known_configs
from mmsam_ext.utils import ResultFolder, printable

from .arguments.inspect_images import parse
from .infer import messages_to_stderr

NO_DEFECT, SOME_FAILED, ERROR, DEFECT = 0, 1, 2, 3


def criterion(args: argparse.Namespace) -> tuple[str, float | None]:
    """Return the criterion of the threshold and its value."""
    if args.recall is not None:
        return 'recall', args.recall
    return ('f1', None) if args.false_alarm is None else ('false-alarm', args.false_alarm)


def config_of(weights: str, name: str) -> str:
    """Return the config that a decision names: one of ours, or a file beside the weights.

    Raises:
        InferenceError: There is no such file.
    """
    if name in known_configs():
        return name
    path = Path(weights).expanduser().parent / Path(name).name
    if not path.is_file():
        raise InferenceError(f'{weights}: its config {path} does not exist; give --model CONFIG')
    return str(path)


def inferencer_of(args: argparse.Namespace, config: str) -> PromptSegInferencer:
    """Return the model, which computes in the format of ``--dtype``."""
    return PromptSegInferencer(in_dtype(load_config(config), args.dtype), args.weights, args.device)


def choose(args: argparse.Namespace) -> None:
    """Score the labelled images of ``--calibrate``, and write the decision beside the weights.

    Raises:
        InferenceError: There is no config, or an image or the weights cannot be used.
    """
    if args.model is None:
        raise InferenceError('--calibrate needs --model CONFIG, the config that the weights were trained with')
    path = Path(args.model)
    beside = path.is_file() and path.resolve().parent == Path(args.weights).resolve().parent
    if not beside and args.model not in known_configs():
        raise InferenceError(
            f'--model {args.model}: expected the name of a config of this project, or a file in the folder of the '
            'weights, where `inspect` finds it again'
        )
    inferencer = inferencer_of(args, args.model)
    dataset = labelled_folder(args.calibrate, args.list)
    decision = calibrate(inferencer, dataset, args.weights, path.name if beside else args.model).decision
    print(f'{len(decision.scores)} images, {decision.normals} without a defect; wrote {decision.save(args.weights)}')


def run(args: argparse.Namespace) -> int:
    """Inspect the images; returns the exit code."""
    decision = Decision.load(args.weights)
    kind, value = criterion(args)
    criteria = Criteria.of(decision, kind, value, args.min_area)
    sources = list_sources(args.inputs)
    records = None if args.out is None else RecordFile(args.out, description(args, decision, criteria), args.overwrite)
    left = [one for one in sources if records is None or one.name not in records.done]
    if len(left) < len(sources):
        print(f'{len(sources) - len(left)} of {len(sources)} images were inspected by an earlier run', file=sys.stderr)
    failed = 0
    found = 0
    if left:
        with messages_to_stderr():
            inferencer = inferencer_of(args, args.model or config_of(args.weights, decision.config))
            inspector = Inspector(inferencer, criteria, decision.classes)
        for answer in inspector(left):
            if isinstance(answer, dict):
                failed += 1
                print(f'{answer["name"]}: {printable(answer["error"])}', file=sys.stderr, flush=True)
                record: dict[str, Any] = dict(image=answer['name'], error=answer['error'])
            else:
                found += answer.defective
                record = to_record(answer, args.mm_per_pixel)
                print(line(record), flush=True)
                if records is not None and answer.defective:
                    record['picture'] = write_picture(records.results, answer)
            if records is not None:
                records.add(record)
    if args.out is not None:
        write_tables(args.out, args.overwrite)
        page = write_page(args.out, args.overwrite)
        found += earlier_defects(args.out) if len(left) < len(sources) else 0
        print(f'The report is {printable(page)}', file=sys.stderr)
    if failed:
        print(f'{failed} of {len(sources)} images could not be used', file=sys.stderr)
        return SOME_FAILED if failed < len(sources) else ERROR
    return DEFECT if found else NO_DEFECT


def description(args: argparse.Namespace, decision: Decision, criteria: Criteria) -> dict[str, Any]:
    """Return what the results depend on."""
    kind, value = criterion(args)
    return dict(
        weights=printable(args.weights),
        weights_sha256=decision.weights_sha256,
        criterion=kind if value is None else f'{kind} {value:g}',
        threshold=criteria.threshold,
        score_threshold=criteria.probability(criteria.threshold),
        pixel_threshold=criteria.pixel_threshold,
        calibrated=criteria.platt is not None,
        min_area=args.min_area,
        mm_per_pixel=args.mm_per_pixel,
        classes=list(decision.classes),
        **({} if args.dtype is None else dict(dtype=args.dtype)),
    )


def line(record: dict[str, Any]) -> str:
    """Return the line of an image for the screen."""
    if not record['defective']:
        return f'{printable(record["image"])}: no defect, score {record["score"]:.3f}'
    areas = ', '.join(f'{defect["class"]} {defect["area_px"]} px' for defect in record['defects'][:5])
    more = ', ...' if len(record['defects']) > 5 else ''
    return f'{printable(record["image"])}: defect, score {record["score"]:.3f}: {areas}{more}'


def write_picture(results: ResultFolder, inspection: Inspection) -> str:
    """Write the picture of a defective image, and return its path in the folder."""
    source = inspection.source
    stem = re.sub(r'[^\w.-]+', '_', Path(source.path or source.name).name)[:80]
    name = f'{PICTURES}/{stem}_{hashlib.sha1(source.name.encode(errors="replace")).hexdigest()[:8]}.jpg'
    regions = [defect.region for defect in inspection.defects]
    drawn = picture(inspection.image, [one.box for one in regions], [one.mask for one in regions])
    results.write(name, cv2.imencode('.jpg', drawn)[1].tobytes())
    return name


def earlier_defects(folder: str) -> bool:
    """Return whether any image of the results is defective."""
    return any(record.get('defective') for record in read_records(folder)[1])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    try:
        if args.calibrate is not None:
            with messages_to_stderr():
                choose(args)
        return run(args) if args.inputs is not None else NO_DEFECT
    except (InferenceError, FileExistsError, FileNotFoundError, ValueError) as error:
        print(f'inspect: error: {" ".join(str(error).split())}', file=sys.stderr)
        return ERROR
