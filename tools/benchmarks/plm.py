"""The cost of PLM and PMM, by parts: what ``tools/benchmark.py plm`` runs.

In one process, round by round in turn: training steps (forward and backward) of SAM's frozen decoder behind a PLM with
SAM's losses, without and with PMM, and predictions without and with PLM. The image is encoded already. Weights are
random, so the boundaries that PMM gets are those of discs. CPU seconds are of the process's threads: on a busy machine
trust these.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mmsam_ext.cli.table import text_table

from .by_parts import medians, time_parts

CHANNELS, STRIDE = 256, 16
LOSSES = ('MaskFocalLoss', 'MaskDiceLoss', 'IoUPredictionLoss')


def parts(size: int, prompts: list[int], device: torch.device, dtype: str) -> dict[str, Callable[[], object]]:
    """Return '<what>_<prompts>' -> work, with what of 'plm_step', 'plm_pmm_step', 'sam_predict' and 'plm_predict'."""
    import mmsam_ext  # noqa: F401  (before mmseg)

    # isort: split
    from mmseg.registry import MODELS

    from mmsam_ext.models.auxiliary_heads import PointMatchingModule
    from mmsam_ext.models.mask_decoders import SAMMaskDecoder
    from mmsam_ext.models.prompt_encoders import SAMPromptEncoder
    from mmsam_ext.models.prompt_stages import PromptLearningModule
    from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures

    torch.manual_seed(0)
    grid = size // STRIDE
    embedding = torch.randn(1, CHANNELS, grid, grid, device=device)
    prompt_encoder, decoder = SAMPromptEncoder().to(device), SAMMaskDecoder().to(device)
    plm, pmm = PromptLearningModule().to(device), PointMatchingModule().to(device)
    losses = [MODELS.build(dict(type=name)) for name in LOSSES]
    for module in (prompt_encoder, decoder):
        module.requires_grad_(False)
    side = torch.arange(4 * grid, device=device) - 2.0 * grid
    distance = torch.hypot(side[:, None], side[None])
    predicted, target = ((grid * radius - distance)[None] for radius in (1.0, 1.2))  # discs, as logits

    def decode(points: Prompts, with_plm: bool, need_upscaled: bool = False):
        features = SAMFeatures(embedding)
        (group,) = prompt_encoder(PromptBatch.from_prompts([points], (size, size)), (grid, grid))
        return decoder(features, plm(features, group) if with_plm else group, need_upscaled=need_upscaled)

    def step(points: Prompts, with_pmm: bool) -> None:
        truth = (target > 0).float().expand(len(points), -1, -1)
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == 'bf16'):
            prediction = decode(points, True, need_upscaled=True)
            logits, iou = prediction.logits[:, :1].float(), prediction.iou[:, :1].float()
            loss: Tensor = sum(one(logits, truth, iou).mean() for one in losses)
            if with_pmm:
                discs = replace(prediction, logits=predicted.expand(len(points), 1, -1, -1))
                loss = loss + pmm.loss(None, discs, truth)['loss_pmm']
        loss.backward()

    def predict(points: Prompts, with_plm: bool) -> None:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == 'bf16'):
            decode(points, with_plm)

    works: dict[str, Callable[[], object]] = {}
    for number in prompts:
        points = Prompts.create(points=torch.rand(number, 1, 2) * size, point_labels=torch.ones(number, 1)).to(device)
        works[f'plm_step_{number}'] = lambda p=points: step(p, False)
        works[f'plm_pmm_step_{number}'] = lambda p=points: step(p, True)
        works[f'sam_predict_{number}'] = lambda p=points: predict(p, False)
        works[f'plm_predict_{number}'] = lambda p=points: predict(p, True)
    return works


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return dtype -> medians of seconds and CPU seconds, and their ratios: with PMM or PLM over without it."""
    results = {}
    for dtype in args.dtype:
        seconds, cpu = time_parts(parts(args.size, args.prompts, device, dtype), args.repeats, device, say)
        results[dtype] = dict(seconds=medians(seconds), cpu_seconds=medians(cpu))
        results[dtype]['ratios'] = {
            f'{name}_{number}': [part[f'{new}_{number}'] / part[f'{old}_{number}'] for part in results[dtype].values()]
            for number in args.prompts
            for name, new, old in (
                ('pmm_adds_to_step', 'plm_pmm_step', 'plm_step'),
                ('plm_adds_to_prediction', 'plm_predict', 'sam_predict'),
            )
        }
    return results


def table(results: dict[str, dict]) -> str:
    """Return the results as text, a table for each dtype."""
    tables = []
    for dtype, result in results.items():
        pairs = {name: (value, result['cpu_seconds'][name]) for name, value in result['seconds'].items()}
        rows = [[name, f'{clock:.3f}', f'{cpu:.3f}'] for name, (clock, cpu) in (pairs | result['ratios']).items()]
        tables.append(text_table((dtype, 's', 'CPU s'), rows))
    return '\n'.join(tables)
