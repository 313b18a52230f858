"""What imports what in the package, read from the source."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PACKAGE = REPO / 'mmsam_ext'


def module_name(path: Path) -> str:
    """Return the dotted name of a file: mmsam_ext/models/__init__.py is mmsam_ext.models."""
    parts = path.relative_to(REPO).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob('*.py'))}
TREES = {name: ast.parse(path.read_text(encoding='utf-8')) for name, path in FILES.items()}


def statements(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Return all imports, those inside functions too, but not those for type checkers only."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == 'TYPE_CHECKING':
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.append(node)
        found += statements(node)
    return found


def base_of(name: str, node: ast.ImportFrom) -> str:
    """Return the absolute name of the module that `from ... import` names."""
    if not node.level:
        return node.module or ''
    package = name.split('.') if FILES[name].name == '__init__.py' else name.split('.')[:-1]
    package = package[: len(package) - node.level + 1]
    return '.'.join([*package, *([node.module] if node.module else [])])


def source_of(module: str, attribute: str) -> str | None:
    """Return the file that an imported name comes from: through what packages re-export, to where it is defined."""
    if f'{module}.{attribute}' in FILES:
        return f'{module}.{attribute}'
    if module not in FILES:
        return None
    if FILES[module].name == '__init__.py':
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == attribute for a in node.names):
                return source_of(base_of(module, node), attribute)
    return module


def imports(name: str) -> set[str]:
    """Return the files of the package that a file takes names from."""
    found: set[str | None] = set()
    for node in statements(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
        else:
            base = base_of(name, node)
            found |= {source_of(base, alias.name) for alias in node.names}
    return {one for one in found if one is not None} - {name, 'mmsam_ext'}


GRAPH = {name: imports(name) for name in FILES}


def test_the_reader_follows_names_to_their_files() -> None:
    segmentor = GRAPH['mmsam_ext.models.segmentors.promptable_segmentor']
    assert 'mmsam_ext.structures.prompt_batch' in segmentor  # through mmsam_ext.structures
    assert 'mmsam_ext.models.peft.inject' in segmentor  # a relative import, through models.peft
    assert 'mmsam_ext.datasets.transforms.geometry_probe' in GRAPH['mmsam_ext.datasets.transforms.generate_prompts']


def test_no_file_imports_itself_through_others() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f'cycle of imports: {" -> ".join(error.args[1])}')


@pytest.mark.parametrize(
    ('room', 'forbidden'),
    [
        ('models', ('engine', 'apis', 'cli', 'datasets', 'visualization')),
        ('visualization', ('evaluation.metrics', 'models', 'engine', 'apis', 'cli')),
        ('structures', ('models', 'engine', 'apis', 'cli', 'datasets', 'visualization', 'evaluation')),
        ('evaluation', ('models', 'engine', 'apis', 'cli', 'visualization')),
        ('datasets', ('models', 'engine', 'apis', 'cli', 'visualization')),
        ('checkpoints', ('models', 'engine', 'apis', 'cli', 'datasets', 'visualization')),
        ('engine', ('apis', 'cli')),
    ],
)
def test_arrows_point_down(room: str, forbidden: tuple[str, ...]) -> None:
    found = {
        (name, other)
        for name, others in GRAPH.items()
        for other in others
        if name.startswith(f'mmsam_ext.{room}.')
        for top in forbidden
        if other == f'mmsam_ext.{top}' or other.startswith(f'mmsam_ext.{top}.')
    }
    assert not found, '\n'.join(f'{name} imports {other}' for name, other in sorted(found))
