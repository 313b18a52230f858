"""The tables of ``tools/reproduce.py``: means and spreads, what is missing, which claims hold; into a Markdown file."""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from .study import Claim, Run, Study

#: Speeds of a study's variants: data -> variant -> images/s relative to the first variant.
Speeds = Mapping[str, Mapping[str, float]]


def cell(values: Sequence[float], expected: int, digits: int = 1) -> str:
    """'27.4 ± 0.3', mean and sample standard deviation; '-' for no value, '27.4 (1 of 3)' where some are missing."""
    if not values:
        return '-'
    text = f'{statistics.fmean(values):.{digits}f}'
    if len(values) > 1:
        text += f' ± {statistics.stdev(values):.{digits}f}'
    return text if len(values) == expected else f'{text} ({len(values)} of {expected})'


def command(study: Study, seeds: Sequence[int], iterations: int | None) -> str:
    """What makes the whole table."""
    parts = ['python', 'tools/reproduce.py', study.name, '--seeds', *map(str, seeds)]
    return shlex.join(parts + (['--iters', str(iterations)] if iterations else []))


def report(study: Study, runs: Sequence[Run], work_dir: Path, line: str, speeds: Speeds) -> str:
    """The study as Markdown.

    Args:
        runs: All of the study's; those that are not finished are '-', and counted.
        work_dir: Where their results lie.
        line: The command that makes them.
        speeds: Empty where none were measured.
    """
    results = {run: run.result(work_dir) for run in runs}
    missing = sum(result is None for result in results.values())
    if missing == len(runs):
        return f'No run of {len(runs)} is here yet; `{line}` makes them and writes the table.'
    found = {run: result for run, result in results.items() if result is not None}
    seeds = ', '.join(map(str, sorted({run.seed for run in runs})))
    blocks = [f'Made by `{line}`. Mean ± sample standard deviation over seeds {seeds} of training.']
    for data in study.data:
        mine = [run for run in runs if run.data == data]
        blocks.append(f'#### {data}\n\n{table(study, data, found, mine, speeds)}')
    untrained = any(not variant.trained for variant in study.variants)
    notes = ['Rows of 0 steps are not trained and have no spread.'] if untrained else []
    if study.flops:
        notes.append('GFLOPs are of one image, a multiply-add is 2.')
    if speeds:
        first = study.variants[0].name
        notes.append(f'Speed: `predict` of an image with one box, by CPU time, as many times as fast as {first}.')
    if missing:
        notes.append(f'**{missing} of {len(runs)} runs are absent (-).**')
    blocks.append(' '.join(notes))
    digits = {column.key: column.digits for column in study.columns}
    claims = [check(claim, data, found, digits[claim.key]) for claim in study.claims for data in study.data]
    if any(claims):
        blocks.append('\n'.join(['Claims, by differences between runs of the same seed:', '', *filter(None, claims)]))
    return '\n\n'.join(filter(None, blocks))


def table(study: Study, data: str, found: Mapping[Run, dict], runs: Sequence[Run], speeds: Speeds) -> str:
    """Rows are variants that have runs; columns their steps, parameters trained, speed, operations and results."""
    head = ['variant', 'steps', 'trained']
    head += ['GFLOPs', 'of these trained'] if study.flops else []
    head += ['speed'] if speeds else []
    rows = [[*head, *(column.title for column in study.columns)]]
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
    rows.insert(1, ['---'] * len(rows[0]))
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _thousands(number: int | None) -> str:
    return '-' if number is None else f'{number:,}'


def check(claim: Claim, data: str, found: Mapping[Run, dict], digits: int) -> str | None:
    """A line on whether a claim holds: for all seeds, for none of them (reversed), or for some (open)."""
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
    sign = -1 if claim.lower else 1
    pairs = [(better[seed], worse[seed]) for seed in better if seed in worse]
    gains = [sign * (one - other) for one, other in pairs if one is not None and other is not None]
    if not gains:
        return None
    verdict = 'holds' if min(gains) > 0 else 'reversed' if max(gains) < 0 else 'open'
    direction = 'lower' if claim.lower else 'higher'
    return (
        f'- {data}: {claim.better} over {claim.worse}, {claim.key} {direction} by '
        f'{cell(gains, len(gains), digits)}, {len(gains)} seed{"s" * (len(gains) > 1)}: {verdict}'
    )


def write_between(path: Path, study: str, text: str) -> None:
    """Put `text` between the study's markers of a file.

    Raises:
        ValueError: the markers are not there, or not once each; the file is left alone.
    """
    first, last = f'<!-- reproduce:{study} -->', f'<!-- /reproduce:{study} -->'
    before = path.read_text(encoding='utf-8')
    pattern = re.compile(f'{re.escape(first)}.*?{re.escape(last)}', re.DOTALL)
    if (before.count(first), before.count(last)) != (1, 1) or not pattern.search(before):
        raise ValueError(f'{path}: expected one line {first!r} and, after it, one line {last!r}, to write between')
    path.write_text(pattern.sub(lambda match: f'{first}\n{text}\n{last}', before), encoding='utf-8')
