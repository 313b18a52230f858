"""The hook draws what it should, under names that tell samples apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import HOOKS, VISUALIZERS
from mmseg.structures import SegDataSample

from mmsam_ext.engine.hooks.prompt_visualization_hook import PromptVisualizationHook
from tests.naming import warns_naming

Make = Callable[..., SegDataSample]
MakeHook = Callable[..., PromptVisualizationHook]
RUNNER = SimpleNamespace(iter=0)


@pytest.fixture
def hook(tmp_path: Path) -> MakeHook:
    """Hooks that write to `tmp_path`."""

    backends = [dict(type='LocalVisBackend')]
    VISUALIZERS.build(dict(type='PromptVisualizer', name=str(tmp_path), vis_backends=backends, save_dir=str(tmp_path)))

    def make(**kwargs: Any) -> PromptVisualizationHook:
        return HOOKS.build(dict(type='PromptVisualizationHook', **{'draw': True, 'interval': 1, **kwargs}))

    return make


def batch(value: int = 100) -> dict[str, list[torch.Tensor]]:
    """A network input of 120 x 256, BGR, padded to 128 x 256."""
    image = torch.full((3, 128, 256), 255, dtype=torch.uint8)
    image[0, :120], image[1, :120], image[2, :120] = value, 0, 0
    return dict(inputs=[image])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / 'vis_data' / 'vis_image').glob('[!.]*'))


def test_names_are_readable_and_unique(hook: MakeHook, boxed: Make, tmp_path: Path) -> None:
    pictures = hook()
    pictures.before_test_epoch(RUNNER)
    names = ['MT_Crack/Imgs/a b', 'MT_Crack/Imgs_a_b', 'x' * 400]
    for index, name in enumerate(names):
        pictures.after_test_iter(RUNNER, index, batch(), [boxed(sample_id=name)])
    pictures.after_test_epoch(RUNNER)
    long = 'test_MTD_' + 'x' * 28 + '__' + 'x' * 112
    assert files(tmp_path) == sorted(
        ['test_MTD_MT_Crack_Imgs_a_b_0.png', 'test_MTD_MT_Crack_Imgs_a_b_2_0.png', f'{long}_0.png', 'sheet.png']
    )
    pictures.before_val_epoch(RUNNER)  # a later evaluation takes the same names again
    pictures.after_val_iter(RUNNER, 0, batch(), [boxed(sample_id='MT_Crack/Imgs/a b')])
    assert 'val_MTD_MT_Crack_Imgs_a_b_0.png' in files(tmp_path)


def test_picture_is_the_file_or_else_the_network_input(hook: MakeHook, boxed: Make, tmp_path: Path) -> None:
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), np.full((60, 100, 3), (10, 20, 30), np.uint8))
    pictures = hook()
    image = pictures._image(boxed(img_path=str(path)), batch()['inputs'][0])
    assert image.shape == (60, 100, 3) and (image == [30, 20, 10]).all()
    for missing in ('', 'synthetic/00001', str(tmp_path)):
        image = pictures._image(boxed(img_path=missing), batch()['inputs'][0])
        assert image.shape == (60, 100, 3) and (image == [0, 0, 100]).all()  # RGB, without the padding


def test_interval_draw_and_val(hook: MakeHook, boxed: Make, tmp_path: Path) -> None:
    pictures = hook(interval=3)
    for index in range(7):
        pictures.after_test_iter(RUNNER, index, batch(), [boxed(sample_id=str(index))])
    assert files(tmp_path) == ['test_MTD_2_0.png', 'test_MTD_5_0.png']
    with warns_naming(UserWarning, 'draw', 'False'):
        idle = hook(draw=False)
    idle.after_test_iter(RUNNER, 0, batch(), [boxed()])
    idle.after_test_epoch(RUNNER)
    assert len(files(tmp_path)) == 2


def test_sheet_is_spread_over_the_test(
    hook: MakeHook, boxed: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 30 pictures the contact sheet shows four, the first and others spread over the set; few are held in memory."""
    pictures = hook(sheet=4)
    drawn = iter(range(30))
    monkeypatch.setattr(
        pictures._visualizer, 'add_datasample', lambda *_, **__: np.full((2, 2, 3), next(drawn), np.uint8)
    )
    for index in range(30):
        pictures.after_test_iter(RUNNER, index, batch(), [boxed()])
        assert len(pictures._pictures) < 8
    pictures.after_test_epoch(RUNNER)
    sheet = cv2.imread(str(tmp_path / 'vis_data' / 'vis_image' / 'sheet.png'))[..., 0]
    shown = [int(sheet[y, x]) for y in (0, 10) for x in (4, 14)]  # two columns, cells of 2 + 8
    assert shown[0] == 0 and 20 < shown[-1] < 30 and np.diff(shown).min() >= 4
