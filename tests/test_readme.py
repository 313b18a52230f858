"""What README names is there, and what is there README names."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import mmseg.registry
import pytest
from mmengine.registry import Registry

import mmsam_ext  # noqa: F401
from tests.shrink import CONFIGS, REPO

PAGES = [REPO / 'README.md', CONFIGS / 'README.md']
#: Folders that a page may take for granted.
ROOTS = (REPO, REPO / 'mmsam_ext', CONFIGS)
#: Files that a reader is to write.
EXAMPLES = {'my_plugin.py', 'configs/channel_gate_tiny_mtd.py'}
OWN = {
    name: made
    for registry in vars(mmseg.registry).values()
    if isinstance(registry, Registry)
    for name, made in registry.module_dict.items()
    if made.__module__.startswith('mmsam_ext.')
}


def section(title: str) -> str:
    return PAGES[0].read_text().split(f'\n## {title}\n')[1].split('\n## ')[0]


def rows(title: str) -> list[list[str]]:
    """Cells of a section's tables, without their heads."""
    lines = [line for line in section(title).splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('| ').split(' | ')] for line in lines if '---' not in line][1:]


def code(page: Path) -> list[str]:
    """Words in code, inline or in blocks."""
    spans = re.findall(r'```\w*\n(.*?)```|`([^`\n]+)`', page.read_text(), re.DOTALL)
    return [word.strip('\'",;()') for pair in spans for span in pair for word in span.split()]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_and_paths(page: Path) -> None:
    """Links, and whatever in code looks like one of our files or folders."""
    links = [link for link in re.findall(r'\]\(([^)#]+)\)', page.read_text()) if '://' not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    ours = re.compile(r'(?:\./)?(?:[\w-]+/)*[\w-]+\.(?:py|sh)|(?:tools|configs|tests|mmsam_ext|evaluation)/[\w./-]+')
    paths = {word for word in code(page) if ours.fullmatch(word)} - EXAMPLES
    assert len(paths) > 15
    assert sorted(path for path in paths if not any((root / path).exists() for root in ROOTS)) == []


def test_components_are_what_is_registered() -> None:
    """Every registered name is in the table, none else is, and it is where the link says."""
    where = {name: row[-1] for row in rows('Components') for name in re.findall(r'`(\w+)`', row[0])}
    assert sorted(where) == sorted(OWN)
    for name, link in where.items():
        target = REPO / re.search(r'\((.+)\)', link)[1]
        source = Path(inspect.getfile(OWN[name]))
        assert target == source or target in source.parents, f'{name} is in {source}'


def test_tools_are_all_named() -> None:
    """Tools, and what benchmark.py and reproduce.py can do."""
    named = set(re.findall(r'`(tools/[\w/]+\.\w+)`', ' '.join(row[0] for row in rows('Tools'))))
    folders = [REPO / 'tools', REPO / 'tools/analysis', REPO / 'tools/converters']
    files = [path for folder in folders for path in folder.glob('*.*')]
    assert named == {str(path.relative_to(REPO)) for path in files if path.is_file() and path.name[0] != '_'}
    what = {row[0]: set(re.findall(r'`(\w+)`', row[1])) for row in rows('Tools')}
    tree = ast.parse((REPO / 'tools/benchmark.py').read_text())
    (benchmarks,) = (
        [key.value for key in node.value.keys]
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.target.id == 'BENCHMARKS'
    )
    assert what['`tools/benchmark.py`'] - {'segment_anything'} == set(benchmarks)
    studies = {path.stem for path in (REPO / 'tools/studies').glob('*.py')} - {'__init__', 'study', 'table'}
    assert what['`tools/reproduce.py`'] == studies
