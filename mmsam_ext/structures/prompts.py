"""`Prompts`: every prompt of one image, in one checked structure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor


class PromptKind(IntFlag):
    """What a prompt consists of; kinds combine, as in ``BOX | POINTS``. ``NONE`` is the empty prompt."""

    NONE = 0
    POINTS = 1
    BOX = 2
    MASK = 4


#: field -> (trailing shape with -1 for "any", dtype). The leading dimension is always P.
FIELDS: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    'points': ((-1, 2), torch.float32),
    'point_labels': ((-1,), torch.int64),
    'boxes': ((4,), torch.float32),
    'masks': ((1, -1, -1), torch.float32),
    'kinds': ((), torch.int64),
    'target_ids': ((), torch.int64),
    'draw_ids': ((), torch.int64),
    'mode_ids': ((), torch.int64),
    'class_ids': ((), torch.int64),
}


class Prompts(InstanceData):
    """Hold all P prompts of one image.

    Coordinates are pixels (x, y) of the network input; (0, 0) is the centre of the first pixel, as in
    ``segment_anything``. Every field is always there; `kinds` says which of them a prompt uses. The numbers in a field
    that a prompt does not use have no meaning (zeros by convention), but must be finite all the same.

    Fields:
        points (Tensor): (P, N, 2) float32, x and y.
        point_labels (Tensor): (P, N) int64, 1 foreground, 0 background, -1 padding (stripped before the model sees it).
        boxes (Tensor): (P, 4) float32, x1 y1 x2 y2 with x1 <= x2 and y1 <= y2.
        masks (Tensor): (P, 1, 4h, 4w) float32 logits, or (P, 1, 0, 0) where no prompt uses a mask.
        kinds (Tensor): (P,) int64 of :class:`PromptKind`.
        target_ids (Tensor): (P,) int64, the row of ``gt_masks`` that a prompt asks for.
        draw_ids (Tensor): (P,) int64, the random draw a prompt comes from. Noise draws are simply more prompts.
        mode_ids (Tensor): (P,) int64, index into the meta field ``modes`` (tuple[str, ...], names of prompt modes).
        class_ids (Tensor): (P,) int64, the label of the class that a prompt asks for, as in ``gt_sem_seg``; 0 where no
            class is given, as always with one class.

    Prompts with the same mode, draw and target ask for that target together ("one box per defect"): their predicted
    masks are united before they are compared with it.

    Raises:
        ValueError: by :meth:`check`, naming the sample, the field, what came and what was expected.
    """

    points: Tensor
    point_labels: Tensor
    boxes: Tensor
    masks: Tensor
    kinds: Tensor
    target_ids: Tensor
    draw_ids: Tensor
    mode_ids: Tensor
    modes: tuple[str, ...]

    if TYPE_CHECKING:  # what mmengine declares more loosely

        @overload
        def __getitem__(self, item: str) -> Tensor: ...
        @overload
        def __getitem__(self, item: slice | int | Tensor | np.ndarray | list) -> Prompts: ...
        def __getitem__(self, item: Any) -> Any: ...
        def to(self, *args: Any, **kwargs: Any) -> Prompts:
            """Return a copy on a device."""
            ...

        def cpu(self) -> Prompts:
            """Return a copy on the CPU."""
            ...

    @classmethod
    def create(
        cls,
        *,
        points: Tensor | np.ndarray | Sequence | None = None,
        point_labels: Tensor | np.ndarray | Sequence | None = None,
        boxes: Tensor | np.ndarray | Sequence | None = None,
        masks: Tensor | np.ndarray | None = None,
        kinds: Tensor | np.ndarray | Sequence | None = None,
        target_ids: Tensor | np.ndarray | Sequence | None = None,
        draw_ids: Tensor | np.ndarray | Sequence | None = None,
        mode_ids: Tensor | np.ndarray | Sequence | None = None,
        class_ids: Tensor | np.ndarray | Sequence | None = None,
        modes: Sequence[str] = ('prompt',),
        sample: str = 'prompts',
    ) -> Prompts:
        """Complete the fields that are given with neutral ones, convert them to their dtypes, and :meth:`check` them.

        Args:
            points: See the class, as for the other fields.
            point_labels: See the class.
            boxes: See the class.
            masks: See the class.
            kinds: None: all prompts use all fields that are given.
            target_ids: None: 0.
            draw_ids: None: 0.
            mode_ids: None: 0.
            class_ids: None: 0.
            modes: Names of the prompt modes that `mode_ids` index.
            sample: Name used in error messages.

        Returns:
            Prompts of length P, the length of the fields given (at least one is needed; see :meth:`empty`).
        """
        given = dict(
            points=points, point_labels=point_labels, boxes=boxes, masks=masks,
            kinds=kinds, target_ids=target_ids, draw_ids=draw_ids, mode_ids=mode_ids, class_ids=class_ids,
        )  # fmt: skip
        given = {name: _tensor(name, value, sample) for name, value in given.items() if value is not None}
        if not given:
            raise ValueError(f'{sample}: no prompt given; expected points, boxes or masks (or Prompts.empty())')
        if ('points' in given) != ('point_labels' in given):
            missing = 'point_labels' if 'points' in given else 'points'
            raise ValueError(f'{sample}: field `{missing}` is missing; points and point_labels come together')
        number = len(next(iter(given.values())))
        device = next(iter(given.values())).device
        if 'kinds' not in given:
            kind = PromptKind.NONE
            kind |= PromptKind.POINTS if 'points' in given else 0
            kind |= PromptKind.BOX if 'boxes' in given else 0
            kind |= PromptKind.MASK if 'masks' in given else 0
            given['kinds'] = torch.full((number,), int(kind), device=device)
        for name, (trailing, dtype) in FIELDS.items():
            if name not in given:
                shape = (number, *(0 if size == -1 else size for size in trailing))
                given[name] = torch.zeros(shape, dtype=dtype, device=device)
        prompts = cls(metainfo=dict(modes=tuple(modes)))
        for name, value in given.items():
            prompts.set_tensor(name, value)
        return prompts.check(sample)

    @classmethod
    def empty(cls, number: int = 1) -> Prompts:
        """`number` empty prompts (no sparse token, SAM's "no mask" embedding): what prompt-free methods start from."""
        return cls.create(kinds=torch.zeros(number, dtype=torch.int64), modes=('none',))

    def set_tensor(self, name: str, value: Tensor) -> None:
        """Set a field without InstanceData's own length check, so that :meth:`check` can word the error."""
        super(InstanceData, self).__setattr__(name, value)
        self._data_fields.add(name)

    def check(self, sample: str = 'prompts') -> Prompts:
        """Check names, shapes, dtypes and values of all fields.

        Returns:
            self, so that the call can be chained.

        Raises:
            ValueError: names `sample`, the field, what came and what was expected.
        """
        names = set(self.keys())
        if names != set(FIELDS):
            unknown, missing = sorted(names - set(FIELDS)), sorted(set(FIELDS) - names)
            raise ValueError(
                f'{sample}: unknown fields {unknown}, missing fields {missing}; Prompts has exactly {sorted(FIELDS)}'
            )
        number = len(self.kinds)
        for name, (trailing, dtype) in FIELDS.items():
            value = self[name]
            shape = tuple(value.shape)
            fits = len(shape) == 1 + len(trailing) and shape[0] == number
            fits = fits and all(want in (-1, got) for want, got in zip(trailing, shape[1:], strict=False))
            if not fits:
                sizes = [str(number), *('any' if size == -1 else str(size) for size in trailing)]
                wanted = f'({sizes[0]},)' if len(sizes) == 1 else f'({", ".join(sizes)})'
                raise ValueError(f'{sample}: field `{name}` has shape {shape}, expected {wanted}')
            if value.dtype != dtype:
                raise ValueError(f'{sample}: field `{name}` has dtype {value.dtype}, expected {dtype}')
            # The least and the largest value are NaN where any is; unlike isfinite this needs no memory of its size.
            if value.is_floating_point() and value.numel() and not torch.stack(value.aminmax()).isfinite().all():
                where = (~torch.isfinite(value)).nonzero()[0].tolist()
                raise ValueError(f'{sample}: field `{name}` holds {value[tuple(where)]} at {where}, expected finite')
        if self.points.shape[:2] != self.point_labels.shape:
            raise ValueError(
                f'{sample}: field `point_labels` has shape {tuple(self.point_labels.shape)}, '
                f'expected {tuple(self.points.shape[:2])} as `points` has'
            )
        self._check_values(sample)
        return self

    def _check_values(self, sample: str) -> None:
        if not ((self.point_labels >= -1) & (self.point_labels <= 1)).all():
            raise ValueError(
                f'{sample}: field `point_labels` holds {sorted(set(self.point_labels.flatten().tolist()))}, '
                'expected only -1 (padding), 0 (background) and 1 (foreground)'
            )
        if not ((self.kinds >= 0) & (self.kinds < 8)).all():
            raise ValueError(f'{sample}: field `kinds` holds {self.kinds.tolist()}, expected 0 to 7 (see PromptKind)')
        flipped = self.uses(PromptKind.BOX) & (self.boxes[:, 2:] < self.boxes[:, :2]).any(1)
        if flipped.any():
            row = int(flipped.nonzero()[0])
            raise ValueError(
                f'{sample}: field `boxes` row {row} is {self.boxes[row].tolist()}, expected x1 y1 x2 y2 with '
                'x1 <= x2 and y1 <= y2'
            )
        pointless = self.uses(PromptKind.POINTS) & (self.point_labels == -1).all(1)
        if pointless.any():
            row = int(pointless.nonzero()[0])
            raise ValueError(f'{sample}: prompt {row} is of kind POINTS but all its `point_labels` are padding (-1)')
        if self.uses(PromptKind.MASK).any() and self.masks.numel() == 0:
            raise ValueError(f'{sample}: a prompt is of kind MASK but field `masks` is {tuple(self.masks.shape)}')
        modes = self.metainfo.get('modes', ())
        if len(self.mode_ids) and not (0 <= int(self.mode_ids.min()) and int(self.mode_ids.max()) < len(modes)):
            raise ValueError(
                f'{sample}: field `mode_ids` holds {sorted(set(self.mode_ids.tolist()))}, but `modes` names {modes}'
            )
        for name in ('target_ids', 'draw_ids', 'class_ids'):
            if (self[name] < 0).any():
                raise ValueError(f'{sample}: field `{name}` holds {int(self[name].min())}, expected 0 or more')

    def check_inside(self, width: float, height: float, sample: str = 'prompts') -> Prompts:
        """Check that all points and boxes in use lie on an image of `width` x `height` pixels.

        Raises:
            ValueError: names `sample`, the field, the prompt and the image's size.
        """
        # Up to the size itself: coordinates scale by the sizes' ratio (as in SamPredictor), and so the last pixel of a
        # large image, 2047 of 2048, becomes 63.97 of 64.
        limit = self.points.new_tensor([width, height])
        out = ((self.points < -0.5) | (self.points > limit)).any(-1) & (self.point_labels >= 0)
        out &= self.uses(PromptKind.POINTS)[:, None]
        if out.any():
            row, column = out.nonzero()[0].tolist()
            raise ValueError(
                f'{sample}: field `points` [{row}, {column}] is {self.points[row, column].tolist()}, outside the image '
                f'of {width:g} x {height:g} (width x height) pixels'
            )
        corners = self.boxes.view(-1, 2, 2)
        out = ((corners < -0.5) | (corners > limit)).flatten(1).any(1) & self.uses(PromptKind.BOX)
        if out.any():
            row = int(out.nonzero()[0])
            raise ValueError(
                f'{sample}: field `boxes` row {row} is {self.boxes[row].tolist()}, outside the image of '
                f'{width:g} x {height:g} (width x height) pixels'
            )
        return self

    def uses(self, kind: PromptKind) -> Tensor:
        """(P,) bool: which prompts use `kind`."""
        return (self.kinds & int(kind)) != 0

    def with_masks(self, masks: Tensor) -> Prompts:
        """Return a copy with other mask prompts, (P, 1, 4h, 4w) logits."""
        copy = self.clone()
        copy.set_tensor('masks', masks)
        return copy

    def scaled(self, scale_x: float, scale_y: float) -> Prompts:
        """A copy with points and boxes in the frame of an image resized by these factors."""
        scale = self.points.new_tensor([scale_x, scale_y])
        copy = self.clone()
        copy.set_tensor('points', self.points * scale)
        copy.set_tensor('boxes', self.boxes * scale.repeat(2))
        return copy


def rescale(prompts: Prompts, old: tuple[int, int], new: tuple[int, int], name: str) -> Prompts:
    """Move prompts to the frame of a resized image.

    They are checked in the frame in which they were drawn, where half a pixel beside the image is allowed. In an
    enlarged image that is more than half a pixel, so such coordinates are moved to the border of the new image.

    Args:
        prompts: Prompts in pixels of an image of the size `old`.
        old: (height, width) of the image in which they were drawn, in pixels.
        new: (height, width) of the resized image, in pixels.
        name: Name of the sample in error messages.

    Returns:
        A copy in pixels of an image of the size `new`.

    Raises:
        ValueError: A prompt is outside the image of the size `old`; names the image, the prompt and the size.
    """
    (old_height, old_width), (height, width) = old, new
    prompts.check_inside(old_width, old_height, name)
    moved = prompts.scaled(width / old_width, height / old_height)
    limit = moved.points.new_tensor([width, height])
    least = torch.full_like(limit, -0.5)
    moved.points = moved.points.clamp(least, limit)
    moved.boxes = moved.boxes.clamp(least.repeat(2), limit.repeat(2))
    return moved


def _tensor(name: str, value: Tensor | np.ndarray | Sequence, sample: str) -> Tensor:
    if name not in FIELDS:
        raise ValueError(f'{sample}: unknown field `{name}`; Prompts has exactly {sorted(FIELDS)}')
    if (reason := why_no_numbers(value)) is not None:
        raise ValueError(f'{sample}: field `{name}` is {reason}')
    try:
        return torch.as_tensor(value).to(FIELDS[name][1])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f'{sample}: field `{name}` cannot become a tensor: {error}') from error


def why_no_numbers(value: Any) -> str | None:
    """Return what keeps an array, or a list of arrays, from being real numbers, though it converts to them; or None."""
    for row in value if isinstance(value, (list, tuple)) else [value]:
        if np.ma.is_masked(row):
            return 'a masked array with masked values, expected all of them'
        if isinstance(row, torch.Tensor):
            if row.is_complex():
                return 'complex, expected real numbers'
        elif isinstance(row, np.ndarray) and row.dtype.kind in 'cmM':
            return f'of {row.dtype}, expected real numbers'
    return None
