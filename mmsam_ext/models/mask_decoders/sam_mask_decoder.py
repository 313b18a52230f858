"""SAM's mask decoder for all prompts of a batch at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleList
from mmseg.registry import MODELS
from segment_anything.modeling import MaskDecoder
from torch import Tensor, nn

from mmsam_ext.checkpoints.part_of_sam import PartOfSAM
from mmsam_ext.structures import MaskPrediction, PromptEmbedding, SAMFeatures

from ..layers import fuse_layer_norms
from ..layers.checkpointing import checkpointed
from .plugins import DecoderContext, install_plugins
from .sharing_transformer import SharedTokens, SharingTransformer

#: Number of image token values (prompts x h x w x C) that a CPU decodes fastest: two prompts of a 1024 x 1024 image.
CPU_CHUNK_VALUES = 2 * 64 * 64 * 256


@MODELS.register_module()
class SAMMaskDecoder(PartOfSAM, MaskDecoder, BaseModule):
    """Decode masks with ``segment_anything``'s decoder and parameter names, for prompts of many images in one call.

    Image embeddings are expanded to prompts in one addition: the stock forward pass on a zero image embedding with
    ``dense + embedding[image_index]`` gives bitwise the same result as one pass per image. Without gradients, image
    tokens that are the same for all prompts of an image are projected once for them (:class:`SharingTransformer`).

    Args:
        transformer_dim: C, channels of the image embedding.
        depth: Number of two-way blocks.
        num_heads: Number of attention heads.
        mlp_dim: Hidden width of a block's MLP.
        num_multimask_outputs: Number of masks for ambiguous prompts, in addition to the single-mask output; 1 or more.
        iou_head_depth: Number of layers of the IoU head.
        iou_head_hidden_dim: Hidden width of the IoU head.
        plugins: Configs of :class:`DecoderPlugin`, applied in this order.
        stage_channels: Channels of the backbone's stages of strides 4 and 8, for a decoder that adds them while it
            upscales the image features, as SAM 2 does (arXiv:2408.00714, appendix D.1), so that masks are finer than
            the tokens of stride 16. These are the last two stages of the backbone, (48, 96) of a
            :class:`SAMImageEncoder` of 'tiny' with `stem_stages`. What is added is zero at the start. None: not added.
        chunk_size: Number of prompts decoded at a time without gradients. None decodes all at once; 'auto' decodes all
            at once on a GPU and a few at a time on a CPU, where large prompt batches are slower.
        with_cp: Checkpoint the decoder's activations in training.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: An argument is out of its range, or a plugin does not fit the decoder; in the forward pass, the
            backbone does not return stages of `stage_channels`.
    """

    PREFIXES = ('mask_decoder.',)
    transformer: SharingTransformer

    def __init__(
        self,
        transformer_dim: int = 256,
        depth: int = 2,
        num_heads: int = 8,
        mlp_dim: int = 2048,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
        stage_channels: Sequence[int] | None = None,
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
            transformer=SharingTransformer(
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
        self.plugins: Any = ModuleList([MODELS.build(plugin) for plugin in plugins])
        self._contexts: dict[int, DecoderContext] = {}
        if len(self.plugins):
            install_plugins(self)
        self.output_upscaling.register_forward_hook(self._take_upscaled)
        self.stage_channels: tuple[int, ...] = ()
        if stage_channels is not None:
            self.add_stages(stage_channels)
            conv: Any
            for conv in (self.conv_s0, self.conv_s1):
                conv.added_to_sam = True  # a checkpoint of plain SAM lacks it
                nn.init.zeros_(conv.weight)
                nn.init.zeros_(conv.bias)
        if type(self).own_tokens is not SAMMaskDecoder.own_tokens:
            self.transformer.register_forward_hook(self._take_tokens)

    def forward(
        self,
        features: SAMFeatures,
        prompts: PromptEmbedding,
        prompt_encoder: Any = None,
        need_upscaled: bool = False,
    ) -> MaskPrediction:
        """Decode P prompts.

        Args:
            features: Embedding (B, C, h, w).
            prompts: sparse (P, K, C), dense (P, C, h, w).
            prompt_encoder: For decoders that turn masks into prompts (self-draft); not used here.
            need_upscaled: Return the upscaled image features, too.

        Returns:
            logits (P, M, 4h, 4w), iou (P, M) with M = 1 + num_multimask_outputs: all of stock SAM's masks, unselected;
            upscaled (P, C/8, 4h, 4w) if `need_upscaled`.
        """
        if self.with_cp and self.training and torch.is_grad_enabled():
            parts = [checkpointed(self, self._decode, features, prompts, need_upscaled)]
        else:
            size = self._chunk_size(prompts)
            shared = None if torch.is_grad_enabled() else self._shared_tokens(features, prompts)
            chunks = [prompts[start : start + size] for start in range(0, len(prompts), size)]
            parts = [self._decode(features, chunk, need_upscaled, shared) for chunk in chunks]
        logits, iou, upscaled, objects = (_join(part) for part in zip(*parts, strict=True))
        return MaskPrediction(logits, iou, upscaled=upscaled, object_logits=objects)

    def own_tokens(self) -> Tensor | None:
        """Return the tokens (E, C) that a subclass adds behind SAM's, before those of the prompts; None for none."""
        return None

    def complete(self, logits: Tensor, iou: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor, Tensor | None]:
        """Complete SAM's prediction; subclasses do so with what became of their own tokens.

        Args:
            logits: (P, M, 4h, 4w).
            iou: (P, M).
            context: With `tokens_out` and `upscaled` if the decoder has tokens of its own.

        Returns:
            logits, iou, and the object score's logits (P,), None for a decoder that predicts none.
        """
        return logits, iou, None

    def add_stages(self, channels: Sequence[int]) -> None:
        """Make this decoder add the stages of strides 4 and 8 to the features that it upscales.

        Args:
            channels: Of the stages, that of stride 4 first.

        Raises:
            ValueError: These are not two positive numbers.
        """
        if len(channels) != 2 or any(number < 1 for number in channels):
            raise ValueError(
                f'{type(self).__name__}: stage_channels={channels}, expected two positive numbers: the channels of the '
                'stages of strides 4 and 8'
            )
        self.stage_channels = tuple(channels)
        self.conv_s0 = nn.Conv2d(channels[0], self.transformer_dim // 8, 1)
        self.conv_s1 = nn.Conv2d(channels[1], self.transformer_dim // 4, 1)
        self.output_upscaling[0].register_forward_hook(_AddStage(self, level=1))
        self.output_upscaling[3].register_forward_hook(_AddStage(self, level=0))

    def projected_stage(self, features: SAMFeatures, level: int) -> Tensor:
        """Return a projected stage of the image encoder, computed once for all prompts of an image.

        Args:
            features: Features of a batch; the last two stages are those of strides 4 and 8.
            level: 0 for stride 4, 1 for stride 8.

        Returns:
            (B, C/8, 4h, 4w) for level 0, (B, C/4, 2h, 2w) for level 1.

        Raises:
            ValueError: The features have no such stages.
        """
        stages, (height, width) = features.stages[-2:], features.embedding.shape[-2:]
        wanted = [(dim, scale * height, scale * width) for dim, scale in zip(self.stage_channels, (4, 2), strict=True)]
        found = [tuple(stage.shape[1:]) for stage in stages]
        if found != wanted:
            raise ValueError(
                f'{type(self).__name__}: the last two stages of the backbone have the shapes {found} (channels, '
                f'height, width), expected {wanted}, those of strides 4 and 8: from a SAM2ImageEncoder for a '
                'SAM2MaskDecoder, from a SAMImageEncoder with stem_stages=True for a SAMMaskDecoder with stage_channels'
            )
        conv = (self.conv_s0, self.conv_s1)[level]

        def compute() -> Tensor:
            return conv(stages[level].to(conv.weight.dtype))

        if torch.is_grad_enabled():  # stored results would break activation checkpointing, which computes them again
            return compute()
        return features.once('high-resolution features', compute, level, weights=conv)

    @property
    def context(self) -> DecoderContext | None:
        """What plugins may read while this thread decodes; None otherwise."""
        return self._contexts.get(_thread())

    def running_context(self) -> DecoderContext:
        """Return what plugins may read while this thread decodes.

        Raises:
            RuntimeError: This thread is not decoding.
        """
        context = self.context
        if context is None:
            raise RuntimeError('SAMMaskDecoder: the transformer was called outside of the decoder')
        return context

    def _chunk_size(self, prompts: PromptEmbedding) -> int:
        if torch.is_grad_enabled() or self.chunk_size is None or not len(prompts):
            return max(1, len(prompts))
        if isinstance(self.chunk_size, int):
            return self.chunk_size
        on_gpu = prompts.dense.device.type != 'cpu'
        return len(prompts) if on_gpu else max(1, CPU_CHUNK_VALUES // prompts.dense[0].numel())

    def _decode(
        self,
        features: SAMFeatures,
        prompts: PromptEmbedding,
        need_upscaled: bool,
        shared: SharedTokens | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        dtype = self.iou_token.weight.dtype
        own = self.own_tokens()
        sparse = prompts.sparse.to(dtype)
        if own is not None:  # the order of tokens is of no importance to attention
            sparse = torch.cat([own.expand(len(sparse), -1, -1), sparse], 1)
        height, width = prompts.dense.shape[-2:]
        # A context per thread: hooks find it here, and threads that share a model do not meet.
        context = self._contexts[_thread()] = DecoderContext(
            features=features,
            image_index=prompts.image_index,
            size=(height, width),
            dense=prompts.dense,
            dense_is_shared=prompts.dense_is_shared,
            need_upscaled=need_upscaled or own is not None,
            order=prompts.order,
        )
        try:
            if shared is not None:
                logits, iou = self._predict_shared(shared, prompts, sparse)
            else:
                dense = (prompts.dense + features.embedding[prompts.image_index]).to(dtype)  # (P, C, h, w)
                logits, iou = self.predict_masks(
                    image_embeddings=dense.new_zeros(1, dense.shape[1], 1, 1),
                    image_pe=prompts.image_pe.to(dtype),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                )
            logits, iou, objects = self.complete(logits, iou, context)
        finally:
            del self._contexts[_thread()]
        return logits, iou, context.upscaled if need_upscaled else None, objects

    def _shared_tokens(self, features: SAMFeatures, prompts: PromptEmbedding) -> SharedTokens | None:
        """Return the image tokens of all images, projected for the first block; None where that saves nothing."""
        dense, dtype = prompts.shared_dense, self.iou_token.weight.dtype
        if dense is None or len(prompts) <= len(features.embedding):
            return None
        tokens = (dense + features.embedding).to(dtype).flatten(2).transpose(1, 2)  # (B, N, C)
        return self.transformer.layers[0].project(tokens, prompts.image_pe.to(dtype).flatten(2).transpose(1, 2))

    def _predict_shared(self, shared: SharedTokens, prompts: PromptEmbedding, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Do what the stock ``predict_masks`` does for prompts that share the image tokens of their images."""
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(prompts), -1, -1)
        hidden, keys = self.transformer(
            None,
            prompts.image_pe.to(output_tokens.dtype).expand(len(prompts), -1, -1, -1),
            torch.cat([output_tokens, sparse], 1),  # (P, K, C)
            shared=shared,
            image_index=prompts.image_index,
        )
        upscaled = self.output_upscaling(keys.transpose(1, 2).unflatten(2, tuple(prompts.dense.shape[-2:])))
        weights = torch.stack([mlp(hidden[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
        masks = (weights @ upscaled.flatten(2)).unflatten(2, tuple(upscaled.shape[-2:]))  # (P, M, 4h, 4w)
        return masks, self.iou_prediction_head(hidden[:, 0])

    def _take_upscaled(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        context = self.context
        if context is not None and context.need_upscaled:
            context.upscaled = output

    def _take_tokens(self, module: nn.Module, args: tuple, output: tuple[Tensor, Tensor]) -> None:
        if self.context is not None:
            self.context.tokens_out = output[0]


class _AddStage:
    """Add a projected stage to the output of a transposed convolution (hook)."""

    def __init__(self, decoder: SAMMaskDecoder, level: int) -> None:
        self.decoder, self.level = decoder, level

    def __call__(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        context = self.decoder.running_context()
        extra = self.decoder.projected_stage(context.features, self.level)[context.image_index]
        return output + extra if torch.is_grad_enabled() else output.add_(extra)


def _thread() -> int:
    """Return a number for the current thread; under ``torch.compile``, which traces one thread, always 0."""
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _join(parts: tuple[Any, ...]) -> Any:
    """Concatenate what the chunks of prompts have of one kind: a tensor each, or None each."""
    return parts[0] if len(parts) == 1 or parts[0] is None else torch.cat(parts)
