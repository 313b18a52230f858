"""`PromptBatch`: the prompts of all images of a batch, flattened into one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .prompts import PromptKind, Prompts
from .samples import sample_name, sample_prompts

#: Fields with a row for each prompt that need no padding when prompts of several images are joined.
ID_FIELDS = ('kinds', 'target_ids', 'draw_ids', 'mode_ids', 'class_ids')
#: All fields with a row for each prompt.
PROMPT_FIELDS = ('points', 'point_labels', 'boxes', 'masks', *ID_FIELDS)


@dataclass(frozen=True)
class PromptBatch:
    """All P prompts of the B images of a batch, image by image, in the order of each image's :class:`Prompts`.

    The segmentor makes it once, after the data preprocessor; everything behind takes it.

    Attributes:
        points: (P, N, 2) float32, x and y in pixels of the network input; N is the largest of all images.
        point_labels: (P, N) int64, 1 foreground, 0 background, -1 padding.
        boxes: (P, 4) float32, x1 y1 x2 y2 in pixels of the network input.
        masks: (P, 1, 4h, 4w) float32 logits, zeros for images without mask prompts; (P, 1, 0, 0) if no image has any.
        kinds: (P,) int64 of :class:`PromptKind`.
        target_ids: (P,) int64, the target mask of its image that each prompt asks for.
        draw_ids: (P,) int64, the random draw that each prompt comes from.
        mode_ids: (P,) int64, index into the prompt modes of its image.
        class_ids: (P,) int64, the label of the class that each prompt asks for, 0 where none is given.
        image_index: (P,) int64 from 0 to B - 1, the image of each prompt; never decreases.
        numbers: The number of prompts of each image; length B.
        input_size: (H, W) of the padded network input.
        names: The name of each image in error messages; length B.
    """

    points: Tensor
    point_labels: Tensor
    boxes: Tensor
    masks: Tensor
    kinds: Tensor
    target_ids: Tensor
    draw_ids: Tensor
    mode_ids: Tensor
    class_ids: Tensor
    image_index: Tensor
    numbers: tuple[int, ...]
    input_size: tuple[int, int]
    names: tuple[str, ...]

    @classmethod
    def from_prompts(
        cls, prompts: Sequence[Prompts], input_size: Sequence[int], names: Sequence[str] | None = None
    ) -> PromptBatch:
        """Flatten the prompts of each image.

        Args:
            prompts: One :class:`Prompts` per image, all on the same device.
            input_size: (H, W) of the padded network input.
            names: The name of each image in error messages; by default its place in the batch.

        Raises:
            ValueError: The mask prompts of two images have different sizes; the error names one of the images.

        Example::

            batch = PromptBatch.from_prompts([Prompts.create(boxes=[[10, 20, 80, 90]])], (1024, 1024))
            prediction = model.decode(model.extract_feat(images), batch)
        """
        names = tuple(names or (f'image {index} of the batch' for index in range(len(prompts))))
        longest = max(p.points.shape[1] for p in prompts)
        gaps = [longest - p.points.shape[1] for p in prompts]
        numbers = tuple(len(p) for p in prompts)
        device = prompts[0].kinds.device
        return cls(
            points=torch.cat([F.pad(p.points, (0, 0, 0, gap)) for p, gap in zip(prompts, gaps, strict=True)]),
            point_labels=torch.cat(
                [F.pad(p.point_labels, (0, gap), value=-1) for p, gap in zip(prompts, gaps, strict=True)]
            ),
            masks=_joined_masks(prompts, names),
            image_index=torch.cat([torch.full((n,), index, device=device) for index, n in enumerate(numbers)]),
            numbers=numbers,
            input_size=(int(input_size[0]), int(input_size[1])),
            names=names,
            **{name: torch.cat([p[name] for p in prompts]) for name in ('boxes', *ID_FIELDS)},
        )

    @classmethod
    def from_samples(cls, samples: Sequence[Any] | None, inputs: Tensor) -> PromptBatch:
        """Flatten the prompts of a batch of data samples; an image whose sample has none gets the empty prompt.

        Args:
            samples: One data sample per image, or None for a batch without samples.
            inputs: (B, 3, H, W), the network input.
        """
        samples = samples or [{} for _ in inputs]
        empty = Prompts.empty().to(inputs.device)
        prompts = [sample_prompts(sample) if 'prompts' in sample else empty for sample in samples]
        names = [
            sample_name(sample) if _is_named(sample) else f'image {index} of the batch'
            for index, sample in enumerate(samples)
        ]
        return cls.from_prompts(prompts, inputs.shape[-2:], names)

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def is_one_point(self) -> Tensor:
        """(P,) bool: True for prompts that consist of a single point and nothing else."""
        return (self.kinds == int(PromptKind.POINTS)) & ((self.point_labels >= 0).sum(1) == 1)

    def uses(self, kind: PromptKind) -> Tensor:
        """Return (P,) bool: True for prompts that use `kind`."""
        return (self.kinds & int(kind)) != 0

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Split (P, ...) values of all prompts into those of each image, as views."""
        return values.split(self.numbers)

    def select(self, rows: Tensor, numbers: Sequence[int] | None = None) -> PromptBatch:
        """Return some of the prompts.

        Args:
            rows: (R,) places in the batch, sorted by image.
            numbers: How many of the rows belong to each image. Counted if None, which waits for a GPU.
        """
        image_index = self.image_index[rows]
        if numbers is None:
            numbers = image_index.bincount(minlength=len(self.numbers)).tolist()
        return replace(
            self,
            image_index=image_index,
            numbers=tuple(numbers),
            **{name: getattr(self, name)[rows] for name in PROMPT_FIELDS},
        )

    def by_class(self, num_classes: int) -> PromptBatch:
        """Repeat the empty prompts that name no class for each class, and check the classes of the others.

        Args:
            num_classes: K, number of classes without the background; their labels are 1 to K.

        Returns:
            The prompts; those repeated ask for the targets 0 to K - 1 of their image.

        Raises:
            ValueError: A prompt asks for a class beyond K; the error names its image.
        """
        if len(self) and int(self.class_ids.max()) > num_classes:
            row = int(self.class_ids.argmax())
            raise ValueError(
                f'{self.names[int(self.image_index[row])]}: field `class_ids` holds {int(self.class_ids[row])}, '
                f'expected at most {num_classes}, the number of classes of the model'
            )
        free = (self.kinds == int(PromptKind.NONE)) & (self.class_ids == 0)
        if not free.any():
            return self
        repeats = torch.where(free, num_classes, 1)
        rows = torch.arange(len(self), device=free.device).repeat_interleave(repeats)
        first = repeats.cumsum(0) - repeats
        label = torch.arange(len(rows), device=free.device) - first[rows] + 1  # 1 to K within each repeated prompt
        batch = self.select(rows)
        return replace(
            batch,
            class_ids=torch.where(free[rows], label, batch.class_ids),
            target_ids=torch.where(free[rows], label - 1, batch.target_ids),
        )


def _is_named(sample: Any) -> bool:
    return not isinstance(sample, Mapping) and bool(sample.get('img_path') or sample.get('sample_id'))


def _joined_masks(prompts: Sequence[Prompts], names: Sequence[str]) -> Tensor:
    """Concatenate mask prompts to (P, 1, h, w), with zeros for images that have none."""
    first = next((index for index, p in enumerate(prompts) if p.masks.numel()), None)
    if first is None:
        return torch.cat([p.masks.reshape(len(p), 1, 0, 0) for p in prompts])
    size = prompts[first].masks.shape[-2:]
    blank = prompts[first].masks.new_zeros(1, *size)
    masks = []
    for p, name in zip(prompts, names, strict=True):
        if p.masks.numel() and p.masks.shape[-2:] != size:
            raise ValueError(
                f'{name}: field `masks` has shape {tuple(p.masks.shape)}, expected ({len(p)}, 1, {size[0]}, {size[1]}) '
                f'as in {names[first]}; all mask prompts of a batch must have the same size'
            )
        masks.append(p.masks if p.masks.numel() else blank.expand(len(p), -1, -1, -1))
    return torch.cat(masks)
