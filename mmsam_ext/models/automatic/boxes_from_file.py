"""Boxes that a detector found earlier."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor

from mmsam_ext.structures.prompt_files import PromptFile

from .text_boxes import BoxSource, TextBoxes


@MODELS.register_module()
class BoxesFromFile(BoxSource):
    """Take boxes of defects, and of objects, from files: the way to run a pipeline without a text detector.

    Args:
        defects: Path of a :class:`PromptFile`: a COCO result file, or a JSON or CSV list by file name. An entry's
            `phrase`, where it has one, is compared with phrases to filter.
        objects: The same for objects; None: no object is found.

    Raises:
        FileNotFoundError, ValueError: see :class:`PromptFile`; or the two files name no image in common.
    """

    def __init__(self, defects: str, objects: str | None = None) -> None:
        super().__init__()
        of_defects, of_objects = PromptFile(defects), None if objects is None else PromptFile(objects)
        self.files: dict[str, PromptFile | None] = dict(defect=of_defects, object=of_objects)
        if of_objects is not None:
            _check_same_images(of_defects, of_objects)

    def find(self, image: Tensor, captions: Sequence[str], kind: str, sample: Any) -> TextBoxes:
        """Return the boxes of the file, whatever the captions; see :class:`BoxSource`."""
        file = self.files[kind]
        if file is None:
            return TextBoxes(torch.zeros(0, 4), torch.zeros(0), (), torch.zeros(0, dtype=torch.int64))
        table = file.of_image(sample.get('img_id'), str(sample.get('img_path', '')))
        height, width = image.shape[-2:]
        boxes = torch.from_numpy(table.boxes).float().clamp(min=0)
        return TextBoxes(
            boxes=boxes.minimum(boxes.new_tensor([width, height, width, height])),
            scores=torch.from_numpy(table.scores).float(),
            phrases=tuple(table.phrases.tolist()),
            captions=torch.full((len(table),), -1),
        )


def _check_same_images(defects: PromptFile, objects: PromptFile) -> None:
    """Raise an error if two files are of different images, and log where some are."""
    only = sorted(map(str, defects.images - objects.images))
    if len(only) == len(defects.images):
        raise ValueError(
            f'{defects.path} and {objects.path}: none of the {len(only)} images of the first ({_few(only)}) is among '
            f'the {len(objects.images)} of the second ({_few(sorted(map(str, objects.images)))}); expected boxes of '
            'defects and of objects in the same images, named alike'
        )
    if only:
        print_log(
            f'{objects.path} has no object for {len(only)} of {len(defects.images)} images in {defects.path}: '
            f'{_few(only)}',
            logger='current',
            level=logging.WARNING,
        )


def _few(names: Sequence[str]) -> str:
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
