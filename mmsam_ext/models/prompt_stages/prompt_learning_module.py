"""Prompt Learning Module (PLM): move the embedded prompt to what it means in a task."""

from __future__ import annotations

from dataclasses import replace

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import PromptEmbedding, SAMFeatures

from ..layers.dot_product_attention import dot_product_attention
from .base import PromptStage


@MODELS.register_module()
class PromptLearningModule(PromptStage):
    """Adapt the tokens f_P of a prompt to a task: f' = f_P + Linear(block(f_P, f_I)), with the image features f_I.

    The block is self-attention among the tokens of a prompt, attention from them to the image, and an MLP, each with a
    residual and a LayerNorm after it, as in SAM's own two-way block but at full width. The output layer is zero at the
    start, so the module begins as an exact identity.

    Points, boxes and any mixture of them are treated alike, as tokens. SAM's "not a point" token (label -1) is neither
    attended to nor moved, and a prompt without tokens (empty, or a mask alone) passes through. As in SAM, image
    features carry their position code as keys but not as values (the paper does not specify this). Keys and values are
    computed once per image.

    Paper: Task-Specific Adaptation of Segmentation Foundation Model via Prompt Learning (arXiv:2403.09199), section
    4.1.

    Args:
        dim: C, channels of the tokens and of the image embedding; a multiple of `num_heads`.
        num_heads: Heads of both attentions.
        mlp_dim: Hidden width of the MLP.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: `dim` is not a multiple of `num_heads`; in `forward`, the tokens have another width, or the padding
            does not fit the tokens because an earlier stage changed their number.
    """

    def __init__(
        self, dim: int = 256, num_heads: int = 8, mlp_dim: int = 2048, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if dim % num_heads:
            raise ValueError(f'PromptLearningModule: dim={dim}, expected a multiple of num_heads={num_heads}')
        self.dim = dim
        self.self_attention = _Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.image_attention = _Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, dim))
        self.norm3 = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        """Move the tokens: sparse (P, K, C) -> (P, K, C); the dense embedding is not changed."""
        if not prompts.sparse.shape[1]:
            return self._connected(prompts)
        padding = self._padding(prompts)  # (P, K)
        tokens = prompts.sparse
        keys, values = self.self_attention.project(tokens, tokens)
        tokens = self.norm1(tokens + self.self_attention(tokens, keys, values, ~padding[:, None, None]))
        tokens = self.norm2(tokens + self._look_at_image(tokens, features, prompts))
        tokens = self.norm3(tokens + self.mlp(tokens))
        offset = self.output(tokens).masked_fill(padding[..., None], 0.0)
        return replace(prompts, sparse=prompts.sparse + offset)

    def _connected(self, prompts: PromptEmbedding) -> PromptEmbedding:
        """Return prompts without tokens as they are, but connected to all parameters where gradients are computed.

        The gradients are zero. DDP waits for a gradient of every parameter, also on a rank whose prompts are all empty.
        """
        if not torch.is_grad_enabled():
            return prompts
        nothing = 0.0 * sum(parameter.sum() for parameter in self.parameters())
        return replace(prompts, sparse=prompts.sparse + nothing)

    def _padding(self, prompts: PromptEmbedding) -> Tensor:
        """Return (P, K) bool: True for tokens that stand for no point."""
        shape = tuple(prompts.sparse.shape)
        if shape[2] != self.dim:
            raise ValueError(f'PromptLearningModule: tokens of {shape[2]} channels, expected dim={self.dim}')
        if prompts.padding is None:
            return torch.zeros(shape[:2], dtype=torch.bool, device=prompts.sparse.device)
        if tuple(prompts.padding.shape) != shape[:2]:
            raise ValueError(
                f'PromptLearningModule: padding of shape {tuple(prompts.padding.shape)} for tokens {shape[:2]}: the '
                'stage before it changed the number of tokens; expected it to change `padding`, too, or set it to None'
            )
        return prompts.padding

    def _look_at_image(self, tokens: Tensor, features: SAMFeatures, prompts: PromptEmbedding) -> Tensor:
        """Attend to the image, all tokens of an image in one call: (P, K, C) -> (P, K, C)."""
        keys, values = self._image_keys(features, prompts.image_pe, tokens.dtype)
        slot, most = _slots(prompts.image_index, len(features.embedding))
        queries = tokens.new_zeros(len(features.embedding), most, *tokens.shape[1:])  # (B, S, K, C)
        queries = queries.index_put((prompts.image_index, slot), tokens)
        attended = self.image_attention(queries.flatten(1, 2), keys, values)  # (B, S * K, C)
        return attended.unflatten(1, (most, -1))[prompts.image_index, slot]

    def _image_keys(self, features: SAMFeatures, position: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return keys and values of the image attention, each (B, heads, N, C / heads), projected once per image."""
        return features.once(
            'prompt learning',
            lambda: self._project_image(features.embedding.to(dtype), position),
            dtype,
            weights=self.image_attention,
        )

    def _project_image(self, embedding: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Project (B, C, h, w) features and (1, C, h, w) position code to keys and values of the image attention."""
        values, position = embedding.flatten(2).transpose(1, 2), position.flatten(2).transpose(1, 2)  # (., N, C)
        return self.image_attention.project(values + position, values)


class _Attention(nn.Module):
    """Multi-head attention whose keys and values can be projected separately, so that they can be shared."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Project keys and values, each (B, N, C) -> (B, heads, N, C / heads)."""
        return self._split(self.k_proj(keys)), self._split(self.v_proj(values))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend: queries (B, L, C), projected keys and values, mask (B, 1, 1, N) True where to look -> (B, L, C)."""
        attended = dot_product_attention(self._split(self.q_proj(queries)), keys, values, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def _slots(image_index: Tensor, images: int) -> tuple[Tensor, int]:
    """Return the index of each prompt within its image (P,), and the largest number of prompts of any image."""
    belongs = image_index[:, None] == torch.arange(images, device=image_index.device)  # (P, B)
    slot = (belongs.cumsum(0) - 1).gather(1, image_index[:, None])[:, 0]
    if images == 1:  # without waiting for a GPU
        return slot, len(image_index)
    return slot, int(belongs.sum(0).max())
