"""Checkpoints that lack the trained parts of a model."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.model import initialize
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from mmsam_ext.models.segmentors import checkpointed
from mmsam_ext.structures import Prompts
from tests.checkpoints.test_keys import TwoParameterPlugin  # noqa: F401 (registers it)
from tests.models.small import CHANNELS, config, disc, images, sample, segmentor, stock_sam
from tests.naming import raises_naming

PLUGIN = dict(decoder=dict(plugins=[dict(type='TwoParameterPlugin')]))
LORA = dict(peft=[dict(type='LoRA', modules=r'backbone\.blocks\.\d\.attn\.qkv', rank=2)])


def batch() -> list:
    return [sample(Prompts.create(boxes=[[25, 45, 75, 95]]), disc()[None])]


@pytest.fixture
def plain(tmp_path) -> str:
    torch.save(stock_sam().state_dict(), tmp_path / 'sam.pth')
    return str(tmp_path / 'sam.pth')


def load(model, path: str) -> None:
    load_checkpoint(model, path, map_location='cpu')


@pytest.mark.parametrize(
    ('changes', 'part'), [(PLUGIN, 'mask_decoder.plugins.0'), (LORA, 'backbone.blocks.0.attn.qkv')]
)
def test_plain_sam_in_a_config_with_trained_parts(changes, part, plain, monkeypatch) -> None:
    lines: list[str] = []
    for module in ('mmsam_ext.checkpoints.keys', 'mmengine.runner.checkpoint'):
        monkeypatch.setattr(f'{module}.print_log', lambda text, *args, **kwargs: lines.append(text))
    model = segmentor(**changes).eval()
    load(model, plain)
    output = '\n'.join(lines)
    assert part in output and 'plain SAM' in output
    assert 'do not match exactly' not in output and 'missing keys' not in output
    with raises_naming(ValueError, part, 'model.test_cfg.untrained=True', '--untrained'):
        model.predict(images(1), batch())


def test_untrained_on_purpose_is_plain_sam(plain) -> None:
    model = segmentor(test_cfg=dict(untrained=True), **PLUGIN).eval()
    sam = segmentor(seed=9).eval()
    for one in (model, sam):
        load(one, plain)
    predicted, expected = (one.predict(images(1), batch())[0].pred_instances.mask_logits for one in (model, sam))
    assert torch.equal(predicted, expected)


def test_whole_checkpoints_and_plain_models_are_not_asked(plain, tmp_path) -> None:
    trained = segmentor(**PLUGIN)
    torch.save(trained.state_dict(), tmp_path / 'trained.pth')
    for model, path in ((segmentor(**PLUGIN), str(tmp_path / 'trained.pth')), (segmentor(), plain)):
        load(model, path)
        model.eval().predict(images(1), batch())


def test_a_part_of_the_lora_layers(tmp_path) -> None:
    """Trained with LoRA on two blocks, used with LoRA on three."""
    two = copy.deepcopy(LORA)
    two['peft'][0]['modules'] = r'backbone\.blocks\.[01]\.attn\.qkv'
    torch.save(segmentor(**two).state_dict(), tmp_path / 'two.pth')
    model = segmentor(**LORA).eval()
    load(model, str(tmp_path / 'two.pth'))
    with raises_naming(ValueError, 'backbone.blocks.2.attn.qkv'):
        model.predict(images(1), batch())


def test_training_from_plain_weights_and_validating_is_fine(plain) -> None:
    """load_from and init_cfg are treated alike; validation during training uses the trained parts."""
    model = segmentor(losses=dict(dice=dict(type='MaskDiceLoss')), **PLUGIN)
    load(model, plain)
    model.train()
    assert model.loss(images(1), batch())
    model.eval().predict(images(1), batch())
    model = MODELS.build(config(init_cfg=dict(type='Pretrained', checkpoint=plain), **PLUGIN))
    initialize(model, model.init_cfg)
    with raises_naming(ValueError, 'mask_decoder.plugins.0'):
        model.eval().predict(images(1), batch())


def test_auxiliary_heads_are_for_training_alone(plain) -> None:
    head = dict(type='PointMatchingModule', in_channels=CHANNELS // 8, dim=16, ffn_dim=32)
    model = segmentor(auxiliary_heads=[head]).eval()
    load(model, plain)
    model.predict(images(1), batch())


def test_inside_a_wrapper_and_copied(plain) -> None:
    """As EMA and test-time augmentation hold a model."""
    holder = torch.nn.ModuleDict(dict(module=segmentor(**PLUGIN)))
    state = torch.load(plain, weights_only=True)
    missing = holder.load_state_dict({f'module.{key}': value for key, value in state.items()}, strict=False)
    assert sorted(missing.missing_keys) == ['module.mask_decoder.plugins.0.one', 'module.mask_decoder.plugins.0.two']
    with raises_naming(RuntimeError, 'mask_decoder.plugins.0.one'):  # torch's own strict loading stays strict
        segmentor(**PLUGIN).load_state_dict(state, strict=True)
    holder['module'].eval().predict(images(1), batch())  # strict=False of torch accepts what is missing
    load(holder['module'], plain)
    with raises_naming(ValueError, 'mask_decoder.plugins.0'):
        copy.deepcopy(holder)['module'].predict(images(1), batch())


def test_random_weights_are_said_once(plain, monkeypatch) -> None:
    """As in MMSegmentation's init_model without a checkpoint."""
    lines: list[str] = []
    monkeypatch.setattr(checkpointed, 'print_log', lambda text, *args: lines.append(text))
    model, loaded = segmentor().eval(), segmentor().eval()
    load(loaded, plain)
    loaded.predict(images(1), batch())
    assert not lines
    for _ in range(2):
        model.predict(images(1), batch())
    assert len(lines) == 1 and 'random weights' in lines[0]
