"""SAM's two-way transformer, which projects the image tokens of all prompts of an image once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer
from torch import Tensor


@dataclass
class SharedTokens:
    """Image tokens before the first block, and their projections in it, for all prompts of B images.

    Attributes:
        tokens: (B, N, C).
        keys: (B, N, D) of the token-to-image attention.
        values: (B, N, D) of the token-to-image attention.
        queries: (B, N, D) of the image-to-token attention.
    """

    tokens: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor

    def of_prompts(self, tensor: Tensor, image_index: Tensor) -> Tensor:
        """Return a (B, N, .) tensor for each prompt (P, N, .): a view where there is only one image."""
        return tensor.expand(len(image_index), -1, -1) if len(tensor) == 1 else tensor[image_index]


class SharingBlock(TwoWayAttentionBlock):
    """The first two-way block: what it computes from image tokens alone is the same for all prompts of an image."""

    def project(self, tokens: Tensor, key_pe: Tensor) -> SharedTokens:
        """Project the image tokens (B, N, C) with their position code (1, N, C)."""
        to_image, to_token = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        located = tokens + key_pe
        return SharedTokens(tokens, to_image.k_proj(located), to_image.v_proj(tokens), to_token.q_proj(located))

    def forward(
        self,
        queries: Tensor,
        keys: Tensor | None,
        query_pe: Tensor,
        key_pe: Tensor,
        shared: SharedTokens | None = None,
        image_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Do what the stock block does, to rounding.

        Args:
            queries: (P, K, C).
            keys: (P, N, C), or None with `shared`.
            query_pe: (P, K, C).
            key_pe: (P, N, C).
            shared: The image tokens of B images instead of `keys`.
            image_index: (P,) the image of each prompt, with `shared`.

        Returns:
            Tokens (P, K, C) and image tokens (P, N, C).
        """
        if shared is None:
            assert keys is not None, 'a caller gives either keys or what is shared'
            return super().forward(queries, keys, query_pe, key_pe)
        assert image_index is not None, 'a caller gives it with what is shared'
        queries = self.norm1(self.self_attn(q=queries, k=queries, v=queries))  # the first block adds no position code
        queries = self.norm2(queries + self._look_at_image(queries + query_pe, key_pe, shared, image_index))
        queries = self.norm3(queries + self.mlp(queries))
        tokens, attention = shared.of_prompts(shared.tokens, image_index), self.cross_attn_image_to_token
        if has_hooks(attention):
            seen = attention(q=tokens + key_pe, k=queries + query_pe, v=queries)
        else:
            looking = shared.of_prompts(shared.queries, image_index)  # (P, N, D)
            seen = attend(attention, looking, attention.k_proj(queries + query_pe), attention.v_proj(queries))
        return queries, self.norm4(tokens + seen)

    def _look_at_image(self, queries: Tensor, key_pe: Tensor, shared: SharedTokens, image_index: Tensor) -> Tensor:
        """Attend from tokens (P, K, C) to the image -> (P, K, C)."""
        attention = self.cross_attn_token_to_image
        if has_hooks(attention):  # as of a plugin, which edits keys and values of each prompt
            values = shared.of_prompts(shared.tokens, image_index)
            return attention(q=queries, k=values + key_pe, v=values)
        # Products of the same shapes as without sharing, so that a plugin which edits nothing changes nothing.
        keys, values = (shared.of_prompts(tensor, image_index) for tensor in (shared.keys, shared.values))
        return attend(attention, attention.q_proj(queries), keys, values)


class SharingTransformer(TwoWayTransformer):
    """``segment_anything``'s two-way transformer, with a first block that can share the image tokens of prompts."""

    layers: Any  # a ModuleList, whose items torch declares as plain modules

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Same parameters under the same names: only the class, and with it the formulation, differs.
        self.layers[0].__class__ = SharingBlock

    def forward(
        self,
        image_embedding: Tensor | None,
        image_pe: Tensor,
        point_embedding: Tensor,
        shared: SharedTokens | None = None,
        image_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Do what the stock transformer does, to rounding.

        Args:
            image_embedding: (P, C, h, w), or None with `shared`.
            image_pe: (P, C, h, w).
            point_embedding: (P, K, C).
            shared: The image tokens of B images instead of `image_embedding`.
            image_index: (P,) the image of each prompt, with `shared`.

        Returns:
            Tokens (P, K, C) and image tokens (P, N, C).
        """
        if shared is None:
            assert image_embedding is not None, 'a caller gives either the embedding or what is shared'
            return super().forward(image_embedding, image_pe, point_embedding)
        key_pe = image_pe.flatten(2).permute(0, 2, 1)  # (P, C, h, w) -> (P, N, C)
        queries, keys = self.layers[0](
            queries=point_embedding,
            keys=None,
            query_pe=point_embedding,
            key_pe=key_pe,
            shared=shared,
            image_index=image_index,
        )
        for layer in self.layers[1:]:
            queries, keys = layer(queries=queries, keys=keys, query_pe=point_embedding, key_pe=key_pe)
        attended = self.final_attn_token_to_image(q=queries + point_embedding, k=keys + key_pe, v=keys)
        return self.norm_final_attn(queries + attended), keys


def has_hooks(attention: Attention) -> bool:
    """Return whether somebody edits or watches what goes into an attention or comes out of it."""
    # The sum of two lengths, since torch.compile cannot trace `bool` of a dictionary of hooks.
    return len(attention._forward_pre_hooks) + len(attention._forward_hooks) > 0  # noqa: SLF001 (nothing public)


def attend(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend with projected queries (B, L, D), keys and values (B, N, D), as `attention` does -> (B, L, C)."""
    q, k, v = (attention._separate_heads(t, attention.num_heads) for t in (queries, keys, values))  # noqa: SLF001
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    return attention.out_proj(attention._recombine_heads(weights @ v))  # noqa: SLF001
