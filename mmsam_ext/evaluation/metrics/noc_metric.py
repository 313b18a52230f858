"""NoC: the number of clicks that interactive segmentation needs."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmsam_ext.structures.samples import sample_key, sample_labels, sample_name
from mmsam_ext.utils import check_output_file, replacing

from ..functional import number_of_clicks


class ClickRecord(NamedTuple):
    """One object that was clicked.

    Attributes:
        dataset, sample: Names.
        target: Row of the object among its sample's targets.
        draw: Random draw of the clicks.
        ious: IoU after each click.
    """

    dataset: str
    sample: str
    target: int
    draw: int
    ious: tuple[float, ...]


@METRICS.register_module()
class NoCMetric(BaseMetric):
    """Number of clicks (NoC) to an IoU, failures, and mean IoU by click, of what a :class:`ClickTestLoop` recorded.

    NoC@t of an object is the number of its first click with an IoU of t or more, and the largest number of clicks where
    none has. Every object counts alike within a dataset; the overall result is the mean over datasets. Result keys:
    ``NoC<percent>``, ``failures<percent>`` (number of objects that never get there), ``IoU@<k>`` (mean IoU after k
    clicks in percent, for `report_clicks`), and ``<dataset>/...`` where there are several datasets.

    Paper: RITM (arXiv:2102.06583), Stable-SAM (arXiv:2311.15776), Table 5.

    Args:
        thresholds: IoUs to be reached, each in (0, 1].
        report_clicks: For which numbers of clicks the mean IoU is a result.
        csv_path: File for a row per object with its IoUs (written by the main process); None: no file.
        figure_path: File for a picture of mean IoU by click (.png, .pdf, .svg); None: no picture.
        collect_device, prefix: See BaseMetric.
        overwrite: Whether these files may be replaced if no earlier run wrote them.

    Raises:
        FileExistsError: one of the files belongs to the user.
        ValueError: a threshold outside (0, 1]; by :meth:`process`, a sample without click results (names it).
    """

    def __init__(
        self,
        thresholds: Sequence[float] = (0.8, 0.85, 0.9),
        report_clicks: Sequence[int] = (1, 3, 5, 10, 20),
        csv_path: str | None = None,
        figure_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not thresholds or not all(0 < threshold <= 1 for threshold in thresholds):
            raise ValueError(f'NoCMetric: thresholds={list(thresholds)}, expected numbers in (0, 1], at least one')
        self.thresholds = tuple(thresholds)
        self.report_clicks = tuple(report_clicks)
        self.csv_path, self.figure_path, self.overwrite = csv_path, figure_path, overwrite
        for path in filter(None, (csv_path, figure_path)):
            check_output_file(path, overwrite=overwrite)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Append exactly one list of records per sample: results of several ranks are interleaved by it."""
        for sample in data_samples:
            instances = sample.get('pred_instances', {})
            if 'click_ious' not in instances:
                raise ValueError(
                    f'{sample_name(sample)}: field `pred_instances` has no `click_ious`; NoCMetric needs '
                    "test_cfg=dict(type='ClickTestLoop')"
                )
            dataset, _ = sample_labels(sample)
            rows = zip(
                instances['target_ids'].tolist(),
                instances['draw_ids'].tolist(),
                instances['click_ious'].tolist(),
                strict=True,
            )
            name = sample_key(sample) or 'sample'
            self.results.append([ClickRecord(dataset, name, target, draw, tuple(ious)) for target, draw, ious in rows])

    def compute_metrics(self, results: Sequence[Sequence[tuple]]) -> dict[str, float]:
        """Average the records, log a table, and write the files.

        Returns:
            Values under the keys named in the class's docstring; empty when nothing was clicked.
        """
        records = [ClickRecord(*record) for sample in results for record in sample]
        if not records:
            print_log('NoCMetric: no object was clicked', logger='current', level=logging.WARNING)
            return {}
        curves = {
            dataset: np.array([record.ious for record in records if record.dataset == dataset])  # (N, K)
            for dataset in sorted({record.dataset for record in records})
        }
        by_dataset = {dataset: self._values(ious) for dataset, ious in curves.items()}
        self._log(by_dataset, {dataset: len(ious) for dataset, ious in curves.items()})
        if self.csv_path is not None:
            with replacing(self.csv_path, self.overwrite) as temporary:
                _write_csv(temporary, records)
        if self.figure_path is not None:
            with replacing(self.figure_path, self.overwrite) as temporary:
                draw_curves({dataset: ious.mean(0) for dataset, ious in curves.items()}, temporary)
        means: dict[str, float] = {
            key: (math.fsum if key.startswith('failures') else _mean)([values[key] for values in by_dataset.values()])
            for key in next(iter(by_dataset.values()))
        }
        if len(by_dataset) > 1:
            for dataset, values in by_dataset.items():
                means |= {f'{dataset}/{key}': value for key, value in values.items()}
        return means

    def _values(self, ious: np.ndarray) -> dict[str, float]:
        """(N, K) IoUs by click -> value by name."""
        values: dict[str, float] = {}
        for threshold in self.thresholds:
            clicks, success = number_of_clicks(ious, threshold)
            percent = f'{100 * threshold:g}'
            values[f'NoC{percent}'] = float(clicks.mean())
            values[f'failures{percent}'] = float((~success).sum())
        for number in self.report_clicks:
            if number <= ious.shape[1]:
                values[f'IoU@{number}'] = 100 * _mean(ious[:, number - 1].tolist())
        return values

    @staticmethod
    def _log(by_dataset: Mapping[str, Mapping[str, float]], numbers: Mapping[str, int]) -> None:
        names = list(next(iter(by_dataset.values())))
        table = PrettyTable(['Dataset', *names, 'Objects'], align='r')
        table.align['Dataset'] = 'l'
        for dataset, values in by_dataset.items():
            cells = [
                f'{value:.0f}' if name.startswith('failures') else f'{value:.2f}' for name, value in values.items()
            ]
            table.add_row([dataset, *cells, numbers[dataset]])
        print_log(f'NoCMetric\n{table}', logger='current')


def draw_curves(curves: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Draw mean IoU by click.

    Args:
        curves: Name -> (K,) mean IoU in [0, 1] after each of K clicks.
        path: File to write; its suffix decides the format.
    """
    from matplotlib.figure import Figure  # slow to import, and needed here alone

    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.add_subplot()
    for name, ious in curves.items():
        axes.plot(range(1, len(ious) + 1), 100 * np.asarray(ious), marker='.', label=name)
    axes.set(xlabel='Clicks', ylabel='Mean IoU (%)')
    axes.grid(alpha=0.3)
    axes.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _write_csv(path: Path, records: Sequence[ClickRecord]) -> None:
    most = max(len(record.ious) for record in records)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['dataset', 'sample', 'target', 'draw', *(f'iou_{click + 1}' for click in range(most))])
        for record in records:
            writer.writerow([*record[:4], *(f'{iou:.6f}' for iou in record.ious)])
