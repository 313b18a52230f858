"""The cost tool, against closed formulas, stock SAM and published sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmsam_ext.cli import model_cost
from tests.naming import assert_names, error_line, raises_naming

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / 'tools' / 'model_cost.py'
#: Two blocks, one windowed and one global, on 64 x 64 pixels.
MINI = dict(
    img_size=64, embed_dim=32, depth=2, num_heads=2, window_size=2, out_chans=32, global_attn_indexes=(1,)
)  # fmt: skip
CONFIG = """
model = dict(
    type='PromptableSegmentor',
    data_preprocessor=dict(type='PromptDataPreprocessor', {size}),
    backbone=dict(type='SAMImageEncoder', arch={arch!r}),
    prompt_encoder=dict(type='SAMPromptEncoder', embed_dim={width}),
    mask_decoder=dict(type='SAMMaskDecoder', transformer_dim={width}),
    trainable=(),
)
"""


def write_config(folder: Path, arch: str | dict, width: int, size: str = 'size_divisor=16') -> str:
    path = folder / 'config.py'
    path.write_text(CONFIG.format(arch=arch, width=width, size=size))
    return str(path)


def encoder_flops(side: int, window: int, blocks: int, global_blocks: int, c: int, heads: int, out: int) -> int:
    """2 x multiply-adds of SAM's image encoder on side x side tokens, by hand."""
    padded = -(-side // window) * window

    def block(tokens: int, n: int, edge: int) -> int:
        """`tokens` in windows of n = edge x edge: qkv, proj; q k and weights v; both relative positions."""
        attention = 4 * tokens * c * c + 2 * tokens * n * c + 2 * tokens * edge * c
        return attention + 8 * side * side * c * c  # MLP on the tokens without padding

    multiply_adds = side * side * c * (3 * 16 * 16) + side * side * (c * out + 9 * out * out)  # patches, neck
    multiply_adds += global_blocks * block(side * side, side * side, side)
    multiply_adds += (blocks - global_blocks) * block(padded * padded, window * window, window)
    return 2 * multiply_adds


@pytest.mark.parametrize(
    ('arch', 'total', 'formula'),
    [
        ('base', 93_735_472, dict(blocks=12, global_blocks=4, c=768, heads=12)),
        ('large', 312_342_832, dict(blocks=24, global_blocks=4, c=1024, heads=16)),
        ('huge', 641_090_608, dict(blocks=32, global_blocks=4, c=1280, heads=16)),
    ],
)
def test_official_sizes(tmp_path: Path, arch: str, total: int, formula: dict) -> None:
    """Parameters as in Meta's checkpoints, operations by formula, and no memory for the encoder's weights."""
    config = model_cost.load_config(write_config(tmp_path, arch, 256))
    result = model_cost.cost(config)
    assert (result['params_total'], result['params_trainable']) == (total, 0)
    assert result['params_by_module'] == dict(backbone=total - 4_064_560, prompt_encoder=6_220, mask_decoder=4_058_340)
    assert result['input'] == [1024, 1024], 'the size that the backbone is built for'
    assert result['flops_by_module']['backbone'] == encoder_flops(64, 14, out=256, **formula)
    assert isinstance(result['flops'], int)
    assert result['flops'] == sum(result['flops_by_module'].values())
    assert all(p.is_meta for p in model_cost.build_without_backbone(config.model).backbone.parameters())


def test_shipped_config_is_sam_vit_b() -> None:
    path = REPO / 'configs' / 'sam_vitb_industrial.py'
    result = model_cost.cost(model_cost.load_config(str(path)))
    assert (result['params_total'], result['params_trainable']) == (93_735_472, 0)


def test_decoder_costs_what_stock_decoder_does(tmp_path: Path) -> None:
    """One box: 2 prompt tokens, 4 mask tokens, 1 IoU token."""
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer

    stock = MaskDecoder(
        transformer_dim=32, transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=2048, num_heads=8)
    )
    image = torch.zeros(1, 32, 4, 4)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        stock(image, image, torch.zeros(1, 2, 32), image, multimask_output=True)
    result = model_cost.cost(model_cost.load_config(write_config(tmp_path, MINI, 32)))
    assert result['flops_by_module']['mask_decoder'] == counter.get_total_flops()


def test_input_size(tmp_path: Path) -> None:
    """The input size is the given one, else that of the preprocessor, else that of the backbone."""
    config = model_cost.load_config(write_config(tmp_path, MINI, 32, 'size=(96, 128)'))
    assert model_cost.cost(config)['input'] == [96, 128]
    given = model_cost.cost(config, [64, 64])
    expected = encoder_flops(4, 2, blocks=2, global_blocks=1, c=32, heads=2, out=32)
    assert (given['input'], given['flops_by_module']['backbone']) == ([64, 64], expected)
    with raises_naming(model_cost.ConfigError, '--input'):
        model_cost.input_size(nn.Linear(1, 1), None)


def test_fused_attention_on_a_cpu_is_counted() -> None:
    """Fused attention, which PyTorch's own counter ignores, counts 2 * 2 * heads * n * n * d."""

    class Attention(nn.Module):
        def forward(self, inputs: torch.Tensor, samples: list, mode: str) -> torch.Tensor:
            q = inputs.new_zeros(1, 2, 5, 8)
            return F.scaled_dot_product_attention(q, q, q)

    assert model_cost.count_flops(Attention(), (16, 16))[0] == 2 * 2 * 2 * 5 * 5 * 8


def test_lists_are_counted_by_class() -> None:
    model = nn.Module()
    model.backbone = nn.Linear(3, 2)  # 8
    model.prompt_stages = nn.ModuleList([nn.Linear(1, 1), nn.Conv2d(1, 1, 3), nn.Linear(2, 1)])  # 2, 10, 3
    model.mask_decoder = nn.Module()
    model.mask_decoder.plugins = nn.ModuleList([nn.LayerNorm(4).requires_grad_(False)])  # 8
    model.mask_decoder.token = nn.Parameter(torch.zeros(5))
    model.scale = nn.Parameter(torch.zeros(1))
    model.register_buffer('ignored', torch.zeros(100))
    assert model_cost.count_parameters(model) == {
        'backbone': (8, 8),
        'prompt_stages': (15, 15),
        'mask_decoder': (13, 5),
        '(own)': (1, 1),
        'prompt_stages.Linear[0]': (2, 2),
        'prompt_stages.Conv2d': (10, 10),
        'prompt_stages.Linear[2]': (3, 3),
        'mask_decoder.plugins.LayerNorm': (8, 0),
    }


def test_backbone_that_the_meta_device_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A backbone that does not run on the meta device is measured with real weights, with the same numbers."""
    config = model_cost.load_config(write_config(tmp_path, MINI, 32))
    expected = model_cost.cost(config)

    def fail(model: dict) -> nn.Module:
        raise NotImplementedError('no values here')

    monkeypatch.setattr(model_cost, 'build_without_backbone', fail)
    assert model_cost.cost(config) == expected
    assert 'no values here' in capsys.readouterr().err


@pytest.mark.slow
def test_command_line(tmp_path: Path) -> None:
    """A table, then one line of JSON, with the speed of a process of its own."""
    config = write_config(tmp_path, MINI, 32)
    command = [sys.executable, str(SCRIPT), config, '--speed', '--device', 'cpu', '--cfg-options']
    command += ['model.trainable=["iou_token"]']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.strip().splitlines()
    result = json.loads(last)
    assert result['params_trainable'] == 32
    assert result['images_per_second'] > 0
    assert 50 < result['peak_memory_mb'] < 5000
    assert result['device'].startswith('cpu')
    assert lines[0].split() == ['module', 'parameters', 'trainable', 'GFLOPs']


@pytest.mark.parametrize(
    ('text', 'names'),
    [
        (None, ('bad.py',)),
        ('data = 1', ('model', 'None')),
    ],
)
def test_bad_config(tmp_path: Path, capsys: pytest.CaptureFixture, text: str | None, names: tuple[str, ...]) -> None:
    path = tmp_path / 'bad.py'
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        model_cost.main([str(path)])
    assert stopped.value.code == 2
    assert_names(error_line(capsys), path, *names)


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU')
def test_no_gpu(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        model_cost.main([write_config(tmp_path, MINI, 32), '--device', 'cuda'])
    assert stopped.value.code == 2
    assert_names(error_line(capsys), 'device', 'cuda', 'GPU')
