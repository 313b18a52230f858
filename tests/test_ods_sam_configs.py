"""ODS-SAM's configs compared with the paper and with MMSegmentation's own configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmseg
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.shrink import CONFIGS, shrink, spare_formatting

GPUS = 8
#: Dataset of a config -> images to train on.
IMAGES = dict(mvtec=1006, polyp=1450, glas=85, monuseg=30, chase_db1=20, custom=200)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('ods_sam_vit*.py')), ids=lambda path: path.stem)
def test_trains_for_200_epochs_on_8_gpus(path: Path) -> None:
    """Training takes 200 epochs in batches close to the paper's 10."""
    cfg = Config.fromfile(path)
    batch = GPUS * cfg.train_dataloader.batch_size
    epochs = cfg.train_cfg.max_iters * batch / IMAGES[path.stem.split('_', 3)[3]]
    assert batch == 16 and 199 <= epochs <= 201
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0


def test_chase_db1_is_mmsegs_own() -> None:
    """The data config is MMSegmentation's, except for two images per GPU in place of four. test_configs.py runs it."""
    cfg = Config.fromfile(CONFIGS / 'ods_sam_vitb_chase_db1.py')
    theirs = Config.fromfile(Path(mmseg.__file__).parent / '.mim/configs/_base_/datasets/chase_db1.py')
    theirs.train_dataloader.batch_size = 2
    for key, value in theirs.to_dict().items():
        assert _without_scope(cfg.to_dict()[key]) == value, key
    assert cfg.model.data_preprocessor == dict(type='PromptDataPreprocessor', size=None, size_divisor=32)


def _without_scope(node: Any) -> Any:
    """A config without the `_scope_` that mmengine writes into what comes from another package."""
    if isinstance(node, dict):
        return {key: _without_scope(value) for key, value in node.items() if key != '_scope_'}
    return [_without_scope(value) for value in node] if isinstance(node, list) else node


def test_image_scores_of_mvtec_ad_by_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of configs/methods/ods_sam.md prints image-level scores."""
    spare_formatting(monkeypatch)
    options: dict[str, Any] = {'test_dataloader.dataset.normal': True, 'test_evaluator.2.type': 'AnomalyMetric'}
    text = (CONFIGS / 'methods/ods_sam.md').read_text()
    assert all(f'{key}={value}' in text for key, value in options.items())
    cfg = Config.fromfile(CONFIGS / 'ods_sam_vitb_mvtec.py')
    cfg.merge_from_dict(options)
    cfg = shrink(cfg, tmp_path)
    good = Path(cfg.test_dataloader.dataset.data_root)
    for category in good.iterdir():
        (category / 'test/good').mkdir()
    for name in ('000', '001'):
        image = good / 'tile/test/hole' / f'{name}.png'
        (good / 'tile/test/good' / f'{name}.png').write_bytes(image.read_bytes())
    results = Runner.from_cfg(cfg).test()
    assert {'image_AUROC', 'pixel_AUROC', 'AUPRO', 'mE'} <= set(results)


@pytest.mark.slow
def test_operations_near_the_papers() -> None:
    """The operations of the trained part are within 5 % of the paper's 53.902 G, with a multiply-add counted as two."""
    from mmsam_ext.cli import model_cost

    result = model_cost.cost(Config.fromfile(CONFIGS / 'ods_sam_vith_mvtec.py'))
    number = result['flops_by_module']['prompt_stages']
    assert abs(number / 53.902e9 - 1) < 0.05, number
