"""Deformable sampling: where token-to-image attention looks, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .base import DecoderContext, DecoderPlugin
from .dynamic_router import DynamicRouter

if TYPE_CHECKING:
    from ..sam_mask_decoder import SAMMaskDecoder


@dataclass
class SamplingRecord:
    """Tell what the plugin did in one token-to-image attention, for P prompts and N = h * w image tokens.

    ``features.observe`` receives it, once for each attention and group of prompts that are decoded together.

    Example::

        records = []
        model.decode(replace(features, observe=records.append), batch)

    Attributes:
        plugin: The plugin; each of several decoders has its own.
        site: Number of the attention.
        image_index: (P,) the image of each prompt.
        order: (P,) the place of each prompt among all prompts of the batch; None where the decoder does not know it.
        size: (h, w).
        values: (P, N, C) image tokens that were sampled.
        alphas: (P, 2) without gradients, weights of the deformable and of the regular features; 1 and 0 without a
            router.
    """

    plugin: DeformableSamplingPlugin
    site: int
    image_index: Tensor
    order: Tensor | None
    size: tuple[int, int]
    values: Tensor
    alphas: Tensor

    @torch.no_grad()
    def sampling(self) -> tuple[Tensor, Tensor]:
        """Compute offsets (P, N, 2), x and y in pixels of the feature map and not clamped to it, and amplitudes.

        Returns:
            Offsets, and amplitudes (P, N, C) from 0 to 2.
        """
        return self.plugin.module_of(self.site).predict(self.values, self.size)


@MODELS.register_module()
class DeformableSamplingPlugin(DecoderPlugin):
    """Sample the keys and values of token-to-image attention at learned places (equations 3, 4 and 6).

    SAM's weights, its image-to-token attention and the image tokens that pass from block to block stay as they are. At
    the start offsets are zero and amplitudes are one, so the plugin begins as an exact identity.

    Before the first block the image tokens are the same for all prompts of an image, except for mask prompts. Sampling
    is then done once per image; without gradients this holds for all chunks of its prompts together.

    Paper: Stable-SAM, section 4.1.

    Args:
        dim: C, channels of the image tokens.
        max_offset: s_p of equation 3, in pixels of the feature map.
        kernel_size: Kernel size of the depthwise convolution; odd.
        router: Config of :class:`DynamicRouter`; None uses the deformable features alone.
        num_modules: 1 for one module (and router) that all token-to-image attentions share, which has the paper's
            0.08 M parameters; or one for each of them, that is, for each block of the decoder and the final attention.

    Raises:
        ValueError: An argument is out of its range. When installed: `num_modules`, `dim` or the router does not fit the
            decoder.
    """

    def __init__(
        self,
        dim: int = 256,
        max_offset: float = 4.0,
        kernel_size: int = 5,
        router: dict | None = None,
        num_modules: int = 1,
    ) -> None:
        super().__init__()
        self.dim = dim
        if not max_offset > 0:
            raise ValueError(f'DeformableSamplingPlugin: max_offset={max_offset}, expected more than 0')
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'DeformableSamplingPlugin: kernel_size={kernel_size}, expected an odd number')
        if num_modules < 1:
            raise ValueError(f'DeformableSamplingPlugin: num_modules={num_modules}, expected 1 or more')
        self.sampling = nn.ModuleList([DeformableSampling(dim, max_offset, kernel_size) for _ in range(num_modules)])
        routers = [] if router is None else [MODELS.build(router) for _ in range(num_modules)]
        self.routers = nn.ModuleList(routers)

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """Check channels, number of modules and routers against a decoder.

        Raises:
            ValueError: One of them does not fit.
        """
        super().check_decoder(decoder)
        attentions = len(decoder.transformer.layers) + 1
        if len(self.sampling) not in (1, attentions):
            raise ValueError(
                f'DeformableSamplingPlugin: num_modules={len(self.sampling)}, expected 1 or {attentions}, the number '
                "of the decoder's token-to-image attentions"
            )
        for router in self.routers:
            if isinstance(router, DynamicRouter):
                router.check_decoder(decoder)

    def module_of(self, site: int) -> DeformableSampling:
        """Return the module that samples for a token-to-image attention."""
        return cast('DeformableSampling', self.sampling[site if len(self.sampling) > 1 else 0])

    def before_token_to_image(
        self, site: int, queries: Tensor, keys: Tensor, values: Tensor, context: DecoderContext
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Replace keys and values (P, N, C) by deformable ones; queries (P, K, C) stay as they are."""
        module = self.module_of(site)
        if context.values_by_image:
            deformed = self._sample_images(module, context)[context.image_index]
        else:
            deformed = module(values, context.size)  # x*_{p + dp}
        alphas = None
        if len(self.routers):
            alphas = self.routers[site if len(self.routers) > 1 else 0](queries).to(values.dtype)
            # Equation 6
            if torch.is_grad_enabled():
                deformed = alphas[:, :1, None] * deformed + alphas[:, 1:, None] * values
            else:  # in place: on a CPU allocating memory costs more than the sums
                deformed = deformed.mul_(alphas[:, :1, None]).addcmul_(alphas[:, 1:, None], values)
        if context.features.observe is not None:
            shares = values.new_tensor([[1.0, 0.0]]).expand(len(values), 2) if alphas is None else alphas.detach()
            context.features.observe(
                SamplingRecord(self, site, context.image_index, context.order, context.size, values.detach(), shares)
            )
        assert context.key_pe is not None, 'set when the transformer starts'
        return queries, deformed + context.key_pe, deformed

    @staticmethod
    def _sample_images(module: DeformableSampling, context: DecoderContext) -> Tensor:
        """Return (B, N, C) deformable features of all images of the batch, from their tokens before the first block."""

        def sample() -> Tensor:
            tokens = (context.features.embedding + context.dense[:1]).flatten(2).transpose(1, 2)  # (B, N, C)
            return module(tokens.to(module.gate.dtype), context.size)

        if torch.is_grad_enabled():  # stored results would break activation checkpointing, which computes them again
            return sample()
        # `dense` is stored with the result, so that its address stays its own.
        dense = context.dense
        return context.features.once(
            'deformable sampling', lambda: (sample(), dense), dense.data_ptr(), weights=module
        )[0]


class DeformableSampling(nn.Module):
    """Predict offsets and amplitudes, and sample. Arguments as :class:`DeformableSamplingPlugin`."""

    def __init__(self, dim: int, max_offset: float, kernel_size: int) -> None:
        super().__init__()
        self.pointwise = nn.Linear(dim, dim)  # a 1x1 convolution, of tokens
        self.depthwise = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.offset = nn.Linear(dim, 2)  # a 1x1 convolution, of tokens
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.gate = nn.Parameter(torch.zeros(dim))
        self.max_offset = max_offset

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Sample image tokens (B, N, C) of a map of `size` (h, w) -> x*_{p + dp}, (B, N, C)."""
        offsets, amplitudes = self.predict(tokens, size)
        points = _grid(size, tokens.device) + offsets  # (B, N, 2)
        modulated = tokens * amplitudes if torch.is_grad_enabled() else amplitudes.mul_(tokens)  # x*
        return sample_bilinear(modulated, points, size)

    def predict(self, tokens: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Predict offsets (B, N, 2), x and y in pixels (equation 3), and amplitudes (B, N, C) from 0 to 2."""
        first = self.pointwise(tokens)
        # Channels last in memory. In this order the strides say so for a single map as well, which is not copied then.
        spatial = first.unflatten(1, size).permute(0, 3, 1, 2)  # (B, C, h, w)
        spatial = self.depthwise(spatial).flatten(2).transpose(1, 2)  # (B, N, C)
        offsets = self.max_offset * self.offset(F.gelu(self.norm(spatial))).float().tanh()
        gated = self.gate * first
        amplitudes = 2 * gated.sigmoid() if torch.is_grad_enabled() else gated.sigmoid_().mul_(2)
        return offsets, amplitudes.to(tokens.dtype)


def sample_bilinear(tokens: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample a feature map at fractional points, in one fused operation.

    Points are in pixels, not normalised: at integers the result is bit for bit the map itself.

    Args:
        tokens: (B, N, C) of a map of h x w pixels, row by row.
        points: (B, M, 2), x and y in pixels, (0, 0) is the first; clamped to the map. The sample at a NaN is NaN.
        size: (h, w).

    Returns:
        (B, M, C), in the dtype of `tokens`.
    """
    height, width = size
    batch, number, channels = tokens.shape
    x = points[..., 0].float().clamp(0, width - 1)
    y = points[..., 1].float().clamp(0, height - 1)
    # A NaN as an index would end the process on a GPU. Here its place is arbitrary and its weights are NaN, so the
    # sample is NaN, and mixed precision skips the step.
    left, top = x.detach().nan_to_num().floor(), y.detach().nan_to_num().floor()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    dx, dy = x - left, y - top
    corners = [top * width + left, top * width + right, bottom * width + left, bottom * width + right]
    weights = [(1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy]
    start = number * torch.arange(batch, device=tokens.device)  # of each image among all tokens
    indices = torch.stack(corners, -1).long() + start[:, None, None]  # (B, M, 4)
    sampled = F.embedding_bag(
        indices.flatten(0, 1),
        tokens.float().reshape(batch * number, channels),
        per_sample_weights=torch.stack(weights, -1).flatten(0, 1),  # (B * M, 4)
        mode='sum',
    )
    return sampled.view(batch, -1, channels).to(tokens.dtype)


def _grid(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return (N, 2), the pixels x, y of a map of `size` (h, w), row by row."""
    y, x = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float32) for n in size), indexing='ij')
    return torch.stack([x, y], -1).flatten(0, 1)
