"""The base class of everything that edits the inside of SAM's mask decoder, and how it is hooked in."""

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
    """What a plugin may want to know beside what it edits.

    Attributes:
        features: The image features of the batch, embedding (B, C, h, w).
        image_index: (P,) the image of each prompt.
        size: (h, w) of the image tokens, N = h * w.
        dense: (P, C, h, w) dense prompts, added to the image features; one prompt expanded where all are the same.
        tokens: (P, K, C) the decoder's input tokens: IoU, masks, sparse prompts. Set when the transformer starts.
        key_pe: (P, N, C) position code of the image tokens. Set when the transformer starts.
        values_by_image: The values of the attention at hand are the same for all prompts of an image, namely
            ``features.embedding + dense[0]``. So it is before the first block, unless dense prompts differ or another
            plugin edited the values.
    """

    features: SAMFeatures
    image_index: Tensor
    size: tuple[int, int]
    dense: Tensor
    tokens: Tensor | None = None
    key_pe: Tensor | None = None
    values_by_image: bool = False


class DecoderPlugin(BaseModule):
    """Edits the two-way transformer of a mask decoder. Subclasses override one or both methods, and start as an
    identity.

    Sites of token-to-image attention are numbered 0 .. depth - 1 for the blocks and depth for the final attention.
    """

    #: Missing from a checkpoint of plain SAM without an error.
    added_to_sam = True
    #: C, channels of the image tokens that it is made for; None: any.
    dim: int | None = None

    def check_attentions(self, number: int) -> None:
        """Called when installed in a decoder with so many token-to-image attentions; raises where that does not fit."""

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """Called when installed, of whatever else must fit; raises where it does not. `dim` is checked anyway."""

    def before_token_to_image(
        self, site: int, queries: Tensor, keys: Tensor, values: Tensor, context: DecoderContext
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Edit what goes into a token-to-image attention.

        Args:
            site: Which attention.
            queries: (P, K, C) with position code.
            keys: (P, N, C) with position code.
            values: (P, N, C) without position code.

        Returns:
            queries, keys, values of the same shapes.
        """
        return queries, keys, values

    def after_block(self, index: int, queries: Tensor, keys: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor]:
        """Edit what comes out of two-way block `index`: queries (P, K, C), keys (P, N, C), both without position
        code.
        """
        return queries, keys


class _Start:
    """Pre-hook of the transformer: completes the context."""

    def __init__(self, decoder: SAMMaskDecoder) -> None:
        self.decoder = decoder

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        _, image_pe, tokens = args
        self.decoder.context.tokens = tokens
        self.decoder.context.key_pe = image_pe.flatten(2).transpose(1, 2)  # (P, C, h, w) -> (P, N, C)


class _BeforeTokenToImage:
    """Pre-hook of a token-to-image attention."""

    def __init__(self, decoder: SAMMaskDecoder, site: int) -> None:
        self.decoder, self.site = decoder, site

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        state = kwargs['q'], kwargs['k'], kwargs['v']
        context = self.decoder.context
        context.values_by_image = self.site == 0 and context.dense.stride(0) == 0
        for plugin in self.decoder.plugins:
            values = state[2]
            state = plugin.before_token_to_image(self.site, *state, context)
            context.values_by_image &= state[2] is values
        return args, dict(zip('qkv', state, strict=True))


class _AfterBlock:
    """Hook of a two-way block."""

    def __init__(self, decoder: SAMMaskDecoder, index: int) -> None:
        self.decoder, self.index = decoder, index

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> tuple[Tensor, Tensor]:
        for plugin in self.decoder.plugins:
            output = plugin.after_block(self.index, *output, self.decoder.context)
        return output


def install_plugins(decoder: SAMMaskDecoder) -> None:
    """Hook `decoder.plugins` into `decoder.transformer`, which stays the stock class with its stock parameter names.

    The hooks are callable objects inside the module tree: a deep copy's hooks point at the copy (closures would not).

    Raises:
        ValueError: the transformer has no two-way blocks with token-to-image attention, or a plugin does not fit them.
    """
    transformer = decoder.transformer
    try:
        attentions = [block.cross_attn_token_to_image for block in transformer.layers]
        attentions.append(transformer.final_attn_token_to_image)
    except AttributeError as error:
        names = [type(plugin).__name__ for plugin in decoder.plugins]
        raise ValueError(
            f'plugins {names} need a two-way transformer with token-to-image attention; '
            f'{type(transformer).__name__} has none ({error})'
        ) from error
    for plugin in decoder.plugins:
        plugin.check_attentions(len(attentions))
        if plugin.dim not in (None, decoder.transformer_dim):
            raise ValueError(
                f'{type(plugin).__name__}: dim={plugin.dim}, expected {decoder.transformer_dim}, the transformer_dim '
                'of the decoder'
            )
        plugin.check_decoder(decoder)
    transformer.register_forward_pre_hook(_Start(decoder), with_kwargs=True)
    for site, attention in enumerate(attentions):
        attention.register_forward_pre_hook(_BeforeTokenToImage(decoder, site), with_kwargs=True)
    for index, block in enumerate(transformer.layers):
        block.register_forward_hook(_AfterBlock(decoder, index), with_kwargs=True)
