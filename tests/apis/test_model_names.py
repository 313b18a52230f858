"""Published models by their short names, without a config."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from mmsam_ext.apis import InferenceError, PromptSegInferencer, model_names
from mmsam_ext.apis.inference_pipeline import InferencePipeline
from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.apis.model_names import NAMED_MODELS, NamedModel, named_config
from mmsam_ext.apis.score_origin import PRETRAINED
from mmsam_ext.cli import infer
from mmsam_ext.structures import Prompts
from tests.naming import error_line, raises_naming

SIZES = {
    'sam_vit_b': 93_735_472,
    'sam_vit_l': 312_342_832,
    'sam_vit_h': 641_090_608,
    'sam_hq_vit_b': 93_735_472 + 1_071_104,
    'sam_hq_vit_l': 312_342_832 + 1_333_248,
    'sam_hq_vit_h': 641_090_608 + 1_595_392,
    'sam_hq_vit_tiny': 5_743_892 + 4_058_340 + 6_220 + 448_512,
    'sam2.1_hiera_t': 31_440_721,
    'sam2.1_hiera_s': 38_538_577,
    'sam2.1_hiera_b+': 73_328_401,
    'sam2.1_hiera_l': 216_924_865,
    'mobile_sam': 5_743_892 + 4_058_340 + 6_220,
    'sam_tiny': 5_700_000,
}


@pytest.mark.parametrize('name', NAMED_MODELS)
def test_sizes(name: str) -> None:
    """The numbers of parameters that are published, or follow from the papers' counts."""
    with torch.device('meta'):
        model = MODELS.build(named_config(name).model)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == SIZES[name] if name != 'sam_tiny' else 5.6e6 < count < 5.8e6
    assert load_config(name).model.backbone == named_config(name).model.backbone


@pytest.mark.parametrize(
    ('name', 'expected'), [('sam_vit_b', (512, 1024)), ('sam2.1_hiera_s', (1024, 1024)), ('sam_tiny', (384, 384))]
)
def test_images_are_resized_as_each_family_does(name: str, expected: tuple[int, int]) -> None:
    config = named_config(name)
    preprocessor = MODELS.build(config.model.data_preprocessor)
    assert preprocessor.size == (max(expected), max(expected))
    steps = InferencePipeline(config, preprocessor).steps
    image = np.zeros((100, 200, 3), np.uint8)
    results = dict(img=image, img_shape=(100, 200), ori_shape=(100, 200), seg_fields=[], sample_id='x', img_path='x')
    packed = steps(results | dict(prompts=Prompts.create(boxes=[[1, 2, 30, 40]])))
    assert tuple(packed['inputs'].shape[-2:]) == expected


def test_settings_of_the_packaged_weights_are_for_them_alone(tmp_path: Path) -> None:
    """Other weights of the same model may have been trained without the masks for ambiguous prompts."""
    model = PromptSegInferencer('sam_tiny', device='cpu').model
    assert model.test_cfg['multimask'] == 'stable'
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    other = PromptSegInferencer('sam_tiny', tmp_path / 'weights.pth', 'cpu').model
    assert 'multimask' not in other.test_cfg
    config = load_config('sam_tiny')
    config.merge_from_dict({'model.test_cfg.multimask': False})
    assert PromptSegInferencer(config, device='cpu').model.test_cfg['multimask'] is False


def test_the_command_line_takes_name_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    trunk = dict(
        embed_dim=8, num_heads=1, stages=(1, 1, 2, 1), window_spec=(8, 4, 4, 2), global_att_blocks=(3,),
        global_pos_size=(2, 2),
    )  # fmt: skip
    small = NamedModel(
        'sam2_hiera_l',
        {'model.backbone.arch': dict(_delete_=True, **trunk)},
        keep_ratio=False,
        size=64,
    )
    monkeypatch.setitem(model_names.NAMED_MODELS, 'sam2.1_hiera_s', small)
    torch.save(MODELS.build(named_config('sam2.1_hiera_s').model).state_dict(), tmp_path / 'weights.pt')
    cv2.imwrite(str(tmp_path / 'part.png'), np.full((40, 60, 3), 100, np.uint8))
    words = [str(tmp_path / 'part.png'), '--box', '5', '6', '30', '35', '--device', 'cpu']
    weights = ['--model', 'sam2.1_hiera_s', '--weights', str(tmp_path / 'weights.pt')]
    assert infer.main([*words, *weights]) == 0
    assert 'part.png' in capsys.readouterr().out
    inferencer = PromptSegInferencer('sam2.1_hiera_s', tmp_path / 'weights.pt', 'cpu')
    assert inferencer.score_from == PRETRAINED
    assert infer.main([*words, '--model', 'sam2.1_hiera_s']) == 2
    assert 'weights' in error_line(capsys)


def test_unknown_names() -> None:
    with raises_naming(InferenceError, 'sam3_hiera_t', 'sam2.1_hiera_t'):
        load_config('sam3_hiera_t')
    with pytest.raises(SystemExit):
        infer.parse(['part.png', 'sam_tiny_mtd', '--model', 'sam_vit_b'])


def test_what_is_missing_or_misspelt_is_named() -> None:
    """The published file of a model without weights, and the nearest short name."""
    page = (Path(__file__).parents[2] / 'configs/model_zoo.md').read_text()
    assert all(model.file in page for model in NAMED_MODELS.values())
    with raises_naming(InferenceError, 'mobile_sam.pt', '--weights'):
        PromptSegInferencer('mobile_sam', device='cpu')
    with raises_naming(InferenceError, "'sam2.1_hiera_x'", "did you mean 'sam2.1_hiera_"):
        load_config('sam2.1_hiera_x')
