"""What a user gives as prompts, checked and brought to one shape."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from mmengine.logging import print_log

from mmsam_ext.structures import PromptKind, Prompts
from mmsam_ext.structures.prompts import why_no_numbers

from .errors import InferenceError
from .options import BOX_FORMATS, MASK_FORMATS
from .prompt_formats import boxes_in_pixels, check_format, mask_logits, points_in_pixels

#: name -> (shapes of one prompt and of P prompts, as an error words them, dimensions of P prompts)
SHAPES = {
    'boxes': ('(4,) or (P, 4)', 2),
    'points': ('(N, 2), one prompt of N points, or (P, N, 2)', 3),
    'point_labels': ('(N,) or (P, N)', 2),
    'masks': ('(4h, 4w) or (P, 4h, 4w)', 3),
}


@dataclass(frozen=True)
class PromptSet:
    """P prompts of one image; prompt i is all of the fields' rows i together.

    Attributes:
        boxes: (P, 4) x1 y1 x2 y2 in pixels of the original image, or None.
        points: (P, N, 2) x y, likewise.
        point_labels: (P, N) 1 foreground, 0 background, -1 padding. A row of padding alone is a prompt without points.
        masks: (P, 4h, 4w) logits, as :meth:`PromptSegInferencer.predict` returns them, or of another `mask_format`;
            float32, bool or uint8.
        box_format: Format of `boxes`, see :func:`boxes_in_pixels`.
        mask_format: Format of `masks`, see :func:`mask_logits`.
        kinds: (P,) :class:`PromptKind`, which fields a row uses; None: all that are given.
        phrases: What each prompt is said to show, for tables; empty where nobody says.
        clip: Whether boxes are clipped to the image, and those without an area there left out and logged, as boxes of a
            detector; otherwise they are an error.
        num_classes: K, the classes that a set without prompts asks for, one prompt each; 0 for a single empty prompt.
    """

    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    point_labels: np.ndarray | None = None
    masks: np.ndarray | None = None
    box_format: str | None = None
    mask_format: str | None = None
    kinds: np.ndarray | None = None
    phrases: tuple[str, ...] = ()
    clip: bool = False
    num_classes: int = 0

    @classmethod
    def create(
        cls,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        name: str = 'prompts',
        box_format: str | None = None,
        mask_format: str | None = None,
    ) -> PromptSet:
        """Bring what a user gives to the shapes above.

        Raises:
            InferenceError: points without labels, wrong shapes, fields with different numbers of prompts, or an unknown
                format.
        """
        check_format('box_format', box_format, BOX_FORMATS)
        check_format('mask_format', mask_format, MASK_FORMATS)
        if points is not None and point_labels is None:
            raise InferenceError(f'{name}: points without labels; give point_labels too, 1 foreground and 0 background')
        if points is None and point_labels is not None:
            raise InferenceError(f'{name}: point_labels without points; give points too')
        given = dict(boxes=boxes, points=points, point_labels=point_labels, masks=masks)
        fields: dict[str, Any] = {key: _array(key, value, name) for key, value in given.items() if value is not None}
        numbers = {key: len(value) for key, value in fields.items()}
        if len(set(numbers.values())) > 1:
            raise InferenceError(
                f'{name}: different numbers of prompts {numbers}; row i of each makes prompt i, expected as many'
            )
        if 0 in numbers.values():
            raise InferenceError(f'{name}: no prompt given; {", ".join(numbers)} came with 0 rows')
        return cls(**fields, box_format=box_format, mask_format=mask_format)

    @classmethod
    def nothing(cls) -> PromptSet:
        """Return a set without prompts, which is answered with no masks: for an image in which nothing was found."""
        return cls(boxes=np.zeros((0, 4), np.float32))

    def by_class(self, num_classes: int | None) -> PromptSet:
        """Return a set that, without prompts, asks for each class of a model with `num_classes`."""
        return self if num_classes is None else replace(self, num_classes=num_classes)

    def __bool__(self) -> bool:
        return any(field is not None for field in (self.boxes, self.points, self.masks))

    def fitted(self, width: int, height: int, name: str) -> PromptSet:
        """Return the set for an image of `width` x `height`, see `clip`; those left out are counted in the log."""
        if not self.clip or self.boxes is None:
            return self
        boxes = self.boxes.clip(0, [width, height] * 2)
        kept = cast('np.ndarray', (boxes[:, 2:] > boxes[:, :2]).all(1))
        if self.kinds is not None:
            kept |= self.kinds & int(PromptKind.BOX) == 0
        if not kept.all():
            print_log(
                f'{name}: {np.count_nonzero(~kept)} of {len(kept)} boxes have no area within the image of {width} x '
                f'{height} (width x height) pixels, as {self.boxes[~kept][0].tolist()} (x1 y1 x2 y2); left out',
                logger='current',
                level=logging.WARNING,
            )
        rows = {key: getattr(self, key) for key in ('points', 'point_labels', 'masks', 'kinds')}
        rows = {key: None if value is None else value[kept] for key, value in rows.items()}
        phrases = tuple(phrase for phrase, keep in zip(self.phrases, kept, strict=False) if keep)
        return replace(self, boxes=boxes[kept], phrases=phrases, **rows)

    def prompts(self, width: int, height: int, name: str) -> Prompts:
        """Return the structure that models take, in pixels of the original image of `width` x `height`.

        Raises:
            InferenceError: a prompt that is malformed or outside the image; names the image, the prompt and the size.
        """
        if not self and self.num_classes:
            kinds, labels = np.zeros(self.num_classes), np.arange(self.num_classes) + 1
            return Prompts.create(kinds=kinds, class_ids=labels, target_ids=labels - 1, modes=('none',), sample=name)
        if not self:
            return Prompts.empty()
        fields: dict[str, Any] = dict(point_labels=self.point_labels, kinds=self._kinds())
        if self.boxes is not None:
            fields['boxes'] = boxes_in_pixels(self.boxes, self.box_format, width, height, name)
        if self.points is not None and self.point_labels is not None:
            fields['points'] = points_in_pixels(self.points, self.point_labels, width, height, name)
        if self.masks is not None:
            fields['masks'] = mask_logits(self.masks, self.mask_format, name)[:, None]
        try:
            return Prompts.create(**fields, modes=(self.kind,), sample=name).check_inside(width, height, name)
        except ValueError as error:
            raise InferenceError(str(error)) from error

    def _kinds(self) -> np.ndarray:
        """(P,) PromptKind of each prompt. Points that are all padding count only where there is nothing else."""
        if self.kinds is not None:
            return self.kinds
        kinds = np.full(self.number, PromptKind.NONE, dtype=np.int64)
        kinds |= PromptKind.BOX if self.boxes is not None else 0
        kinds |= PromptKind.MASK if self.masks is not None else 0
        if self.point_labels is not None:
            pointed = (self.point_labels >= 0).any(1) | (kinds == PromptKind.NONE)
            kinds[pointed] |= PromptKind.POINTS
        return kinds

    @property
    def number(self) -> int:
        """P; without any prompt 1, since models then get the empty one, or one for each class."""
        given = [field for field in (self.boxes, self.points, self.masks) if field is not None]
        return len(given[0]) if given else max(1, self.num_classes)

    @property
    def kind(self) -> str:
        """The parts of a prompt, as in 'box + points'."""
        kinds = {'box': self.boxes, 'points': self.points, 'mask': self.masks}
        return ' + '.join(kind for kind, field in kinds.items() if field is not None) or 'none'

    def describe(self) -> list[str]:
        """Each prompt in words, for tables."""
        if not self:
            return [f'class {label}' for label in range(1, self.num_classes + 1)] or ['none']
        return [' + '.join(self._parts(row)).replace(': + ', ': ') for row in range(self.number)]

    def _parts(self, row: int) -> list[str]:
        parts = [f'{self.phrases[row]}:'] if row < len(self.phrases) and self.phrases[row] else []
        if self.boxes is not None and (self.kinds is None or self.kinds[row] & PromptKind.BOX):
            parts.append('box ' + ' '.join(f'{value:g}' for value in self.boxes[row]))
        if self.points is not None and self.point_labels is not None:
            real = self.point_labels[row] >= 0
            points, labels = self.points[row, real], self.point_labels[row, real]
            if len(points) == 1:
                parts.append(f'point {points[0, 0]:g} {points[0, 1]:g} label {labels[0]}')
            elif len(points):
                parts.append(f'{(labels == 1).sum()} points on and {(labels == 0).sum()} off the object')
        if self.masks is not None:
            parts.append('mask')
        return parts


def prompt_sets(
    number: int,
    boxes: Any = None,
    points: Any = None,
    point_labels: Any = None,
    masks: Any = None,
    box_format: str | None = None,
    mask_format: str | None = None,
) -> list[PromptSet]:
    """The prompts of each of `number` images.

    Each argument is one set for all images (an array, or numbers in lists), or a list of arrays (or None) with one set
    per image.

    Raises:
        InferenceError: as :meth:`PromptSet.create`; a list of arrays that is not of length `number`; nested lists that
            could mean either.
    """
    columns = {}
    for key, value in dict(boxes=boxes, points=points, point_labels=point_labels, masks=masks).items():
        follow = points if key == 'point_labels' else value  # labels are given as their points are
        columns[key] = value if _per_image(key, value, follow, number) else [value] * number
    names = ['prompts'] if number == 1 else [f'prompts of image {index}' for index in range(number)]
    rows = zip(*columns.values(), strict=True)
    formats = dict(box_format=box_format, mask_format=mask_format)
    return [PromptSet.create(*row, name=name, **formats) for row, name in zip(rows, names, strict=True)]


def _per_image(key: str, value: Any, follow: Any, number: int) -> bool:
    if value is None or not isinstance(follow, (list, tuple)) or not isinstance(value, (list, tuple)):
        return False
    if any(item is None or isinstance(item, (np.ndarray, torch.Tensor)) for item in follow):
        if len(value) != number:
            raise InferenceError(
                f'{key} is a list of {len(value)} arrays, one per image, but there are {number} images; '
                'one set for all images is one array'
            )
        return True
    least = SHAPES[key][1] - 2  # dimensions of the smallest element that could be a set: a box, a list of points
    if key != 'point_labels' and number > 1 and len(value) == number and _depth(value[0]) > least:
        raise InferenceError(
            f'{key} is a nested list of length {number} for {number} images, which could mean either; give one array '
            'for one set for all images, or a list of arrays for one set per image'
        )
    return False


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, Sequence) and len(value) else 0


def _array(key: str, value: Any, name: str) -> np.ndarray:
    """`value` with a dimension for the prompts."""
    wanted, dimensions = SHAPES[key]
    if (reason := why_no_numbers(value)) is not None:
        raise InferenceError(f'{name}: {key} is {reason}')
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    small = key == 'masks' and isinstance(value, np.ndarray) and value.dtype in (np.bool_, np.uint8)
    try:
        array = value if small else np.asarray(value, dtype=np.float32)  # as many bytes as the user's own
    except (TypeError, ValueError) as error:
        hint = '; fill up shorter rows with points of label -1' if key.startswith('point') else ''
        raise InferenceError(
            f'{name}: {key} cannot become an array ({error}); expected numbers of shape {wanted}{hint}'
        ) from error
    shape = array.shape
    if key == 'masks' and array.ndim == 4 and shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == dimensions - 1:
        array = array[None]
    width = dict(boxes=4, points=2).get(key)
    if array.ndim != dimensions or (width is not None and array.shape[-1] != width):
        raise InferenceError(f'{name}: {key} has shape {shape}, expected {wanted}')
    if key == 'point_labels':
        if not np.isin(array, (-1, 0, 1)).all():
            raise InferenceError(
                f'{name}: point_labels holds {np.unique(array).tolist()}, expected 1, 0 or -1 (padding)'
            )
        return array.astype(np.int64)
    return array
