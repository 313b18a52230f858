"""What a text prompt finds in an image, and the base class of everything that finds it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor


@dataclass(frozen=True)
class TextBoxes:
    """N boxes that answer captions.

    Attributes:
        boxes: (N, 4) float, x1 y1 x2 y2 in pixels of the image.
        scores: (N,) float, in [0, 1] for detectors.
        phrases: The words of its caption that each box answers; length N.
        captions: (N,) int64, the place of the caption that each box answers; -1 for a box that answers none in
            particular.
    """

    boxes: Tensor
    scores: Tensor
    phrases: tuple[str, ...]
    captions: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: Tensor) -> TextBoxes:
        """Return the boxes where (N,) bool `keep` is True."""
        phrases = tuple(phrase for phrase, kept in zip(self.phrases, keep.tolist(), strict=True) if kept)
        return TextBoxes(self.boxes[keep], self.scores[keep], phrases, self.captions[keep])

    def areas(self, size: tuple[int, int]) -> Tensor:
        """Return (N,) areas as shares of an image of `size` (H, W)."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1) / (size[0] * size[1])

    @classmethod
    def join(cls, parts: Sequence[TextBoxes]) -> TextBoxes:
        """Return the boxes of several answers in one."""
        return cls(
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.scores for part in parts]),
            tuple(phrase for part in parts for phrase in part.phrases),
            torch.cat([part.captions for part in parts]),
        )


class BoxSource(BaseModule):
    """Finds boxes by text. Subclasses are registered as models, so that they move to the segmentor's device."""

    #: Whether a checkpoint of plain SAM may lack its parameters.
    added_to_sam = True

    @abstractmethod
    def find(self, image: Tensor, captions: Sequence[str], kind: str, sample: Any) -> TextBoxes:
        """Find boxes.

        Args:
            image: (3, H, W) uint8, RGB, of the original size.
            captions: What to look for, each by itself.
            kind: 'object' or 'defect', what the captions name.
            sample: Data sample of the image.

        Returns:
            All candidates, in any order; nothing is suppressed.
        """


def normalise_caption(caption: str) -> str:
    """Return a caption in lower case ending in a full stop, as GroundingDINO was trained.

    Raises:
        ValueError: it is empty.
    """
    text = caption.lower().strip()
    if not text.strip('. '):
        raise ValueError(f'text prompt {caption!r} is empty, expected words such as "scratch. dent."')
    return text if text.endswith('.') else f'{text}.'
