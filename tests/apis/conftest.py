"""A small random model as config and checkpoint files, and images with a bright spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsam_ext.apis import PromptSegInferencer
from tests.models.small import SIZE, config, segmentor

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(
        type='GeneratePrompts',
        modes=dict(
            box=dict(kind='box'),
            boxes=dict(kind='box', targets='parts', united=True),
            points=dict(kind='points', num_points=5),
        ),
        seed=0,
    ),
    dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]


@pytest.fixture(scope='session')
def small_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(config, checkpoint) of a small random model; the config's `init_cfg` does not name the checkpoint."""
    folder = tmp_path_factory.mktemp('small')
    dataset = dict(type='BinaryDefectDataset', data_root='nowhere', test_mode=True, pipeline=PIPELINE)
    settings = dict(
        default_scope='mmseg',
        custom_imports=dict(imports=['mmsam_ext']),
        model=config(),
        test_dataloader=dict(
            batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset
        ),
    )
    init_default_scope('mmseg')
    (folder / 'small.py').write_text(Config(settings).pretty_text)
    torch.save(segmentor().state_dict(), folder / 'small.pth')
    return folder / 'small.py', folder / 'small.pth'


@pytest.fixture(scope='session')
def _inferencer(small_files: tuple[Path, Path]) -> PromptSegInferencer:
    return PromptSegInferencer(*small_files, device='cpu')


@pytest.fixture
def inferencer(_inferencer: PromptSegInferencer) -> PromptSegInferencer:
    _inferencer.reset_image()
    return _inferencer


@pytest.fixture
def encodings(inferencer: PromptSegInferencer) -> list[int]:
    """Batch size of every call of the image encoder."""
    calls: list[int] = []
    hook = inferencer.model.backbone.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    yield calls
    hook.remove()


def picture(height: int = 90, width: int = 150, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 BGR: coarse noise in colour, so that channels and positions differ."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), (width, height))
    return (coarse // 2 + rng.integers(0, 128, (height, width, 3))).astype(np.uint8)


def visible(folder: Path) -> set[str]:
    """Names of the files in a folder, without hidden ones such as the manifest of results."""
    return {path.name for path in folder.iterdir() if not path.name.startswith('.')}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture below tmp_path; arguments as :func:`picture`."""

    def write(name: str, **arguments: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture(**arguments))
        return path

    return write
