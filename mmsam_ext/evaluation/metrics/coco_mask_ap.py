"""Mask AP of prompts that stand for detections."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmsam_ext.structures.samples import sample_labels, sample_name

from ..functional.coco_ap import (
    MaskDetection,
    boundary_ap,
    encode_boundaries,
    encode_masks,
    load_annotations,
    mask_ap,
    pycocotools,
)

SCORES = ('product', 'box', 'iou')


class ImageDetections(NamedTuple):
    """What is kept of an image: numbers and run-length encodings.

    Attributes:
        dataset: Name.
        ann_file: Annotation file that has its truth.
        image_id: Its id there.
        by_run: (prompt mode, draw) -> detections.
    """

    dataset: str
    ann_file: str
    image_id: int
    by_run: dict[tuple[str, int], list[MaskDetection]]


@METRICS.register_module()
class CocoMaskAP(BaseMetric):
    """COCO's mask AP of the masks that boxes from outside ask for, in percent, by pycocotools.

    Every prompt is one detection, with the category and the score that came with it (:class:`LoadPrompts`). Masks are
    run-length encoded as soon as they are predicted, so that memory stays small. Each prompt mode and each draw of the
    noise is evaluated by itself; draws are averaged, then datasets.

    Result keys: ``AP/<mode>``, the same for AP50, AP75, APs, APm, APl (small, medium and large objects), with
    `boundary` ``boundaryAP/<mode>`` and ``boundaryAP50/<mode>``, each without ``/<mode>`` (mean over modes), and
    ``<dataset>/...`` where there are several datasets. What is undefined, as AP of large objects where there are none,
    has no key.

    Truth comes from the annotation file that the dataset names (:class:`CocoPromptDataset`); images that were not
    predicted do not count. LVIS-style files are scored by COCO's rules.

    Paper: Stable-SAM (arXiv:2311.15776), Tables 3 and 4.

    Args:
        score: 'product' (score of the box times predicted IoU), 'box' (LVIS, SGINW) or 'iou' alone.
        max_detections: Of an image and category, the best; None: all. COCO's is 100.
        boundary: Add boundary AP.
        dilation_ratio: Width of the boundary region as a fraction of the image diagonal.
        collect_device, prefix: See BaseMetric.

    Raises:
        ImportError: pycocotools is not installed.
        ValueError: an unknown `score`, a sample without `prompt_info` or with a category its annotation file lacks.
    """

    def __init__(
        self,
        score: str = 'product',
        max_detections: int | None = 100,
        boundary: bool = False,
        dilation_ratio: float = 0.02,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if score not in SCORES:
            raise ValueError(f'CocoMaskAP: score={score!r}, expected one of {SCORES}')
        if max_detections is not None and max_detections < 1:
            raise ValueError(f'CocoMaskAP: max_detections={max_detections}, expected 1 or more, or None for all')
        pycocotools()
        self.score, self.max_detections = score, max_detections
        self.boundary, self.dilation_ratio = boundary, dilation_ratio

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Append exactly one record per image: results of several ranks are interleaved by it."""
        for sample in data_samples:
            missing = [key for key in ('img_id', 'ann_file', 'prompt_info') if key not in sample]
            if missing:
                raise ValueError(
                    f'{sample_name(sample)}: no {", ".join(f"`{key}`" for key in missing)}; CocoMaskAP needs samples '
                    'of CocoPromptDataset whose prompts come from LoadPrompts'
                )
            dataset, _ = sample_labels(sample)
            image_id = int(sample['img_id'])
            record = ImageDetections(dataset, sample['ann_file'], image_id, self._by_run(sample, image_id))
            self.results.append(record)

    def _by_run(self, sample: Mapping[str, Any], image_id: int) -> dict[tuple[str, int], list[MaskDetection]]:
        info, predictions = sample['prompt_info'], sample['pred_instances']
        number = len(info['scores'])
        if not number:  # an image without boxes has the empty prompt
            return {}
        masks = predictions['mask_logits'] > 0  # (P, H, W)
        if len(masks) != number:
            raise ValueError(
                f'{sample_name(sample)}: field `mask_logits` has {len(masks)} masks and `prompt_info` {number} '
                'prompts, expected as many'
            )
        rles = encode_masks(masks)
        boundaries = encode_boundaries(masks, self.dilation_ratio) if self.boundary else [None] * number
        modes = sample['prompts']['modes']
        scores = dict(box=info['scores'].tolist(), iou=predictions['iou_scores'].tolist())
        scores['product'] = [box * iou for box, iou in zip(scores['box'], scores['iou'], strict=True)]
        by_run: dict[tuple[str, int], list[MaskDetection]] = defaultdict(list)
        rows = zip(
            predictions['mode_ids'].tolist(),
            predictions['draw_ids'].tolist(),
            info['category_ids'].tolist(),
            scores[self.score],
            rles,
            boundaries,
            strict=True,
        )
        for mode, draw, *detection in rows:
            by_run[modes[mode], draw].append(MaskDetection(image_id, *detection))
        return dict(by_run)

    def compute_metrics(self, results: Sequence[tuple]) -> dict[str, float]:
        """Evaluate, average and log a table.

        Returns:
            Percent under the keys named in the class's docstring; empty when there was no prompt.
        """
        records = [ImageDetections(*record) for record in results]
        runs = sorted({run for record in records for run in record.by_run})
        if not runs:
            print_log('CocoMaskAP: no prompt in any image', logger='current', level=logging.WARNING)
            return {}
        by_mode: dict[tuple[str, str], dict[str, float]] = {}
        for dataset in sorted({record.dataset for record in records}):
            images = [record for record in records if record.dataset == dataset]
            truth = load_annotations(images[0].ann_file)
            for mode in sorted({mode for mode, _ in runs}):
                draws = [self._evaluate(truth, images, run) for run in runs if run[0] == mode]
                by_mode[dataset, mode] = _means(draws)
        _log(by_mode)
        return _results(by_mode)

    def _evaluate(self, truth: Any, images: Sequence[ImageDetections], run: tuple[str, int]) -> dict[str, float]:
        """Percent by name of one prompt mode and draw."""
        detections = [MaskDetection(*one) for image in images for one in image.by_run.get(run, ())]
        unknown = {one.category_id for one in detections} - set(truth.getCatIds())
        if unknown:
            raise ValueError(
                f'{images[0].ann_file}: prompts have the category ids {sorted(unknown)}, which it lacks; expected '
                f'some of {sorted(truth.getCatIds())[:20]}. Do boxes and annotations number categories alike?'
            )
        image_ids = [image.image_id for image in images]
        values = mask_ap(truth, detections, image_ids, self.max_detections)
        if self.boundary:
            found = boundary_ap(truth, detections, image_ids, self.max_detections, self.dilation_ratio)
            values |= {f'boundary{name}': found[name] for name in ('AP', 'AP50') if name in found}
        return {name: 100 * value for name, value in values.items()}


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each name over those that have it."""
    names = dict.fromkeys(name for one in values for name in one)
    found = {name: [one[name] for one in values if name in one] for name in names}
    return {name: math.fsum(numbers) / len(numbers) for name, numbers in found.items()}


def _results(by_mode: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, float]:
    datasets, modes = (list(dict.fromkeys(keys)) for keys in zip(*by_mode, strict=True))
    over_datasets = {mode: _means([by_mode[dataset, mode] for dataset in datasets]) for mode in modes}
    results = {f'{name}/{mode}': value for mode, values in over_datasets.items() for name, value in values.items()}
    results |= _means(list(over_datasets.values()))
    if len(datasets) > 1:
        for (dataset, mode), values in by_mode.items():
            results |= {f'{dataset}/{name}/{mode}': value for name, value in values.items()}
    return results


def _log(by_mode: Mapping[tuple[str, str], Mapping[str, float]]) -> None:
    names = list(dict.fromkeys(name for values in by_mode.values() for name in values))
    table = PrettyTable(['Dataset', 'Prompt', *names], align='r')
    table.align['Dataset'] = table.align['Prompt'] = 'l'
    for key, values in by_mode.items():
        table.add_row([*key, *(f'{values[name]:.2f}' if name in values else '-' for name in names)])
    print_log(f'CocoMaskAP\n{table}', logger='current')
