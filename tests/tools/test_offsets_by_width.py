"""tools/analysis/offsets_by_width.py: widths by hand, and settings that must agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from analysis import offsets_by_width as tool
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from tests.models.small import randomise
from tests.naming import raises_naming
from tests.shrink import CONFIGS, shrink


@pytest.fixture(scope='module')
def stable(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of a small config, and of a checkpoint of it as if trained."""
    folder = tmp_path_factory.mktemp('stable')
    config = shrink(CONFIGS / 'stable_sam_tiny_synthetic.py', folder)
    config.dump(folder / 'small.py')
    model = MODELS.build(config.model)
    randomise(model, seed=3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'weights.pth')
    return str(folder / 'small.py'), str(folder / 'weights.pth')


def test_widths_by_hand() -> None:
    """A line of 4 pixels in an input of 64 x 64 pixels is a quarter of a cell wide, a square of 32 two cells."""
    mask = np.zeros((64, 64), bool)
    mask[10:14, 5:60] = True
    assert tool.width_in_cells(mask, (4, 4)) == pytest.approx(3 / 16, abs=0.07)
    mask[:] = False
    mask[16:48, 16:48] = True
    assert tool.width_in_cells(mask, (4, 4)) == pytest.approx(2.0, abs=0.1)
    assert tool.width_in_cells(mask[::2, ::2], (4, 4)) == pytest.approx(2.0, abs=0.1), 'for any size of the mask'
    assert [tool.group_of(width) for width in (0.2, 0.5, 0.7, 5)] == ['up to 0.5', 'up to 0.5', 'up to 1', 'above 2']


def test_settings(stable: tuple[str, str]) -> None:
    """Offsets shrink with their limit (almost in proportion: later attentions see other features)."""
    config = Config.fromfile(stable[0])
    model = tool.load_model(config, stable[1], 'cpu', False)
    dataset = config.test_dataloader.dataset
    dataset.pipeline = tool.noisy_boxes(config, 3, 0.4)
    packed = DATASETS.build(dataset)[0]
    assert len(packed['data_samples'].prompts) == 3
    width, found = tool.of_image(tool.settings(model, [4.0, 1.0, 0.0]), packed)
    assert width > 0 and list(found) == [tool.WITHOUT, 'at most 4', 'at most 1', 'at most 0']
    lengths = [found[name][2] for name in list(found)[1:]]
    assert lengths[0] == pytest.approx(4 * lengths[1], rel=0.05) and lengths[0] > 0.1 and lengths[2] == 0
    assert tool.decoder_of(model)[1].sampling[0].max_offset == 4.0
    assert found[tool.WITHOUT][2] == 0 and len({found[name][:2] for name in found}) > 1


def test_command(stable: tuple[str, str], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    tool.main([*stable, '--limits', '1', '--draws', '2', '--images', '2', '--device', 'cpu'])
    printed = capsys.readouterr().out
    assert 'without DSP' in printed and 'at most 1' in printed and 'all' in printed
    with raises_naming(SystemExit, 'none.pth'):
        tool.main([stable[0], str(tmp_path / 'none.pth')])
