"""Cases for the E-measure, and what pysodmetrics 1.6.2 says of them.

`python tests/evaluation/e_measure_golden.py` writes e_measure_golden.json anew; it needs numpy and pysodmetrics, which
downgrades numpy and OpenCV: give it an environment of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix('.json')
NUMBER = 200
#: Places of the curve that are compared, besides its mean and largest value.
PLACES = (0, 1, 31, 64, 127, 128, 200, 255)


def case(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A map (H, W) uint8 and a target (H, W) bool; the first few are edge cases."""
    random = np.random.RandomState(index)
    height, width = random.randint(5, 40, 2)
    target = random.rand(height, width) < random.choice([0.02, 0.3, 0.8])
    pred = np.clip(random.normal(60 + 120 * target, 50), 0, 255).astype(np.uint8)
    if index < 12:
        target = [np.zeros_like(target), np.ones_like(target), target][index % 3]
        pred = [pred, np.zeros_like(pred), np.full_like(pred, 255), np.full_like(pred, 77)][index // 3]
    elif index < 24:
        pred = (target ^ (random.rand(height, width) < 0.1)).astype(np.uint8) * [255, 1, 90][index % 3]
    elif index < 36:
        pred = pred // 4 + 30  # a small range, which is stretched
    return pred, target


def main() -> None:
    """Ask pysodmetrics."""
    import py_sod_metrics

    golden = []
    for index in range(NUMBER):
        pred, target = case(index)
        measure, error = py_sod_metrics.Emeasure(), py_sod_metrics.MAE()
        for metric in (measure, error):
            metric.step(pred, target.astype(np.uint8) * 255)
        scores = measure.get_results()['em']
        curve = scores['curve']
        values = [curve.mean(), curve.max(), scores['adp'], error.get_results()['mae'], *curve[list(PLACES)]]
        golden.append([float(f'{value:.12g}') for value in values])
    FILE.write_text('[\n' + ',\n'.join(map(json.dumps, golden)) + '\n]\n')


if __name__ == '__main__':
    main()
