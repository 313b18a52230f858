"""Test and evaluate a model with MMSegmentation's own ``tools/test.py``, after importing this package."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmseg.registry import METRICS

from mmsam_ext.apis.options import DTYPES
from mmsam_ext.utils import ResultFolder
from mmsam_ext.utils.result_files import would_overwrite

from .mmseg_tool import run_mmseg_tool, with_config_path


def main(arguments: Sequence[str]) -> None:
    """Run MMSeg's test.py; ``--help`` lists its arguments.

    ``--out DIR`` writes the predicted masks to ``DIR/<dataset>/<mode>/<sample>.png``; files that no earlier test wrote
    are replaced with ``--overwrite`` only. ``--untrained`` tests a model whose checkpoint lacks parts that training
    brings. ``--dtype bf16`` (fp32, bf16, fp16 or auto) computes encoder and decoder in that format.
    """
    prepared = dtype_to_config(untrained_to_config(with_config_path(arguments)))
    run_mmseg_tool('test.py', out_to_metrics(prepared))


def untrained_to_config(arguments: list[str]) -> list[str]:
    """Turn ``--untrained`` into a config option."""
    if '--untrained' not in arguments:
        return arguments
    kept = [argument for argument in arguments if argument != '--untrained']
    return _with_options(kept, ['model.test_cfg.untrained=True'])


def dtype_to_config(arguments: list[str]) -> list[str]:
    """Turn ``--dtype NAME`` into a config option.

    Raises:
        SystemExit: The name is unknown, or the config's model does not know the option.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--dtype', choices=DTYPES)
    known, kept = parser.parse_known_args(arguments)
    if known.dtype is None:
        return arguments
    kind = Config.fromfile(kept[0]).model.type
    if 'EncoderDecoder' in kind:
        sys.exit(f'--dtype {known.dtype}: model.type is {kind}, expected a promptable segmentor')
    return _with_options(kept, [f'model.test_cfg.compute_dtype={known.dtype}'])


def out_to_metrics(arguments: list[str]) -> list[str]:
    """Give ``--out`` and ``--overwrite`` to the metrics and the visualizer, which write files.

    MMSeg's test.py understands ``--out`` only where the evaluator is one metric. Of a list, those that write a file for
    each prompt mode get it as ``--cfg-options test_evaluator.0.output_dir=DIR``, or else all that write files.

    Raises:
        SystemExit: No metric writes files, or the folder of ``--out`` or ``--show-dir`` holds PNG files of the user and
            ``--overwrite`` is not given.
    """
    if not any(argument.split('=')[0] in ('--out', '--overwrite', '--show-dir') for argument in arguments):
        return arguments
    parser = argparse.ArgumentParser(description='MMSeg test (and eval) a model', allow_abbrev=False)
    parser.add_argument('config')
    parser.add_argument('--out')
    parser.add_argument('--overwrite', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--show-dir')
    for name in ('--work-dir', '--wait-time', '--launcher', '--local_rank', '--local-rank'):
        parser.add_argument(name)
    known, _ = parser.parse_known_args(arguments)
    kept = _without(arguments)
    if known.out is None and known.show_dir is None:
        sys.exit('--overwrite: expected --out DIR or --show-dir DIR, too')
    config = Config.fromfile(known.config)
    config.merge_from_dict(known.cfg_options)
    settings = []
    if known.show_dir is not None:
        pictures = Path(known.show_dir, 'vis_data', 'vis_image')  # mmengine's names
        _check_folder('--show-dir', pictures, known.overwrite)
        if known.overwrite and (config.get('visualizer') or {}).get('type') == 'PromptVisualizer':
            settings.append('visualizer.overwrite=True')
    if known.out is not None:
        _check_folder('--out', Path(known.out), known.overwrite)
        settings += _settings_of_metrics(config, known.out, known.overwrite)
    return _with_options(kept, settings) if settings else kept


def _check_folder(option: str, folder: Path, overwrite: bool) -> None:
    """Check that a folder has no PNG files of the user, or that they may be replaced.

    Raises:
        SystemExit: It has, or it is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        sys.exit(f'{option} {folder}: this is a file; expected a folder')
    foreign = [] if overwrite else ResultFolder(folder).foreign_files('.png')
    if foreign:
        sys.exit(f'{option} {would_overwrite(folder, foreign)}')


def _settings_of_metrics(config: Config, out: str, overwrite: bool) -> list[str]:
    """Return the config options that make the metrics write their files to `out`.

    Raises:
        SystemExit: No metric writes files.
    """
    if config.get('test_evaluator') is None:
        sys.exit(f'--out {out}: {config.filename} has no field `test_evaluator`')
    single = isinstance(config.test_evaluator, dict)
    metrics = [config.test_evaluator] if single else list(config.test_evaluator)
    writers = {i: options for i, metric in enumerate(metrics) if 'output_dir' in (options := _options(metric))}
    if not writers:
        sys.exit(
            f'--out {out}: none of the metrics {[metric.type for metric in metrics]} of test_evaluator has an '
            '`output_dir`'
        )
    by_mode = {i: options for i, options in writers.items() if 'output_modes' in options}
    settings = []
    for index, options in (by_mode or writers).items():
        place = 'test_evaluator' if single else f'test_evaluator.{index}'
        settings.append(f'{place}.output_dir={out}')
        if overwrite and 'overwrite' in options:
            settings.append(f'{place}.overwrite=True')
    return settings


def _with_options(arguments: list[str], options: list[str]) -> list[str]:
    """Return `arguments` with more ``--cfg-options``."""
    if '--cfg-options' in arguments:
        at = arguments.index('--cfg-options') + 1
        return [*arguments[:at], *options, *arguments[at:]]
    return [*arguments, '--cfg-options', *options]


def _options(metric: Any) -> set[str]:
    """Names of the arguments of a metric's class."""
    kind = METRICS.get(metric.type)
    return set(inspect.signature(kind).parameters) if kind else set()


def _without(arguments: list[str]) -> list[str]:
    """`arguments` without ``--out DIR`` and ``--overwrite``."""
    kept = [argument for argument in arguments if not argument.startswith('--out=') and argument != '--overwrite']
    if '--out' in kept:
        at = kept.index('--out')
        del kept[at : at + 2]
    return kept
