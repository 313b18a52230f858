"""Draw prompts from the ground truth."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures import PromptKind, Prompts
from mmsam_ext.structures.prompts import rescale
from mmsam_ext.structures.samples import IGNORE_LABEL, check_num_classes, sample_key

from . import geometry_probe
from .background_prompts import clear_box
from .class_targets import class_targets
from .prompt_rng import prompt_rng

KINDS = {
    'box': PromptKind.BOX,
    'points': PromptKind.POINTS,
    'box+points': PromptKind.BOX | PromptKind.POINTS,
    'none': PromptKind.NONE,
}
STREAM = 0
#: Stands for the background where parts are numbered from 0; and its number in the seeds of evaluation prompts.
BACKGROUND, BACKGROUND_SEED = -1, 2**31 - 1


@dataclass(frozen=True)
class PromptMode:
    """Describe one way to prompt.

    Attributes:
        name: Name of the mode in tables.
        kind: 'box', 'points', 'box+points' or 'none'.
        targets: 'whole' (all foreground), 'parts' (each connected region, or each mask of a dataset with instances) or
            'background': points on pixels with label 0, boxes that hold only such pixels, and an empty target; or
            'image': a box around the image, or the kind 'none', which ask for all foreground, if there is any.
        num_points: Number of foreground points of a prompt.
        draws: Number of random draws of each prompt in evaluation.
        united: Whether the prompts of all parts together ask for the whole, as in "one box per defect". Only with
            'parts' and in evaluation: in training each prompt asks for its own part.
        weight: How often the mode is drawn in training, relative to the others.

    Raises:
        ValueError: A field has an unknown value or is out of its range.
    """

    name: str
    kind: str = 'box'
    targets: str = 'whole'
    num_points: int = 1
    draws: int = 1
    united: bool = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        expected = dict(kind=tuple(KINDS), targets=('whole', 'parts', 'background', 'image'))
        for field, values in expected.items():
            if getattr(self, field) not in values:
                raise ValueError(
                    f'prompt mode {self.name!r}: {field}={getattr(self, field)!r}, expected one of {values}'
                )
        if self.targets == 'image' and self.kind not in ('box', 'none'):
            raise ValueError(
                f"prompt mode {self.name!r}: targets='image' with kind={self.kind!r}, expected 'box' or 'none'"
            )
        if self.num_points < 1 or self.draws < 1 or self.weight < 0:
            raise ValueError(f'prompt mode {self.name!r}: num_points and draws must be 1 or more, weight 0 or more')


@TRANSFORMS.register_module()
class GeneratePrompts(BaseTransform):
    """Draw prompts from the ground truth, for training or for evaluation.

    In evaluation every mode, draw and target gets its prompt, drawn in the frame of the original image: put the
    transform before Resize. From here on the ground truth stays in that frame. In training put it after all geometric
    transforms; with `num_prompts`, that number of (mode, target) pairs is drawn at random.

    Boxes reach from the first to the last foreground pixel, as in SAM. Points are foreground pixels drawn without
    replacement. A target with fewer pixels than points is an error in evaluation; in training, where the geometry may
    have left little of it, points repeat (`replace` changes either).

    Prompts on the background teach a model to answer with an empty mask, and with :class:`IoUPredictionLoss` at
    ``empty=0`` to score it 0. In evaluation their IoU is 1 where the predicted mask is empty, too, and 0 otherwise.

    With `num_classes`, everything is done for each class: its whole, its parts. A prompt carries the label of its class
    (`class_ids`); a class that is not in the image gets prompts of the kind 'none' only, whose target is empty.

    Required keys: img, gt_seg_map (0 background, 1 foreground, or 1 to K with `num_classes`, 255 ignored; other labels
    are an error), optionally gt_masks (T, H, W), the parts. A sample without ground truth passes through
    (MMSegmentation's inferencer removes LoadAnnotations), and so does one that has prompts already.

    Added keys: prompts; gt_masks (T, H, W) uint8, row 0 the whole foreground (rows 0 to K - 1 that of each class),
    then the parts (or the empty mask) that prompts ask for.

    Args:
        modes: Name -> fields of :class:`PromptMode`.
        seed: Seed of the prompts, which then depend on (seed, sample, target, draw) alone; None draws them from NumPy's
            global state.
        num_prompts: Number of prompts of a training sample; None draws one of each mode (and of each part).
        min_area: Parts with fewer pixels are not targets of their own, but they still belong to the whole.
        replace: Whether points repeat if a target has fewer pixels than points, which is logged; otherwise it is an
            error. None: only in training.
        num_classes: K, number of classes without the background; None: one class, the foreground.
        training: True for training, False for evaluation. None: evaluation if there is a `seed`, else training.
        draw_size: (height, width) to which masks are resized (bilinear, more than half) before evaluation prompts are
            drawn from them; the prompts are then moved back to the frame of the image. The authors of SPT draw at
            (1024, 1024). Only for one class, its whole, and parts that are united. A mask that is so thin that nothing
            is left of it at this size is drawn from as it is, which is logged. None: so are all masks.

    Raises:
        ValueError: An argument does not fit the others, `gt_masks` reaches beyond the foreground, a target has fewer
            pixels than points, or an evaluation sample has no foreground, or no background where a mode needs it. (Such
            a training sample is skipped and another one is taken, as mmengine does for a transform that returns None.)

    Example::

        dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), num_prompts=4, training=True)
        dict(type='GeneratePrompts', modes=dict(point=dict(kind='points', draws=20)), seed=0, training=False)
    """

    def __init__(
        self,
        modes: Mapping[str, Mapping],
        seed: int | None = None,
        num_prompts: int | None = None,
        min_area: int = 1,
        replace: bool | None = None,
        training: bool | None = None,
        num_classes: int | None = None,
        draw_size: Sequence[int] | None = None,
    ) -> None:
        self.num_classes = check_num_classes('GeneratePrompts', num_classes)
        if not modes:
            raise ValueError('GeneratePrompts: modes is empty, expected name -> dict(kind=...)')
        self.training = seed is None if training is None else training
        if num_prompts is not None and not self.training:
            raise ValueError(
                f'GeneratePrompts: num_prompts={num_prompts} is for training, but seed={seed} and training={training} '
                'mean evaluation; leave num_prompts out, or set training=True'
            )
        self.modes = [PromptMode(name=name, **fields) for name, fields in modes.items()]
        if num_prompts is not None and not any(mode.weight for mode in self.modes):
            raise ValueError(f'GeneratePrompts: weight of all modes {list(modes)} is 0, expected one above 0')
        self.seed, self.num_prompts, self.min_area = seed, num_prompts, min_area
        self.replace = self.training if replace is None else replace
        self.draw_size = _checked_size(draw_size)
        own = [mode.name for mode in self.modes if mode.targets != 'whole' and not mode.united]
        if draw_size is not None and (self.training or own or num_classes is not None):
            raise ValueError(
                f'GeneratePrompts: draw_size={tuple(draw_size)} with training={self.training}, num_classes='
                f'{num_classes} and the modes {own} that ask for less than the whole, expected evaluation of one class '
                'by the whole, or by parts that are united'
            )

    def transform(self, results: dict) -> dict | None:
        """Add `prompts` and `gt_masks` to `results`; return None for a training sample to skip."""
        if 'prompts' in results or 'gt_seg_map' not in results:
            if 'prompts' in results:
                self._freeze_frame(results)
            return results
        self._check_labels(results)
        labels, count = results['gt_seg_map'], self.num_classes or 1
        if not ((labels > 0) & (labels != IGNORE_LABEL)).any() and not any(map(self._suits_normal, self.modes)):
            return self._nothing_to_draw(results, 'foreground')
        background = (labels == 0).astype(np.uint8)
        if not background.any() and any(mode.targets == 'background' for mode in self.modes):
            return self._nothing_to_draw(results, 'background')
        with_parts = any(mode.targets == 'parts' for mode in self.modes)
        name, seen, masks = sample_key(results), labels, results.get('gt_masks')
        draw_size = self.draw_size
        if draw_size is not None:
            resized = resized_mask(labels == 1, draw_size)
            if resized.any():
                seen, masks = resized, None
            else:
                draw_size = None
                lost = f'{name}: nothing is left of the mask at draw_size={self.draw_size}'
                print_log(f'{lost}; prompts are drawn from it as it is', logger='current', level=logging.WARNING)
        targets = class_targets(seen, count, masks, self.min_area, with_parts, name)
        rows = list(targets.wholes) if draw_size is None else [(labels == 1).astype(np.uint8)]
        row_of: dict[int, int] = {}
        prompts: list[dict] = []
        for mode, key, draw in self._choose(cast('np.ndarray', targets.wholes.any((1, 2))), len(targets.parts)):
            rng = prompt_rng(self.seed, results, BACKGROUND_SEED if key == BACKGROUND else key, draw, STREAM)
            if key == BACKGROUND:
                mask = clear_box(background, rng) if 'box' in self.modes[mode].kind else background
                label = int(rng.integers(count)) if count > 1 else 0  # what is looked for, and is not there
            else:
                label = key if key < count else targets.part_classes[key - count]
                mask = targets.wholes[key] if key < count else targets.parts[key - count]
            if self.modes[mode].targets == 'image':
                mask = np.ones_like(background)
            target = label
            # One box of several cannot ask for the whole: in training, where nothing is united, it asks for its part.
            if not 0 <= key < count and (self.training or not self.modes[mode].united):
                if key not in row_of:
                    row_of[key] = len(rows)
                    rows.append(np.zeros_like(background) if key == BACKGROUND else mask)
                target = row_of[key]
            drawn = self._draw(self.modes[mode], mask, rng, results)
            label = 0 if self.num_classes is None else label + 1  # the class as in gt_seg_map
            prompts.append(dict(mode=mode, target=target, draw=draw, label=label) | drawn)
        results['prompts'] = self._assemble(prompts, name)
        if draw_size is not None:
            results['prompts'] = rescale(results['prompts'], draw_size, labels.shape, name)
        results['gt_masks'] = np.stack(rows)
        self._freeze_frame(results)
        return results

    def _suits_normal(self, mode: PromptMode) -> bool:
        """Return whether a mode makes prompts for images without foreground."""
        return mode.targets in ('background', 'image') and (mode.weight > 0 or self.num_prompts is None)

    def _check_labels(self, results: dict) -> None:
        labels, count = results['gt_seg_map'], self.num_classes or 1
        wrong = ((labels < 0) | (labels > count)) & (labels != IGNORE_LABEL)
        if not wrong.any():
            return
        found = f'{sample_key(results)}: field `gt_seg_map` holds the labels {np.unique(labels).tolist()}, expected 0'
        if self.num_classes is not None:
            raise ValueError(
                f'{found} (background), 1 to {count} (num_classes={count}) and {IGNORE_LABEL} (ignored); set '
                'num_classes in GeneratePrompts and in the model to the number of classes without the background'
            )
        raise ValueError(
            f'{found} (background), 1 (foreground) and {IGNORE_LABEL} (ignored). Without num_classes, prompts ask for '
            'one class: set num_classes in GeneratePrompts and in the model, or load the masks with '
            'LoadBinaryMask(foreground=[...]), which takes the classes named there as the foreground, or map the '
            'labels with the `label_map` of the dataset'
        )

    def _freeze_frame(self, results: dict) -> None:
        if not self.training:
            results['seg_fields'] = []  # the ground truth stays at the original size, as in MMSegmentation's tests
        geometry_probe.plant(results)

    def _choose(self, present: np.ndarray, parts: int) -> list[tuple[int, int, int]]:
        """Return (mode, key of the target, draw) of each prompt.

        Args:
            present: (K,) bool, the classes that are in the image.
            parts: Number of parts; their keys follow those of the K classes, 0 to K - 1.
        """
        options = []
        for index, mode in enumerate(self.modes):
            keys = dict(
                whole=np.flatnonzero(present | (mode.kind == 'none')).tolist(),
                parts=range(len(present), len(present) + parts),
                background=(BACKGROUND,),
                image=range(len(present)),
            )[mode.targets]
            draws = (0,) if self.training else range(mode.draws)
            options.append([(index, key, draw) for draw in draws for key in keys])
        if self.num_prompts is None:
            return [option for group in options for option in group]
        weights = np.array(
            [mode.weight * bool(own) for mode, own in zip(self.modes, options, strict=True)], dtype=float
        )
        modes = np.random.choice(len(self.modes), self.num_prompts, p=weights / weights.sum())
        # Each prompt of a training sample has a draw id of its own, so that metrics on training data stay meaningful.
        return [
            (*options[mode][np.random.randint(len(options[mode]))][:2], draw) for draw, mode in enumerate(modes)
        ]  # fmt: skip

    def _draw(self, mode: PromptMode, mask: np.ndarray, rng: np.random.Generator, results: dict) -> dict:
        """Draw one prompt for a mask (H, W), in its pixels."""
        prompt: dict = dict(kind=KINDS[mode.kind], points=np.zeros((0, 2), np.float32), box=np.zeros(4, np.float32))
        if PromptKind.BOX in prompt['kind']:
            x, y, width, height = cv2.boundingRect(mask)
            prompt['box'] = np.array([x, y, x + width - 1, y + height - 1], np.float32)
        if PromptKind.POINTS in prompt['kind']:
            pixels = np.flatnonzero(mask)
            enough = len(pixels) >= mode.num_points
            if not enough:
                few = (
                    f'{sample_key(results)}: prompt mode {mode.name!r} draws {mode.num_points} points from a target of '
                    f'{len(pixels)} pixels'
                )
                if not self.replace:
                    raise ValueError(
                        f'{few}, expected at least {mode.num_points}; set replace=True in GeneratePrompts to repeat '
                        'points, or min_area to leave small parts out'
                    )
                print_log(f'{few}; points repeat', logger='current', level=logging.WARNING)
            drawn = rng.choice(pixels, mode.num_points, replace=not enough)
            prompt['points'] = np.stack([drawn % mask.shape[1], drawn // mask.shape[1]], 1).astype(np.float32)
        return prompt

    def _assemble(self, prompts: list[dict], sample: str) -> Prompts:
        longest = max(len(prompt['points']) for prompt in prompts)
        points = np.zeros((len(prompts), longest, 2), np.float32)
        labels = np.full((len(prompts), longest), -1)
        for index, prompt in enumerate(prompts):
            points[index, : len(prompt['points'])] = prompt['points']
            labels[index, : len(prompt['points'])] = 1
        return Prompts.create(
            points=points,
            point_labels=labels,
            boxes=np.stack([prompt['box'] for prompt in prompts]),
            kinds=np.array([int(prompt['kind']) for prompt in prompts]),
            target_ids=np.array([prompt['target'] for prompt in prompts]),
            draw_ids=np.array([prompt['draw'] for prompt in prompts]),
            mode_ids=np.array([prompt['mode'] for prompt in prompts]),
            class_ids=np.array([prompt['label'] for prompt in prompts]),
            modes=[mode.name for mode in self.modes],
            sample=sample,
        )

    def _nothing_to_draw(self, results: dict, what: str) -> None:
        name = sample_key(results)
        if not self.training:
            advice = dict(
                foreground='set drop_empty=True in the dataset if it has this argument, or remove the sample',
                background="remove the sample, or the modes with targets='background'",
            )
            raise ValueError(f'{name}: the mask has no {what}, so no prompt can be drawn; {advice[what]}')
        print_log(f'{name}: the mask has no {what}; another sample is taken', logger='current', level=logging.WARNING)
        return


def _checked_size(size: Sequence[int] | None) -> tuple[int, int] | None:
    whole = isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    if size is not None and not whole:
        raise ValueError(f'GeneratePrompts: draw_size={size!r}, expected (height, width), two whole numbers above 0')
    return None if size is None else (size[0], size[1])


def resized_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask (H, W) of 0 and 1 bilinearly to `size` (height, width); uint8, 1 where it is more than 128 of 255.

    Paper: so does the code of SPT's authors (and of HQ-SAM's) before it draws boxes and points.
    """
    resized = cv2.resize(mask.astype(np.float32) * 255, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return (resized > 128).astype(np.uint8)
