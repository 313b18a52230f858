"""Put the results of several tests side by side: a row for each run, a column for each metric and prompt mode.

    python -m mmsam_ext compare-runs zero-shot=work_dirs/a adapted=work_dirs/b --metrics mIoU mBIoU ST --out table.md

A run is a work dir of tools/test.py (its newest result is used) or a JSON file of results.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmsam_ext.utils import check_output_file, replacing
from mmsam_ext.utils.text_files import read_json

from .table import markdown_table, text_table

METRICS = ['mIoU', 'mBIoU', 'ST']


def read_result(path: Path) -> dict[str, float]:
    """Read the metrics of a test run, as mmengine's logger wrote them.

    Raises:
        FileNotFoundError: `path` is neither a result nor a folder with one.
        ValueError: The newest JSON file is not a test result; names it.
    """
    files = [path] if path.is_file() else sorted(path.glob('*/*.json'), key=lambda file: file.parent.name)
    if not files:
        raise FileNotFoundError(f'{path}: contains no test result; expected a work dir of tools/test.py, or its *.json')
    result = read_json(files[-1])
    if not isinstance(result, dict):
        raise ValueError(f'{files[-1]}: not a test result; it holds a {type(result).__name__}, expected a dict')
    if not any('/' in key for key in result):
        raise ValueError(f'{files[-1]}: not a test result; it has only the fields {sorted(result)}')
    wrong = [key for key, value in result.items() if '/' in key and not isinstance(value, (int, float))]
    if wrong:
        raise ValueError(f'{files[-1]}: field `{wrong[0]}` is {result[wrong[0]]!r}, expected a number')
    return result


def table(results: dict[str, dict[str, float]], metrics: list[str]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: a run a row, columns `<metric> <mode>` in the order of `metrics` and of the modes."""
    keys = dict.fromkeys(
        key for metric in metrics for result in results.values() for key in result if key.startswith(f'{metric}/')
    )
    head = ['run', *(key.replace('/', ' ', 1) for key in keys)]
    rows = [
        [name, *(f'{result[key]:.1f}' if key in result else '-' for key in keys)] for name, result in results.items()
    ]
    return head, rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='NAME=DIR')
    parser.add_argument('--metrics', nargs='+', default=METRICS)
    parser.add_argument('--out', type=Path, help='also write the table as Markdown to this file')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    try:
        if args.out:
            check_output_file(args.out, overwrite=args.overwrite)
        results = {}
        for run in args.runs:
            name, separator, path = run.partition('=')
            if not separator:
                raise ValueError(f'{run}: expected NAME=DIR')
            if name in results:
                raise ValueError(f'{run}: a second run of the name {name!r}; expected different names')
            results[name] = read_result(Path(path))
        for metric in args.metrics if args.metrics != METRICS else ():
            if not any(key.startswith(f'{metric}/') for result in results.values() for key in result):
                known = sorted({key.split('/')[0] for result in results.values() for key in result if '/' in key})
                raise ValueError(f'--metrics {metric}: in none of the results, which have {", ".join(known)}')
    except (OSError, ValueError) as error:
        sys.exit(f'compare-runs: error: {error}')
    head, rows = table(results, args.metrics)
    print(text_table(head, rows))
    if args.out:
        with replacing(args.out, args.overwrite) as temporary:
            temporary.write_text(f'{markdown_table(head, rows)}\n', encoding='utf-8')
