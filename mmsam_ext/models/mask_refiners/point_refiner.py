"""`PointRefiner`: masks at the resolution of the network input, decided anew where they are uncertain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import SAMFeatures


@MODELS.register_module()
class PointRefiner(BaseModule):
    """Correct mask logits at full resolution at the pixels whose logits are nearest to 0, as PointRend does.

    SAM's masks have a quarter of the input's resolution, too little for cracks of one or two pixels. Here a mask is
    resized to the input, and at its most uncertain pixels an MLP adds a correction, computed from the image around the
    pixel (two 3 x 3 convolutions at full resolution), the image embedding and the logit. All other pixels stay as they
    are. The last layer is zero at the start: exactly the resized mask.

    Paper: PointRend (arXiv:1912.08193), sections 3.1 and 3.2; here in one step instead of one per doubling.

    Args:
        embed_dim: C, channels of the image embedding.
        image_dim: Channels of the features of the image at full resolution.
        hidden_dim: Width of the MLP.
        share: Share of the pixels that are corrected at inference, in (0, 1].
        train_points: Number of pixels of each mask that the loss is computed at.
        oversample: Candidates for each of these pixels, of which the most uncertain are taken.
        importance: Share of the pixels that are taken for their uncertainty; the others are random. In [0, 1].
        loss_weight: Factor of the loss.
        init_cfg: See ``BaseModule``.

    Raises:
        ValueError: A number is out of its range; in `forward`, the features have no image.

    Example::

        model = dict(mask_refiner=dict(type='PointRefiner', embed_dim=128))
    """

    added_to_sam = True

    def __init__(
        self,
        embed_dim: int = 256,
        image_dim: int = 32,
        hidden_dim: int = 128,
        share: float = 0.1,
        train_points: int = 1024,
        oversample: float = 3.0,
        importance: float = 0.75,
        loss_weight: float = 1.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 < share <= 1 or not 0 <= importance <= 1 or train_points < 1 or oversample < 1:
            raise ValueError(
                f'PointRefiner: share={share}, importance={importance}, train_points={train_points}, '
                f'oversample={oversample}, expected shares in (0, 1] and [0, 1], and 1 or more of the others'
            )
        self.share, self.train_points = share, train_points
        self.oversample, self.importance, self.loss_weight = oversample, importance, loss_weight
        self.fine = nn.Sequential(
            nn.Conv2d(3, image_dim, 3, padding=1), nn.GELU(), nn.Conv2d(image_dim, image_dim, 3, padding=1)
        )
        self.coarse = nn.Conv2d(embed_dim, hidden_dim, 1)
        self.mlp = nn.Sequential(nn.Linear(image_dim + hidden_dim + 1, hidden_dim), nn.GELU())
        self.out = nn.Linear(hidden_dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: SAMFeatures, image_index: Tensor, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize masks and correct their most uncertain pixels, one mask at a time.

        Args:
            features: Embedding (B, C, h, w) and image (B, 3, H, W).
            image_index: (P,) the image of each mask.
            logits: (P, 4h, 4w).
            size: (H, W) of the network input.

        Returns:
            (P, H, W).
        """
        refined = F.interpolate(logits[:, None].float(), size, mode='bilinear', align_corners=False)[:, 0]
        count = max(1, round(self.share * size[0] * size[1]))
        for row in range(len(refined)):
            flat = refined[row].flatten()
            places = (-flat.abs()).topk(count).indices[None]  # (1, N)
            corrections = self.corrections(features, image_index[row : row + 1], flat[places], places)
            refined[row] = flat.index_add(0, places[0], corrections[0].to(flat.dtype)).view(size)
        return refined

    def corrections(self, features: SAMFeatures, image_index: Tensor, logits: Tensor, places: Tensor) -> Tensor:
        """Return what is added to logits.

        Args:
            features: Embedding (B, C, h, w) and image (B, 3, H, W).
            image_index: (P,) the image of each mask.
            logits: (P, N) at the pixels.
            places: (P, N) the pixels, numbered row by row in (H, W).
        """
        image = features.image
        if image is None:
            raise ValueError('PointRefiner: the features have no image, expected the network input (B, 3, H, W)')
        fine = features.once('PointRefiner fine', lambda: self.fine(image.float()), weights=self.fine)
        coarse = features.once(
            'PointRefiner coarse', lambda: self.coarse(features.embedding.float()), weights=self.coarse
        )
        height, width = fine.shape[-2:]
        # Places in the pixels of all images, so that no map is copied for each mask.
        pixels = fine.permute(0, 2, 3, 1).flatten(0, 2)[image_index[:, None] * (height * width) + places]  # (P, N, D)
        # grid_sample counts from the border of the image, in units of its half side.
        x, y = (places % width + 0.5) * (2 / width) - 1, (places // width + 0.5) * (2 / height) - 1
        grid = torch.stack([x, y], -1)[:, None]  # (P, 1, N, 2)
        around = F.grid_sample(coarse[image_index], grid, padding_mode='border', align_corners=False)
        around = around[:, :, 0].transpose(1, 2)  # (P, hidden, 1, N) -> (P, N, hidden)
        return self.out(self.mlp(torch.cat([pixels, around, logits[..., None] / 10], 2)))[..., 0]

    def loss(
        self, features: SAMFeatures, image_index: Tensor, logits: Tensor, targets: Tensor, ignored: Tensor
    ) -> dict[str, Tensor]:
        """Compute the binary cross entropy at pixels that are drawn, most of them where the mask is uncertain.

        Args:
            features: Embedding (B, C, h, w) and image (B, 3, H, W).
            image_index: (P,) the image of each mask.
            logits: (P, 4h, 4w); no gradient reaches them.
            targets: (P, H, W) in [0, 1].
            ignored: (P, H, W) bool, pixels without a label.
        """
        size = targets.shape[-2:]
        resized = F.interpolate(logits.detach()[:, None].float(), size, mode='bilinear', align_corners=False)
        resized = resized.flatten(1)  # (P, H * W)
        places = self._draw(resized)
        chosen = resized.gather(1, places)
        refined = chosen + self.corrections(features, image_index, chosen, places)
        entropy = F.binary_cross_entropy_with_logits(refined, targets.flatten(1).gather(1, places), reduction='none')
        counted = ~ignored.flatten(1).gather(1, places)
        return dict(loss_refine=self.loss_weight * (entropy * counted).sum() / counted.sum().clamp(min=1))

    def _draw(self, logits: Tensor) -> Tensor:
        """Draw pixels (P, N) of masks (P, H * W)."""
        number, pixels = min(self.train_points, logits.shape[1]), logits.shape[1]
        candidates = torch.randint(pixels, (len(logits), round(self.oversample * number)), device=logits.device)
        uncertain = round(self.importance * number)
        order = (-logits.gather(1, candidates).abs()).topk(uncertain, 1).indices
        others = torch.randint(pixels, (len(logits), number - uncertain), device=logits.device)
        return torch.cat([candidates.gather(1, order), others], 1)
