"""The pages name what exists, and everything that exists is named in a page."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from pathlib import Path

import mmseg.registry
import pytest
import yaml
from mmengine.registry import Registry
from studies import STUDIES

import mmsam_ext
from tests.shrink import CONFIGS, REPO

PAGES = [REPO / 'README.md', REPO / 'CONTRIBUTING.md', *sorted(CONFIGS.rglob('*.md'))]
#: Folders that a page may take for granted.
ROOTS = (REPO, REPO / 'mmsam_ext', CONFIGS, Path(mmseg.__file__).parent / '.mim' / 'tools')
#: Files that a reader is to write.
EXAMPLES = {
    'my_plugin.py',
    'my_config.py',
    'my_model.py',
    'my_data.py',
    'configs/channel_gate_tiny_mtd.py',
    'configs/results/STUDY.md',
    'config.py',  # what `fit` writes
    'work_dirs/parts/config.py',
}
OWN = {
    name: made
    for registry in vars(mmseg.registry).values()
    if isinstance(registry, Registry)
    for name, made in registry.module_dict.items()
    if made.__module__.startswith('mmsam_ext.')
}


def rows(page: Path) -> list[list[str]]:
    """Return the cells of a page's tables, without their heads."""
    lines = [line for line in page.read_text().splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('| ').split(' | ')] for line in lines if '---' not in line][1:]


def code(page: Path) -> list[str]:
    """Return the words in code, inline or in blocks."""
    spans = re.findall(r'```\w*\n(.*?)```|`([^`\n]+)`', page.read_text(), re.DOTALL)
    return [word.strip('\'",;()') for pair in spans for span in pair for word in span.split()]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_and_paths(page: Path) -> None:
    """Links, and whatever in code looks like one of our files or folders."""
    links = [link for link in re.findall(r'\]\(([^)#]+)\)', page.read_text()) if '://' not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    ours = re.compile(r'(?:\./)?(?:[\w-]+/)*[\w-]+\.(?:py|sh)|(?:tools|configs|tests|mmsam_ext|evaluation)/[\w./-]+')
    paths = {word for word in code(page) if ours.fullmatch(word)} - EXAMPLES
    assert sorted(path for path in paths if not any((root / path).exists() for root in ROOTS)) == []


def test_components_are_what_is_registered() -> None:
    """Every registered name is in the table, none else is, and it is where the link says."""
    where = {name: row[-1] for row in rows(CONFIGS / 'components.md') for name in re.findall(r'`(\w+)`', row[0])}
    assert sorted(where) == sorted(OWN)
    for name, link in where.items():
        target = (CONFIGS / re.search(r'\((.+)\)', link)[1]).resolve()
        source = Path(inspect.getfile(OWN[name]))
        assert target == source or target in source.parents, f'{name} is in {source}'


def test_tools_are_all_named() -> None:
    """Tools, and what benchmark.py and reproduce.py can do."""
    named = set(re.findall(r'`(tools/[\w/]+\.\w+)`', ' '.join(row[0] for row in rows(CONFIGS / 'tools.md'))))
    folders = [REPO / 'tools', REPO / 'tools/analysis', REPO / 'tools/converters']
    files = [path for folder in folders for path in folder.glob('*.*')]
    assert named == {str(path.relative_to(REPO)) for path in files if path.is_file() and path.name[0] != '_'}
    what = {row[0]: set(re.findall(r'`(\w+)`', row[1])) for row in rows(CONFIGS / 'tools.md')}
    tree = ast.parse((REPO / 'tools/benchmark.py').read_text())
    (benchmarks,) = (
        [key.value for key in node.value.keys]
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.target.id == 'BENCHMARKS'
    )
    assert what['`tools/benchmark.py`'] - {'segment_anything'} == set(benchmarks)
    assert what['`tools/reproduce.py`'] == set(STUDIES)


def test_readme_is_short_and_leads_to_every_page() -> None:
    """At most 150 lines; each page of configs/ is linked from README or from the index of configs/."""
    assert len(PAGES[0].read_text().splitlines()) <= 150
    linked = set()
    for index in (PAGES[0], CONFIGS / 'README.md'):
        folder = index.parent
        for link in re.findall(r'\]\(([^)#]+\.md)\)', index.read_text()):
            linked.add((folder / link).resolve())
    assert sorted(set(CONFIGS.rglob('*.md')) - linked) == []


def test_warnings_stand_before_the_code_they_are_about() -> None:
    text = PAGES[0].read_text()
    assert text.index('**Import `mmsam_ext` before') < text.index('from mmsam_ext.apis import')
    assert text.index('**ST** (stability)') < text.index('ST box noise')


def test_citation_names_the_four_papers() -> None:
    """Valid fields, the package's version, and the papers that README links."""
    citation = yaml.safe_load((REPO / 'CITATION.cff').read_text())
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    assert citation['version'] == mmsam_ext.__version__
    papers = citation['references']
    assert len(papers) == 4 and all({'type', 'title', 'authors', 'year'} <= set(paper) for paper in papers)
    readme = PAGES[0].read_text()
    assert [paper['url'] for paper in papers if paper['url'] not in readme] == []


def test_changelog_has_the_version() -> None:
    heads = re.findall(r'^## (.+)$', (REPO / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert heads[0] == 'Unreleased' and any(head.startswith(mmsam_ext.__version__) for head in heads)


def test_every_config_is_in_a_page() -> None:
    """By its name, or by a pattern such as `spt_{vitb,vitl}_industrial.py`."""
    named = set()
    for page in PAGES:
        for word in code(page):
            options = [part.split(',') for part in re.findall(r'\{([\w,-]+)\}', word)]
            pattern = re.sub(r'\{[\w,-]+\}', '{}', word)
            named |= {pattern.format(*choice) for choice in itertools.product(*options)} if options else {word}
    configs = {path.name for path in CONFIGS.glob('*.py')}
    assert sorted(configs - {Path(word).name for word in named}) == []
