"""MMSegmentation's ``IoUMetric`` beside the metrics of this package, in one evaluator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ._patch import replace


def apply() -> None:
    """Let two metrics have results of one name, and keep IoUMetric from scoring what it has no numbers for."""
    from mmengine.evaluator import Evaluator

    replace(Evaluator, 'evaluate', _with_the_metric_in_the_name)
    replace(Evaluator, 'process', _one_mode_for_semantic_metrics)


def _with_the_metric_in_the_name(stock: Callable) -> Callable:
    def evaluate(self: Any, size: int) -> dict[str, Any]:
        """Evaluate all metrics; where a name exists already, that of the metric's class is put before it."""
        from mmengine.logging import print_log

        results: dict[str, Any] = {}
        # Ours keep their names, which save_best and tables refer to.
        for metric in sorted(self.metrics, key=lambda one: not _is_ours(one)):
            for name, value in metric.evaluate(size).items():
                if name in results:
                    name = f'{type(metric).__name__}/{name}'
                    if name in results:
                        raise ValueError(f'two metrics of the evaluator give {name}; set `prefix` for one of them')
                    print_log(f'{name}: another metric gives this result, too', 'current', logging.DEBUG)
                results[name] = value
        return results

    return evaluate


def _one_mode_for_semantic_metrics(stock: Callable) -> Callable:
    def process(self: Any, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        semantic = [metric for metric in self.metrics if type(metric).__module__.startswith('mmseg.')]
        for sample in data_samples if semantic else ():
            _check_one_mode(sample, type(semantic[0]).__name__)
            for metric in semantic:
                _check_classes(sample, metric)
        stock(self, data_samples, data_batch)

    return process


def _is_ours(metric: Any) -> bool:
    return type(metric).__module__.startswith('mmsam_ext.')


def _check_one_mode(sample: Any, metric: str) -> None:
    """Check that all prompts of a predicted sample are of one mode.

    Raises:
        ValueError: they are not, so `metric` would score the union of their masks, which is none of the modes.
    """
    if 'prompts' not in sample or 'pred_instances' not in sample:
        return
    indices = sorted(set(sample.prompts.mode_ids.tolist()))
    if len(indices) > 1:
        modes = [sample.prompts.metainfo['modes'][index] for index in indices]
        raise ValueError(
            f'{metric}: sample {sample.metainfo.get("img_path")!r} has prompts of the modes {modes}, and this metric '
            'would score the union of all their masks. Keep one mode in GeneratePrompts.modes of the pipeline, or use '
            'PromptIoUMetric, which scores each mode'
        )


def _check_classes(sample: Any, metric: Any) -> None:
    """Check that a metric, the model and the ground truth have the same classes.

    IoUMetric leaves out labels beyond its classes, and gives classes that the model does not know an IoU of 0.

    Raises:
        ValueError: They differ.
    """
    classes = (metric.dataset_meta or {}).get('classes')
    if classes is None or 'pred_instances' not in sample or 'seg_logits' not in sample:
        return
    kind, name = type(metric).__name__, sample.metainfo.get('img_path')
    channels = len(sample.seg_logits.data)
    predicted = 2 if channels == 1 else channels
    if len(classes) != predicted:
        raise ValueError(
            f'{kind}: the dataset has the {len(classes)} classes {list(classes)} and the model predicts {predicted}, '
            f'background included (sample {name!r}). Expected the same: set metainfo.classes of the dataset, or '
            'num_classes of the model and of GeneratePrompts'
        )
    if 'gt_sem_seg' in sample:
        truth = sample.gt_sem_seg.data
        wrong = truth[(truth >= predicted) & (truth != getattr(metric, 'ignore_index', 255))]
        if len(wrong):
            raise ValueError(
                f'{kind}: sample {name!r}: field `gt_sem_seg` holds the label {int(wrong[0])}, expected at most '
                f'{predicted - 1} for the classes {list(classes)}'
            )
