"""Prediction in bf16: what computes in it, what stays in fp32, and devices that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmsam_ext.apis import InferenceError, PromptSegInferencer
from mmsam_ext.apis.model_loading import in_dtype, load_config
from mmsam_ext.cli.test import dtype_to_config
from mmsam_ext.models.layers.bf16_units import avx512_is_hidden, cpu_has_bf16_units, has_bf16_units
from mmsam_ext.models.segmentors import PromptableSegmentor, compute_dtype
from mmsam_ext.models.segmentors.compute_dtype import inference_dtype
from mmsam_ext.structures import Prompts
from tests.models.small import CHANNELS, config, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import assert_same_mask

CPU, GPU = torch.device('cpu'), torch.device('cuda')
BOXES = dict(boxes=[[25, 45, 75, 95], [20, 40, 75, 95], [60, 10, 120, 60]])
DECODER = dict(
    config()['mask_decoder'],
    plugins=[
        dict(type='VRAAdapter', dim=CHANNELS),
        dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=dict(type='DynamicRouter', dim=CHANNELS)),
    ],
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    for function in (inference_dtype, cpu_has_bf16_units, avx512_is_hidden):
        function.cache_clear()
    yield
    for function in (inference_dtype, cpu_has_bf16_units, avx512_is_hidden):
        function.cache_clear()


def seen_dtypes(model: PromptableSegmentor) -> dict[str, torch.dtype]:
    """Dtype of what each of three parts returns, once it is called."""
    seen: dict[str, torch.dtype] = {}
    parts = dict(
        encoder=model.backbone.blocks[0].mlp,
        decoder=model.mask_decoder.output_upscaling,
        code=model.prompt_encoder.pe_layer,
    )
    for name, part in parts.items():
        part.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out.dtype}))
    return seen


@pytest.mark.parametrize('changes', [{}, dict(mask_decoder=DECODER)], ids=['sam', 'plugins'])
@pytest.mark.parametrize('decoder', [None, 'bf16'])
def test_parts_compute_in_bf16_and_masks_agree(decoder: str | None, changes: dict) -> None:
    settings = dict(compute_dtype='bf16', decoder_dtype=decoder)
    plain, model = segmentor(**changes), segmentor(test_cfg=settings, **changes)
    seen = seen_dtypes(model)
    (expected,) = plain.predict(images(), [sample(Prompts.create(**BOXES))])
    (ours,) = model.predict(images(), [sample(Prompts.create(**BOXES))])
    decoded = torch.float32 if decoder is None else torch.bfloat16
    assert seen == dict(encoder=torch.bfloat16, decoder=decoded, code=torch.float32)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())  # kept once
    logits = ours.pred_instances.mask_logits
    assert logits.dtype == ours.pred_instances.iou_scores.dtype == torch.float32
    assert not torch.equal(logits, expected.pred_instances.mask_logits)
    assert_same_mask(logits > 0, expected.pred_instances.mask_logits > 0, share=0.03)


def test_drafts_and_tiles() -> None:
    drafting = segmentor(
        mask_decoder=dict(type='SelfDraftDecoder', decoder=DECODER), test_cfg=dict(compute_dtype='bfloat16')
    )
    tiled = segmentor(test_cfg=dict(compute_dtype='bf16', mode='slide', crop_size=(64, 64), stride=(32, 32)))
    for model in (drafting, tiled):
        (predicted,) = model.predict(images(), [sample(Prompts.create(**BOXES))])
        assert predicted.pred_instances.mask_logits.dtype == torch.float32
        assert predicted.pred_instances.mask_logits.isfinite().all()


@pytest.mark.parametrize('name', [None, 'fp32', 'float32'])
def test_fp32_changes_nothing(name: str | None) -> None:
    item = sample(Prompts.create(**BOXES))
    (expected,) = segmentor().predict(images(), [item])
    (ours,) = segmentor(test_cfg=dict(compute_dtype=name)).predict(images(), [item])
    assert torch.equal(ours.pred_instances.mask_logits, expected.pred_instances.mask_logits)


def test_training_is_left_alone() -> None:
    model = segmentor(test_cfg=dict(compute_dtype='bf16')).train()
    seen = seen_dtypes(model)
    model._forward(images(), [sample(Prompts.create(**BOXES))])
    assert set(seen.values()) == {torch.float32}


@pytest.mark.parametrize('units', [False, True])
def test_auto_asks_the_processor(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(avx512_bf16=units, amx_bf16=False, avx2=True))
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX512' if units else 'AVX2')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: units and not including_emulation)
    for device in (CPU, GPU):
        assert has_bf16_units(device) == units
        assert inference_dtype('auto', device) == (torch.bfloat16 if units else None)
    assert inference_dtype('auto', torch.device('mps')) is None


def test_devices_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 on a CPU and bf16 on an old GPU are errors; bf16 on any CPU is computed, and logged where it is slow."""
    logged: list[str] = []
    monkeypatch.setattr(torch.cpu, 'get_capabilities', dict)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: False)
    monkeypatch.setattr(compute_dtype, 'print_log', lambda text, *args: logged.append(text))
    with raises_naming(ValueError, 'fp16', 'cpu'):
        inference_dtype('fp16', CPU)
    with raises_naming(ValueError, 'bfloat16', 'cuda'):
        inference_dtype('bfloat16', GPU)
    assert inference_dtype('fp16', GPU) == torch.float16
    assert [inference_dtype('bf16', CPU) for _ in range(2)] == [torch.bfloat16] * 2 and len(logged) == 1
    for name in ('compute_dtype', 'decoder_dtype'):
        with raises_naming(ValueError, name, 'int8'):
            segmentor(test_cfg={name: 'int8'})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / 'small.py').write_text(Config(dict(model=config())).pretty_text)
    torch.save(segmentor().state_dict(), tmp_path / 'small.pth')
    return tmp_path / 'small.py', tmp_path / 'small.pth'


def test_inferencer_keeps_weights_once(files: tuple[Path, Path]) -> None:
    """The encoder in bf16, half the bytes; decoder, prompt encoder and position code stay in fp32."""
    settings, weights = files
    plain = PromptSegInferencer(settings, weights, 'cpu')
    half = PromptSegInferencer(in_dtype(load_config(settings), 'bf16'), weights, 'cpu')
    formats = {kind: {p.dtype for p in part.parameters()} for part, kind in half.model.computed_parts(CPU)}
    assert formats == {torch.bfloat16: {torch.bfloat16}, None: {torch.float32}}  # the encoder, and the decoder
    assert {p.dtype for p in half.model.prompt_encoder.parameters()} == {torch.float32}
    image = torch.randint(0, 256, (96, 128, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    for inferencer in (plain, half):
        inferencer.set_image(image)
    expected, ours = (one.predict(boxes=[[20, 20, 90, 80], [5, 5, 60, 60]])[0] for one in (plain, half))
    assert_same_mask(ours, expected, share=0.05)
    with raises_naming(InferenceError, 'fp16', 'cpu'):
        PromptSegInferencer(in_dtype(load_config(settings), 'fp16'), weights, 'cpu')


def test_a_chosen_format_replaces_that_of_the_config() -> None:
    """Without a choice the config's own stays."""
    for chosen, expected in ((None, 'bf16'), ('fp32', 'fp32'), ('auto', 'auto')):
        settings = Config(dict(model=dict(test_cfg=dict(compute_dtype='bf16'))))
        assert in_dtype(settings, chosen).model.test_cfg.compute_dtype == expected


def test_option_of_test(files: tuple[Path, Path], tmp_path: Path) -> None:
    path = str(files[0])
    assert dtype_to_config([path, 'weights.pth', '--dtype', 'bf16', '--tta']) == [
        path, 'weights.pth', '--tta', '--cfg-options', 'model.test_cfg.compute_dtype=bf16',
    ]  # fmt: skip
    assert dtype_to_config([path, 'weights.pth']) == [path, 'weights.pth']
    (tmp_path / 'unet.py').write_text("model = dict(type='EncoderDecoder')")
    with pytest.raises(SystemExit) as stopped:
        dtype_to_config([str(tmp_path / 'unet.py'), '--dtype', 'bf16'])
    assert 'EncoderDecoder' in str(stopped.value)
