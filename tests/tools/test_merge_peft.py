"""tools/merge_peft.py: into plain SAM, which ``segment_anything`` loads strictly, and back out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.checkpoints.base import KEY, file_hash, trained_keys
from mmsam_ext.cli import merge_peft as tool
from tests.models.small import CHANNELS, DECODER, config, images, stock_sam
from tests.naming import raises_naming
from tests.numeric import MODEL, OPERATION, assert_close, assert_differs

PLAIN = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER)
SPT = dict(type='SelfDraftDecoder', decoder=PLAIN | dict(plugins=[dict(type='VRAAdapter', dim=CHANNELS)]))


def settings(kind: str, decoder: dict = PLAIN, **changes) -> dict:
    modules = r'(qkv|q_proj|v_proj|lin2)$' if kind == 'Adapter' else r'(q|v)_proj$'
    rules = [dict(type=kind, modules=modules)]
    if kind != 'Adapter':
        rules.append(dict(type=kind, modules='qkv$', num_slices=3, slices=(0, 2)))
    return config(peft=rules, mask_decoder=decoder, **changes)


def adapted(folder: Path, kind: str, decoder: dict = PLAIN) -> tuple[Path, Path, nn.Module]:
    """Config, checkpoint, and model of a SAM whose PEFT layers are somewhere."""
    model = MODELS.build(settings(kind, decoder)).eval()
    model.load_state_dict(stock_sam().state_dict(), strict=False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith(('lora_b', 'magnitude', 'up.weight')) or '.beta.' in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    Config(dict(model=settings(kind, decoder))).dump(folder / 'config.py')
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'run.pth')
    return folder / 'config.py', folder / 'run.pth', model


@pytest.fixture(autouse=True)
def unformatted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.config.config.FormatCode', lambda text, **options: (text, True))


def merge(*arguments: object) -> None:
    tool.main([str(argument) for argument in arguments])


@pytest.mark.parametrize('kind', ['LoRA', 'DoRA'])
@torch.no_grad()
def test_merged_is_a_sam(kind: str, tmp_path: Path) -> None:
    path, checkpoint, model = adapted(tmp_path, kind)
    merge(path, checkpoint, tmp_path / 'merged.pth')
    sam = stock_sam()
    before = sam.image_encoder(images())
    sam.load_state_dict(torch.load(tmp_path / 'merged.pth'), strict=True)
    expected = model.extract_feat(images()).embedding
    assert_close(sam.image_encoder(images()), expected, MODEL)
    assert_differs(before, expected)
    with raises_naming(SystemExit, 'merged.pth', 'PEFT'):
        merge(path, tmp_path / 'merged.pth', tmp_path / 'twice.pth')
    assert not (tmp_path / 'twice.pth').exists()


def test_lora_comes_out_again(tmp_path: Path) -> None:
    path, checkpoint, _ = adapted(tmp_path, 'LoRA')
    merge(path, checkpoint, tmp_path / 'merged.pth')
    merge(path, checkpoint, tmp_path / 'back.pth', '--undo', tmp_path / 'merged.pth')
    back, start = torch.load(tmp_path / 'back.pth'), stock_sam().state_dict()
    for key, value in start.items():
        assert_close(back[key], value, OPERATION, name=key)
    with raises_naming(SystemExit, '--undo', 'PEFT'):
        merge(path, checkpoint, tmp_path / 'no.pth', '--undo', checkpoint)
    with raises_naming(SystemExit, 'back.pth', 'PEFT'):
        merge(path, tmp_path / 'back.pth', tmp_path / 'no.pth', '--undo', tmp_path / 'merged.pth')


def test_the_trained_part_alone_on_its_base(tmp_path: Path) -> None:
    """A checkpoint of the trained part, as TrainableCheckpointHook writes it, gives the same file as the whole one."""
    path, checkpoint, model = adapted(tmp_path, 'LoRA')
    base, part = tmp_path / 'sam.pth', tmp_path / 'part.pth'
    torch.save(stock_sam().state_dict(), base)
    start = dict(init_cfg=dict(type='Pretrained', checkpoint=str(base)), trainable=['lora_'])
    Config(dict(model=settings('LoRA', **start))).dump(path)
    trained = trained_keys(MODELS.build(settings('LoRA', **start)))
    state = model.state_dict()
    for key in [key for key in state if key not in trained]:
        del state[key]
    assert state and all('.lora_' in key for key in state)
    state._metadata[''][KEY] = dict(file=str(base), sha256=file_hash(str(base)))
    torch.save(dict(state_dict=state, meta={}), part)

    merge(path, part, tmp_path / 'merged.pth')
    merge(path, checkpoint, tmp_path / 'expected.pth')
    merged, expected = torch.load(tmp_path / 'merged.pth'), torch.load(tmp_path / 'expected.pth')
    assert merged.keys() == expected.keys()
    assert all(torch.equal(merged[key], expected[key]) for key in merged)
    merge(path, part, tmp_path / 'back.pth', '--undo', tmp_path / 'merged.pth')
    back = torch.load(tmp_path / 'back.pth')
    for key, value in stock_sam().state_dict().items():
        assert_close(back[key], value, OPERATION, name=key)
    base.unlink()
    with raises_naming(SystemExit, 'merge-peft', 'sam.pth'):
        merge(path, part, tmp_path / 'no.pth')


@torch.no_grad()
def test_ours_is_for_the_config_that_the_help_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With PEFT layers alone to train, the config without rules has no match for `trainable`."""
    path, checkpoint, model = adapted(tmp_path, 'LoRA')
    merge(path, checkpoint, tmp_path / 'ours.pth', '--ours')
    with raises_naming(ValueError, 'lora_'):
        MODELS.build(config(trainable=['lora_']))
    plain = MODELS.build(config(trainable=())).eval()
    plain.load_state_dict(torch.load(tmp_path / 'ours.pth'))
    assert_close(plain._forward(images()).logits, model._forward(images()).logits, MODEL)
    with pytest.raises(SystemExit):
        merge('--help')
    assert '`model.trainable=()`' in capsys.readouterr().out


@torch.no_grad()
@pytest.mark.parametrize('peft', [False, True])
def test_ours_is_without_the_heads_of_training(tmp_path: Path, peft: bool) -> None:
    """PLM trained with PMM, on a base, with LoRA or without any: a whole model without PMM."""
    stage = dict(type='PromptLearningModule', dim=CHANNELS, num_heads=4, mlp_dim=64)
    head = dict(type='PointMatchingModule', in_channels=CHANNELS // 8, dim=16, ffn_dim=32)
    torch.save(stock_sam().state_dict(), tmp_path / 'sam.pth')
    trained = settings('LoRA', prompt_stages=[stage], auxiliary_heads=[head])
    trained |= dict(trainable=[r'^prompt_stages', r'^auxiliary_heads'] + ['lora_'] * peft)
    if not peft:
        trained['peft'] = []
    model = MODELS.build(trained).eval()
    model.load_state_dict(stock_sam().state_dict(), strict=False)
    torch.nn.init.normal_(model.prompt_stages[0].output.weight)
    part = type(model.state_dict())((key, model.state_dict()[key]) for key in trained_keys(model))
    part._metadata = {'': {KEY: dict(file=str(tmp_path / 'sam.pth'), sha256=file_hash(str(tmp_path / 'sam.pth')))}}
    torch.save(dict(state_dict=part, meta={}), tmp_path / 'run.pth')
    Config(dict(model=trained)).dump(tmp_path / 'config.py')
    merge(tmp_path / 'config.py', tmp_path / 'run.pth', tmp_path / 'ours.pth', '--ours')
    state = torch.load(tmp_path / 'ours.pth')
    assert not [key for key in state if key.startswith('auxiliary_heads')]
    plain = MODELS.build(config(prompt_stages=[stage])).eval()
    assert set(state) == set(plain.state_dict())
    plain.load_state_dict(state)
    assert torch.equal(plain.prompt_stages[0].output.weight, model.prompt_stages[0].output.weight)
    assert_close(plain._forward(images()).logits, model._forward(images()).logits, MODEL)


def test_what_does_not_merge(tmp_path: Path) -> None:
    path, checkpoint, _ = adapted(tmp_path, 'Adapter')
    with raises_naming(SystemExit, 'backbone', 'Adapter'):
        merge(path, checkpoint, tmp_path / 'merged.pth')
    path, checkpoint, _ = adapted(tmp_path, 'DoRA')
    merge(path, checkpoint, tmp_path / 'merged.pth')
    with raises_naming(SystemExit, 'DoRA'):
        merge(path, checkpoint, tmp_path / 'back.pth', '--undo', tmp_path / 'merged.pth')
    with raises_naming(SystemExit, 'merge-peft', 'none.pth'):
        merge(path, tmp_path / 'none.pth', tmp_path / 'merged.pth')


@torch.no_grad()
def test_self_draft_decoder_is_kept_or_dropped_but_not_lost(tmp_path: Path) -> None:
    path, checkpoint, model = adapted(tmp_path, 'LoRA', SPT)
    with raises_naming(SystemExit, 'mask_decoder.drafts', 'mask_decoder.refine'):
        merge(path, checkpoint, tmp_path / 'merged.pth')
    merge(path, checkpoint, tmp_path / 'merged.pth', '--drop')
    stock_sam().load_state_dict(torch.load(tmp_path / 'merged.pth'), strict=True)
    merge(path, checkpoint, tmp_path / 'ours.pth', '--ours')
    plain = MODELS.build(config(mask_decoder=SPT)).eval()
    plain.load_state_dict(torch.load(tmp_path / 'ours.pth'))
    for part in (plain, model):
        part.result = part._forward(images()).logits
    assert_close(plain.result, model.result, MODEL)
