"""How well masks in bf16 agree with those in fp32: what ``tools/benchmark.py agreement`` runs.

On the validation images of magnetic tiles (``data/mtd``), by a box around all defects and one around each, the mini SAM
with its own weights (``--arch tiny``) or SAM with random ones. Random weights give masks without meaning, whose logits
are near the threshold, so they are the hardest case.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from torch import Tensor

from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.cli.table import text_table

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'models'
#: Architecture -> config of the model.
MODELS_OF = {'tiny': 'sam_tiny', 'base': 'sam_vitb', 'large': 'sam_vitl', 'huge': 'sam_vith'}
MODES = {'one box': dict(kind='box'), 'boxes': dict(kind='box', targets='parts')}


def config_of(arch: str, size: int) -> Config:
    """Return a config with the model, its weights where it has some, and the data at `size` pixels."""
    config = load_config('sam_tiny_mtd')
    weights = config.model.init_cfg.checkpoint
    model = load_config(CONFIGS / f'{MODELS_OF[arch]}.py').model
    model.data_preprocessor.size, model.init_cfg = (size, size), None
    config.model = model
    config.weights = weights if arch == 'tiny' else None
    for step in config.test_dataloader.dataset.pipeline:
        if step.type == 'Resize':
            step.scale = (size, size)
        if step.type == 'GeneratePrompts':
            step.modes = MODES
    return config


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return format -> the figures of :func:`figures`, for the formats other than fp32."""
    config = config_of(args.arch, args.size)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model: Any = MODELS.build(config.model).to(device).eval()
    if config.weights:
        load_checkpoint(model, config.weights, map_location='cpu')
    dataset: Any = DATASETS.build(config.test_dataloader.dataset)
    chosen = range(0, len(dataset), max(1, len(dataset) // args.images))
    formats = [name for name in args.dtype if name != 'fp32'] or ['bf16']
    pairs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in formats}
    for number, index in enumerate(chosen, 1):
        sample = dataset[index]
        exact, truth = masks(model, sample, 'fp32')
        for name in formats:
            rounded, _ = masks(model, sample, name)
            rows = zip(iou(rounded, exact), iou(exact, truth), iou(rounded, truth), strict=True)
            pairs[name] += [tuple(map(float, row)) for row in rows]
        if number % 10 == 0 or number == len(chosen):
            say(f'{number} of {len(chosen)} images')
    return {name: figures(rows) for name, rows in pairs.items()}


@torch.no_grad()
def masks(model: Any, sample: dict, dtype: str) -> tuple[Tensor, Tensor]:
    """Return the predicted masks of a sample in a format, and the true ones, both (P, H, W) bool."""
    model.test_cfg['compute_dtype'] = dtype
    data = model.data_preprocessor(pseudo_collate([sample]), False)
    (result,) = model.predict(data['inputs'], data['data_samples'])
    found = result.pred_instances.mask_logits > 0
    return found, result.gt_masks.data.to(found.device)[result.prompts.target_ids].bool()


def iou(found: Tensor, truth: Tensor) -> Tensor:
    """Return the IoU (P,) of masks (P, H, W) bool; 1 where both are empty."""
    both, either = (found & truth).sum((1, 2)), (found | truth).sum((1, 2))
    return torch.where(either > 0, both / either.clamp_min(1), torch.ones_like(both, dtype=torch.float32))


def figures(rows: list[tuple[float, float, float]]) -> dict[str, float]:
    """Return the mean and least IoU with fp32, and both mean IoUs with the truth, in percent."""
    agreement, exact, rounded = torch.tensor(rows).T * 100
    return dict(
        masks=len(rows),
        mean=float(agreement.mean()),
        least=float(agreement.min()),
        truth_fp32=float(exact.mean()),
        truth=float(rounded.mean()),
    )


def table(results: dict[str, dict]) -> str:
    """Return the results as text."""
    head = ('format', 'masks', 'IoU with fp32', 'least', 'mIoU in fp32', 'mIoU')
    rows = [
        [name, int(one['masks']), *(f'{one[key]:.2f}' for key in ('mean', 'least', 'truth_fp32', 'truth'))]
        for name, one in results.items()
    ]
    return text_table(head, rows)
