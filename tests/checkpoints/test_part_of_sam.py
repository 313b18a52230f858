"""Parts of SAM by themselves, from checkpoints of the whole model: all of their weights, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.checkpoints import part_of_sam
from tests.models.small import ARCH, CHANNELS, DECODER, SIZE, config, segmentor_of, stock_sam
from tests.naming import raises_naming

ENCODER = dict(type='SAMImageEncoder', arch=dict(ARCH, img_size=SIZE))
PARTS = {
    'image_encoder': ENCODER,
    'prompt_encoder': dict(type='SAMPromptEncoder', embed_dim=CHANNELS),
    'mask_decoder': dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER),
}


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of one random SAM: Meta's, ours, wrapped, the encoder's alone, and of something else."""
    folder, sam = tmp_path_factory.mktemp('sam'), stock_sam()
    states = dict(
        meta=sam.state_dict(),
        ours=dict(state_dict=segmentor_of(sam).state_dict(), meta={}),
        wrapped={f'module.{key}': value for key, value in sam.state_dict().items()},
        encoder=sam.image_encoder.state_dict(),
        other=nn.Linear(3, 2).state_dict(),
        deeper={
            f'image_encoder.{key}': value for key, value in sam.image_encoder.state_dict().items() if '.2.' not in key
        },
    )
    for name, state in states.items():
        torch.save(state, folder / f'{name}.pth')
    return {name: folder / f'{name}.pth' for name in states}


def equal(module: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('file', ['meta', 'ours', 'wrapped'])
def test_a_part_takes_its_weights_from_the_whole(files: dict[str, Path], part: str, file: str) -> None:
    module = MODELS.build(PARTS[part])
    want = getattr(stock_sam(), part).state_dict()
    assert not equal(module, want)
    load_checkpoint(module, str(files[file]))
    assert equal(module, want)


def test_init_cfg_with_and_without_a_prefix(files: dict[str, Path]) -> None:
    want = stock_sam().image_encoder.state_dict()
    for file, options in (('meta', {}), ('meta', dict(prefix='image_encoder.')), ('encoder', {})):
        init = dict(type='Pretrained', checkpoint=str(files[file]), **options)
        module = MODELS.build(dict(ENCODER, init_cfg=init))
        module.init_weights()
        assert equal(module, want)


def test_backbone_of_a_stock_encoder_decoder(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    head = dict(type='FCNHead', in_channels=CHANNELS, channels=8, num_classes=2, norm_cfg=dict(type='BN'))
    want = stock_sam().image_encoder.state_dict()
    init = dict(type='Pretrained', checkpoint=str(files['meta']))
    model = MODELS.build(dict(type='EncoderDecoder', backbone=dict(ENCODER, init_cfg=init), decode_head=head))
    model.init_weights()
    assert equal(model.backbone, want)
    again = MODELS.build(dict(type='EncoderDecoder', backbone=ENCODER, decode_head=head))
    again.load_state_dict(model.state_dict(), strict=True)  # its own checkpoints, too
    assert equal(again.backbone, want)
    # mmengine shows a part only the keys under its own name: on the model around it, this is logged.
    logged: list[str] = []
    monkeypatch.setattr(part_of_sam, 'print_log', lambda message, **_: logged.append(message))
    MODELS.build(dict(type='EncoderDecoder', backbone=ENCODER, decode_head=head, init_cfg=init)).init_weights()
    assert len(logged) == 1 and "'backbone.'" in logged[0] and 'init_cfg' in logged[0]


def test_nothing_or_half_of_it_is_an_error(files: dict[str, Path]) -> None:
    with raises_naming(ValueError, 'SAMImageEncoder', 'weight, bias', 'image_encoder'):
        load_checkpoint(MODELS.build(ENCODER), str(files['other']))
    with raises_naming(ValueError, 'blocks.2.'):
        load_checkpoint(MODELS.build(ENCODER), str(files['deeper']))
    wider = dict(ENCODER, arch=dict(ARCH, img_size=SIZE, embed_dim=96))
    with raises_naming(ValueError, 'patch_embed', '48', '96'):
        load_checkpoint(MODELS.build(wider), str(files['meta']))


def test_the_whole_model_is_loaded_as_before(files: dict[str, Path]) -> None:
    model = MODELS.build(config())
    load_checkpoint(model, str(files['meta']))
    assert equal(model.backbone, stock_sam().image_encoder.state_dict())
