"""The page at the end of `fit`: one file of HTML with a table, curves, the worst images and the threshold's curve."""

from __future__ import annotations

import base64
import glob
import html
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmsam_ext.datasets import read_binary_mask
from mmsam_ext.engine.hooks.progress_file_hook import PROGRESS
from mmsam_ext.utils.result_files import ResultFolder

from ..image_inputs import Source
from ..inspection import Calibration, rates
from ..inspection.inspector import whole_image_logits
from ..inspection.report import picture
from ..prompt_seg_inferencer import PromptSegInferencer
from .config_text import CONFIG
from .facts import FolderFacts
from .plan import Plan

PAGE = 'report.html'
WORST = 10
_WIDTH, _HEIGHT, _PAD = 520, 220, 34
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>fit</title>
<style>body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#1d2430}
table{border-collapse:collapse}td,th{border-bottom:1px solid #d5dae1;padding:.25em .8em;text-align:left}
figure{display:inline-block;margin:.5em}figcaption{font-size:.9em}svg{background:#fafbfc;border:1px solid #d5dae1}
.note{background:#fff4d6;padding:.6em 1em}img{max-width:22em}</style>
"""


def write_page(work_dir: Path, facts: FolderFacts, plan: Plan, calibration: Calibration, seconds: float) -> Path:
    """Write ``report.html`` in the work folder and return its path."""
    decision = calibration.decision
    scores, defective = np.array(decision.scores), np.array(decision.defective)
    threshold = decision.threshold()
    figures = rates(scores, defective, threshold)
    progress = json.loads((work_dir / PROGRESS).read_text())
    parts = [_HEAD, f'<h1>{html.escape(facts.root.resolve().name)}: {plan.method} on {plan.model}</h1><ul>']
    parts += [f'<li>{html.escape(reason)}' for reason in plan.reasons]
    parts.append('</ul>')
    if not decision.normals:
        parts.append(
            '<p class="note">None of the validation images is without a defect: scores are not calibrated, and false '
            'alarms cannot be counted.</p>'
        )
    dice = [one for one, flag in zip(calibration.dice, decision.defective, strict=True) if flag]
    rows = {
        'time': f'{seconds / 60:.1f} minutes',
        'validation images': f'{len(scores)}, {decision.normals} without a defect',
        'F1 (Dice) of pixels, mean over defective images': f'{np.mean(dice):.3f}' if dice else 'no defective image',
        'threshold of images (best F1)': f'{threshold:.3f}',
        'threshold of pixels (best F1)': f'{decision.pixel_threshold:.3f}',
        'recall of images': _percent(figures['recall']),
        'false alarms on images without a defect': _percent(figures['false_alarms']),
    }
    parts += ['<table>', *(f'<tr><td>{name}<td>{value}' for name, value in rows.items()), '</table>']
    parts.append(_figure('loss by iteration', [progress.get('losses', [])]))
    curves = [
        [(one['iteration'], one[name]) for one in progress.get('scores', ()) if name in one]
        for name in ('pixel_F1Max', 'Dice')
    ]
    parts.append(
        _figure('validation: best F1 of pixels over all images (blue), Dice per image (orange), percent', curves)
    )
    parts.append(_threshold_figure(scores, defective, threshold))
    parts.append(f'<h2>The worst {min(WORST, len(scores))} validation images</h2><p>Red: found. Green: labelled.</p>')
    parts += worst_images(work_dir, facts, calibration)
    ResultFolder(work_dir, overwrite=True).write(PAGE, ''.join(parts).encode())
    return work_dir / PAGE


def worst_images(work_dir: Path, facts: FolderFacts, calibration: Calibration) -> list[str]:
    """Return a figure for each of the images with the lowest F1 of pixels."""
    order = np.argsort(calibration.dice, kind='stable')[:WORST]
    inferencer = PromptSegInferencer(work_dir / CONFIG, work_dir / 'best.pth')
    figures = []
    for index in order:
        path, name = calibration.paths[index], calibration.decision.names[index]
        answer = whole_image_logits(inferencer, Source(name, path))
        if isinstance(answer, dict):
            continue
        logits, image = answer
        found = logits.max(0) >= calibration.decision.pixel_threshold
        mask = mask_file(facts.root, name)
        drawn = image.copy()
        if mask is not None:
            truth = read_binary_mask(mask.read_bytes(), str(mask), foreground=facts.foreground)
            contours, _ = cv2.findContours((truth == 1).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, contours, -1, (60, 170, 40), max(1, round(max(image.shape) / 640)))
        height, width = found.shape
        shown = picture(drawn, [(0, 0, width, height)], [found])
        data = base64.b64encode(cv2.imencode('.jpg', shown)[1].tobytes()).decode()
        caption = f'{html.escape(name)}: F1 {calibration.dice[index]:.3f}'
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{data}" alt=""><figcaption>{caption}</figcaption></figure>'
        )
    return figures


def mask_file(root: Path, name: str) -> Path | None:
    """Return the mask of a sample, whose name may have characters that are special in a pattern, such as brackets."""
    return next(iter(sorted((root / 'masks').glob(f'{glob.escape(name)}.*'))), None)


def _threshold_figure(scores: np.ndarray, defective: np.ndarray, threshold: float) -> str:
    """Draw recall and false alarms by the threshold of images."""
    points = np.unique(scores)
    found, alarms = [], []
    for point in points:
        figures = rates(scores, defective, point)
        if figures['recall'] is not None:
            found.append((float(point), 100 * figures['recall']))
        if figures['false_alarms'] is not None:
            alarms.append((float(point), 100 * figures['false_alarms']))
    mark = [(threshold, 0.0), (threshold, 100.0)]
    return _figure(
        'by threshold: recall (blue) and false alarms (orange) in percent; grey: chosen', [found, alarms, mark]
    )


def _figure(caption: str, curves: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Draw curves as SVG; without a point, say so."""
    points = np.array([point for curve in curves for point in curve], float)
    points = points[np.isfinite(points).all(1)] if len(points) else points
    if not len(points):
        return f'<figure><figcaption>{caption}: no values</figcaption></figure>'
    (left, low), (right, high) = points.min(0), points.max(0)
    spread_x, spread_y = (right - left) or 1.0, (high - low) or 1.0
    lines = []
    for curve, color in zip(curves, ('#1f6fd0', '#e07b00', '#8a93a0'), strict=False):
        path = ' '.join(
            f'{_PAD + (x - left) / spread_x * (_WIDTH - 2 * _PAD):.1f},'
            f'{_HEIGHT - _PAD - (y - low) / spread_y * (_HEIGHT - 2 * _PAD):.1f}'
            for x, y in curve
            if np.isfinite(y)
        )
        lines.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.6" points="{path}"/>')
    labels = (
        f'<text x="4" y="{_PAD}">{high:.3g}</text><text x="4" y="{_HEIGHT - _PAD}">{low:.3g}</text>'
        f'<text x="{_PAD}" y="{_HEIGHT - 8}">{left:.4g}</text>'
        f'<text x="{_WIDTH - _PAD}" y="{_HEIGHT - 8}" text-anchor="end">{right:.4g}</text>'
    )
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" font-size="11" font-family="sans-serif">{"".join(lines)}'
        f'{labels}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _percent(value: float | None) -> str:
    return 'undefined: no such image' if value is None else f'{100 * value:.1f} %'
