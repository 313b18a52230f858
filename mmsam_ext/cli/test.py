"""Test and evaluate a model with MMSegmentation's own ``tools/test.py``, after importing this package."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence

from mmengine.config import Config, DictAction
from mmseg.registry import METRICS

from .mmseg_tool import run_mmseg_tool, with_config_path


def main(arguments: Sequence[str]) -> None:
    """Run MMSeg's test.py; ``--help`` lists its arguments."""
    run_mmseg_tool('test.py', out_to_metrics(with_config_path(arguments)))


def out_to_metrics(arguments: list[str]) -> list[str]:
    """Pass ``--out DIR`` on to the metrics of a list that write files, as
    ``--cfg-options test_evaluator.0.output_dir=DIR``. MMSeg's test.py understands it for a single metric only.

    Raises:
        SystemExit: no metric of the list has an argument `output_dir`.
    """
    if not any(argument.split('=')[0] == '--out' for argument in arguments):
        return arguments
    parser = argparse.ArgumentParser(description='MMSeg test (and eval) a model')
    parser.add_argument('config')
    parser.add_argument('--out')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    for name in ('--work-dir', '--show-dir', '--wait-time', '--launcher', '--local_rank', '--local-rank'):
        parser.add_argument(name)
    known, _ = parser.parse_known_args(arguments)
    config = Config.fromfile(known.config)
    config.merge_from_dict(known.cfg_options)
    if isinstance(config.test_evaluator, dict):
        return arguments
    kinds = [METRICS.get(metric.type) for metric in config.test_evaluator]
    writers = [i for i, kind in enumerate(kinds) if kind and 'output_dir' in inspect.signature(kind).parameters]
    if not writers:
        names = [metric.type for metric in config.test_evaluator]
        sys.exit(f'--out {known.out}: no metric of test_evaluator ({names}) has an argument `output_dir`')
    options = [f'test_evaluator.{index}.output_dir={known.out}' for index in writers]
    kept = _without_out(arguments)
    if '--cfg-options' in kept:
        at = kept.index('--cfg-options') + 1
        return [*kept[:at], *options, *kept[at:]]
    return [*kept, '--cfg-options', *options]


def _without_out(arguments: list[str]) -> list[str]:
    kept = [argument for argument in arguments if not argument.startswith('--out=')]
    if '--out' in kept:
        at = kept.index('--out')
        del kept[at : at + 2]
    return kept
