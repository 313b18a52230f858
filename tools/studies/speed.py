"""Relative speed of the variants of a study, measured in turn in one process on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
from benchmarks.by_parts import medians, time_parts
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmsam_ext.cli import model_cost
from mmsam_ext.cli.measuring import device_name

from .study import Run


def measure_speed(runs: Sequence[Run], what: str, repeats: int, progress: Callable[[str], None] = print) -> dict:
    """Measure the speed of `predict` (an image, a box) or of a training step (a batch) relative to the first variant.

    Weights are random. Variants with equal models are measured once. CPU time is measured, because other programs
    disturb wall-clock time more.

    Args:
        runs: Runs of one seed; for training steps, of variants that are trained.
        what: A key of SPEEDS.
        repeats: Number of timed rounds.
        progress: Gets a line after each round.

    Returns:
        `relative` (times as fast as the first variant) and `cpu_seconds`, both data -> variant -> number; `device` and
        `repeats`.
    """
    init_default_scope('mmseg')
    relative, seconds = {}, {}
    for name in dict.fromkeys(run.data for run in runs):
        works, same = {}, {}
        for run in (run for run in runs if run.data == name):
            parts = [run.config.model.to_dict(), what == 'train' and run.config.train_dataloader.to_dict()]
            if what == 'predict':
                parts[0].pop('trainable', None)
            key = same[run.variant.name] = json.dumps(parts, sort_keys=True, default=str)
            if key not in works:
                works[key] = SPEEDS[what](run.config)
        middle = medians(time_parts(works, repeats, torch.device('cpu'), progress)[1])
        seconds[name] = {variant: middle[key] for variant, key in same.items()}
        first = next(iter(seconds[name].values()))
        relative[name] = {variant: first / value for variant, value in seconds[name].items()}
    return dict(relative=relative, cpu_seconds=seconds, device=device_name(torch.device('cpu')), repeats=repeats)


def prediction(config: Config) -> Callable[[], object]:
    """Return the work of predicting one image with one box."""
    model = MODELS.build(config.model).eval()
    inputs, samples = model_cost.one_image(model_cost.input_size(model, None))

    def work() -> object:
        with torch.no_grad():
            return model(inputs, samples, mode='predict')

    return work


def training_step(config: Config) -> Callable[[], object]:
    """Return the work of computing losses and gradients for one batch, without loading it."""
    model = MODELS.build(config.model).train()
    loader = Runner.build_dataloader({**config.train_dataloader, 'num_workers': 0, 'persistent_workers': False}, seed=0)
    batch = model.data_preprocessor(next(iter(loader)), True)

    def work() -> object:
        model.zero_grad()
        losses, _ = model.parse_losses(model(**batch, mode='loss'))
        return losses.backward()

    return work


#: What --speed measures.
SPEEDS = {'predict': prediction, 'train': training_step}
