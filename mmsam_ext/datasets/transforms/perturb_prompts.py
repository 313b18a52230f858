"""Perturb prompts with random noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures import PromptKind, Prompts
from mmsam_ext.structures.samples import sample_key

from .prompt_rng import prompt_rng

STREAM = 1
#: The search for a box within an IoU range: boxes drawn at a time, number of times, and the largest noise.
CANDIDATES, ROUNDS, MOST_NOISE = 256, 40, 1.5


@TRANSFORMS.register_module()
class PerturbPrompts(BaseTransform):
    """Add noise to prompts, after GeneratePrompts and in the same frame.

    The centre of a box moves by up to `box_noise` times half its size, and its sides grow or shrink by up to
    `box_noise` times their length, each uniformly and independently along each axis; the result is clipped to the
    image. A point moves by up to `point_jitter` pixels along each axis, within the image.

    With `box_iou` the noise is chosen by its effect: boxes are drawn with noise of scales from 0 to 1.5, and the first
    one is taken whose IoU with the clean box lies in the range (Stable-SAM, Table 3: 0.5 to 0.6 and 0.6 to 0.7).

    Paper: Stable-SAM (arXiv:2311.15776), robust training.

    Boxes from outside (:class:`LoadPrompts`) are continuous, as COCO's are: a box from x to x + w is w wide. The noise
    on boxes of annotations depends on (seed, annotation, draw) alone.

    Args:
        box_noise: Scale of the noise on boxes; 0 for clean boxes, 0.4 in the paper.
        box_iou: (least, most) IoU with the clean box; give either this or `box_noise`.
        point_jitter: Largest shift of a point, in pixels of the frame in which prompts are drawn.
        modes: Names of the prompt modes to perturb; None for all.
        seed: As in :class:`GeneratePrompts`; None draws the noise from NumPy's global state.

    Raises:
        ValueError: A noise is below 0, `box_iou` is not a valid range, GeneratePrompts does not have a mode of `modes`,
            or no noisy box within the IoU range is found for a box.
    """

    def __init__(
        self,
        box_noise: float = 0.0,
        box_iou: tuple[float, float] | None = None,
        point_jitter: float = 0.0,
        modes: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> None:
        for name, value in dict(box_noise=box_noise, point_jitter=point_jitter).items():
            if not value >= 0:
                raise ValueError(f'PerturbPrompts: {name}={value}, expected 0 or more')
        if box_iou is not None and not (len(box_iou) == 2 and 0 <= box_iou[0] < box_iou[1] <= 1):
            raise ValueError(f'PerturbPrompts: box_iou={box_iou}, expected (least, most) with 0 <= least < most <= 1')
        if box_iou is not None and box_noise:
            raise ValueError(f'PerturbPrompts: box_noise={box_noise} and box_iou={box_iou}, expected one of them')
        self.box_noise, self.box_iou, self.point_jitter = box_noise, box_iou, point_jitter
        self.modes, self.seed = modes, seed

    def transform(self, results: dict) -> dict:
        """Perturb ``results['prompts']``; a sample without prompts passes through."""
        prompts: Prompts | None = results.get('prompts')
        if prompts is None:
            return results
        unknown = set(self.modes or ()) - set(prompts.modes)
        if unknown:
            raise ValueError(f'PerturbPrompts: modes {sorted(unknown)} unknown, GeneratePrompts has {prompts.modes}')
        height, width = results['img'].shape[:2]
        boxes, points = prompts.boxes.numpy().copy(), prompts.points.numpy().copy()
        kinds = prompts.kinds.tolist()
        annotations = results['prompt_info']['annotation_ids'] if 'prompt_info' in results else None
        # Boxes drawn from masks name their last pixel, those from outside end behind it.
        end = np.array([0, 0, 1, 1], np.float32) * (annotations is not None)
        seen: dict[tuple, int] = {}
        for row, (mode, target, draw) in enumerate(
            zip(prompts.mode_ids.tolist(), prompts.target_ids.tolist(), prompts.draw_ids.tolist(), strict=True)
        ):
            if self.modes is not None and prompts.modes[mode] not in self.modes:
                continue
            # Boxes that ask for one target together (one per defect) are told apart by their order.
            place = seen[mode, target, draw] = seen.get((mode, target, draw), -1) + 1
            if annotations is not None and annotations[row] >= 0:
                rng = prompt_rng(self.seed, dict(sample_id=f'annotation {annotations[row]}'), 0, draw, STREAM)
            else:
                rng = prompt_rng(self.seed, results, target, draw, STREAM + place)
            if self.box_noise and kinds[row] & PromptKind.BOX:
                boxes[row] = noisy_box(boxes[row], self.box_noise, (height, width), rng)
            if self.box_iou and kinds[row] & PromptKind.BOX:
                noisy = box_of_iou(boxes[row] - end, self.box_iou, (height, width), rng)
                if noisy is None:
                    raise ValueError(
                        f'{sample_key(results)}: no box with an IoU of {self.box_iou[0]:g} to {self.box_iou[1]:g} with '
                        f'box {boxes[row].tolist()} of prompt {row} was found among {ROUNDS * CANDIDATES} noisy ones '
                        f'(image of {width} x {height} pixels, width x height)'
                    )
                boxes[row] = noisy + end
            if self.point_jitter and kinds[row] & PromptKind.POINTS:
                moved = points[row] + rng.uniform(-self.point_jitter, self.point_jitter, points[row].shape)
                points[row] = moved.clip(0, [width - 1, height - 1])
        prompts.set_tensor('boxes', torch.from_numpy(boxes))
        prompts.set_tensor('points', torch.from_numpy(points))
        prompts.check(sample_key(results))
        return results


def noisy_box(box: np.ndarray, noise: float, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A box x1 y1 x2 y2 with uniform noise on its centre and its sides, clipped to an image of `size` (H, W).

    Sides are x2 - x1, without the + 1 of :func:`box_of_iou`: a box one pixel wide stays as it is along that axis. With
    it every box of existing tables would change.
    """
    shift, growth = rng.uniform(-noise, noise, (2, 2))
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    centre = centre + shift * half
    half = np.maximum(half * (1 + growth), 0)
    corners = np.concatenate([centre - half, centre + half])
    limit = np.array([size[1] - 1, size[0] - 1] * 2)
    return corners.clip(0, limit).astype(np.float32)


def box_of_iou(
    box: np.ndarray, iou: tuple[float, float], size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray | None:
    """Draw noisy boxes until the IoU of one with `box` lies in the range `iou`.

    Returns:
        That box, x1 y1 x2 y2, clipped to an image of `size` (H, W); None if a bounded search finds none.
    """
    for _ in range(ROUNDS):
        noise = rng.uniform(0, MOST_NOISE, (CANDIDATES, 1, 1)) * rng.uniform(-1, 1, (CANDIDATES, 2, 2))
        shift, growth = noise[:, 0], noise[:, 1]
        sides = box[2:] - box[:2] + 1  # pixels: a line of one pixel can move, too
        centre = (box[:2] + box[2:]) / 2 + shift * sides / 2
        half = np.maximum(sides * (1 + growth) - 1, 0) / 2
        corners = np.concatenate([centre - half, centre + half], 1)  # (CANDIDATES, 4)
        corners = corners.clip(0, [size[1] - 1, size[0] - 1] * 2).astype(np.float32)
        reached = box_iou(box, corners)
        found = np.flatnonzero((reached >= iou[0]) & (reached <= iou[1]))
        if len(found):
            return corners[found[0]]
    return None


def box_iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of a box (4,) with others (N, 4), x1 y1 x2 y2 of the first and last pixels -> (N,)."""
    overlap = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + 1
    intersection = overlap.clip(0).prod(1)
    areas = (others[:, 2:] - others[:, :2] + 1).prod(1)
    return intersection / (areas + (box[2:] - box[:2] + 1).prod() - intersection)
