"""`fit`: from a folder of labelled images to weights, thresholds and a report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmsam_ext.checkpoints.loaders import PACKAGED
from mmsam_ext.datasets import BinaryDefectDataset
from mmsam_ext.engine.hooks.atomic_checkpoint_hook import write_atomically
from mmsam_ext.engine.hooks.progress_file_hook import PROGRESS

from ..inspection import Calibration, calibrate
from ..prompt_seg_inferencer import PromptSegInferencer
from .config_text import CONFIG, TRAIN, VAL, config_text
from .facts import FolderFacts, read_folder
from .measure import seconds_per_step
from .page import write_page
from .plan import Plan, affordable_size, make_plan, with_iterations, with_size
from .recipes import METHODS, MODELS, known

WEIGHTS = 'best.pth'
#: Where Meta's checkpoints are.
_META = 'https://dl.fbaipublicfiles.com/segment_anything/'


def fit(
    folder: str | Path,
    method: str | None = None,
    model: str = 'sam_tiny',
    minutes: float = 20.0,
    out: str | Path | None = None,
    size: int | None = None,
    checkpoint: str | None = None,
    load_from: str | None = None,
    iterations: int | None = None,
    device: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a model on a folder of labelled images, and choose its thresholds.

    Args:
        folder: With ``images`` and ``masks``, paired by name; an empty mask is an image without a defect. Images
            without a mask are left out. ``train.txt`` and ``val.txt`` are used if both exist.
        method: 'full' (image encoder and decoder), 'decoder', 'spt', 'stable', 'plm' or 'ods'; None: 'full' for the
            mini SAM, 'decoder' for the others, whose encoders are large.
        model: 'sam_tiny', 'sam_vit_b', 'sam_vit_l' or 'sam_vit_h'.
        minutes: Time for all of it.
        out: Folder of the results, which must not exist or be empty; None for ``work_dirs/fit_NAME_NUMBER``.
        size: Side of the network input in pixels; None to choose it by the defects.
        checkpoint: Weights of the model, where they are not where MODELS says.
        load_from: Weights of an earlier `fit` to go on from.
        iterations: Number of steps; None to choose it by `minutes`.
        device: For the scores after the training; None: a GPU if there is one.
        say: Called with each line of what was chosen.

    Returns:
        The weights, ``best.pth``. Beside them are ``config.py``, ``best.decision.json`` and ``report.html``.

    Raises:
        ValueError: An argument or the folder cannot be used; the message says why.
        FileNotFoundError: The folder, or the weights of the model, do not exist.
        FileExistsError: `out` holds files.
    """
    started = time.monotonic()
    recipe = MODELS[known('model', model, MODELS)]
    method = known('method', method or recipe.method, METHODS)
    if not minutes > 0:
        raise ValueError(f'minutes is {minutes}, expected a number above 0')
    if iterations is not None and iterations < 1:
        raise ValueError(
            f'iterations is {iterations}, expected 1 or more, or None for what fits into {minutes} minutes'
        )
    weights = checkpoint or recipe.checkpoint
    if not weights.startswith((PACKAGED, 'http://', 'https://')) and not Path(weights).is_file():
        raise FileNotFoundError(
            f'{weights}: the weights of {model} do not exist. Download them from {_META}{Path(weights).name}, or give '
            '--checkpoint FILE'
        )
    facts = read_folder(folder)
    work_dir = _new_folder(facts.root, out)
    try:
        plan = make_plan(facts, method, model, size)
        for name, names in ((TRAIN, facts.train), (VAL, facts.val)):
            (work_dir / name).write_text('\n'.join(names) + '\n', encoding='utf-8')
        for reason in plan.reasons:
            say(reason)
        write_state(work_dir, 'measuring', reasons=plan.reasons)

        def write_config(plan: Plan) -> Config:
            text = config_text(plan, facts, work_dir, load_from, checkpoint)
            (work_dir / CONFIG).write_text(text, encoding='utf-8')
            config = Config.fromfile(work_dir / CONFIG)
            config.work_dir = str(work_dir)
            config.experiment_name = config.visualizer.name = f'{work_dir.name}_{time.monotonic_ns()}'
            return config

        if iterations is None:
            step = seconds_per_step(write_config(plan))
            left = 60 * minutes - (time.monotonic() - started)
            smaller = plan.size if size is not None else affordable_size(plan, left, step)
            if smaller < plan.size:
                plan = with_size(plan, smaller)
                say(plan.reasons[-1])
                step = seconds_per_step(write_config(plan))
            plan = with_iterations(plan, facts, 60 * minutes - (time.monotonic() - started), step)
        else:
            plan = replace(plan, iterations=iterations, reasons=(*plan.reasons, f'{iterations} steps'))
        say(plan.reasons[-1])
        config = write_config(plan)
        say(f'The config is {work_dir / CONFIG}')
        train(config, work_dir)
        write_state(work_dir, 'calibrating')
        calibration = choose_thresholds(work_dir, facts, device)
        calibration.decision.save(work_dir / WEIGHTS)
        page = write_page(work_dir, facts, plan, calibration, time.monotonic() - started)
        write_state(work_dir, 'done', weights=WEIGHTS)
        say(f'The report is {page}')
        say(f'Inspect images with: python -m mmsam_ext inspect IMAGES --weights {work_dir / WEIGHTS} --out DIR')
    except BaseException as error:
        write_state(work_dir, 'failed', error=f'{type(error).__name__}: {error}')
        raise
    return work_dir / WEIGHTS


def train(config: Config, work_dir: Path) -> None:
    """Train, and copy the best checkpoint (the last one, where none is best) to ``best.pth``."""
    runner = Runner.from_cfg(config)
    runner.train()
    best = runner.message_hub.runtime_info.get('best_ckpt') or runner.message_hub.get_info('last_ckpt')
    partial = work_dir / f'.{WEIGHTS}.partial'
    shutil.copyfile(best, partial)
    partial.replace(work_dir / WEIGHTS)


def choose_thresholds(work_dir: Path, facts: FolderFacts, device: str | None) -> Calibration:
    """Score the validation images with the best weights."""
    inferencer = PromptSegInferencer(work_dir / CONFIG, work_dir / WEIGHTS, device)
    dataset = BinaryDefectDataset(
        data_root=str(facts.root), ann_file=str((work_dir / VAL).resolve()), missing_mask='drop', drop_empty=False,
        foreground=facts.foreground, serialize_data=False,
    )  # fmt: skip
    return calibrate(inferencer, dataset, work_dir / WEIGHTS, CONFIG, facts.classes)


def write_state(work_dir: Path, state: str, **more: Any) -> None:
    """Set the state in the file of the progress, which keeps what else is in it."""
    path = work_dir / PROGRESS
    content = json.loads(path.read_text()) if path.is_file() else {}
    write_atomically(json.dumps({**content, 'state': state, **more}).encode(), path)


def _new_folder(root: Path, out: str | Path | None) -> Path:
    """Make the folder of the results.

    Raises:
        FileExistsError: It holds files.
    """
    if out is not None:
        folder = Path(out).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            empty = not any(folder.iterdir())
            if empty:
                (folder / TRAIN).touch(exist_ok=False)  # of two that found it empty, the second fails here
        except FileExistsError:
            empty = False
        if not empty:
            raise FileExistsError(f'{folder}: the folder holds files already; give another --out')
        return folder
    number = 1
    while True:
        folder = Path('work_dirs') / f'fit_{root.resolve().name}_{number}'
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
