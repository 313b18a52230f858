"""The base class of everything that edits the inside of SAM's mask decoder, and how it is installed.

::

    SAMMaskDecoder                              hooks, in the order in which they run
      TwoWayTransformer(image, image_pe, tokens)
        |                                       _Start: plugin.edit_tokens; completes the context (tokens, key_pe)
        +- block 0: self-attention of tokens
        |    +- token-to-image attention        _BeforeTokenToImage, site 0: plugin.before_token_to_image
        |    +- MLP, image-to-token attention
        |                                       _AfterBlock, index 0: plugin.after_block
        +- block 1 ... depth - 1                the same, sites and indices 1 ... depth - 1
        +- final token-to-image attention       _BeforeTokenToImage, site depth
      output_upscaling, mask and IoU heads      (at each hook the plugins run in the order of the config)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsam_ext.structures import SAMFeatures

if TYPE_CHECKING:
    from ..sam_mask_decoder import SAMMaskDecoder


@dataclass
class DecoderContext:
    """What a plugin may read in addition to what it edits.

    Attributes:
        features: The image features of the batch, embedding (B, C, h, w).
        image_index: (P,) the image of each prompt.
        size: (h, w) of the image tokens, N = h * w.
        dense: (P, C, h, w) dense prompts, which are added to the image features.
        dense_is_shared: Whether `dense` is the same for all of several prompts.
        need_upscaled: Whether the upscaled image features were requested.
        upscaled: (P, C/8, 4h, 4w) the upscaled image features; set at the end if `need_upscaled`.
        order: (P,) the place of each prompt among all prompts of the batch.
        tokens: (P, K, C) the decoder's input tokens: IoU, masks, those that HQ-SAM and SAM 2 add, sparse prompts. Set
            when the transformer starts.
        tokens_out: (P, K, C) what became of them. Set when the transformer ends, in decoders with tokens of their own.
        key_pe: (P, N, C) position code of the image tokens. Set when the transformer starts.
        values_by_image: Whether the values of the current attention are the same for all prompts of an image, namely
            ``features.embedding + dense[0]``. True before the first block, unless dense prompts differ or another
            plugin has edited the values.
    """

    features: SAMFeatures
    image_index: Tensor
    size: tuple[int, int]
    dense: Tensor
    dense_is_shared: bool = False
    need_upscaled: bool = False
    upscaled: Tensor | None = None
    order: Tensor | None = None
    tokens: Tensor | None = None
    tokens_out: Tensor | None = None
    key_pe: Tensor | None = None
    values_by_image: bool = False


class DecoderPlugin(BaseModule):
    """Edit the two-way transformer of a mask decoder.

    Subclasses override one or several of the hooks, and start as an exact identity.

    The sites of token-to-image attention are numbered from 0: one in each of the `depth` blocks, then the final one.
    """

    #: Whether a checkpoint of plain SAM may lack its parameters.
    added_to_sam = True
    #: C, the number of channels of the image tokens that it works on; None for any.
    dim: int | None = None

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """Check that this plugin fits a decoder; called when it is installed. Subclasses extend it.

        Raises:
            ValueError: `dim` is not the decoder's `transformer_dim`.
        """
        if self.dim not in (None, decoder.transformer_dim):
            raise ValueError(
                f'{type(self).__name__}: dim={self.dim}, expected {decoder.transformer_dim}, the transformer_dim of '
                'the decoder'
            )

    def edit_tokens(self, tokens: Tensor) -> Tensor:
        """Edit the decoder's input tokens, which are also their own position code.

        Args:
            tokens: (P, K, C): IoU token, mask tokens, sparse prompts.

        Returns:
            Tokens of the same shape.
        """
        return tokens

    def before_token_to_image(
        self, site: int, queries: Tensor, keys: Tensor, values: Tensor, context: DecoderContext
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Edit the inputs of a token-to-image attention.

        Args:
            site: Number of the attention.
            queries: (P, K, C) with position code.
            keys: (P, N, C) with position code.
            values: (P, N, C) without position code.
            context: What else may be read.

        Returns:
            queries, keys, values of the same shapes.
        """
        return queries, keys, values

    def after_block(self, index: int, queries: Tensor, keys: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor]:
        """Edit the outputs of two-way block `index`.

        Args:
            index: Number of the block.
            queries: (P, K, C) without position code.
            keys: (P, N, C) without position code.
            context: What else may be read.

        Returns:
            queries, keys of the same shapes.
        """
        return queries, keys


class _Start:
    """Let plugins edit the input tokens, and complete the context, when the transformer starts (pre-hook)."""

    def __init__(self, decoder: SAMMaskDecoder) -> None:
        self.decoder = decoder

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        image, image_pe, tokens = args  # with `shared` image tokens, `image` is None
        for plugin in self.decoder.plugins:
            tokens = plugin.edit_tokens(tokens)
        context = self.decoder.running_context()
        context.tokens = tokens
        context.key_pe = image_pe.flatten(2).transpose(1, 2)  # (P, C, h, w) -> (P, N, C)
        return (image, image_pe, tokens), kwargs


class _BeforeTokenToImage:
    """Let plugins edit the inputs of a token-to-image attention (pre-hook)."""

    def __init__(self, decoder: SAMMaskDecoder, site: int) -> None:
        self.decoder, self.site = decoder, site

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        state = kwargs['q'], kwargs['k'], kwargs['v']
        context = self.decoder.running_context()
        context.values_by_image = self.site == 0 and context.dense_is_shared
        for plugin in self.decoder.plugins:
            values = state[2]
            state = plugin.before_token_to_image(self.site, *state, context)
            context.values_by_image &= state[2] is values
        return args, dict(zip('qkv', state, strict=True))


class _AfterBlock:
    """Let plugins edit the outputs of a two-way block (hook)."""

    def __init__(self, decoder: SAMMaskDecoder, index: int) -> None:
        self.decoder, self.index = decoder, index

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> tuple[Tensor, Tensor]:
        for plugin in self.decoder.plugins:
            output = plugin.after_block(self.index, *output, self.decoder.running_context())
        return output


def install_plugins(decoder: SAMMaskDecoder) -> None:
    """Hook `decoder.plugins` into `decoder.transformer`, which stays the stock class with its stock parameter names.

    The hooks are callable objects inside the module tree: a deep copy's hooks point at the copy (closures would not).

    Raises:
        ValueError: The transformer has no two-way blocks with token-to-image attention, an entry of `plugins` is not a
            DecoderPlugin, or a plugin does not fit the decoder.
    """
    transformer: Any = decoder.transformer
    try:
        attentions = [block.cross_attn_token_to_image for block in transformer.layers]
        attentions.append(transformer.final_attn_token_to_image)
    except AttributeError as error:
        names = [type(plugin).__name__ for plugin in decoder.plugins]
        raise ValueError(
            f'plugins {names} need a two-way transformer with token-to-image attention; '
            f'{type(transformer).__name__} has none ({error})'
        ) from error
    for index, plugin in enumerate(decoder.plugins):
        if not isinstance(plugin, DecoderPlugin):
            hint = getattr(plugin, 'not_a_plugin', '')
            raise ValueError(
                f'plugins[{index}] of the mask decoder is a {type(plugin).__name__}, expected a DecoderPlugin. {hint}'
            )
        plugin.check_decoder(decoder)
    transformer.register_forward_pre_hook(_Start(decoder), with_kwargs=True)
    # Without such a plugin, prompts of an image can share the projections of its tokens.
    if any(type(plugin).before_token_to_image is not DecoderPlugin.before_token_to_image for plugin in decoder.plugins):
        for site, attention in enumerate(attentions):
            attention.register_forward_pre_hook(_BeforeTokenToImage(decoder, site), with_kwargs=True)
    for index, block in enumerate(transformer.layers):
        block.register_forward_hook(_AfterBlock(decoder, index), with_kwargs=True)
