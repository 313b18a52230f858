"""SAM's mask decoder for all prompts of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from mmseg.registry import MODELS
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmsam_ext.structures import MaskPrediction, PromptEmbedding, SAMFeatures

from ..layers import fuse_layer_norms
from .plugins import DecoderContext, install_plugins

#: Values of image tokens (prompts x h x w x C) a CPU decodes best at a time: two prompts of a 1024 x 1024 image.
CPU_CHUNK_VALUES = 2 * 64 * 64 * 256


@MODELS.register_module()
class SAMMaskDecoder(MaskDecoder, BaseModule):
    """``segment_anything``'s mask decoder with its parameter names, for prompts of many images in one call.

    Image embeddings are expanded by prompt in one addition: the stock forward pass on a zero image embedding with
    ``dense + embedding[image_index]`` is bitwise what it would be image by image.

    Args:
        transformer_dim: C, channels of the image embedding.
        depth: Two-way blocks.
        num_heads: Attention heads.
        mlp_dim: Hidden width of a block's MLP.
        num_multimask_outputs: Masks beside the single-mask output, for ambiguous prompts; 1 or more.
        iou_head_depth: Layers of the IoU head.
        iou_head_hidden_dim: Its width.
        plugins: Configs of :class:`DecoderPlugin`, applied in this order.
        chunk_size: Prompts decoded at a time; None: all; 'auto': all on a GPU, few on a CPU, where large prompt batches
            are slower. Without gradients only.
        with_cp: Checkpoint the decoder's activations in training.
        init_cfg: As in any mmengine module.
    """

    def __init__(
        self,
        transformer_dim: int = 256,
        depth: int = 2,
        num_heads: int = 8,
        mlp_dim: int = 2048,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
        plugins: Sequence[dict] = (),
        chunk_size: int | str | None = 'auto',
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        if not (chunk_size in ('auto', None) or (isinstance(chunk_size, int) and chunk_size > 0)):
            raise ValueError(f"SAMMaskDecoder: chunk_size {chunk_size!r}, expected 'auto', None or a positive number")
        if num_multimask_outputs < 1:
            raise ValueError(f'SAMMaskDecoder: num_multimask_outputs={num_multimask_outputs}, expected 1 or more')
        super().__init__(
            transformer_dim=transformer_dim,
            transformer=TwoWayTransformer(
                depth=depth, embedding_dim=transformer_dim, mlp_dim=mlp_dim, num_heads=num_heads
            ),
            num_multimask_outputs=num_multimask_outputs,
            iou_head_depth=iou_head_depth,
            iou_head_hidden_dim=iou_head_hidden_dim,
        )
        self.init_cfg = init_cfg
        fuse_layer_norms(self.output_upscaling)
        self.chunk_size = chunk_size
        self.with_cp = with_cp
        self.plugins = ModuleList([MODELS.build(plugin) for plugin in plugins])
        #: What plugins may look at; there only while the transformer runs.
        self.context: DecoderContext | None = None
        #: Return the upscaled features too (set by the segmentor where an auxiliary head wants them).
        self.keep_upscaled = False
        if len(self.plugins):
            install_plugins(self)
        self._upscaled: Tensor | None = None
        self.output_upscaling.register_forward_hook(self._take_upscaled)

    def forward(
        self,
        features: SAMFeatures,
        prompts: PromptEmbedding,
        prompt_encoder: nn.Module | None = None,
    ) -> MaskPrediction:
        """Decode P prompts.

        Args:
            features: Embedding (B, C, h, w).
            prompts: sparse (P, K, C), dense (P, C, h, w).
            prompt_encoder: For decoders that turn masks into prompts (self-draft); not used here.

        Returns:
            logits (P, M, 4h, 4w), iou (P, M) with M = 1 + num_multimask_outputs: all of stock SAM's masks, unselected.
        """
        if self.with_cp and self.training and torch.is_grad_enabled():
            parts = [checkpoint(self._decode, features, prompts, use_reentrant=False)]
        else:
            size = self._chunk_size(prompts)
            starts = range(0, len(prompts), size)
            parts = [self._decode(features, prompts[start : start + size]) for start in starts]
        logits, iou, upscaled = (list(part) for part in zip(*parts, strict=True))
        return MaskPrediction(_join(logits), _join(iou), upscaled=_join(upscaled) if self.keep_upscaled else None)

    def _chunk_size(self, prompts: PromptEmbedding) -> int:
        if torch.is_grad_enabled() or self.chunk_size is None or not len(prompts):
            return max(1, len(prompts))
        if self.chunk_size != 'auto':
            return self.chunk_size
        on_gpu = prompts.dense.device.type != 'cpu'
        return len(prompts) if on_gpu else max(1, CPU_CHUNK_VALUES // prompts.dense[0].numel())

    def _decode(self, features: SAMFeatures, prompts: PromptEmbedding) -> tuple[Tensor, Tensor, Tensor | None]:
        dtype = self.iou_token.weight.dtype
        dense = (prompts.dense + features.embedding[prompts.image_index]).to(dtype)  # (P, C, h, w)
        self.context = DecoderContext(features, prompts.image_index, tuple(dense.shape[-2:]), prompts.dense)
        try:
            logits, iou = self.predict_masks(
                image_embeddings=dense.new_zeros(1, dense.shape[1], 1, 1),
                image_pe=prompts.image_pe.to(dtype),
                sparse_prompt_embeddings=prompts.sparse.to(dtype),
                dense_prompt_embeddings=dense,
            )
            return logits, iou, self._upscaled
        finally:
            self.context = self._upscaled = None

    def _take_upscaled(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        if self.keep_upscaled:
            self._upscaled = output


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
