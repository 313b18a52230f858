"""SAM's prompt encoder for any mixture of prompts of a batch of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from segment_anything.modeling import PromptEncoder
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor

from mmsam_ext.structures import PromptEmbedding, PromptKind, Prompts

from ..layers import fuse_layer_norms

#: Token codes: 0 and 1 are point labels, 2 and 3 box corners, PAD is SAM's "not a point", ABSENT makes no token.
PAD, ABSENT = -1, -2


class Float32PositionEmbedding(PositionEmbeddingRandom):
    """SAM's random Fourier position code, in fp32 under autocast too: bf16 has too few bits for its phases."""

    def _pe_encoding(self, coords: Tensor) -> Tensor:
        with torch.autocast(coords.device.type, enabled=False):
            return super()._pe_encoding(coords.float())


@MODELS.register_module()
class SAMPromptEncoder(PromptEncoder, BaseModule):
    """``segment_anything``'s prompt encoder with its parameter names, for many images and mixed kinds in one call.

    A prompt's tokens are its points in their order, then the one "not a point" that stock SAM adds where there are
    points and no box, then the two corners of its box. Prompts are grouped by their exact number of tokens, since a
    padding token would be attended to.

    Args:
        embed_dim: C, channels of the image embedding.
        mask_in_chans: Hidden channels of the mask prompt's convolutions.
        init_cfg: As in any mmengine module.
    """

    def __init__(self, embed_dim: int = 256, mask_in_chans: int = 16, init_cfg: dict | list | None = None) -> None:
        # Both sizes are set at each call; these only fill stock SAM's attributes.
        super().__init__(
            embed_dim=embed_dim,
            image_embedding_size=(64, 64),
            input_image_size=(1024, 1024),
            mask_in_chans=mask_in_chans,
        )
        self.init_cfg = init_cfg
        fuse_layer_norms(self.mask_downscaling)
        self.pe_layer = Float32PositionEmbedding(embed_dim // 2)

    def forward(
        self, prompts: Sequence[Prompts], input_size: tuple[int, int], embedding_size: tuple[int, int]
    ) -> list[PromptEmbedding]:
        """Embed all prompts of a batch.

        Args:
            prompts: The prompts of each image, in pixels of the network input.
            input_size: (H, W) of the padded network input.
            embedding_size: (h, w) of the image embedding.

        Returns:
            One PromptEmbedding for each number of tokens that occurs, fewest first.

        Raises:
            ValueError: a mask prompt that is not of 4h x 4w.
        """
        self.input_image_size = tuple(input_size)
        self.image_embedding_size = tuple(embedding_size)
        device = self._get_device()
        image_index = torch.cat([torch.full((len(p),), i, device=device) for i, p in enumerate(prompts)])
        coords, codes = self._tokens(prompts)
        counts = (codes != ABSENT).sum(1)
        image_pe = self.get_dense_pe()
        groups = []
        for count in counts.unique().tolist():
            order = (counts == count).nonzero()[:, 0]
            kept = codes[order, :count]
            sparse = self._embed_tokens(coords[order, :count], kept)
            dense = self._embed_dense(prompts, order)
            groups.append(PromptEmbedding(sparse, dense, image_index[order], image_pe, order, kept == PAD))
        return groups

    def embed_masks(self, masks: Tensor) -> Tensor:
        """Mask logits (P, 1, 4h, 4w) -> dense embedding (P, C, h, w)."""
        return self._embed_masks(masks.to(self.no_mask_embed.weight.dtype))

    def _tokens(self, prompts: Sequence[Prompts]) -> tuple[Tensor, Tensor]:
        """Coordinates (P, K, 2) and codes (P, K) of the tokens of all prompts, absent ones last."""
        longest = max(p.points.shape[1] for p in prompts)
        coords, codes = [], []
        for p in prompts:
            extra = longest - p.points.shape[1]
            has_points, has_box = p.uses(PromptKind.POINTS)[:, None], p.uses(PromptKind.BOX)[:, None]
            labels = torch.where(has_points & (p.point_labels >= 0), p.point_labels, ABSENT)
            pad = torch.where(has_points & ~has_box, PAD, ABSENT)
            corners = torch.where(has_box, p.point_labels.new_tensor([[2, 3]]), ABSENT)
            codes.append(torch.cat([F.pad(labels, (0, extra), value=ABSENT), pad, corners], 1))
            points = F.pad(p.points, (0, 0, 0, extra + 1))
            coords.append(torch.cat([points, p.boxes.view(-1, 2, 2)], 1))
        coords, codes = torch.cat(coords), torch.cat(codes)
        order = (codes == ABSENT).to(torch.uint8).argsort(dim=1, stable=True)
        return coords.gather(1, order[..., None].expand_as(coords)), codes.gather(1, order)

    def _embed_tokens(self, coords: Tensor, codes: Tensor) -> Tensor:
        """(P, K, 2) pixels, (P, K) codes -> (P, K, C)."""
        table = torch.cat([self.not_a_point_embed.weight, *(e.weight for e in self.point_embeddings)])  # (5, C)
        if not codes.numel():
            return table.new_empty(len(codes), 0, self.embed_dim)
        position = self.pe_layer.forward_with_coords(coords + 0.5, self.input_image_size)  # centre of the pixel
        return position.masked_fill((codes == PAD)[..., None], 0.0) + table[codes + 1]

    def _embed_dense(self, prompts: Sequence[Prompts], order: Tensor) -> Tensor:
        """(P, C, h, w) dense embeddings of the prompts at the places `order` of the batch."""
        height, width = self.image_embedding_size
        dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(order), -1, height, width)
        uses = torch.cat([p.uses(PromptKind.MASK) for p in prompts])[order]
        if not uses.any():
            return dense
        for index, p in enumerate(prompts):
            if p.masks.numel() and p.masks.shape[-2:] != (4 * height, 4 * width):
                raise ValueError(
                    f'image {index} of the batch: field `masks` has shape {tuple(p.masks.shape)}, expected '
                    f'({len(p)}, 1, {4 * height}, {4 * width}), 4 times the image embedding'
                )
        blank = self.no_mask_embed.weight.new_zeros(1, 4 * height, 4 * width)
        masks = torch.cat([p.masks if p.masks.numel() else blank.expand(len(p), -1, -1, -1) for p in prompts])[order]
        if uses.all():
            return self.embed_masks(masks)
        rows = uses.nonzero()[:, 0]
        return dense.clone().index_copy(0, rows, self.embed_masks(masks[rows]).to(dense.dtype))
