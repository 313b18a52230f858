"""What setup.py declares, read without running it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def install_requires() -> list[str]:
    """Return the requirements that setup.py passes as ``install_requires``."""
    tree = ast.parse((REPO / 'setup.py').read_text())
    (value,) = [
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'setup'
        for keyword in node.keywords
        if keyword.arg == 'install_requires'
    ]
    return ast.literal_eval(value)


def imported(folder: str) -> dict[str, bool]:
    """Return the modules of other packages that a folder's files import -> whether any file does so at its top level.

    Imports in functions, in ``try`` and under ``if`` do not count as top level.
    """
    own = {'mmsam_ext', 'tests', '_bootstrap', *(path.name for path in (REPO / 'tools').iterdir() if path.is_dir())}
    found: dict[str, bool] = {}
    for path in sorted((REPO / folder).rglob('*.py')):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or '']
            else:
                continue
            for name in {name.split('.')[0] for name in names} - own - set(sys.stdlib_module_names):
                found[name] = found.get(name, False) or node in tree.body
    return found
