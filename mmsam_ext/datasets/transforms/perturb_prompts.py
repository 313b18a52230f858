"""Makes prompts sloppy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures import PromptKind, Prompts

from .prompt_rng import prompt_rng, sample_key

STREAM = 1


@TRANSFORMS.register_module()
class PerturbPrompts(BaseTransform):
    """Adds noise to prompts, after GeneratePrompts and in the same frame (Stable-SAM, robust training).

    A box's centre moves by up to `box_noise` of its half size, its sides grow or shrink by up to `box_noise` of their
    length, each uniformly and independently by axis, and the result is clipped to the image. A point moves by up to
    `point_jitter` pixels along each axis, within the image.

    Args:
        box_noise: 0 for clean boxes; the paper's 0.4.
        point_jitter: In pixels of the frame the prompts are drawn in.
        modes: Names of the prompt modes to perturb; None: all.
        seed: As in GeneratePrompts; None in training.

    Raises:
        ValueError: a noise below 0, or a mode that GeneratePrompts does not have.
    """

    def __init__(
        self,
        box_noise: float = 0.0,
        point_jitter: float = 0.0,
        modes: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> None:
        for name, value in dict(box_noise=box_noise, point_jitter=point_jitter).items():
            if not value >= 0:
                raise ValueError(f'PerturbPrompts: {name}={value}, expected 0 or more')
        self.box_noise, self.point_jitter, self.modes, self.seed = box_noise, point_jitter, modes, seed

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
        seen: dict[tuple, int] = {}
        for row, (mode, target, draw) in enumerate(
            zip(prompts.mode_ids.tolist(), prompts.target_ids.tolist(), prompts.draw_ids.tolist(), strict=True)
        ):
            if self.modes is not None and prompts.modes[mode] not in self.modes:
                continue
            # Boxes that ask for one target together (one per defect) are told apart by their order.
            place = seen[mode, target, draw] = seen.get((mode, target, draw), -1) + 1
            rng = prompt_rng(self.seed, results, target, draw, STREAM + place)
            if self.box_noise and kinds[row] & PromptKind.BOX:
                boxes[row] = noisy_box(boxes[row], self.box_noise, (height, width), rng)
            if self.point_jitter and kinds[row] & PromptKind.POINTS:
                moved = points[row] + rng.uniform(-self.point_jitter, self.point_jitter, points[row].shape)
                points[row] = moved.clip(0, [width - 1, height - 1])
        prompts._store('boxes', torch.from_numpy(boxes))
        prompts._store('points', torch.from_numpy(points))
        prompts.check(sample_key(results))
        return results


def noisy_box(box: np.ndarray, noise: float, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A box x1 y1 x2 y2 with uniform noise on its centre and its sides, clipped to an image of `size` (H, W)."""
    shift, growth = rng.uniform(-noise, noise, (2, 2))
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    centre = centre + shift * half
    half = np.maximum(half * (1 + growth), 0)
    corners = np.concatenate([centre - half, centre + half])
    limit = np.array([size[1] - 1, size[0] - 1] * 2)
    return corners.clip(0, limit).astype(np.float32)
