"""Any components mix: random subsets of all that are registered, in one model, from the identity to a reload."""

from __future__ import annotations

import copy
import io
import random
from collections import Counter
from functools import cache

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.models.auxiliary_heads import PromptAuxiliaryHead
from mmsam_ext.models.mask_decoders.plugins import DecoderPlugin
from mmsam_ext.models.peft.lora import PEFTLinear
from mmsam_ext.models.prompt_stages import PromptStage
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import Prompts
from tests.models.small import CHANNELS, DECODER, config, disc, images, sample, segmentor
from tests.numeric import MODEL, assert_close

SEEDS = range(300, 330)
SIZE = 64  # the embedding is 4 x 4
#: One entry for each component; a new one is one line here.
PLUGINS = dict(
    VRAAdapter=dict(dim=CHANNELS),
    MaskTokenPlugin=dict(dim=CHANNELS),
    DeformableSamplingPlugin=dict(dim=CHANNELS, router=dict(type='DynamicRouter', dim=CHANNELS, hidden_dim=8)),
)
ENCODER = dict(type='mmpretrain.TIMMBackbone', model_name='efficientvit_b0', features_only=True, out_indices=(2, 3))
STAGES = dict(
    ClassEmbedding=dict(dim=CHANNELS),
    PromptLearningModule=dict(dim=CHANNELS, num_heads=4, mlp_dim=64),
    SSMODCPromptHead=dict(
        feature_encoder=ENCODER,
        in_channels=(64, 128),
        sam_channels=(CHANNELS,),
        embed_dim=CHANNELS,
        dim=8,
        num_kernels=2,
        num_directions=2,
        d_state=2,
        dt_rank=2,
    ),
)
HEADS = dict(PointMatchingModule=dict(in_channels=CHANNELS // 8, num_points=16, dim=16, ffn_dim=32))
PEFT = dict(
    LoRA=dict(rank=2, num_slices=3, slices=(0, 2)),
    DoRA=dict(rank=2, num_slices=3, slices=(0, 2)),
    Adapter=dict(width=4),
)
#: Those whose start is SAM up to rounding: a norm divided by itself, features weighted one half and one half.
ROUNDING = {'DoRA', 'DeformableSamplingPlugin'}


def some(rng: random.Random, table: dict[str, dict]) -> list[dict]:
    """Configs of a random subset of a table, in a random order."""
    return [dict(type=name, **table[name]) for name in rng.sample(sorted(table), rng.randint(0, len(table)))]


def draw(seed: int) -> tuple[set[str], int, dict]:
    """Names of components, number of drafts, and the config of a model with them."""
    rng = random.Random(seed)
    plugins, stages, heads = some(rng, PLUGINS), some(rng, STAGES), some(rng, HEADS)
    peft, drafts = rng.choice([None, *PEFT]), rng.choice([0, 1, 2])
    decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER, plugins=plugins)
    settings = config(SIZE, prompt_stages=stages, auxiliary_heads=heads)
    settings['mask_decoder'] = self_draft(decoder, drafts) if drafts else decoder
    if peft:
        narrow = {key: value for key, value in PEFT[peft].items() if 'slices' not in key}
        settings['peft'] = dict(
            encoder=dict(type=peft, modules=r'^backbone\..*\.qkv$', **PEFT[peft]),
            decoders=dict(type=peft, modules=r'^mask_decoder\..*\.(q|v)_proj$', **narrow),
        )
    names = {part['type'] for part in plugins + stages + heads} | ({peft} if peft else set())
    return names, drafts, settings


def self_draft(decoder: dict, drafts: int) -> dict:
    return dict(type='SelfDraftDecoder', decoder=decoder, num_drafts=drafts)


@cache
def plain(drafts: int) -> PromptableSegmentor:
    """SAM, or SAM drafting for itself, without additions."""
    sam = segmentor(size=SIZE)
    if drafts == 0:
        return sam
    settings = config(SIZE)
    settings['mask_decoder'] = self_draft(dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER), drafts)
    model = MODELS.build(settings).eval()
    model.load_state_dict(sam.state_dict())
    return model


def batch() -> list[SegDataSample]:
    """Two images with a point, a box, both and nothing; each asks for a disc."""
    prompts = Prompts.create(
        points=[[[24, 34], [30, 30]]] * 4,
        point_labels=[[1, -1], [-1, -1], [1, 0], [-1, -1]],
        boxes=[[10, 20, 40, 50]] * 4,
        kinds=[1, 2, 3, 0],
    )
    return [sample(copy.deepcopy(prompts), disc(SIZE, 25, 35 - 5 * index, 14)[None]) for index in range(2)]


def masks(model: PromptableSegmentor, inputs: Tensor) -> Tensor:
    """Predicted logits (P, H, W) of the batch."""
    return torch.cat([s.pred_instances.mask_logits for s in model.eval().predict(inputs, batch())])


@pytest.mark.parametrize('seed', SEEDS)
def test_random_subset(seed: int) -> None:
    names, drafts, settings = draw(seed)
    inputs = images(2, SIZE, SIZE)
    torch.manual_seed(seed)
    model: PromptableSegmentor = MODELS.build(copy.deepcopy(settings))
    model.load_state_dict(plain(0).state_dict(), strict=False)  # what does not fit is an error all the same

    start, expected = masks(model, inputs), masks(plain(drafts), inputs)
    if names & ROUNDING:
        assert_close(start, expected, MODEL, name=names)
    else:
        assert torch.equal(start, expected), names

    # What is there beside SAM is trained, or everything where there is nothing else; the rest is frozen.
    own = {name for name, _ in plain(drafts).named_parameters()}
    added = [name for name, _ in model.named_parameters() if name not in own]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in added if added else name.startswith('mask_decoder'))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.02)
    model.train()
    for _ in range(2):
        losses = model.loss(inputs, batch())
        assert all(torch.isfinite(value) for value in losses.values()), losses
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        missing = [name for name, p in trained.items() if p.grad is None and 'iou_prediction_head' not in name]
        assert not missing, missing  # DDP would stop
        optimizer.step()
    after = model.state_dict()
    moved = {name for name, _ in model.named_parameters() if not torch.equal(after[name], before[name])}
    assert moved <= set(trained) and len(moved) > 0.5 * len(trained)

    file = io.BytesIO()
    torch.save(after, file)
    file.seek(0)
    again: PromptableSegmentor = MODELS.build(copy.deepcopy(settings))
    again.load_state_dict(torch.load(file, weights_only=True))
    result = masks(model, inputs)
    assert torch.equal(masks(again, inputs), result) and torch.isfinite(result).all()
    assert not torch.equal(result, start) or names <= set(HEADS)  # a head alone moves no mask


def test_every_component_is_drawn_often() -> None:
    drawn = [draw(seed) for seed in SEEDS]
    names = Counter(name for chosen, _, _ in drawn for name in chosen)
    assert set(names) == {*PLUGINS, *STAGES, *HEADS, *PEFT} and min(names.values()) >= 4, names
    assert set(Counter(drafts for _, drafts, _ in drawn)) == {0, 1, 2}
    assert max(len(chosen) for chosen, _, _ in drawn) >= 4
    assert len({str(settings) for _, _, settings in drawn}) == len(SEEDS) == 30  # no two alike


def test_the_tables_have_every_component() -> None:
    """The tables above name every registered plugin, stage, head and PEFT layer."""
    kinds = (DecoderPlugin, PromptStage, PromptAuxiliaryHead, PEFTLinear)
    registered = {
        name
        for name, component in MODELS.module_dict.items()
        if isinstance(component, type)
        and issubclass(component, kinds)
        and component.__module__.startswith('mmsam_ext.')
    }
    assert registered == {*PLUGINS, *STAGES, *HEADS, *PEFT}
