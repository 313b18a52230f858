"""Boxes that a detector found earlier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
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
        FileNotFoundError, ValueError: see :class:`PromptFile`.
    """

    def __init__(self, defects: str, objects: str | None = None) -> None:
        super().__init__()
        self.files = dict(defect=PromptFile(defects), object=None if objects is None else PromptFile(objects))

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
