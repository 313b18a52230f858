"""SAM's prompt encoder for any mixture of prompts of a batch of images."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from segment_anything.modeling import PromptEncoder
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn

from mmsam_ext.checkpoints.part_of_sam import PartOfSAM
from mmsam_ext.structures import PromptBatch, PromptEmbedding, PromptKind

from ..layers import fuse_layer_norms

#: Token codes: 0 and 1 are point labels, 2 and 3 box corners; PAD is SAM's "not a point"; ABSENT makes no token.
PAD, ABSENT = -1, -2


class Float32PositionEmbedding(PositionEmbeddingRandom):
    """Compute SAM's random Fourier position code in fp32 even under autocast: bf16 has too few bits for its phases."""

    def _pe_encoding(self, coords: Tensor) -> Tensor:
        with torch.autocast(coords.device.type, enabled=False):
            return super()._pe_encoding(coords.float())


@MODELS.register_module()
class SAMPromptEncoder(PartOfSAM, PromptEncoder, BaseModule):
    """Embed prompts with ``segment_anything``'s prompt encoder and parameter names, for many images in one call.

    A prompt's tokens are its points in their order, then the one "not a point" token that stock SAM adds to points
    without a box, then the two corners of its box. Prompts are grouped by their exact number of tokens, since the
    decoder would attend to padding tokens.

    Args:
        embed_dim: C, channels of the image embedding.
        mask_in_chans: Hidden channels of the convolutions that embed mask prompts.
        init_cfg: As in any mmengine module.
    """

    PREFIXES = ('prompt_encoder.',)

    def __init__(self, embed_dim: int = 256, mask_in_chans: int = 16, init_cfg: dict | list | None = None) -> None:
        # Each call passes its own sizes; these only fill stock SAM's attributes.
        super().__init__(
            embed_dim=embed_dim,
            image_embedding_size=(64, 64),
            input_image_size=(1024, 1024),
            mask_in_chans=mask_in_chans,
        )
        self.init_cfg = init_cfg
        fuse_layer_norms(self.mask_downscaling)
        self.pe_layer = Float32PositionEmbedding(embed_dim // 2)

    def forward(self, batch: PromptBatch, embedding_size: tuple[int, int]) -> list[PromptEmbedding]:
        """Embed all prompts of a batch.

        Args:
            batch: P prompts, in pixels of the network input.
            embedding_size: (h, w) of the image embedding.

        Returns:
            One PromptEmbedding for each number of tokens that occurs, fewest first.

        Raises:
            ValueError: A mask prompt is not 4h x 4w; the error names its image.
        """
        coords, codes = self._tokens(batch)
        counts = (codes != ABSENT).sum(1)
        image_pe = self.pe_layer(tuple(embedding_size))[None]  # (1, C, h, w)
        groups = []
        for count in counts.unique().tolist():
            order = (counts == count).nonzero()[:, 0]
            kept = codes[order, :count]
            dense, shared = self._embed_dense(batch, order, embedding_size)
            groups.append(
                PromptEmbedding(
                    sparse=self._embed_tokens(coords[order, :count], kept, batch.input_size),
                    dense=dense,
                    image_index=batch.image_index[order],
                    image_pe=image_pe,
                    order=order,
                    padding=kept == PAD,
                    class_ids=batch.class_ids[order],
                    dense_is_shared=shared,
                )
            )
        return groups

    def embed_masks(self, masks: Tensor) -> Tensor:
        """Embed mask logits (P, 1, 4h, 4w) -> dense embedding (P, C, h, w)."""
        return self._embed_masks(masks.to(self.no_mask_embed.weight.dtype))

    def _takes_padding(self, batch: PromptBatch) -> Tensor:
        """Return (P,) bool: prompts with the token that is "not a point", those of points without a box."""
        return batch.uses(PromptKind.POINTS) & ~batch.uses(PromptKind.BOX)

    def _tokens(self, batch: PromptBatch) -> tuple[Tensor, Tensor]:
        """Return coordinates (P, K, 2) and codes (P, K) of the tokens of all prompts, absent ones last."""
        has_points, has_box = batch.uses(PromptKind.POINTS)[:, None], batch.uses(PromptKind.BOX)[:, None]
        labels = torch.where(has_points & (batch.point_labels >= 0), batch.point_labels, ABSENT)  # (P, N)
        pad = torch.where(self._takes_padding(batch)[:, None], PAD, ABSENT)  # (P, 1)
        corners = torch.where(has_box, labels.new_tensor([[2, 3]]), ABSENT)  # (P, 2)
        codes = torch.cat([labels, pad, corners], 1)
        points = F.pad(batch.points, (0, 0, 0, 1))  # (P, N + 1, 2)
        coords = torch.cat([points, batch.boxes.view(-1, 2, 2)], 1)
        order = (codes == ABSENT).to(torch.uint8).argsort(dim=1, stable=True)
        return coords.gather(1, order[..., None].expand_as(coords)), codes.gather(1, order)

    def _embed_tokens(self, coords: Tensor, codes: Tensor, input_size: tuple[int, int]) -> Tensor:
        """Embed tokens: (P, K, 2) pixels of an input of `input_size` (H, W), (P, K) codes -> (P, K, C)."""
        # `get_parameter` would be an error under FSDP, whose views of parameters are plain tensors.
        embeddings = (cast('nn.Embedding', embedding).weight for embedding in self.point_embeddings)
        table = torch.cat([self.not_a_point_embed.weight, *embeddings])  # (5, C)
        if not codes.numel():
            return table.new_empty(len(codes), 0, self.embed_dim)
        position = self.pe_layer.forward_with_coords(coords + 0.5, input_size)  # the centre of the pixel
        return position.masked_fill((codes == PAD)[..., None], 0.0) + table[codes + 1]

    def _embed_dense(self, batch: PromptBatch, order: Tensor, size: tuple[int, int]) -> tuple[Tensor, bool]:
        """Return (P, C, h, w) dense embeddings of the prompts at the places `order`, and whether they are shared."""
        height, width = size
        dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(order), -1, height, width)
        uses = batch.uses(PromptKind.MASK)[order]
        if not uses.any():
            return dense, len(order) > 1
        if batch.masks.shape[-2:] != (4 * height, 4 * width):
            image = int(batch.image_index[order][uses][0])
            raise ValueError(
                f'{batch.names[image]}: field `masks` has shape ({batch.numbers[image]}, '
                f'{", ".join(map(str, batch.masks.shape[1:]))}), expected ({batch.numbers[image]}, 1, {4 * height}, '
                f'{4 * width}), 4 times the image embedding'
            )
        masks = batch.masks[order]
        if uses.all():
            return self.embed_masks(masks), False
        rows = uses.nonzero()[:, 0]
        return dense.clone().index_copy(0, rows, self.embed_masks(masks[rows]).to(dense.dtype)), False
