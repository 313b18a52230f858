"""Decide how to train on a folder, and say why."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import numpy as np

from .facts import FolderFacts
from .recipes import MODELS

#: Pixels of the network input that a thin defect should have: one and a half cells of the mask.
WANTED_THICKNESS = 6.0
#: Share of the defects that should have it.
_COVERED = 80
_STEP = 64
_VALIDATIONS = 4
#: Share of the time that is planned, the rest is for what takes longer than measured.
_PLANNED = 0.85
#: How often a training set is seen at most, and iterations at most and at least.
_EPOCHS, _MOST, _LEAST = 200, 6000, 30
#: Steps that a training should have; for fewer, the input is made smaller.
_WANTED = 150


@dataclass(frozen=True)
class Plan:
    """A training.

    Attributes:
        method: Key of METHODS.
        model: Key of MODELS.
        size: Side of the network input, or of a tile.
        tiles: Whether images are cut into tiles at full resolution.
        batch: Images in a step.
        workers: Processes that load images.
        iterations: Number of steps; None until a step was measured.
        reasons: What was chosen, and why, a line each.
    """

    method: str
    model: str
    size: int
    tiles: bool
    batch: int
    workers: int
    iterations: int | None
    reasons: tuple[str, ...]

    @property
    def val_interval(self) -> int:
        """Steps between two validations."""
        return max(1, math.ceil((self.iterations or 1) / _VALIDATIONS))


def make_plan(facts: FolderFacts, method: str, model: str, size: int | None = None) -> Plan:
    """Choose input size or tiles, batch and workers for a folder.

    Args:
        facts: The folder.
        method: Key of METHODS.
        model: Key of MODELS.
        size: Side of the network input; None to choose it.
    """
    chosen, tiles, reason = _size(facts, model) if size is None else (size, False, f'input {size} px, as given')
    limit = MODELS[model].batch
    # Memory and time grow with the pixels of a batch; that of the smallest input is known to fit.
    batch = max(1, min(limit, len(facts.train), round(limit * (1.5 * MODELS[model].smallest / chosen) ** 2)))
    workers = max(1, min(4, (os.cpu_count() or 2) // 2))
    reasons = (
        f'{len(facts.images)} labelled images, {facts.normals} of them without a defect'
        + (f'; {facts.unlabelled} images without a mask are left out' if facts.unlabelled else ''),
        f'{len(facts.train)} to train on, {len(facts.val)} to validate on',
        reason,
        f'batches of {batch}, loaded by {workers} processes',
    )
    if facts.num_classes is not None:
        numbers = [f'{name} ({facts.images_of(label)} images)' for label, name in enumerate(facts.classes, 1)]
        reasons += (f'{len(facts.classes)} classes: {", ".join(numbers)}',)
        rare = [name for label, name in enumerate(facts.classes, 1) if facts.images_of(label) < 2]
        if rare:
            reasons += (f'too few images to both train on and validate on: {", ".join(rare)}',)
    if not facts.normals:
        reasons += ('no image without a defect: scores cannot be calibrated, and false alarms cannot be counted',)
    return Plan(method, model, chosen, tiles, batch, workers, None, reasons)


def _size(facts: FolderFacts, model: str) -> tuple[int, bool, str]:
    """Return the side of the network input, whether to use tiles, and the reason."""
    sizes = MODELS[model]
    needed = [WANTED_THICKNESS / thickness * max(image.size) for image in facts.images for thickness in image.thickness]
    need = float(np.percentile(needed, _COVERED))
    longest = int(np.median([max(image.size) for image in facts.images]))
    side = min(max(math.ceil(need / _STEP) * _STEP, sizes.smallest), sizes.largest)
    thin = f'{_COVERED} % of the defects are {WANTED_THICKNESS:g} px thick or more at an input of {need:.0f} px'
    # Of thin defects in images twice as large as a tile, tiles learned more in the same time (configs/methods/thin.md).
    if need <= sizes.largest or longest < 2 * sizes.tile:
        short = '' if need <= sizes.largest else f', of which {model} has at most {sizes.largest}'
        return side, False, f'input {side} px, images have {longest} px: {thin}{short}'
    return sizes.tile, True, f'tiles of {sizes.tile} px at full resolution, images have {longest} px: {thin}'


def affordable_size(plan: Plan, seconds: float, step: float) -> int:
    """Return the largest input with which enough steps fit into the time, at least the model's smallest.

    Args:
        plan: The plan so far.
        seconds: Time that is left.
        step: Seconds of a training step at the planned size; it grows with the pixels.
    """
    smallest = MODELS[plan.model].smallest
    if plan.tiles or plan.size <= smallest:
        return plan.size
    allowed = plan.size * math.sqrt(min(1.0, _PLANNED * seconds / step / _WANTED))
    return max(smallest, int(allowed) // _STEP * _STEP) if allowed < plan.size else plan.size


def with_size(plan: Plan, size: int) -> Plan:
    """Return the plan with a smaller input, because time is short."""
    text = f'input {size} px instead, because the time is too short for {_WANTED} steps at {plan.size} px'
    return replace(plan, size=size, reasons=(*plan.reasons, text))


def with_iterations(plan: Plan, facts: FolderFacts, seconds: float, step: float) -> Plan:
    """Fit the number of steps into the time that is left.

    Args:
        plan: The plan so far.
        facts: The folder.
        seconds: Time that is left.
        step: Seconds of a training step.
    """
    forward = step / plan.batch / 2  # of one image, without gradients
    checks = (_VALIDATIONS + 1) * len(facts.val) * forward * (4 if plan.tiles else 1)
    possible = int((_PLANNED * seconds - checks) / step)
    useful = max(_LEAST, min(_MOST, _EPOCHS * math.ceil(len(facts.train) / plan.batch)))
    iterations = max(_LEAST, min(possible, useful))
    epochs = iterations * plan.batch / len(facts.train)
    text = f'a step takes {step:.2f} s: {iterations} steps, which see each image {epochs:.1f} times'
    if possible < _LEAST:
        text += f'; {seconds:.0f} s are too short for {_LEAST} steps, so this takes longer'
    elif possible > useful:
        text += ', which is enough, so this ends sooner than it had to'
    return replace(plan, iterations=iterations, reasons=(*plan.reasons, text))
