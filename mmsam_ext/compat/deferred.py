"""Import what most runs never use when it is first used: timm, scipy, torchvision, transformers and FSDP.

mmengine, mmseg and segment_anything import these packages at their top, for single components. They take three of the
five seconds of CPU time that ``import mmsam_ext`` took.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from ._imports import Placeholder, around_import, is_imported

#: Modules, with all below them, that are replaced by placeholders.
MODULES = (
    'mmengine._strategy.fsdp',
    'mmengine.model.wrappers.fully_sharded_distributed',
    'mmengine.optim.optimizer.zero_optimizer',
    'mmseg.utils.tokenizer',
    'scipy',
    'timm',
    'torchvision',
)
#: What the modules above add to mmengine's registries: registry, module, class.
REGISTERED = (
    ('STRATEGIES', 'mmengine._strategy.fsdp', 'FSDPStrategy'),
    ('MODEL_WRAPPERS', 'mmengine.model.wrappers.fully_sharded_distributed', 'MMFullyShardedDataParallel'),
    ('OPTIMIZERS', 'mmengine.optim.optimizer.zero_optimizer', 'ZeroRedundancyOptimizer'),
)
#: Packages that mmengine imports where they are installed, for one class that it registers: registry, class. It is told
#: that they are not installed, and the class is registered here.
OPTIONAL = {'transformers': ('OPTIMIZERS', 'Adafactor')}


class Deferred:
    """Stand for ``name`` of a module that is imported when it is called, subclassed, or one of its attributes is read.

    Args:
        module: Full name of the module.
        name: Name of a function, a class or a submodule in it.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def resolve(self) -> Any:
        """Import the module and return what this stands for."""
        module = _import(self._module)
        if not hasattr(module, self._name):
            return _import(f'{self._module}.{self._name}')
        return getattr(module, self._name)

    @property
    def __signature__(self) -> inspect.Signature:  # mmengine gives an optimizer its parameters by the first name in it
        return inspect.signature(self.resolve())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what this stands for."""
        return self.resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # inspect, copy and pickle look these up
            raise AttributeError(name)
        return getattr(self.resolve(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ('_module', '_name'):
            raise TypeError(f'{self!r} cannot be changed before its import; use around_import to change it then')
        super().__setattr__(name, value)

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (self.resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        # Before the import there are no instances.
        return is_imported(self._module) and isinstance(instance, self.resolve())

    def __subclasscheck__(self, subclass: type) -> bool:
        return is_imported(self._module) and issubclass(subclass, self.resolve())

    def __repr__(self) -> str:
        return f'<{self._module}.{self._name}, imported when it is first used>'


class _Deferring(Placeholder):
    """Stand for a module whose attributes are :class:`Deferred` while placeholders are given out, and real later on."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') and name not in ('__all__', '__version__'):
            raise AttributeError(name)
        deferred = Deferred(self.__name__, name)
        return deferred if _FINDER in sys.meta_path and not name.startswith('__') else deferred.resolve()


class _Finder(MetaPathFinder, Loader):
    """Find a placeholder for each of :data:`MODULES` that is installed and was not imported before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = next(
            (module for module in (*MODULES, *OPTIONAL) if name == module or name.startswith(f'{module}.')), None
        )
        if top is None or is_imported(top):
            return None
        if name == top and PathFinder.find_spec(name, path) is None:
            return None  # not installed: whoever asks must see this
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name in OPTIONAL:
            raise ModuleNotFoundError(f'{spec.name} is imported when it is first used', name=spec.name)
        return _Deferring(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a placeholder is complete."""


_FINDER = _Finder()


@contextmanager
def deferred_imports() -> Iterator[None]:
    """Within this context, import placeholders instead of :data:`MODULES`.

    Modules that are imported here keep the placeholders, which behave like what they stand for. An import of one of
    :data:`MODULES` after the context gets the real module.
    """
    if _FINDER in sys.meta_path:
        yield
        return
    sys.meta_path.insert(0, _FINDER)
    try:
        yield
    finally:
        sys.meta_path.remove(_FINDER)
        _forget_placeholders()


def apply() -> None:
    """Let mmengine's registries import what was deferred when a config names it."""
    from mmengine import registry

    for name, module, attribute in REGISTERED:
        classes = getattr(registry, name).module_dict
        if attribute not in classes and not is_imported(module):
            classes[attribute] = Deferred(module, attribute)
            # The module registers its class, for which the name must be free again.
            around_import(module, before=partial(classes.pop, attribute, None))
    for package, (name, attribute) in OPTIONAL.items():
        classes = getattr(registry, name).module_dict
        if attribute not in classes and PathFinder.find_spec(package) is not None:
            classes[attribute] = Deferred(package, attribute)


def _import(name: str) -> ModuleType:
    """Import a real module, also while placeholders are given out."""
    if is_imported(name):
        return sys.modules[name]
    active = _FINDER in sys.meta_path
    if active:
        sys.meta_path.remove(_FINDER)
    _forget_placeholders()
    try:
        return importlib.import_module(name)
    finally:
        if active:
            sys.meta_path.insert(0, _FINDER)


def _forget_placeholders() -> None:
    for name, module in list(sys.modules.items()):
        if isinstance(module, Placeholder):
            del sys.modules[name]
            parent, _, child = name.rpartition('.')
            if isinstance(vars(sys.modules.get(parent, ModuleType(''))).get(child), Placeholder):
                delattr(sys.modules[parent], child)
