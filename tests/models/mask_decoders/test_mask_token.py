"""PT-SAM's token changes nothing at the start; trained, it equals the same token in SAM's own parameter."""

from __future__ import annotations

import pytest
import torch

from mmsam_ext.models.mask_decoders import MaskTokenPlugin
from mmsam_ext.structures import PromptBatch
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, SIZE, images, segmentor
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close

PLUGIN = dict(type='MaskTokenPlugin', dim=CHANNELS)


def logits(model) -> torch.Tensor:
    """Mask logits (P, M, h, w) of mixed prompts."""
    with torch.no_grad():
        batch = PromptBatch.from_prompts(mixed(), (SIZE, SIZE))
        return model.decode(model.extract_feat(images(2)), batch).logits


def with_plugin(**options):
    """A model with the plugin, and the weights of the model without it."""
    model = segmentor(decoder=dict(plugins=[PLUGIN | options]))
    model.load_state_dict(segmentor().state_dict(), strict=False)
    model.mask_decoder.plugins[0].offset.data.zero_()
    return model


@pytest.mark.parametrize('token', [0, 2])
def test_identity_at_the_start_and_another_token_afterwards(token: int) -> None:
    plain, tuned = segmentor(), with_plugin(mask_token=token)
    assert torch.equal(logits(plain), logits(tuned))
    offset = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(0))
    tuned.mask_decoder.plugins[0].offset.data.copy_(offset)
    assert not torch.allclose(logits(plain), logits(tuned))
    plain.mask_decoder.mask_tokens.weight.data[token] += offset
    assert_close(logits(tuned), logits(plain), MODEL)


def test_bad_tokens() -> None:
    with raises_naming(ValueError, 'mask_token=-1'):
        MaskTokenPlugin(mask_token=-1)
    with raises_naming(ValueError, 'mask_token=4', '3'):
        with_plugin(mask_token=4)
    with raises_naming(ValueError, 'dim=64', CHANNELS):
        with_plugin(dim=64)
