"""Prompts that come from outside, for each image its own: from a file, or from words."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.logging import print_log

from mmsam_ext.datasets.binary_defect import some
from mmsam_ext.models.automatic import BoxSource, normalise_caption
from mmsam_ext.structures.prompt_files import PromptFile, PromptTable
from mmsam_ext.utils import printable

from .errors import InferenceError, reason
from .image_inputs import Source, list_sources
from .prompt_sets import PromptSet

if TYPE_CHECKING:
    from .prompt_seg_inferencer import PromptSegInferencer


def outside_prompts(
    prompts: str | os.PathLike | Sequence[PromptSet], sources: Sequence[Source], *others: Any
) -> list[PromptSet]:
    """Return the set of each image.

    Args:
        prompts: Path of a file, see :func:`file_prompts`, or one set for each image.
        sources: The images.
        others: Boxes, points and masks, each of which must be None.

    Raises:
        InferenceError: See :func:`file_prompts`; the sets are not as many as the images; or one of `others` is given.
    """
    if any(other is not None for other in others):
        raise InferenceError('prompts were given together with boxes, points or masks; expected one or the other')
    if isinstance(prompts, (str, os.PathLike)):
        return file_prompts(os.fspath(prompts), sources)
    if len(prompts) != len(sources) or not all(isinstance(one, PromptSet) for one in prompts):
        raise InferenceError(
            f'prompts: a {type(prompts).__name__} of {len(prompts)} for {len(sources)} images, expected the path of a '
            'file, or one PromptSet for each image'
        )
    return list(prompts)


def file_prompts(path: str, sources: Sequence[Source], min_score: float = 0.0) -> list[PromptSet]:
    """Read the prompts of each image from a file, matched by file name.

    Names in the file that belong to no image, and images that the file does not name, are counted and named in the log.
    An image without prompts gets no mask. Boxes are clipped to the image.

    Args:
        path: JSON, CSV or COCO annotations, see :class:`PromptFile`.
        sources: The images; a name in the file is the end of an image's path.
        min_score: Leave out prompts with a lower score.

    Raises:
        InferenceError: The file cannot be used, none of its names is that of an image, or an image is an array.
    """
    try:
        file = PromptFile(path, need_scores=False)
    except (ValueError, OSError) as error:
        raise InferenceError(reason(error)) from error
    arrays = [source.name for source in sources if source.path is None]
    if arrays:
        raise InferenceError(f'{path}: prompts by file name were given for {some(arrays)}, expected image files')
    if not file.names:
        raise InferenceError(
            f'{path}: names images by `image_id` alone, expected `file_name`, by which they are matched'
        )
    paths = [source.path for source in sources if source.path is not None]  # of all of them
    found = [file.name_of(one) for one in paths]
    unknown = sorted(file.names - set(found))
    if len(unknown) == len(file.names):
        raise InferenceError(
            f'{path}: none of its {len(unknown)} images ({some(unknown)}) is among the {len(sources)} given '
            f'({some([source.name for source in sources])}); a name in the file must be the end of an image path'
        )
    without = [source.name for source, name in zip(sources, found, strict=True) if name is None]
    _warn(unknown, f'of {len(file.names)} images in {path} are not among those given; their prompts are not used')
    _warn(without, f'of {len(sources)} images have no prompts in {path}; they get no mask')
    return [_set(file.of_image(None, one), min_score) for one in paths]


def text_prompts(
    inferencer: PromptSegInferencer,
    inputs: str | os.PathLike | np.ndarray | Sequence,
    text: str,
    box_source: BoxSource,
) -> list[PromptSet]:
    """Find boxes by words in each image, with the same part as :class:`SAAPlusSegmentor`.

    Example::

        prompts = text_prompts(inferencer, 'tiles/', 'scratch. dent.', GroundingDINOBoxes(box_threshold=0.25))
        result = inferencer('tiles/', prompts=prompts)

    Args:
        inferencer: Its pipeline reads the images.
        inputs: Images, as the inferencer takes them.
        text: What to look for, each followed by a full stop: 'scratch. dent.'
        box_source: Finds the boxes, for example :class:`GroundingDINOBoxes`.

    Returns:
        A set of boxes for each image, in the order of descending scores, with the words that each answers. It is empty
        where nothing was found, and where the image cannot be read, about which the inferencer will tell.

    Raises:
        InferenceError: The text is empty, or too long for the detector.
    """
    try:
        caption = normalise_caption(text)
        return [_found(inferencer, source, caption, box_source) for source in list_sources(inputs)]
    except ValueError as error:
        raise InferenceError(str(error)) from error


def _found(inferencer: PromptSegInferencer, source: Source, caption: str, box_source: BoxSource) -> PromptSet:
    try:
        image = inferencer.pipeline.load(source)['img']
    except InferenceError:
        return PromptSet.nothing()
    pixels = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))  # (3, H, W) RGB
    found = box_source.find(pixels, [caption], 'defect', dict(img_path=source.path or source.name))
    order = found.scores.argsort(descending=True, stable=True).tolist()
    phrases = tuple(f'{found.phrases[row]} {found.scores[row]:.2f}'.strip() for row in order)
    return PromptSet(boxes=found.boxes[order].float().numpy(), box_format='xyxy', phrases=phrases, clip=True)


def _set(table: PromptTable, min_score: float) -> PromptSet:
    table = table[table.scores >= min_score]
    if not len(table):
        return PromptSet.nothing()
    pointed = table.points.shape[1] > 0
    return PromptSet(
        boxes=table.boxes.astype(np.float32),
        points=table.points.astype(np.float32) if pointed else None,
        point_labels=table.point_labels if pointed else None,
        kinds=table.kinds,
        phrases=tuple(table.phrases.tolist()),
        box_format='xyxy',
        clip=True,
    )


def _warn(names: Sequence[str], what: str) -> None:
    if names:
        print_log(printable(f'{len(names)} {what}: {some(names)}'), logger='current', level=logging.WARNING)
