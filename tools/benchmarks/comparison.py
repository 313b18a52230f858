"""Ratios of time and memory between a reference ('stock') and this package ('ours')."""

from __future__ import annotations

import statistics

from mmsam_ext.cli.table import text_table

from .interleaved import Outcome


def compare(stock: Outcome, ours: Outcome) -> dict:
    """Compare the outcomes of the two contenders.

    Returns:
        Medians and ranges of seconds; `speedup` and `cpu_time_speedup`, stock's time over ours; peak memory and, as
        'extra', the peak less the memory held before the work; `memory_ratio`, our peak over stock's; `max_abs_diff`
        between the outputs and `max_abs_output`.

    Raises:
        RuntimeError: the outputs have different shapes.
    """
    if stock.output.shape != ours.output.shape:
        raise RuntimeError(f'outputs of {tuple(stock.output.shape)} (stock) and {tuple(ours.output.shape)} (ours)')
    rounds = [theirs / mine for theirs, mine in zip(stock.seconds, ours.seconds, strict=True)]
    seconds = {name: statistics.median(outcome.seconds) for name, outcome in (('stock', stock), ('ours', ours))}
    return dict(
        stock_seconds=seconds['stock'],
        stock_spread=[min(stock.seconds), max(stock.seconds)],
        ours_seconds=seconds['ours'],
        ours_spread=[min(ours.seconds), max(ours.seconds)],
        speedup=seconds['stock'] / seconds['ours'],
        speedup_spread=[min(rounds), max(rounds)],
        cpu_time_speedup=statistics.median(stock.cpu_seconds) / statistics.median(ours.cpu_seconds),
        stock_peak_memory_mb=stock.peak_memory_mb,
        ours_peak_memory_mb=ours.peak_memory_mb,
        stock_extra_memory_mb=stock.extra_memory_mb,
        ours_extra_memory_mb=ours.extra_memory_mb,
        memory_ratio=ours.peak_memory_mb / stock.peak_memory_mb,
        max_abs_diff=float((stock.output - ours.output).abs().max()),
        max_abs_output=float(stock.output.abs().max()),
    )


def compare_all(outcomes: dict[str, dict[str, Outcome]]) -> dict[str, dict]:
    """Return case -> :func:`compare` of its outcomes under 'stock' and 'ours'."""
    return {name: compare(pair['stock'], pair['ours']) for name, pair in outcomes.items()}


def table(results: dict[str, dict]) -> str:
    """Return results of :func:`compare` as text, a row for each case."""
    head = ('case', 'stock s (spread)', 'ours s (spread)', 'times as fast')
    head += ('by CPU time', 'stock MB (extra)', 'ours MB (extra)', 'memory', 'max diff')
    return text_table(head, [_row(name, result) for name, result in results.items()], left=0)


def _row(name: str, result: dict) -> list[str]:
    def seconds(who: str) -> str:
        return '{:.3f} ({:.3f}-{:.3f})'.format(result[f'{who}_seconds'], *result[f'{who}_spread'])

    def memory(who: str) -> str:
        return f'{result[f"{who}_peak_memory_mb"]:.0f} ({result[f"{who}_extra_memory_mb"]:.0f})'

    return [
        name,
        seconds('stock'),
        seconds('ours'),
        f'{result["speedup"]:.2f}',
        f'{result["cpu_time_speedup"]:.2f}',
        memory('stock'),
        memory('ours'),
        f'{result["memory_ratio"]:.2f}',
        f'{result["max_abs_diff"]:.1e} of {result["max_abs_output"]:.2g}',
    ]
