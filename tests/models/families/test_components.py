"""Every component starts as an identity on every family, and trains there."""

from __future__ import annotations

import copy

import pytest
import torch
from mmseg.registry import MODELS

from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.models.segmentors import PromptableSegmentor
from tests.models.small import ARCH, CHANNELS, DECODER, config, randomise
from tests.numeric import MODEL, assert_close
from tests.shrink import OTHER_ARCHS
from tests.test_random_mix import HEADS, PEFT, PLUGINS, SIZE, STAGES, batch, images, masks

ARCHS = {name: dict(type=name, arch=arch, out_channels=CHANNELS) for name, arch in OTHER_ARCHS.items()}
SAM2 = dict(
    backbone=ARCHS['SAM2ImageEncoder'], prompt_encoder=dict(type='SAM2PromptEncoder', embed_dim=CHANNELS)
)  # fmt: skip
#: Parts of each family; the decoder's settings are added.
FAMILIES = dict(
    hq_sam=dict(
        backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, img_size=SIZE), out_indices=(1,)),
        mask_decoder=dict(type='HQMaskDecoder', early_dim=ARCH['embed_dim']),
    ),
    sam2=dict(SAM2, mask_decoder=dict(type='SAM2MaskDecoder')),
    hq_sam2=dict(SAM2, mask_decoder=dict(type='HQSAM2MaskDecoder')),
    mobile_sam=dict(backbone=ARCHS['TinyViTImageEncoder'], mask_decoder=dict(type='SAMMaskDecoder')),
)
COMPONENTS = {**PLUGINS, **STAGES, **HEADS, **PEFT, 'SelfDraftDecoder': {}}


def build(family: str, component: str | None = None) -> PromptableSegmentor:
    """A small random model of a family, with a component or plain."""
    settings = config(SIZE, **copy.deepcopy(FAMILIES[family]))
    settings['mask_decoder'].update(transformer_dim=CHANNELS, **DECODER)
    part = [dict(type=component, **COMPONENTS[component])] if component else []
    if component in PLUGINS:
        settings['mask_decoder']['plugins'] = part
    elif component in STAGES:
        settings['prompt_stages'] = part
    elif component in HEADS:
        settings['auxiliary_heads'] = part
    elif component in PEFT:
        narrow = {key: value for key, value in PEFT[component].items() if 'slices' not in key}
        settings['peft'] = [
            dict(type=component, modules=r'^backbone\..*\.qkv$', **PEFT[component]),
            dict(type=component, modules=r'^mask_decoder\..*\.(q|v)_proj$', **narrow),
        ]
    elif component:
        settings['mask_decoder'] = dict(type='SelfDraftDecoder', decoder=settings['mask_decoder'])
    torch.manual_seed(0)
    return MODELS.build(settings).eval()


@pytest.mark.parametrize('family', FAMILIES)
def test_components_start_as_identities_and_train(family: str) -> None:
    plain = build(family)
    randomise(plain)
    inputs = images(2, SIZE, SIZE)
    expected, state = masks(plain, inputs), plain.state_dict()
    for component in COMPONENTS:
        model = build(family, component)
        model.load_state_dict(dict(state), strict=False)
        if component == 'SelfDraftDecoder':  # its draft is the plain prediction, which its second decoder refines
            drafted = build(family, component)
            drafted.load_state_dict(dict(state), strict=False)
            drafted.mask_decoder.refine = drafted.mask_decoder.drafts[0]
            drafted.mask_decoder.drafts = torch.nn.ModuleList()
            assert_close(masks(drafted, inputs), expected, MODEL, name=component)
        else:
            assert_close(masks(model, inputs), expected, MODEL, name=component)
        added = {name for name, _ in model.named_parameters()} - set(state)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in added)
        losses = model.train().loss(inputs, batch())
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        trained = dict(model.named_parameters())
        unused = [name for name in added if trained[name].grad is None]
        # The losses have no part of the IoU head and the object score, nor HQ-SAM's of SAM's own masks.
        assert component == 'SelfDraftDecoder' or not unused, (component, unused)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('stable_sam2_hiera_l_hqseg44k', 82_085),
        ('stable_hq_sam_vitl_hqseg44k', 82_085),
        ('hq_sam_vitl_hqseg44k', 1_333_248),
    ],
)
def test_trainable_parameters(name: str, expected: int) -> None:
    """Stable-SAM has 0.08 million on every family, HQ-SAM those of its table."""
    with torch.device('meta'):
        model = MODELS.build(load_config(name).model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize('family', FAMILIES)
def test_encoder_in_bf16_with_any_decoder(family: str) -> None:
    """The decoder in its own format, and in bf16; logits in fp32, close to those without."""
    inputs = images(2, SIZE, SIZE)
    for component in (None, *COMPONENTS):
        model = build(family, component)
        randomise(model)
        expected = masks(model, inputs)
        for decoder in (None, 'bf16'):
            model.test_cfg = dict(model.test_cfg, compute_dtype='bf16', decoder_dtype=decoder)
            found = masks(model, inputs)
            assert found.dtype == torch.float32
            error = float((found - expected).norm() / expected.norm())
            # A prompt stage with random weights sends rounding through a softmax: its error is large.
            assert 0 < error < (1 if component in STAGES else 0.2), (component, decoder, error)
