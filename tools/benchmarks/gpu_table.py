"""One Markdown table of all figures that ``tools/benchmarks/gpu.sh`` measured, which calls this script.

Arguments: the folder of the reports, and the names of parts that failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

#: Figures of each case, and what they are called in the table.
FIGURES = {
    'speedup': 'times as fast',
    'memory_ratio': 'memory, ours over theirs',
    'max_abs_diff': 'largest difference',
    'compile_seconds': 'compiling (s)',
}
#: Figures of each contender of `peers`.
PEER_FIGURES = {
    'time_ratio': 'time, theirs over ours',
    'memory_ratio': 'memory, theirs over ours',
    'share_of_limit': 'share of the limit',
}


def rows(benchmark: str, results: dict) -> Iterator[tuple[str, str, str, float]]:
    """Yield (part, case, figure, value) of a report of ``tools/benchmark.py``."""
    for case, result in results.items():
        for name, title in FIGURES.items():
            if name in result:
                yield benchmark, case, title, result[name]
        for name, value in (result.get('ratios') or {}).items():
            yield benchmark, case, name, value
        for contender, values in result.items():
            if isinstance(values, dict) and 'time_ratio' in values:
                for name, title in PEER_FIGURES.items():
                    yield benchmark, f'{case}, {contender}', title, values[name]


def markdown(folder: Path, failed: Sequence[str]) -> str:
    """Return the table of all reports in a folder, with the machine above it and parts that failed below."""
    machine = folder / 'machine.txt'
    lines = [machine.read_text(encoding='utf-8').strip() if machine.is_file() else 'unknown machine', '']
    lines += ['| part | case | figure | value |', '| --- | --- | --- | --- |']
    for path in sorted(folder.glob('*.json')):
        report = json.loads(path.read_text(encoding='utf-8'))
        for part, case, name, value in rows(path.stem, report['results']):
            lines.append(f'| {part} | {case} | {name} | {value:.4g} |')
    lines += ['', *(f'Failed: {name} (see {name}.log).' for name in failed)]
    return '\n'.join(lines).rstrip()


if __name__ == '__main__':
    print(markdown(Path(sys.argv[1]), sys.argv[2:]))
