"""Point Matching Module (PMM): in training, points of the predicted boundary learn to find the true one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import MaskPrediction, PromptBatch, SAMFeatures

from ..layers.contours import PARTS, Contour, find_contours, pair_contours
from .base import PromptAuxiliaryHead


@MODELS.register_module()
class PointMatchingModule(PromptAuxiliaryHead):
    """Refine evenly spaced points of the predicted boundary by a transformer on features of the mask decoder.

    The boundary of the single-mask output is found on the map of logits, features of the decoder's upscaled map are
    sampled along it, and one pass of the transformer predicts an offset for each point. The loss is the smooth L1
    distance, in pixels of that map, to as many points of the true boundary, under the best cyclic shift. It reaches the
    prompt through the sampled features; the positions of the points have no gradient. Inference does without it.

    Boundaries are skipped and counted in the log (``skipped_contours``, mean of a batch) where a mask is empty, where
    they have too few pixels, or where they run along the border of the map for the most part. Those with fewer pixels
    than points get points between their pixels (``interpolated_contours`` in the log).

    Paper: Task-Specific Adaptation of Segmentation Foundation Model via Prompt Learning (arXiv:2403.09199), section
    4.2; the boundary transformer is that of TextBPN++.

    Args:
        in_channels: Channels of the upscaled map, an eighth of the decoder's.
        num_points: Points of a boundary; TextBPN++ has 20.
        dim: Width of the transformer.
        ffn_dim: Hidden width of its feed-forward layers.
        num_blocks: Its blocks.
        num_heads: Heads of its attention.
        parts: 'largest': the outer boundary of the largest region of both masks; 'all': of all regions and holes, each
            with the true one that its bounding box overlaps most.
        min_pixels: Boundaries of fewer pixels are skipped.
        max_border: Boundaries with more than this share of their pixels on the border of the map are skipped.
        loss_weight: Factor of the loss.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: An argument is out of its range; in `loss`, the upscaled map has another number of channels.
    """

    needs_single_mask = True

    def __init__(
        self,
        in_channels: int = 32,
        num_points: int = 64,
        dim: int = 128,
        ffn_dim: int = 1024,
        num_blocks: int = 3,
        num_heads: int = 8,
        parts: str = 'largest',
        min_pixels: int = 8,
        max_border: float = 0.5,
        loss_weight: float = 1.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if parts not in PARTS:
            raise ValueError(f'PointMatchingModule: parts={parts!r}, expected one of {PARTS}')
        if num_points < 3 or min_pixels < 3:
            raise ValueError(
                f'PointMatchingModule: num_points={num_points}, min_pixels={min_pixels}, expected 3 or more'
            )
        if not 0 < max_border <= 1:
            raise ValueError(f'PointMatchingModule: max_border={max_border}, expected above 0 and at most 1')
        self.in_channels, self.num_points = in_channels, num_points
        self.parts, self.min_pixels, self.max_border = parts, min_pixels, max_border
        self.loss_weight = loss_weight
        node = in_channels + 2
        self.embed = nn.Linear(node, dim)
        self.blocks = nn.Sequential(*(_BoundaryBlock(dim, ffn_dim, num_heads) for _ in range(num_blocks)))
        self.shortcut = nn.Linear(node, dim)
        self.offset = nn.Sequential(nn.Linear(2 * dim, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))

    def loss(
        self,
        features: SAMFeatures | None,
        prediction: MaskPrediction,
        targets: Tensor,
        batch: PromptBatch | None = None,
    ) -> dict[str, Tensor]:
        """Compute the point matching loss of P prompts.

        Args:
            features: Not used.
            prediction: logits (P, M, 4h, 4w), upscaled (P, in_channels, 4h, 4w).
            targets: (P, 4h, 4w) in [0, 1]; foreground is > 0.5.
            batch: Not used.

        Returns:
            ``loss_pmm``, and the numbers of boundaries that were skipped and interpolated.

        Raises:
            ValueError: The upscaled features do not have `in_channels` channels.
        """
        upscaled = prediction.upscaled
        assert upscaled is not None, 'a segmentor with auxiliary heads requests them'
        if upscaled.shape[1] != self.in_channels:
            raise ValueError(
                f'PointMatchingModule: upscaled features of {upscaled.shape[1]} channels, expected '
                f"in_channels={self.in_channels} (an eighth of the mask decoder's)"
            )
        matches = self.match(prediction.logits[:, 0].detach() > 0, targets > 0.5)
        if len(matches.rows):
            refined = self.refine(upscaled, matches)
            loss = cyclic_distance(refined.float(), matches.truth).mean()
        else:  # zero, but with a (zero) gradient for all: DDP waits for it
            loss = 0.0 * (upscaled.sum() + sum(parameter.sum() for parameter in self.parameters()))
        return dict(
            loss_pmm=self.loss_weight * loss,
            skipped_contours=targets.new_tensor(float(matches.skipped)),
            interpolated_contours=targets.new_tensor(float(matches.interpolated)),
        )

    def match(self, predicted: Tensor, true: Tensor) -> Matches:
        """Find and pair the boundaries of two (P, h, w) bool masks."""
        rows, slots, points, truth, skipped, interpolated = [], [], [], [], 0, 0
        for row, (here, there) in enumerate(zip(predicted.cpu().numpy(), true.cpu().numpy(), strict=True)):
            found = find_contours(here, self.parts)
            usable, wanted = self._usable(found, here.shape), self._usable(find_contours(there, self.parts), here.shape)
            largest = self.parts == 'largest'
            pairs = list(zip(usable, wanted, strict=False)) if largest else pair_contours(usable, wanted)
            skipped += max(1, len(found)) - len(pairs)
            for slot, pair in enumerate(pairs):
                interpolated += min(len(contour.pixels) for contour in pair) < self.num_points
                rows.append(row)
                slots.append(slot)
                points.append(pair[0].even_points(self.num_points))
                truth.append(pair[1].even_points(self.num_points))
        empty = np.zeros((0, self.num_points, 2), np.float32)
        return Matches(
            torch.tensor(rows, dtype=torch.long, device=true.device),
            torch.tensor(slots, dtype=torch.long, device=true.device),
            torch.from_numpy(np.stack(points) if points else empty).to(true.device),
            torch.from_numpy(np.stack(truth) if truth else empty).to(true.device),
            skipped,
            interpolated,
        )

    def _usable(self, contours: list[Contour], shape: tuple[int, int]) -> list[Contour]:
        long_enough = [contour for contour in contours if len(contour.pixels) >= self.min_pixels]
        return [contour for contour in long_enough if contour.border_share(shape) <= self.max_border]

    def refine(self, upscaled: Tensor, matches: Matches) -> Tensor:
        """Move the R predicted boundaries: upscaled (P, in_channels, h, w) -> points (R, N, 2) in its pixels."""
        size = upscaled.new_tensor([upscaled.shape[3] - 1, upscaled.shape[2] - 1], dtype=torch.float32)
        position = 2 * matches.points / size - 1  # (R, N, 2) in [-1, 1]
        # All boundaries of a prompt in one grid: its map is read once and never copied.
        grid = position.new_zeros(len(upscaled), int(matches.slots.max()) + 1, self.num_points, 2)
        grid = grid.index_put((matches.rows, matches.slots), position)
        sampled = F.grid_sample(upscaled.float(), grid, mode='bilinear', padding_mode='border', align_corners=True)
        sampled = sampled.permute(0, 2, 3, 1)[matches.rows, matches.slots]  # (P, C, S, N) -> (R, N, C)
        # By statistics of the rank alone: with a BatchNorm, a Runner's `sync_bn` would wait for ranks that skipped
        # all of their boundaries.
        nodes = torch.cat([sampled, position], 2).transpose(1, 2)
        nodes = F.batch_norm(nodes, None, None, training=True).transpose(1, 2)  # (R, N, C + 2)
        encoded = self.blocks(self.embed(nodes))  # (R, N, dim)
        return matches.points + self.offset(torch.cat([encoded, self.shortcut(nodes)], 2))


@dataclass
class Matches:
    """Store R pairs of boundaries to learn from.

    Attributes:
        rows: (R,) the prompt that each boundary belongs to.
        slots: (R,) index of each boundary within its prompt.
        points: (R, N, 2) points of the predicted boundary, x and y in pixels of the map of logits.
        truth: (R, N, 2) points of the true one; their start is arbitrary.
        skipped: Number of predicted boundaries that cannot be used, and of prompts without any boundary.
        interpolated: Boundaries (predicted or true) of fewer pixels than points.
    """

    rows: Tensor
    slots: Tensor
    points: Tensor
    truth: Tensor
    skipped: int
    interpolated: int


class _BoundaryBlock(nn.Module):
    """Apply self-attention among the points of a boundary and a feed-forward layer, each with residual and LayerNorm.

    As in TextBPN++, queries, keys and values pass a linear layer each before the attention projects them.
    """

    def __init__(self, dim: int, ffn_dim: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.ReLU())
        self.key = nn.Sequential(nn.Linear(dim, dim), nn.ReLU())
        self.value = nn.Sequential(nn.Linear(dim, dim), nn.ReLU())
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm1 = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.ReLU(), nn.Linear(ffn_dim, dim))
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, nodes: Tensor) -> Tensor:
        """Transform (R, N, dim); the result has the same shape."""
        attended, _ = self.attention(self.query(nodes), self.key(nodes), self.value(nodes), need_weights=False)
        nodes = self.norm1(nodes + attended)
        return self.norm2(nodes + self.ffn(nodes))


def cyclic_distance(points: Tensor, truth: Tensor) -> Tensor:
    """Return the smooth L1 distance of closed lines whose points may start anywhere.

    Args:
        points: (R, N, 2) vertices.
        truth: (R, N, 2) vertices in the same direction of rotation.

    Returns:
        (R,) the mean over points and coordinates, for the cyclic shift of `truth` with the smallest distance.
    """
    number = points.shape[1]
    between = F.smooth_l1_loss(
        points[:, :, None].expand(-1, -1, number, -1), truth[:, None].expand(-1, number, -1, -1), reduction='none'
    ).mean(3)  # (R, N, N): of each point to each
    steps = torch.arange(number, device=points.device)
    shifted = (steps[:, None] + steps[None]) % number  # [point, shift] -> point of `truth`
    by_shift = between.gather(2, shifted.expand_as(between)).mean(1)  # (R, N)
    return by_shift.min(1).values
