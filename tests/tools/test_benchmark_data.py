"""tools/benchmark.py data: what is timed, on small images."""

from __future__ import annotations

import benchmark
import cv2
import numpy as np
import pytest
from benchmarks import data
from mmengine.config import Config

from tests.shrink import CONFIGS


@pytest.mark.slow
def test_readers_transforms_and_rates(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(data, 'HEIGHT', 240)
    monkeypatch.setattr(data, 'WIDTH', 320)
    monkeypatch.setattr(data, 'IMAGES', 2)
    data.draw(tmp_path)
    images = {path.name: cv2.imread(str(path)) for path in (tmp_path / 'images').iterdir()}
    assert sorted(images) == ['0.jpg', '1.png'] and all(one.shape == (240, 320, 3) for one in images.values())
    mask = cv2.imread(str(tmp_path / 'masks' / '0.png'), 0)
    works = data.readers(tmp_path)
    assert np.array_equal(works['mask, ours'](), works['mask, OpenCV']()) and 0 < (mask > 0).mean() < 0.9
    for kind in ('JPEG', 'PNG'):
        ours, pillow = works[f'{kind}, ours'](), works[f'{kind}, Pillow']()
        assert np.array_equal(ours, works[f'{kind}, OpenCV']())
        assert np.abs(ours[..., ::-1].astype(int) - pillow).max() <= (0 if kind == 'PNG' else 3)
    args = benchmark.parse(['data', '--arch', 'tiny', '--repeats', '1', '--device', 'cpu'])
    results = data.run(args, args.device, lambda line: None)
    pipeline = Config.fromfile(CONFIGS / 'sam_tiny_mtd.py').train_pipeline
    assert [name.split()[1] for name in results['transforms']] == [step['type'] for step in pipeline]
    assert list(results['pipeline']) == ['0 processes', '1 processes', '2 processes']
    numbers = [value for part in results.values() for value in part.values()]
    assert min(results['pipeline'].values()) > 0 and min(numbers) >= 0 and results['step']['4 images'] > 0
    assert 'training step of 4 images' in data.table(results)
