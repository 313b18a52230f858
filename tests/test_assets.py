"""The packaged weights reach the figures of their model card."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS
from safetensors import safe_open

REPO = Path(__file__).resolve().parents[1]
WEIGHTS = REPO / 'mmsam_ext' / 'assets' / 'sam_tiny.safetensors'
CARD = REPO / 'mmsam_ext' / 'assets' / 'sam_tiny.md'


def card_row(name: str) -> dict[str, float]:
    """Prompt mode -> mIoU of one row of the card's table of figures."""
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in CARD.read_text().splitlines()]
    header = next(row for row in rows if row[0] == 'mIoU in %')
    values = next(row for row in rows if row[0] == name)
    return {mode: float(value) for mode, value in zip(header[1:], values[1:], strict=True)}


def test_file_is_the_one_of_the_card():
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert re.search(r'SHA-256 `(\w+)`', CARD.read_text()).group(1) == digest
    assert WEIGHTS.stat().st_size <= 12 * 2**20


def test_file_loads_with_safetensors_alone_and_fits_the_model():
    with safe_open(WEIGHTS, framework='pt') as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    assert all(value.dtype == torch.float16 and torch.isfinite(value).all() for value in tensors.values())
    config = Config.fromfile(REPO / 'configs' / 'sam_tiny_pretrain.py')
    del config.model.scene_head  # training only
    model = MODELS.build(config.model)
    model.load_state_dict(tensors, strict=True)
    assert torch.equal(model.state_dict()['backbone.neck.0.weight'], tensors['image_encoder.neck.0.weight'].float())


@pytest.mark.slow
@pytest.mark.parametrize(
    ('source', 'row'),
    [('sam_tiny_pretrain', 'the first 60 of them'), ('sam_tiny_pretrain_384', 'the first 60, enlarged to 384 px')],
)
def test_the_cards_figures_come_out(source: str, row: str, tmp_path: Path):
    config = Config.fromfile(REPO / 'configs' / f'{source}.py')
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path),
            load_from='mmsam_ext://sam_tiny',
            log_level='WARNING',
            test_dataloader=dict(num_workers=0, dataset=dict(length=60)),
        )
    )
    metrics = Runner.from_cfg(config).test()
    for mode, expected in card_row(row).items():
        assert metrics[f'mIoU/{mode}'] == pytest.approx(expected, abs=0.06), mode
