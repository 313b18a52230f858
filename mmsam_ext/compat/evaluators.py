"""MMSegmentation's ``IoUMetric`` beside the metrics of this package, in one evaluator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ._patch import replace


def apply() -> None:
    """Let two metrics have results of one name, and keep IoUMetric from uniting the masks of several prompt modes."""
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
        semantic = [type(metric).__name__ for metric in self.metrics if type(metric).__module__.startswith('mmseg.')]
        if semantic:
            for sample in data_samples:
                _check_one_mode(sample, semantic[0])
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
