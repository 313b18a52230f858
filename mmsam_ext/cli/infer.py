"""Segment an image, or a folder of images, by boxes and points.

The arguments are in :mod:`.arguments.infer`.
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from mmengine.logging import MMLogger

from mmsam_ext.apis import InferenceError, PromptSegInferencer
from mmsam_ext.apis.errors import reason
from mmsam_ext.apis.full_size import MaskRules
from mmsam_ext.apis.image_inputs import Source, list_sources
from mmsam_ext.apis.model_loading import in_dtype, load_config
from mmsam_ext.apis.outside_prompts import file_prompts, text_prompts
from mmsam_ext.apis.prompt_sets import prompt_sets
from mmsam_ext.apis.result_writer import ResultWriter
from mmsam_ext.apis.score_origin import ADVICE, UNTRAINED
from mmsam_ext.datasets import read_binary_mask
from mmsam_ext.models.automatic import BoxSource, GroundingDINOBoxes, normalise_caption
from mmsam_ext.utils import printable

from .arguments.infer import parse

#: Least score of a box that was found by words.
TEXT_SCORE = 0.25


def prompts(args: argparse.Namespace) -> dict[str, Any]:
    """Return boxes, points and masks as the inferencer takes them.

    Raises:
        InferenceError: The labels do not match the points, or there are points and several boxes, or prompts of several
            kinds of which one excludes the others.
    """
    given: dict[str, Any] = {}
    ways = dict(box=args.box or args.point or args.mask, prompts=args.prompts, text=args.text is not None)
    ways['whole image'] = args.whole_image
    if sum(map(bool, ways.values())) > 1:
        raise InferenceError(
            '--box, --point and --mask, or --prompts, or --text, or --whole-image were given together; expected one way'
        )
    if args.whole_image:
        return dict(boxes=np.array([[0.0, 0.0, 1.0, 1.0]]), box_format='normalized')
    if args.min_score is not None and not (ways['prompts'] or ways['text']):
        raise InferenceError(f'--min-score {args.min_score:g} without --prompts or --text, whose boxes have scores')
    if args.box:
        given['boxes'] = np.array(args.box)
    if args.label and len(args.label) != len(args.point or ()):
        raise InferenceError(
            f'{len(args.label)} --label for {len(args.point or ())} --point; expected one for each --point, or none'
        )
    if args.point:
        if args.box and len(args.box) > 1:
            raise InferenceError(f'--point together with {len(args.box)} --box; points refine one box, expected one')
        given['points'] = np.array(args.point)[None]
        given['point_labels'] = np.array(args.label or [1] * len(args.point))[None]
    if args.mask:
        given['masks'], kind = read_masks(args.mask)
        given['mask_format'] = args.mask_format or kind
    if args.box_format:
        given['box_format'] = args.box_format
    return given


def read_masks(files: list[str]) -> tuple[np.ndarray, str]:
    """Read mask prompts and return them with their format.

    Args:
        files: Mask images, or .npy files of logits; all of one kind.

    Returns:
        (P, h, w) and 'binary' or 'logits'.

    Raises:
        InferenceError: A file cannot be read, or they differ in kind or size.
    """
    kinds = {Path(file).suffix.lower() == '.npy' for file in files}
    try:
        if kinds == {True}:
            masks = [_read_logits(file) for file in files]
        else:
            masks = [read_binary_mask(Path(file).read_bytes(), file) for file in files]
        masks = [mask[0] if mask.ndim == 3 and len(mask) == 1 else mask for mask in masks]
    except (OSError, ValueError, TypeError) as error:
        raise InferenceError(f'--mask {", ".join(files)}: {error}') from error
    shapes = {mask.shape for mask in masks}
    if len(kinds) > 1 or len(shapes) > 1 or masks[0].ndim != 2:
        raise InferenceError(
            f'--mask {", ".join(files)}: shapes {sorted(shapes)}, expected mask images or .npy files, not both, all '
            '(height, width) of one size'
        )
    return np.stack(masks), 'logits' if kinds == {True} else 'binary'


def _read_logits(file: str) -> np.ndarray:
    """Return the array in a .npy file as float32.

    Raises:
        ValueError: It does not hold real numbers.
    """
    array = np.load(file, allow_pickle=False)
    if array.dtype.kind not in 'fiub':
        raise ValueError(f'array of {array.dtype}, expected real numbers')
    return array.astype(np.float32)


def mask_rules(args: argparse.Namespace) -> MaskRules:
    """Return the threshold, as a logit, and the least area of regions.

    Raises:
        InferenceError: The threshold is not between 0 and 1, or the area is negative.
    """
    if not 0 < args.threshold < 1:
        raise InferenceError(f'--threshold is {args.threshold}, expected a probability between 0 and 1')
    if args.min_area < 0:
        raise InferenceError(f'--min-area is {args.min_area}, expected 0 pixels or more')
    return MaskRules(math.log(args.threshold / (1 - args.threshold)), args.min_area)


def check_out_dir(folder: str | None, sources: list[Source], given: dict[str, Any], overwrite: bool) -> None:
    """Check that the results may be written, before the model is loaded.

    Raises:
        InferenceError: See :class:`ResultWriter`.
    """
    if folder is not None:
        sets = given.get('prompts') or prompt_sets(len(sources), **given)
        ResultWriter(folder, sources, [prompt_set.number for prompt_set in sets], overwrite)


def detector(text: str, name: str, min_score: float | None) -> BoxSource:
    """Load what finds boxes by words.

    Raises:
        InferenceError: There are no words, transformers is not installed, or the detector cannot be loaded.
    """
    try:
        normalise_caption(text)
    except ValueError as error:
        raise InferenceError(f'--text {text!r}: {error}') from error
    try:
        return GroundingDINOBoxes(name, box_threshold=TEXT_SCORE if min_score is None else min_score)
    except ImportError as error:
        raise InferenceError(str(error)) from error
    except (ValueError, OSError) as error:
        raise InferenceError(f'--detector {name}: cannot be loaded ({reason(error)})') from error


class Table:
    """Prints the results row by row, so that a long run shows them as they come (a whole table could not).

    Args:
        stream: Where to print; the head comes before the first row.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.widths = [0] * 4
        self.started = False

    def add(self, prediction: dict) -> None:
        """Print a row for each prompt of an image. Columns are as wide as the widest cell so far."""
        rows = [] if self.started else [('image', 'prompt', 'score', 'area')]
        self.started = True
        if not prediction['prompts']:
            rows.append((prediction['name'], 'none', '', '0.00 %'))
        for prompt, score, mask in zip(prediction['prompts'], prediction['scores'], prediction['masks'], strict=True):
            rows.append((prediction['name'], prompt, f'{score:.3f}', f'{100 * mask.mean():.2f} %'))
        self.widths = [max(width, *(len(row[i]) for row in rows)) for i, width in enumerate((*self.widths[:2], 5, 8))]
        image, prompt, score, area = self.widths
        for row in rows:
            print(
                f'{row[0]:{image}}  {row[1]:{prompt}}  {row[2]:>{score}}  {row[3]:>{area}}',
                file=self.stream,
                flush=True,
            )


@contextmanager
def messages_to_stderr() -> Iterator[None]:
    """Within this context, send what mmengine prints or logs to stdout to stderr."""
    handlers = [one for one in MMLogger.get_current_instance().handlers if type(one) is logging.StreamHandler]
    kept = [handler.stream for handler in handlers]
    for handler in handlers:
        handler.stream = sys.stderr
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        for handler, stream in zip(handlers, kept, strict=True):
            handler.stream = stream


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show all names must not end the run
            stream.reconfigure(errors='backslashreplace')
    table, done, failed = Table(sys.stdout), 0, []
    try:
        with messages_to_stderr():
            given = prompts(args)
            sources = list_sources(args.inputs)
            if args.prompts:
                given['prompts'] = file_prompts(args.prompts, sources, args.min_score or 0.0)
            check_out_dir(args.out, sources, given, args.overwrite)
            box_source = None if args.text is None else detector(args.text, args.detector, args.min_score)
            config, rules = in_dtype(load_config(args.model), args.dtype), mask_rules(args)
            if args.rounds is not None:
                config.merge_from_dict({'model.test_cfg.rounds': args.rounds})
            inferencer = PromptSegInferencer(config, args.weights, args.device, args.untrained, args.chunk_mb, rules)
            if box_source is not None and args.text is not None:
                given['prompts'] = text_prompts(inferencer, sources, args.text, box_source)
            multimask = True if args.multimask else None
            settings: dict[str, Any] = dict(multimask=multimask, batch_size=args.batch_size, out_dir=args.out)
            settings['overwrite'] = args.overwrite
            for result in inferencer.iterate(sources, **given, **settings):
                if 'error' in result:
                    failed.append(result['name'])
                else:
                    table.add(result)
                    done += 1
    except InferenceError as error:
        print(f'infer: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    if args.out is None:
        print('Nothing was written (no --out DIR).')
    else:
        if inferencer.score_from == UNTRAINED:
            print(ADVICE, file=sys.stderr)
        print(f'Masks, overlays and scores.csv are in {printable(args.out)}')
    if failed:  # the reasons were logged; their names are repeated after a long table
        print(f'{len(failed)} of {len(failed) + done} images could not be used: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0
