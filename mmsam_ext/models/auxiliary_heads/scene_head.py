"""What a pretraining's image embedding must know whatever the prompt: colours, edges, and what belongs together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SceneHead(BaseModule):
    """Add three dense tasks on the image embedding to a pretraining from scratch; not used at inference.

    A promptable model that starts from nothing first learns to fill boxes and to draw discs around points, for which
    the image is noise, and removes the image from its embedding. These tasks keep it there. Each token predicts, of its
    own 16 x 16 pixels, the image at half its resolution and the edges between parts; and each pair of tokens, by the
    product of two projections less their mean over the image, whether a pixel of the one and a pixel of the other
    belong to the same part.

    Args:
        in_channels: C of the image embedding.
        key_channels: Channels of the projections by which tokens are compared.
        patch_size: Side of a token in pixels.
        edge_weight, pixel_weight, group_weight: Weights of the three losses.
    """

    added_to_sam = True

    def __init__(
        self,
        in_channels: int = 256,
        key_channels: int = 64,
        patch_size: int = 16,
        edge_weight: float = 4.0,
        pixel_weight: float = 1.0,
        group_weight: float = 1.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.patch_size = patch_size
        self.edge_weight, self.pixel_weight, self.group_weight = edge_weight, pixel_weight, group_weight
        self.edges = nn.Conv2d(in_channels, patch_size**2, 1)
        self.pixels = nn.Conv2d(in_channels, 3 * (patch_size // 2) ** 2, 1)
        self.keys = nn.Conv2d(in_channels, key_channels, 1)
        self.group_bias = nn.Parameter(torch.zeros(()))
        nn.init.constant_(self.edges.get_parameter('bias'), -3.0)  # few pixels are edges

    def loss(self, embedding: Tensor, inputs: Tensor, part_maps: Tensor) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            embedding: (B, C, h, w).
            inputs: (B, 3, H, W) normalised images, H and W `patch_size` times h and w.
            part_maps: (B, H, W) integer labels, equal where pixels belong to the same part of the same object.
        """
        embedding = embedding.float()
        edges = F.pixel_shuffle(self.edges(embedding), self.patch_size)[:, 0]  # (B, H, W)
        pixels = F.pixel_shuffle(self.pixels(embedding), self.patch_size // 2)  # (B, 3, H/2, W/2)
        keys = self.keys(embedding).flatten(2)  # (B, K, N)
        keys = keys - keys.mean(2, keepdim=True)
        same = keys.transpose(1, 2) @ keys / keys.shape[1] ** 0.5 + self.group_bias  # (B, N, N)
        return dict(
            loss_edges=self.edge_weight * F.binary_cross_entropy_with_logits(edges, part_edges(part_maps).float()),
            loss_pixels=self.pixel_weight * F.mse_loss(pixels, F.avg_pool2d(inputs, 2)),
            loss_groups=self.group_weight
            * F.binary_cross_entropy_with_logits(same, same_part(part_maps, self.patch_size)),
        )


def part_edges(part_maps: Tensor) -> Tensor:
    """Return (B, H, W) bool, True for pixels of `part_maps` (B, H, W) with another label beside, above or below."""
    edges = torch.zeros_like(part_maps, dtype=torch.bool)
    across, down = part_maps[:, :, 1:] != part_maps[:, :, :-1], part_maps[:, 1:] != part_maps[:, :-1]
    edges[:, :, 1:] |= across
    edges[:, :, :-1] |= across
    edges[:, 1:] |= down
    edges[:, :-1] |= down
    return edges


def same_part(part_maps: Tensor, patch_size: int) -> Tensor:
    """Return the chance that random pixels of two patches share a label: (B, H, W) labels -> (B, N, N)."""
    batch, height, width = part_maps.shape
    patches = part_maps.long().view(batch, height // patch_size, patch_size, width // patch_size, patch_size)
    patches = patches.transpose(2, 3).reshape(batch, -1, patch_size**2)  # (B, N, pixels)
    shares = torch.zeros(*patches.shape[:2], int(patches.max()) + 1, device=patches.device)
    shares.scatter_add_(2, patches, torch.full(patches.shape, 1 / patch_size**2, device=patches.device))
    return shares @ shares.transpose(1, 2)
