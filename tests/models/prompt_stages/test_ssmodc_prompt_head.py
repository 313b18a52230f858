"""SSMODC: plain unprompted SAM at the start, then what its equation says; the paper's switches; bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.engine.hooks import KernelTemperatureHook
from mmsam_ext.models.layers import OmniDimensionalConv, OmniDirectionalSSM
from mmsam_ext.models.prompt_stages import SSMODCPromptHead
from mmsam_ext.structures import PromptBatch
from tests.models.prompts import mixed
from tests.models.small import ARCH, CHANNELS, SIZE, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close

#: SAM's, with an inner stage.
BACKBONE = dict(type='SAMImageEncoder', arch=ARCH, out_indices=(1,))
ENCODER = dict(type='mmpretrain.TIMMBackbone', model_name='efficientvit_b0', features_only=True, out_indices=(1, 2, 3))


def head_config(**changes: Any) -> dict:
    return {
        **dict(
            type='SSMODCPromptHead',
            feature_encoder=ENCODER,
            in_channels=(32, 64, 128),
            embed_dim=CHANNELS,
            dim=16,
            d_state=4,
            dt_rank=4,
        ),
        **changes,
    }


@pytest.fixture(scope='module')
def plain():
    return segmentor(backbone=BACKBONE)


def with_head(plain, **changes: Any):
    """A model with the weights of a plain one; the head keeps its start."""
    model = segmentor(backbone=BACKBONE, prompt_stages=[head_config(**changes)], trainable=[r'^prompt_stages\.'])
    torch.manual_seed(0)
    model.prompt_stages[0] = MODELS.build(head_config(**changes)).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    return model.eval()


NO_ENCODER = dict(feature_encoder=None, in_channels=())
#: The second network alone; SAM's embedding beside it; that and an inner stage of SAM's backbone; these alone.
FUSED = [
    {},
    dict(sam_channels=(CHANNELS,)),
    dict(sam_channels=(ARCH['embed_dim'], CHANNELS)),
    dict(sam_channels=(ARCH['embed_dim'], CHANNELS), **NO_ENCODER),
]


@pytest.mark.parametrize('changes', FUSED)
@torch.no_grad()
def test_starts_as_unprompted_sam_bit_for_bit(plain, changes: dict) -> None:
    model, x = with_head(plain, **changes), images(2)
    assert torch.equal(model(x, None, mode='tensor').logits, plain(x, None, mode='tensor').logits)
    prompts, features = mixed(), model.extract_feat(x)
    before, after = (m.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))) for m in (plain, model))
    assert torch.equal(before.logits, after.logits) and torch.equal(before.iou, after.iou)


@pytest.mark.parametrize('changes', FUSED)
@torch.no_grad()
def test_writes_once_for_an_image_and_by_its_equation(plain, monkeypatch: pytest.MonkeyPatch, changes: dict) -> None:
    model, x = with_head(plain, **changes), images(2)
    head: SSMODCPromptHead = model.prompt_stages[0]
    torch.nn.init.normal_(head.proj.weight)
    features, prompts = model.extract_feat(x), mixed()
    maps = [] if head.feature_encoder is None else [*head.feature_encoder(x)]
    maps += [features.stages[-1], features.embedding][2 - len(head.sam_channels) :]
    assert len(maps) == len(head.fuse)
    fused = sum(
        torch.nn.functional.interpolate(fuse(stage), (8, 8), mode='bilinear')
        for fuse, stage in zip(head.fuse, maps, strict=True)
    )
    y = head.local(fused)
    y = head.od_ssm[0](y)
    for conv in head.od_conv:
        y = conv(y)
    expected = head.proj(fused + y)
    assert expected.std() > 0.1
    calls: list[Tensor] = []
    monkeypatch.setattr(head, 'write', lambda features, write=head.write: calls.append(write(features)) or calls[0])
    groups = model.prompt_encoder(PromptBatch.from_prompts(prompts, (SIZE, SIZE)), (8, 8))
    assert len(groups) > 1
    for group in groups:
        edited = head(features, group)
        assert_close(edited.dense - group.dense, expected[group.image_index], MODEL)
        assert torch.equal(edited.sparse, group.sparse)
    assert len(calls) == 1
    assert not torch.equal(model(x, None, mode='tensor').logits, plain(x, None, mode='tensor').logits)


@pytest.mark.parametrize(('batch', 'changes'), [(1, {}), (2, {}), (1, FUSED[-1])])
def test_trains_the_head_alone(plain, batch: int, changes: dict) -> None:
    """A batch of one, too; a second step moves every parameter of the head, which the first's zeros hold back."""
    model = with_head(plain, input_size=(64, 64), **changes).train()
    head = model.prompt_stages[0]
    assert head.fuse[0][1].training and not model.backbone.training
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in head.parameters():
        parameter.requires_grad_(True)
    data = [sample(labels=disc()) for _ in range(batch)]
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        losses = model.loss(images(batch), data)
        sum(losses.values()).backward()
        optimizer.step()
    without = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@pytest.mark.parametrize(
    ('changes', 'ssm', 'convs'),
    [
        ({}, 1, [1, 2]),
        (dict(num_ssm=0), 0, [1, 2]),
        (dict(dilations=()), 1, []),
        (dict(num_ssm=0, dilations=()), 0, []),
        (dict(dilations=(1,)), 1, [1]),
        (dict(dilations=(1, 2, 3)), 1, [1, 2, 3]),
        (dict(num_ssm=3, num_directions=4), 3, [1, 2]),
    ],
)
def test_switches_of_tables_4_to_6(changes: dict, ssm: int, convs: list[int]) -> None:
    head = MODELS.build(head_config(**changes))
    assert sum(isinstance(m, OmniDirectionalSSM) for m in head.modules()) == ssm
    assert [m.dilation for m in head.modules() if isinstance(m, OmniDimensionalConv)] == convs


def test_size_near_the_papers() -> None:
    """53.687 M learnable within 3 %: EfficientViT-L2 by 49,090,208."""
    with torch.device('meta'):
        encoder = {**ENCODER, 'model_name': 'efficientvit_l2'}
        head = MODELS.build(dict(type='SSMODCPromptHead', feature_encoder=encoder, in_channels=(128, 256, 512)))
    assert sum(p.numel() for p in head.feature_encoder.parameters()) == 49_090_208
    number = sum(p.numel() for p in head.parameters())
    assert abs(number / 53.687e6 - 1) < 0.03, number


@torch.no_grad()
def test_refuses(plain) -> None:
    x = images(1)
    for changes, names in (
        (
            dict(in_channels=(32, 64)),
            ('(1, 32, 16, 16)', '2 maps', 'in_channels', '(32, 64)'),
        ),
        (dict(in_channels=(32, 64, 160)), ('3 maps', 'in_channels', '(32, 64, 160)')),
        (dict(stride=128), ('128 x 128', 'stride', '256', 'input_size')),
        (dict(embed_dim=48), ('(1, 32, 8, 8)', 'embed_dim', '48')),
        (dict(sam_channels=(48,)), ('(1, 32, 8, 8)', '1 maps', 'sam_channels', '48')),
    ):
        with raises_naming(ValueError, *names):
            with_head(plain, **changes)(x, None, mode='tensor')
    for changes, names in (
        (dict(input_size=(32, 96)), ('32 x 96', 'stride')),
        (dict(num_ssm=-1), ('num_ssm', '-1')),
        (dict(in_channels=()), ('in_channels', '()')),
        (dict(feature_encoder=None), ('in_channels', '(32, 64, 128)')),
        (NO_ENCODER, ('sam_channels', '()')),
        (dict(num_directions=6), ('num_directions', '6')),
        (dict(d_state=-2), ('d_state', '-2')),
        (dict(scan_backend='fast'), ('backend', 'fast')),
    ):
        with raises_naming(ValueError, *names):
            MODELS.build(head_config(**changes))
    head = MODELS.build(head_config(scan_backend='mamba_ssm')).eval()
    features = plain.extract_feat(x)
    with raises_naming(RuntimeError, 'pip install'):
        head.write(features)
    features.image = None
    with raises_naming(ValueError, 'image', 'None'):
        head.write(features)


@torch.no_grad()
def test_sample_of_mmseg_without_prompts(plain) -> None:
    model = with_head(plain)
    predicted = model.predict(images(2), [SegDataSample(metainfo=dict(img_shape=(SIZE, SIZE))) for _ in range(2)])
    assert predicted[0].pred_sem_seg.data.shape == (1, SIZE, SIZE)


class FakeRunner:
    """What the hook looks at."""

    def __init__(self, model: torch.nn.Module, max_iters: int) -> None:
        self.model, self.max_iters, self.iter = model, max_iters, 0


def test_temperature_anneals() -> None:
    head = MODELS.build(head_config())
    runner, hook = FakeRunner(head, 200), KernelTemperatureHook()
    hook.before_train(runner)
    layers = [m for m in head.modules() if isinstance(m, OmniDimensionalConv)]
    seen = {}
    for runner.iter in (0, 5, 10, 150):
        hook.before_train_iter(runner, 0)
        seen[runner.iter] = {float(layer.temperature) for layer in layers}
    assert seen == {0: {30.0}, 5: {15.5}, 10: {1.0}, 150: {1.0}}
    assert float(head.state_dict()['od_conv.0.0.temperature']) == 1.0
    for name, value in (('end', 0), ('fraction', 0), ('fraction', 1.5)):
        with raises_naming(ValueError, name, value):
            KernelTemperatureHook(**{name: value})
    KernelTemperatureHook().before_train(FakeRunner(torch.nn.Linear(1, 1), 1))  # an ablation: a word in the log


def test_temperature_of_a_frozen_layer_stays() -> None:
    """A part that is not trained keeps what its checkpoint says."""
    head = MODELS.build(head_config())
    frozen, trained = (m for m in head.modules() if isinstance(m, OmniDimensionalConv))
    frozen.requires_grad_(False)
    hook, runner = KernelTemperatureHook(), FakeRunner(head, 200)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert (float(frozen.temperature), float(trained.temperature)) == (1.0, 30.0)
