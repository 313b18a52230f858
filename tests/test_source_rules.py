"""Rules that the source keeps: no retired words, and files of a size that can be read at once."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
#: Words and turns that a stranger stumbles over; CONTRIBUTING says what to write in their place.
RETIRED = re.compile(
    r"""\b(?:
        mend(?:s|ed|ing)? | refus(?:e|es|ed|ing) | kin | so[ ]many | asked[ ]for | half[ ]there | how-?manieth
        | (?:has|have)[ ]no[ ]say | with(?:out)?[ ]a[ ]word | (?<!there[ ])is[ ]no[ ](?!longer|more|better)[a-z]+
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
LONGEST, MEDIAN = 350, 150


def text_files() -> list[Path]:
    found = [
        path
        for folder, suffixes in (('mmsam_ext', ('.py',)), ('tools', ('.py', '.sh')), ('configs', ('.py', '.md')))
        for path in (REPO / folder).rglob('*')
        if path.suffix in suffixes and '.mim' not in path.parts
    ]
    return sorted([*found, REPO / 'README.md', REPO / 'setup.py'])


def python_files() -> list[Path]:
    return [path for path in text_files() if path.suffix == '.py' and path.relative_to(REPO).parts[0] != 'configs']


def test_the_pattern_finds_what_it_should() -> None:
    for text in ('MTD is half there', 'it refuses', 'a loss is no number', 'of so many.', 'MVTecAD and its kin'):
        assert RETIRED.search(text), text
    for text in ('is no longer', 'there is no file', 'kind', 'akin', 'so much', 'amend'):
        assert not RETIRED.search(text), text


@pytest.mark.parametrize('path', text_files(), ids=lambda path: str(path.relative_to(REPO)))
def test_no_retired_words(path: Path) -> None:
    lines = path.read_text(encoding='utf-8').splitlines()
    found = [f'{number}: {line.strip()}' for number, line in enumerate(lines, 1) if RETIRED.search(line)]
    assert not found, '\n'.join(found)


def test_files_can_be_read_at_once() -> None:
    lengths = {path: len(path.read_text(encoding='utf-8').splitlines()) for path in python_files()}
    long = {str(path.relative_to(REPO)): length for path, length in lengths.items() if length > LONGEST}
    assert not long, f'expected at most {LONGEST} lines'
    assert statistics.median(lengths.values()) <= MEDIAN
