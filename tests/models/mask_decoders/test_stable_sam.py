"""Deformable sampling and dynamic routing, against their equations and the count of the paper."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmsam_ext.models.mask_decoders import DeformableSamplingPlugin, DynamicRouter
from mmsam_ext.models.mask_decoders.plugins import DecoderContext, sample_bilinear
from mmsam_ext.models.mask_decoders.plugins import deformable_sampling as module
from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, DECODER, SIZE, config, images, randomise, sample, segmentor
from tests.naming import raises_naming, warns_naming
from tests.numeric import LAYER, MODEL, assert_close, assert_differs

ROUTER = dict(type='DynamicRouter', dim=CHANNELS, hidden_dim=8)
DSP = dict(type='DeformableSamplingPlugin', dim=CHANNELS)
DSP_DRP = DSP | dict(router=ROUTER)
ALL = pytest.mark.parametrize('plugin', [DSP, DSP_DRP, DSP_DRP | dict(num_modules=3)], ids=['dsp', 'drp', 'each'])


def boxes(*numbers: int) -> list[Prompts]:
    """Return the given number of boxes for each image."""
    generator = torch.Generator().manual_seed(0)
    corners = [torch.rand(number, 2, 2, generator=generator).sort(1).values * 120 for number in numbers]
    return [Prompts.create(boxes=corner.flatten(1)) for corner in corners]


def stable(plugin: dict, trained: bool = True, **changes):
    """A model with the plugin, as it starts or as if trained, and plain SAM with the same weights."""
    plain = segmentor()
    model = MODELS.build(config(decoder=dict(plugins=[plugin], **changes))).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    if trained:
        randomise(model.mask_decoder.plugins[0], seed=5)
    return model, plain


def decode(model, prompts: list[Prompts], observe=None) -> Tensor:
    features = dataclasses.replace(model.extract_feat(images(len(prompts))), observe=observe)
    return model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits


# ---------------------------------------------------------------- the start


@torch.no_grad()
@ALL
def test_untrained_it_is_sam_bit_for_bit(plugin):
    model, plain = stable(plugin, trained=False)
    for prompts in (mixed(), boxes(3, 5), [Prompts.empty(), Prompts.empty()]):
        assert torch.equal(decode(model, prompts), decode(plain, prompts))
    randomise(model.mask_decoder.plugins[0])
    assert (decode(model, mixed()) - decode(plain, mixed())).abs().max() > 0.1  # it is there


@torch.no_grad()
def test_untrained_it_is_an_identity_in_bf16_too():
    """What attention gets is the same bit for bit (its products round by memory layout, so logits are not)."""
    model, plain = stable(DSP_DRP, trained=False)
    plugin = model.mask_decoder.plugins[0]
    same = []

    def compare(site, queries, keys, values, context):
        after = DeformableSamplingPlugin.before_token_to_image(plugin, site, queries, keys, values, context)
        same.append([torch.equal(new, old) for new, old in zip(after, (queries, keys, values), strict=True)])
        return after

    plugin.before_token_to_image = compare
    with torch.autocast('cpu', torch.bfloat16):
        logits, expected = decode(model, mixed()), decode(plain, mixed())
    assert same == [[True] * 3] * 12  # four groups of prompts, three attentions
    rounding = (expected - decode(plain, mixed())).abs().mean()
    assert (logits - expected).abs().mean() < rounding


def test_every_parameter_is_trained_from_the_first_step():
    """In the graph (DDP demands it), and so that the plugin leaves its start: its last layers have a gradient at it."""
    model, _ = stable(DSP_DRP, trained=False)
    target = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    target[:, 30:90, 20:90] = 1
    sum(model.loss(images(), [sample(boxes(2)[0], masks=target)]).values()).backward()
    moving = {}
    for name, parameter in model.mask_decoder.plugins[0].named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        moving[name] = bool(parameter.grad.any())
    ends = ('offset.weight', 'offset.bias', 'gate', 'mlp.3.weight', 'mlp.3.bias')
    # Both features are equal at the start, so routing between them changes nothing yet, but their common scale does.
    assert {name for name, moves in moving.items() if moves} == {
        *(f'sampling.0.{end}' for end in ends[:3]), 'routers.0.scale',
    }  # fmt: skip


# ---------------------------------------------------------------- the equations


def numpy_sample(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """values (h, w, C) at points (M, 2), clamped to the map: bilinear interpolation, point by point."""
    height, width, _ = values.shape
    sampled = []
    for x, y in points.astype(np.float64):
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        left, top = math.floor(x), math.floor(y)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        upper = values[top, left] * (1 - (x - left)) + values[top, right] * (x - left)
        lower = values[bottom, left] * (1 - (x - left)) + values[bottom, right] * (x - left)
        sampled.append(upper * (1 - (y - top)) + lower * (y - top))
    return np.array(sampled)


def test_sampling_by_hand():
    tokens = torch.tensor([[[1.0], [2.0], [3.0], [10.0], [20.0], [30.0]]])  # two rows of three
    points = torch.tensor([[[0, 0], [1, 1], [0.5, 0], [1.5, 0.5], [-3, 0.25], [2, 9], [99, -1]]])
    expected = [1, 20, 1.5, (2 + 3 + 20 + 30) / 4, 0.75 * 1 + 0.25 * 10, 30, 3]
    assert sample_bilinear(tokens, points, (2, 3))[0, :, 0].tolist() == expected


def test_sampling_against_grid_sample():
    torch.manual_seed(0)
    height, width = 5, 7
    tokens = torch.randn(2, height * width, 6, requires_grad=True)
    points = (torch.rand(2, 50, 2) * 12 - 2).requires_grad_()
    ours = sample_bilinear(tokens, points, (height, width))
    grid = torch.stack([2 * points[..., 0] / (width - 1) - 1, 2 * points[..., 1] / (height - 1) - 1], -1)
    maps = tokens.transpose(1, 2).unflatten(2, (height, width))
    theirs = F.grid_sample(maps, grid[:, None], padding_mode='border', align_corners=True)[:, :, 0].transpose(1, 2)
    assert_close(ours, theirs, LAYER)
    weight = torch.randn_like(ours)
    for got, want in zip(
        torch.autograd.grad((ours * weight).sum(), (tokens, points)),
        torch.autograd.grad((theirs * weight).sum(), (tokens, points)),
        strict=True,
    ):
        assert_close(got, want, MODEL)


def test_the_whole_grid_comes_back_bit_for_bit():
    tokens = torch.randn(2, 64 * 48, 3)
    assert torch.equal(
        sample_bilinear(tokens, module._grid((64, 48), tokens.device).expand(2, -1, -1), (64, 48)), tokens
    )


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('grad', [False, True])
def test_nan_in_gives_nan_out_and_nothing_worse(bad, grad):
    """As plain SAM does: mixed precision skips such a step, while an index out of range ends a process on a GPU."""
    model, _ = stable(DSP_DRP)
    features = model.extract_feat(images())
    features.embedding = features.embedding.detach().clone()
    features.embedding[0, 0, 3, 3] = bad
    with torch.set_grad_enabled(grad):
        logits = model.decode(features, PromptBatch.from_prompts(boxes(2), (SIZE, SIZE))).logits
    assert logits.isnan().all()
    if grad:
        logits.sum().backward()
    points = torch.tensor([[[float('nan'), 0], [1, 0.5]]])
    sampled = sample_bilinear(torch.ones(1, 6, 1), points, (2, 3))[0, :, 0]
    assert sampled[0].isnan() and sampled[1] == 1


def numpy_stable(plugin: DeformableSamplingPlugin, queries: np.ndarray, values: np.ndarray, size) -> np.ndarray:
    """alpha_1 x*_{p + dp} + alpha_2 x_p of one prompt, written out: queries (K, C), values (N, C)."""
    w = {name: p.detach().double().numpy() for name, p in plugin.sampling[0].named_parameters()}
    height, width = size
    first = values @ w['pointwise.weight'].T + w['pointwise.bias']
    radius = w['depthwise.weight'].shape[-1] // 2
    padded = np.pad(first.reshape(height, width, -1), [(radius, radius), (radius, radius), (0, 0)])
    spatial = np.zeros((height, width, values.shape[1])) + w['depthwise.bias']
    for i in range(2 * radius + 1):
        for j in range(2 * radius + 1):
            spatial += padded[i : i + height, j : j + width] * w['depthwise.weight'][:, 0, i, j]
    spatial = spatial.reshape(height * width, -1)
    spatial = (spatial - spatial.mean(1, keepdims=True)) / np.sqrt(spatial.var(1, keepdims=True) + 1e-5)
    spatial = spatial * w['norm.weight'] + w['norm.bias']
    gelu = spatial * (1 + np.vectorize(math.erf)(spatial / math.sqrt(2))) / 2
    offsets = plugin.sampling[0].max_offset * np.tanh(gelu @ w['offset.weight'].T + w['offset.bias'])
    modulated = values * 2 / (1 + np.exp(-w['gate'] * first))
    points = np.array([[x, y] for y in range(height) for x in range(width)]) + offsets
    deformed = numpy_sample(modulated.reshape(height, width, -1), points)
    if not len(plugin.routers):
        return deformed
    r = {name: p.detach().double().numpy() for name, p in plugin.routers[0].named_parameters()}
    token = queries[1] @ r['mlp.0.weight'].T + r['mlp.0.bias']  # 0 is the IoU token
    token = (token - token.mean()) / np.sqrt(token.var() + 1e-5) * r['mlp.1.weight'] + r['mlp.1.bias']
    token = token * (1 + np.vectorize(math.erf)(token / math.sqrt(2))) / 2
    exponent = np.exp(token @ r['mlp.3.weight'].T + r['mlp.3.bias'])
    alphas = r['scale'] * exponent / exponent.sum()
    return alphas[0] * deformed + alphas[1] * values


@torch.no_grad()
@pytest.mark.parametrize('plugin', [DSP, DSP_DRP], ids=['dsp', 'drp'])
def test_equations_3_to_6_against_numpy(plugin):
    torch.manual_seed(0)
    plugin = MODELS.build(plugin)
    randomise(plugin, seed=2)
    size = (5, 6)
    queries, values = torch.randn(3, 7, CHANNELS), torch.randn(3, 30, CHANNELS)
    context = DecoderContext(SAMFeatures(values), torch.arange(3), size, values, key_pe=torch.randn(3, 30, CHANNELS))
    same, keys, new = plugin.before_token_to_image(1, queries, values + context.key_pe, values, context)
    assert same is queries
    for row in range(3):
        expected = numpy_stable(plugin, queries[row].double().numpy(), values[row].double().numpy(), size)
        assert np.abs(new[row].numpy() - expected).max() < 2e-5
    assert (new - values).abs().max() > 0.5
    assert_close(keys, new + context.key_pe, LAYER)  # position code of the grid, not of the sample points


def test_offsets_are_bounded_and_amplitudes_between_0_and_2():
    sampling = MODELS.build(DSP | dict(max_offset=2.5)).sampling[0]
    randomise(sampling)
    sampling.offset.weight.data *= 100
    sampling.gate.data *= 1000
    offsets, amplitudes = sampling.predict(torch.randn(1, 64, CHANNELS), (8, 8))
    assert 2.49 < offsets.abs().max() <= 2.5
    assert amplitudes.min() >= 0 and 1.9 < amplitudes.max() <= 2


@torch.no_grad()
def test_queries_and_image_tokens_of_the_blocks_are_sams():
    """Only what token-to-image attention reads changes: the image tokens that go on are those of the stock block."""
    model, plain = stable(DSP_DRP)
    seen = {}
    for name, one in dict(stable=model, plain=plain).items():
        block = one.mask_decoder.transformer.layers[0]
        block.cross_attn_image_to_token.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: seen.update({name: kwargs['q']}), with_kwargs=True
        )
        decode(one, boxes(2))
    assert torch.equal(seen['stable'], seen['plain'])  # image tokens of block 1 with position code


# ---------------------------------------------------------------- what is common to the prompts of an image


@torch.no_grad()
@ALL
def test_sharing_changes_nothing(plugin, monkeypatch):
    model, _ = stable(plugin)
    prompts = [*boxes(3, 1), mixed()[0]]
    shared = decode(model, prompts)
    monkeypatch.setattr(DecoderContext, 'values_by_image', property(lambda self: False, lambda self, value: None))
    assert_close(shared, decode(model, prompts), LAYER)


@torch.no_grad()
def test_before_the_first_block_an_image_is_sampled_once(monkeypatch):
    model, _ = stable(DSP_DRP, chunk_size=2)
    calls = []
    stock = module.DeformableSampling.forward
    monkeypatch.setattr(
        module.DeformableSampling, 'forward', lambda self, *args: calls.append(len(args[0])) or stock(self, *args)
    )
    features = model.extract_feat(images(2))
    first = model.decode(features, PromptBatch.from_prompts(boxes(5, 1), (SIZE, SIZE))).logits
    # Both images at once, and, chunk by chunk, two prompts in block 2 and in the final attention.
    assert calls == [2, 2, 2, 2, 2, 2, 2]
    # A changed model does not see what the old one left.
    model.mask_decoder.plugins[0].sampling[0].gate.mul_(-1)
    again = model.decode(features, PromptBatch.from_prompts(boxes(5, 1), (SIZE, SIZE))).logits
    assert torch.equal(again, decode(model, boxes(5, 1)))
    assert_differs(again, first)


def test_a_model_made_in_inference_mode():
    """Parameters made in inference mode have no versions, so nothing is cached and changed weights take effect."""
    with torch.inference_mode():
        model, _ = stable(DSP_DRP)
        features = model.extract_feat(images())
        before = model.decode(features, PromptBatch.from_prompts(boxes(3), (SIZE, SIZE))).logits
        model.mask_decoder.plugins[0].sampling[0].gate.mul_(-1)
        assert_differs(model.decode(features, PromptBatch.from_prompts(boxes(3), (SIZE, SIZE))).logits, before)


@torch.no_grad()
def test_prompts_with_masks_are_not_shared():
    model, _ = stable(DSP)
    prompts = Prompts.create(boxes=boxes(2)[0].boxes, masks=torch.randn(2, 1, 32, 32))
    both = decode(model, [prompts])
    for row in range(2):
        one = Prompts.create(boxes=prompts.boxes[row : row + 1], masks=prompts.masks[row : row + 1])
        assert_close(both[row : row + 1], decode(model, [one]), LAYER)


@torch.no_grad()
def test_a_plugin_before_it_is_heard():
    """After another plugin has edited the values, sampling is done for each prompt and not once per image."""
    shift = dict(type='ShiftValuesPlugin')
    model = MODELS.build(config(decoder=dict(plugins=[shift, DSP]))).eval()
    model.load_state_dict(segmentor().state_dict(), strict=False)
    plugin = model.mask_decoder.plugins[1]
    seen = []
    stock = plugin.before_token_to_image
    plugin.before_token_to_image = lambda *args: seen.append(args[-1].values_by_image) or stock(*args)
    shifted = decode(model, boxes(2))
    assert seen == [False] * 3
    model.mask_decoder.plugins = torch.nn.ModuleList([plugin])
    seen.clear()
    assert (decode(model, boxes(2)) - shifted).abs().max() > 1e-3
    assert seen == [True, False, False]


@MODELS.register_module(force=True)
class ShiftValuesPlugin(module.DecoderPlugin):
    """Adds one to all values."""

    def before_token_to_image(self, site, queries, keys, values, context):
        return queries, keys, values + 1


# ---------------------------------------------------------------- as a part of a model


@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_do_not_depend_on_checkpointing(with_cp):
    model, _ = stable(DSP_DRP, with_cp=with_cp)
    decode(model.train(), boxes(2, 3)).square().mean().backward()
    expected, _ = stable(DSP_DRP)
    decode(expected.train(), boxes(2, 3)).square().mean().backward()
    for (name, got), want in zip(model.named_parameters(), expected.parameters(), strict=True):
        if want.grad is not None:
            assert_close(got.grad, want.grad, LAYER, name=name)
    assert all(p.grad.any() for p in model.mask_decoder.plugins.parameters())


@torch.no_grad()
def test_recording():
    model, _ = stable(DSP_DRP, chunk_size=None)
    plugin = model.mask_decoder.plugins[0]
    before = decode(model, boxes(2, 1))
    records = []
    assert torch.equal(decode(model, boxes(2, 1), observe=records.append), before)
    assert [record.site for record in records] == [0, 1, 2]
    record = records[0]
    assert record.size == (8, 8) and record.image_index.tolist() == [0, 0, 1]
    offsets, amplitudes = record.sampling()
    assert offsets.shape == (3, 64, 2) and amplitudes.shape == (3, 64, CHANNELS)
    assert record.plugin is plugin and record.order.tolist() == [0, 1, 2]
    scale = plugin.routers[0].scale
    assert_close(record.alphas.sum(1), scale.expand(len(record.alphas)), LAYER)
    kept = len(records)
    decode(model, boxes(2, 1))
    assert len(records) == kept  # other calls are not observed


@torch.no_grad()
def test_copies_and_checkpoints(tmp_path):
    model, _ = stable(DSP_DRP)
    before = decode(model, boxes(2))
    copied = copy.deepcopy(model)
    randomise(model.mask_decoder.plugins[0], seed=9)
    assert torch.equal(decode(copied, boxes(2)), before)
    fresh = MODELS.build(config(decoder=dict(plugins=[DSP_DRP]))).eval()
    fresh.load_state_dict(copied.state_dict())
    assert torch.equal(decode(fresh, boxes(2)), before)


@torch.no_grad()
def test_on_spts_decoders():
    """One line in the decoder's config: each decoder has its own, and it starts as zero-shot self-draft."""
    plain = segmentor()
    models = {}
    for name, plugins in dict(spt=[dict(type='VRAAdapter', dim=CHANNELS)], stable_spt=[DSP_DRP]).items():
        decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER, plugins=plugins)
        model = MODELS.build(config() | dict(mask_decoder=dict(type='SelfDraftDecoder', decoder=decoder))).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        models[name] = model
    assert torch.equal(decode(models['stable_spt'], mixed()), decode(models['spt'], mixed()))
    randomise(models['stable_spt'].mask_decoder.refine.plugins[0])
    assert_differs(decode(models['stable_spt'], mixed()), decode(models['spt'], mixed()))


def test_the_papers_count():
    """0.08 M parameters: 73,474 of the offset network, 256 of the gate, 8,355 of the router."""
    plugin = DeformableSamplingPlugin(router=dict(type='DynamicRouter'))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in plugin.named_children()}
    assert count == dict(sampling=73_474 + 256, routers=8_355)
    assert sum(count.values()) == 82_085
    assert sum(p.numel() for p in MODELS.build(DSP_DRP | dict(num_modules=3)).parameters()) == 3 * sum(
        p.numel() for p in MODELS.build(DSP_DRP).parameters()
    )


@pytest.mark.parametrize(
    ('kind', 'arguments', 'names'),
    [
        (DeformableSamplingPlugin, dict(max_offset=0), ('max_offset', '0')),
        (DeformableSamplingPlugin, dict(kernel_size=4), ('kernel_size', '4')),
        (DeformableSamplingPlugin, dict(num_modules=0), ('num_modules', '0')),
        (DynamicRouter, dict(mask_token=-1), ('mask_token', '-1')),
    ],
)
def test_arguments(kind, arguments, names):
    with raises_naming(ValueError, *names):
        kind(**arguments)


@pytest.mark.parametrize(
    ('plugin', 'names'),
    [
        (DSP | dict(dim=64), ('DeformableSamplingPlugin', 'dim', '64', '32')),
        (DSP | dict(router=ROUTER | dict(dim=64)), ('dim', '64', '32')),
        (
            DSP | dict(router=ROUTER | dict(mask_token=4)),
            ('mask_token', '4', '0 to 3'),
        ),
    ],
)
def test_a_decoder_that_does_not_fit(plugin, names):
    with raises_naming(ValueError, *names):
        MODELS.build(config(decoder=dict(plugins=[plugin])))
    MODELS.build(config(decoder=dict(plugins=[DSP | dict(router=ROUTER | dict(mask_token=3))])))


def test_a_number_of_modules_that_the_decoder_has_no_attentions_for():
    with raises_naming(ValueError, 'num_modules', '2', '1 or 3'):
        MODELS.build(config(decoder=dict(plugins=[DSP | dict(num_modules=2)])))


def test_old_name_of_the_router_works_and_warns():
    with warns_naming(DeprecationWarning, 'DynamicRouter'):
        old = MODELS.build(ROUTER | dict(type='DynamicRoutingPlugin'))
    assert isinstance(old, DynamicRouter)
    assert old.state_dict().keys() == MODELS.build(ROUTER).state_dict().keys()


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('name', ['DynamicRouter', 'DynamicRoutingPlugin'])
def test_a_router_among_the_plugins_is_an_error(name):
    with raises_naming(ValueError, 'plugins[1]', name, 'DecoderPlugin', 'router', 'DeformableSamplingPlugin'):
        MODELS.build(config(decoder=dict(plugins=[DSP, ROUTER | dict(type=name)])))


def test_seeded_router_starts_with_the_weights_of_earlier_versions() -> None:
    """The first layer is drawn first: another order would change every training that a seed describes."""
    torch.manual_seed(3)
    expected = torch.nn.Linear(CHANNELS, 8).weight
    torch.manual_seed(3)
    assert torch.equal(DynamicRouter(dim=CHANNELS, hidden_dim=8).mlp[0].weight, expected)
