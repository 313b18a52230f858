"""VRA-Adapter: image tokens receive information from tokens that look alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from .base import DecoderContext, DecoderPlugin

if TYPE_CHECKING:
    from ..sam_mask_decoder import SAMMaskDecoder

RENORMALIZE = ('none', 'row', 'column')


@MODELS.register_module()
class VRAAdapter(DecoderPlugin):
    """Compute t* = t + beta (A t) on the image tokens t of two-way blocks; A relates the image's regions (eq. 7 to 11).

    A is computed from the encoder's output once per image and shared by all blocks, decoders and prompts: at most one
    N x N matrix per image is in memory, in the dtype in which it is multiplied; with `detach` it has no gradient. beta
    is zero at the start, so the adapter begins as an exact identity.

    Paper: SPT, section 3.3.

    Args:
        dim: C, channels of the image tokens.
        blocks: The two-way blocks to adapt, one or several, counted from 0 (the paper's Table 6: the first, the second,
            or both).
        alpha: Only relations greater than alpha / N count, with N the number of image tokens (the paper's "d" cannot be
            the feature dimension: at 256 no relation would be left). From 0 (all count) to 1 (the mean relation).
        renormalize: What the remaining relations are divided by: 'none' for nothing (paper), or their sum by 'row' or
            by 'column' (the authors' evaluation code).
        detach: Whether the relation has no gradient; False trains the encoder through it, too, as the authors' code
            does by default, with a few (N, N) matrices of an image in memory.

    Raises:
        ValueError: An argument is out of its range. When installed: the decoder does not have a block, or has another
            `dim`.
    """

    def __init__(
        self,
        dim: int = 256,
        blocks: int | Sequence[int] = (0, 1),
        alpha: float = 0.0,
        renormalize: str = 'none',
        detach: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f'VRAAdapter: alpha={alpha}, expected 0 to 1')
        if renormalize not in RENORMALIZE:
            raise ValueError(f'VRAAdapter: renormalize={renormalize!r}, expected one of {RENORMALIZE}')
        blocks = (blocks,) if isinstance(blocks, int) else tuple(blocks)
        if not blocks or len(set(blocks)) != len(blocks) or min(blocks) < 0:
            raise ValueError(f'VRAAdapter: blocks={blocks}, expected different numbers of two-way blocks')
        self.dim, self.blocks, self.alpha, self.renormalize = dim, blocks, alpha, renormalize
        self.detach = detach
        self.beta = nn.ParameterDict({str(block): nn.Parameter(torch.zeros(dim)) for block in self.blocks})
        self._kept_logged = alpha == 0

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """Check channels and blocks against a decoder.

        Raises:
            ValueError: One of them does not fit.
        """
        super().check_decoder(decoder)
        depth = len(decoder.transformer.layers)
        if max(self.blocks) >= depth:
            raise ValueError(
                f'VRAAdapter: blocks={self.blocks}, expected some of 0 to {depth - 1}, the two-way blocks of the '
                'decoder (the paper counts from 1)'
            )

    def after_block(self, index: int, queries: Tensor, keys: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor]:
        """Adapt the image tokens `keys` (P, N, C) of the chosen blocks."""
        if index not in self.blocks:
            return queries, keys
        relations = self._relations(keys, context)
        if len(relations) == 1:  # without looking for the prompts of each image, which torch.compile could not trace
            related = _mixed(relations[0], keys).to(keys.dtype).contiguous()
            return queries, keys + self.beta[str(index)] * related
        related = torch.empty_like(keys)
        for image, relation in enumerate(relations):
            rows = (context.image_index == image).nonzero()[:, 0]
            if len(rows):
                mixed = _mixed(relation, keys[rows])
                # Under autocast a product is in bf16, while keys behind a norm are in fp32 on a GPU.
                related = related.index_copy(0, rows, mixed.to(related.dtype))
        return queries, keys + self.beta[str(index)] * related

    def _relations(self, keys: Tensor, context: DecoderContext) -> list[Tensor]:
        """Return the (N, N) relation of each image, in the dtype in which it is multiplied with `keys`.

        If it were cast at each product, every block and decoder would keep a copy of its own for the backward pass.
        """
        device = keys.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else keys.dtype
        relations = context.features.once(
            'visual relation',
            lambda: [
                visual_relation(one, self.alpha, self.renormalize, self.detach).to(dtype)
                for one in context.features.embedding
            ],
            self.alpha,
            self.renormalize,
            self.detach,
            dtype,
        )
        if not self._kept_logged:
            self._kept_logged = True
            fraction = relations[0].count_nonzero().item() / relations[0].numel()
            print_log(
                f'VRAAdapter: {fraction:.1%} of the relations are greater than alpha / N (alpha={self.alpha}; first '
                'image of the batch)',
                'current',
                logging.INFO,
            )
        return relations


def _mixed(relation: Tensor, tokens: Tensor) -> Tensor:
    """Return relation @ tokens for each prompt: (N, N) and (P, N, C) -> (P, N, C).

    This is one product for all prompts: in bf16 on a CPU a batched one would copy the relation for each of them.
    """
    tokens = tokens.transpose(0, 1)  # (P, N, C) -> (N, P, C)
    return (relation @ tokens.flatten(1)).view(tokens.shape).transpose(0, 1)  # (N, P * C) -> (P, N, C)


def visual_relation(embedding: Tensor, alpha: float = 0.0, renormalize: str = 'none', detach: bool = True) -> Tensor:
    """Compute the relation matrix of one image (equations 7 to 9).

    Args:
        embedding: (C, h, w), the encoder's output.
        alpha: As in :class:`VRAAdapter`.
        renormalize: As in :class:`VRAAdapter`.
        detach: As in :class:`VRAAdapter`.

    Returns:
        (N, N) with N = h * w: softmax over the cosine similarities of each token to the others, thresholded.
    """
    differentiable = torch.is_grad_enabled() and not detach
    with torch.set_grad_enabled(differentiable), torch.autocast(embedding.device.type, enabled=False):
        tokens = F.normalize(embedding.flatten(1).float(), dim=0)  # (C, N)
        relation = (tokens.T @ tokens).fill_diagonal_(-torch.inf)
        relation = relation.exp_()  # of cosines, so at most e: the softmax needs no shift
        # Without a gradient all is done in place: one (N, N) matrix at a time.
        divide = torch.Tensor.div if differentiable else torch.Tensor.div_
        relation = divide(relation, relation.sum(dim=1, keepdim=True))
        if alpha > 0:  # the others become 0
            relation = F.threshold(relation, alpha / len(relation), 0.0, inplace=not differentiable)
        if renormalize != 'none':
            total = relation.sum(dim=1 if renormalize == 'row' else 0, keepdim=True)
            relation = divide(relation, total.clamp(min=torch.finfo(relation.dtype).tiny))
    return relation
