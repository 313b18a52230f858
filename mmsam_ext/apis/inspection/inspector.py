"""`Inspector`: a decision for each image, and its defects as a list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmsam_ext.datasets.transforms.whole_image_prompt import whole_image_prompt

from ..checks import creates_prompts
from ..errors import InferenceError
from ..failures import failure
from ..image_inputs import Source, list_sources
from ..prompt_seg_inferencer import PromptSegInferencer
from ..segmented import segment_packed
from .calibration import Platt
from .decision import Decision
from .regions import Extent, Region, extent, find_regions


@dataclass(frozen=True)
class Criteria:
    """When an image is defective.

    Attributes:
        pixel_threshold: Logit above which pixels belong to a region.
        threshold: Logit that a region must reach to be a defect.
        min_area: Least pixels of a defect.
        platt: From logits to probabilities; None for the model's own, uncalibrated.
    """

    pixel_threshold: float
    threshold: float
    min_area: int = 0
    platt: Platt | None = None

    def __post_init__(self) -> None:
        if self.min_area < 0:
            raise InferenceError(f'min_area is {self.min_area}, expected 0 pixels or more')

    @classmethod
    def of(cls, decision: Decision, criterion: str = 'f1', value: float | None = None, min_area: int = 0) -> Criteria:
        """Choose the threshold of images by a criterion of :func:`~.calibration.choose_threshold`."""
        threshold = decision.threshold(criterion, value)
        return cls(decision.pixel_threshold, threshold, min_area, decision.platt)

    def probability(self, logit: float) -> float:
        """Return the probability of a defect, in [0, 1]."""
        return (self.platt or Platt(1.0, 0.0)).probability(logit)


class Defect(NamedTuple):
    """A defect of an image: where it is, how long and wide, its class and the probability that it is one."""

    region: Region
    extent: Extent
    name: str
    score: float


class Inspection(NamedTuple):
    """The answer for one image.

    Attributes:
        source: The image.
        size: (height, width).
        score: Probability that the image has a defect.
        defects: Its defects, the most certain first; it is defective exactly if there are some.
        image: (H, W, 3) uint8 BGR.
    """

    source: Source
    size: tuple[int, int]
    score: float
    defects: list[Defect]
    image: np.ndarray

    @property
    def defective(self) -> bool:
        """Whether the image has a defect."""
        return bool(self.defects)


class Inspector:
    """Decide for images whether they have a defect, without prompts from a user.

    A model with a stage that makes its own prompts (ODS-SAM) gets none; others are prompted by a box around the whole
    image, which `fit` trains them for.

    Args:
        inferencer: A model with trained weights.
        criteria: When an image is defective.
        classes: Names of the classes of defects.

    Example::

        decision = Decision.load('best.pth')
        inspector = Inspector(PromptSegInferencer('config.py', 'best.pth'), Criteria.of(decision), decision.classes)
        for inspection in inspector('parts/'):
            print(inspection.source.name, inspection.defective, inspection.score)
    """

    def __init__(self, inferencer: PromptSegInferencer, criteria: Criteria, classes: Sequence[str]) -> None:
        self.inferencer, self.criteria, self.classes = inferencer, criteria, tuple(classes)

    def __call__(self, inputs: str | os.PathLike | np.ndarray | Sequence) -> Iterator[Inspection | dict[str, Any]]:
        """Inspect images one by one; none is kept.

        Args:
            inputs: As the inferencer takes them.

        Yields:
            For each image its inspection, or `path`, `name` and `error` where it could not be used.
        """
        for source in list_sources(inputs):
            answer = whole_image_logits(self.inferencer, source)
            yield answer if isinstance(answer, dict) else self.judge(source, *answer)

    def judge(self, source: Source, logits: np.ndarray, image: np.ndarray) -> Inspection:
        """Turn logits (K, H, W) of an image (H, W, 3) into the answer."""
        criteria = self.criteria
        regions = find_regions(logits, criteria.pixel_threshold, criteria.threshold, criteria.min_area)
        defects = [
            Defect(one, extent(one.mask), self.class_name(one.label), criteria.probability(one.peak)) for one in regions
        ]
        score = criteria.probability(float(logits.max()))
        return Inspection(source, logits.shape[1:], score, defects, image)

    def class_name(self, label: int) -> str:
        """Return the name of a class by its index."""
        return self.classes[label] if label < len(self.classes) else f'class {label}'


def prompt_kind(inferencer: PromptSegInferencer) -> str:
    """Return the kind of :class:`WholeImagePrompt` that a model takes: 'none' if it makes prompts or works on tiles."""
    model = inferencer.model
    return 'none' if creates_prompts(model) or model.slide_settings is not None else 'box'


def whole_image_logits(
    inferencer: PromptSegInferencer, source: Source
) -> tuple[np.ndarray, np.ndarray] | dict[str, Any]:
    """Return logits (K, H, W) and the image (H, W, 3) uint8 BGR; or `path`, `name` and `error`."""
    try:
        loaded = inferencer.pipeline.load(source)
        image = loaded['img']
        height, width = image.shape[:2]
        classes = inferencer.model.num_classes
        prompts = whole_image_prompt(height, width, prompt_kind(inferencer), source.name, classes)
        packed = inferencer.pipeline.pack(loaded, prompts)
        (segmented,) = segment_packed(inferencer.model, [packed], None)
        return segmented.masks.full_logits(inferencer.chunk_bytes), image
    except Exception as error:  # one image must not take the others along
        return failure(source, error)
