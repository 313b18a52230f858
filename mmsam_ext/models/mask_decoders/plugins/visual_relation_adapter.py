"""VRA-Adapter: image tokens hear from tokens that look alike (SPT, section 3.3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor, nn

from .base import DecoderContext, DecoderPlugin

RENORMALIZE = ('none', 'row', 'column')


@MODELS.register_module()
class VRAAdapter(DecoderPlugin):
    """t* = t + beta (A t) on a two-way block's image tokens t, with A the relation of the image's regions (equations 7
    to 11).

    A is taken from the encoder's output once for an image and shared by all blocks, decoders and prompts: at most one N
    x N matrix an image is held, and none has a gradient. beta is zero at the start, so the adapter begins as an
    identity.

    Args:
        dim: C, channels of the image tokens.
        blocks: Two-way blocks to adapt (the paper's Table 6: the first, the second, or both).
        alpha: Relations must be greater than alpha / N to count, with N the number of image tokens (the paper's "d"
            cannot be
            the feature dimension: at 256 nothing would be left). From 0 (all count) to 1 (the mean relation).
        renormalize: What the remaining relations are divided by: 'none' (paper), their sum by 'row', or by 'column'
            (the authors' evaluation code).

    Raises:
        ValueError: an argument out of its range, or a block that the decoder does not have.
    """

    def __init__(
        self, dim: int = 256, blocks: Sequence[int] = (0, 1), alpha: float = 0.0, renormalize: str = 'none'
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f'VRAAdapter: alpha={alpha}, expected 0 to 1')
        if renormalize not in RENORMALIZE:
            raise ValueError(f'VRAAdapter: renormalize={renormalize!r}, expected one of {RENORMALIZE}')
        if not blocks or len(set(blocks)) != len(blocks) or min(blocks) < 0:
            raise ValueError(f'VRAAdapter: blocks={tuple(blocks)}, expected different numbers of two-way blocks')
        self.blocks, self.alpha, self.renormalize = tuple(blocks), alpha, renormalize
        self.beta = nn.ParameterDict({str(block): nn.Parameter(torch.zeros(dim)) for block in self.blocks})

    def after_block(self, index: int, queries: Tensor, keys: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor]:
        """Adapt the image tokens `keys` (P, N, C) of the blocks chosen."""
        if index not in self.blocks:
            return queries, keys
        relations = context.features.once(
            ('visual relation', self.alpha, self.renormalize),
            lambda: [visual_relation(one, self.alpha, self.renormalize) for one in context.features.embedding],
        )
        related = torch.empty_like(keys)
        for image, relation in enumerate(relations):
            rows = (context.image_index == image).nonzero()[:, 0]
            if len(rows):
                related = related.index_copy(0, rows, relation.to(keys.dtype) @ keys[rows])
        return queries, keys + self.beta[str(index)] * related


@torch.no_grad()
def visual_relation(embedding: Tensor, alpha: float = 0.0, renormalize: str = 'none') -> Tensor:
    """The relation matrix of one image (equations 7 to 9).

    Args:
        embedding: (C, h, w), the encoder's output.
        alpha, renormalize: As :class:`VRAAdapter`.

    Returns:
        (N, N) with N = h * w: softmax over the cosine similarities of each token to the others, thresholded.
    """
    tokens = F.normalize(embedding.flatten(1).float(), dim=0)  # (C, N)
    number = tokens.shape[1]
    relation = (tokens.T @ tokens).fill_diagonal_(-torch.inf)
    relation = relation.softmax(1)
    if alpha > 0:
        kept = relation > alpha / number
        fraction = kept.float().mean().item()
        level = logging.DEBUG if fraction else logging.WARNING
        print_log(f'VRAAdapter: {fraction:.1%} of the relations are greater than alpha / N', 'current', level)
        relation = relation * kept
    if renormalize != 'none':
        total = relation.sum(dim=1 if renormalize == 'row' else 0, keepdim=True)
        relation = relation / total.clamp(min=torch.finfo(relation.dtype).tiny)
    return relation
