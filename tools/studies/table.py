"""Writes the tables of ``tools/reproduce.py`` into a Markdown file: means, spreads, missing runs, checked claims."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmsam_ext.cli.table import markdown_table
from mmsam_ext.utils import read_text

from .study import Claim, Run, Study

#: Speeds of a study's variants: data -> variant -> images/s relative to the first variant.
Speeds = Mapping[str, Mapping[str, float]]
#: What stands above the claims.
CLAIMS = (
    'Each cell is the first variant minus the second: mean ± sample standard deviation of the differences between runs '
    'of the same seed. A claim *holds* where every seed agrees with it, is *reversed* where every seed contradicts it, '
    'and is *open* otherwise.'
)


def cell(values: Sequence[float], expected: int, digits: int = 1) -> str:
    """Return '27.4 ± 0.3' (mean, sample standard deviation), '-' without a value, '27.4 (1 of 3)' with some missing."""
    if not values:
        return '-'
    text = f'{statistics.fmean(values):.{digits}f}'
    if len(values) > 1:
        text += f' ± {statistics.stdev(values):.{digits}f}'
    return text if len(values) == expected else f'{text} ({len(values)} of {expected})'


def command(study: Study, seeds: Sequence[int], iterations: int | None) -> str:
    """Return the command line that makes the whole table."""
    parts = ['python', 'tools/reproduce.py', study.name, '--seeds', *map(str, seeds)]
    return shlex.join(parts + (['--iters', str(iterations)] if iterations else []))


def report(study: Study, runs: Sequence[Run], work_dir: Path, line: str, speeds: Speeds) -> str:
    """Return the study's tables as Markdown.

    Args:
        study: The study.
        runs: All runs of the study; the cells of unfinished runs are '-', and a note says how many there are.
        work_dir: Folder that holds their results.
        line: Command line that makes them.
        speeds: Relative speeds of the variants; empty where none were measured.
    """
    results = {run: run.result(work_dir) for run in runs}
    missing = sum(result is None for result in results.values())
    if missing == len(runs):
        return f'None of the {len(runs)} runs is finished yet; `{line}` runs them and writes the table.'
    found = {run: result for run, result in results.items() if result is not None}
    seeds = ', '.join(map(str, sorted({run.seed for run in runs})))
    blocks = [f'Made by `{line}`. Mean ± sample standard deviation over seeds {seeds} of training.']
    for data in study.data:
        mine = [run for run in runs if run.data == data]
        blocks.append(f'## {data}\n\n{table(study, data, found, mine, speeds)}')
    untrained = any(not variant.trained for variant in study.variants)
    notes = ['Rows with 0 steps are not trained, so they have no spread.'] if untrained else []
    if study.flops:
        notes.append('GFLOPs are for one image; a multiply-add counts as 2.')
    if speeds:
        first = study.variants[0].name
        notes.append(
            f'Speed: `predict` of one image with one box, by CPU time, relative to {first} (higher is faster).'
        )
    if missing:
        notes.append(f'**{missing} of {len(runs)} runs are missing (-).**')
    blocks.append(' '.join(notes))
    claims = claims_table(study, found, len({run.seed for run in runs}))
    if claims:
        blocks.append(f'## Claims\n\n{CLAIMS}\n\n{claims}')
    return '\n\n'.join(filter(None, blocks))


def table(study: Study, data: str, found: Mapping[Run, dict], runs: Sequence[Run], speeds: Speeds) -> str:
    """Return a row for each variant that has runs, with steps, trained parameters, operations, speed, results."""
    head = ['variant', 'steps', 'trained']
    head += ['GFLOPs', 'of these trained'] if study.flops else []
    head += ['speed'] if speeds else []
    head += [column.title for column in study.columns]
    rows = []
    for variant in study.variants:
        mine = [run for run in runs if run.variant == variant]
        if not mine:
            continue
        there = [found[run] for run in mine if run in found]
        cost = there[0]['cost'] if there else {}
        row = [variant.name, str(mine[0].iterations) if variant.trained else '0', _thousands(cost.get('trained'))]
        if study.flops:
            row += [f'{cost[key] / 1e9:.2f}' if key in cost else '-' for key in ('flops', 'flops_trained')]
        if speeds:
            speed = speeds.get(data, {}).get(variant.name)
            row.append('-' if speed is None else f'{speed:.2f}')
        for column in study.columns:
            values = [result['metrics'][column.key] for result in there if column.key in result['metrics']]
            undefined = there and not values
            row.append('undefined' if undefined else cell(values, len(mine), column.digits))
        rows.append(row)
    return markdown_table(head, rows)


def _thousands(number: int | None) -> str:
    return '-' if number is None else f'{number:,}'


def claims_table(study: Study, found: Mapping[Run, dict], seeds: int) -> str:
    """Return a row for each claim and a column for each data set, with the difference and the verdict in each cell.

    Args:
        study: Its `claims` become the rows, its `data` the columns.
        found: Results of the finished runs.
        seeds: Number of training seeds of the whole study; a cell with fewer says how many it has.

    Returns:
        A Markdown table; an empty string where no claim can be checked.
    """
    digits = {column.key: column.digits for column in study.columns}
    rows = []
    for claim in study.claims:
        cells = [check(claim, data, found, digits[claim.key], seeds) for data in study.data]
        if any(cells):
            metric = f'{claim.key} (lower is better)' if claim.lower else claim.key
            rows.append([claim.better, claim.worse, metric, *(cell or '-' for cell in cells)])
    if not rows:
        return ''
    head = ['expected to be better', 'than', 'metric', *study.data]
    return markdown_table(head, rows)


def check(claim: Claim, data: str, found: Mapping[Run, dict], digits: int, seeds: int) -> str | None:
    """Return the difference between two variants and whether the claim holds; None where a result is missing.

    The difference is the mean over seeds of the first variant's metric minus the second's, of runs of the same seed,
    with its sign. The claim *holds* where every seed agrees with it and is *reversed* where every seed contradicts it;
    otherwise it is *open*.
    """
    better, worse = (
        {
            run.seed: result['metrics'].get(claim.key)
            for run, result in found.items()
            if (run.variant.name, run.data) == (name, data)
        }
        for name in (claim.better, claim.worse)
    )
    # A variant that is not trained has one value, for all seeds.
    fixed = [run.variant.name for run in found if not run.variant.trained]
    if claim.worse in fixed and worse:
        worse = dict.fromkeys(better, next(iter(worse.values())))
    pairs = [(better[seed], worse[seed]) for seed in better if seed in worse]
    differences = [one - other for one, other in pairs if one is not None and other is not None]
    if not differences:
        return None
    gains = [-difference for difference in differences] if claim.lower else differences
    verdict = 'holds' if min(gains) > 0 else 'reversed' if max(gains) < 0 else 'open'
    sign = '+' if statistics.fmean(differences) >= 0 else ''
    expected = 1 if claim.better in fixed else seeds
    return f'{sign}{cell(differences, expected, digits)}, {verdict}'


def markers(study: str) -> tuple[str, str]:
    """Return the lines between which the table of a study stands in a Markdown file."""
    return f'<!-- reproduce:{study} -->', f'<!-- /reproduce:{study} -->'


def check_markers(path: Path, study: str) -> str | None:
    """Return the text of a Markdown file that :func:`write_between` can change, or None if there is no such file.

    Raises:
        ValueError: the file does not have each marker exactly once, in order, or is not text.
        OSError: it cannot be read.
    """
    if not path.exists():
        return None
    before = read_text(path)
    first, last = markers(study)
    if (before.count(first), before.count(last)) != (1, 1) or before.index(first) > before.index(last):
        raise ValueError(
            f'{path}: expected the line {first!r} once and, after it, the line {last!r} once; the table is written '
            'between them'
        )
    return before


def write_between(path: Path, study: str, text: str) -> None:
    """Replace what stands between the study's two markers in a file; the rest of the file is kept.

    A file that does not exist is created with a title and the markers.

    Args:
        path: Markdown file.
        study: Name of the study, as in the markers.
        text: What to write between the markers.

    Raises:
        ValueError: the file does not have each marker exactly once, in order; it is left unchanged.
    """
    first, last = markers(study)
    before = check_markers(path, study) or f'# Results of the study {study}\n\n{first}\n{last}\n'
    head, _, rest = before.partition(first)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    partial.write_text(f'{head}{first}\n{text}\n{last}{rest.partition(last)[2]}', encoding='utf-8')
    partial.replace(path)
