"""Act when another package imports a module, without importing it now."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class Placeholder(ModuleType):
    """Stand for a module that is imported later; :mod:`.deferred` gives them out."""


def is_imported(name: str) -> bool:
    """Return whether a module was imported; a placeholder does not count."""
    return name in sys.modules and not isinstance(sys.modules[name], Placeholder)


def around_import(
    name: str, before: Callable[[], None] | None = None, after: Callable[[ModuleType], None] | None = None
) -> None:
    """Call `before` and `after` around the import of a module.

    Args:
        name: Full name of the module. If it was imported already, `after` is called at once and `before` never.
        before: Called before the module runs.
        after: Called with the module after it ran.
    """
    if is_imported(name):
        if after is not None:
            after(sys.modules[name])
        return
    hook = _AroundImport(name, before, after)
    if hook not in sys.meta_path:
        sys.meta_path.insert(0, hook)


class _AroundImport(MetaPathFinder):
    def __init__(
        self, name: str, before: Callable[[], None] | None, after: Callable[[ModuleType], None] | None
    ) -> None:
        self.name, self.before, self.after = name, before, after
        self._searching = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _AroundImport):
            return NotImplemented
        return (self.name, self.before, self.after) == (other.name, other.before, other.after)

    def __hash__(self) -> int:
        return hash((self.name, self.before, self.after))

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.name or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is None or spec.loader is None or spec.has_location is False:  # a placeholder has no location
            return spec
        stock_exec = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            if self.before is not None:
                self.before()
            stock_exec(module)
            if self.after is not None:
                self.after(module)

        spec.loader.exec_module = exec_module
        return spec
