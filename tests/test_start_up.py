"""Start-up: what is imported only when it is used, and placeholders that behave like what they stand for."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmsam_ext.cli.commands import COMMANDS
from mmsam_ext.compat import _imports, deferred
from mmsam_ext.compat._imports import Placeholder, around_import
from mmsam_ext.compat.deferred import Deferred, deferred_imports

REPO = Path(__file__).resolve().parents[1]
#: What `import mmsam_ext` and a prediction without a picture must not load.
SLOW = ('matplotlib', 'mmpretrain', 'pandas', 'scipy', 'sympy', 'timm', 'torch._dynamo', 'torchvision', 'transformers')
CODE = f"""
import sys
from mmsam_ext.cli import infer
assert infer.main(['mmsam_ext/assets/result.png', '--box', '10', '10', '80', '80', '--box-format', 'xyxy']) == 0
print('loaded:', *[name for name in {SLOW!r} if name in sys.modules])
from mmengine.model import MMFullyShardedDataParallel, is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS
from torch import nn
assert not is_model_wrapper(nn.Linear(1, 1)) and 'torch.distributed.fsdp' not in sys.modules
class Sharded(MMFullyShardedDataParallel):
    pass
from torch.distributed.fsdp import FullyShardedDataParallel
assert issubclass(Sharded, FullyShardedDataParallel) and issubclass(Sharded, MMFullyShardedDataParallel)
assert MODEL_WRAPPERS.get('MMFullyShardedDataParallel') is Sharded.__mro__[1]
assert Sharded.__init__.__code__.co_filename.endswith('cpu_distributed.py'), 'the fix for CPUs holds'
"""


def test_a_prediction_loads_none_of_the_slow_packages() -> None:
    done = subprocess.run(
        [sys.executable, '-c', CODE], cwd=REPO, capture_output=True, text=True, timeout=120,
        env=os.environ | dict(PYTHONPATH=str(REPO)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in done.stdout.splitlines() if line.startswith('loaded:')] == ['loaded:']


def test_a_package_for_one_optimizer_is_imported_with_it(tmp_path: Path) -> None:
    """mmengine imports transformers where it is installed; this one says when it is imported."""
    (tmp_path / 'transformers.py').write_text(
        'import torch\nprint("imported")\n\n\nclass Adafactor(torch.optim.SGD):\n    pass\n'
    )
    code = """
import mmsam_ext, torch
from mmengine.optim import build_optim_wrapper
print('started')
optimizer = dict(optimizer=dict(type='Adafactor', lr=0.5))
wrapper = build_optim_wrapper(torch.nn.Linear(1, 1), optimizer)
import transformers
assert type(wrapper.optimizer) is transformers.Adafactor and wrapper.get_lr() == dict(lr=[0.5])
import inspect
from mmengine.registry import OPTIMIZERS
assert next(iter(inspect.signature(OPTIMIZERS.get('ZeroRedundancyOptimizer')).parameters)) == 'params'
"""
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=120,
        env=os.environ | dict(PYTHONPATH=f'{tmp_path}{os.pathsep}{REPO}'),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in done.stdout.splitlines() if line in ('started', 'imported')] == ['started', 'imported']


@pytest.mark.parametrize('name', [name for name, command in COMMANDS.items() if command.parsed])
def test_help_and_wrong_arguments_come_without_torch(name: str) -> None:
    code = (
        f"import sys; sys.argv = ['-m']; sys.orig_argv = ['-m', 'mmsam_ext']; sys.modules['torch'] = None\n"
        f'from mmsam_ext.cli import main; main([{name!r}, sys.argv_of_the_test])'
    )
    for argument, expected in (('--help', 0), ('--no-such-option', 2)):
        done = subprocess.run(
            [sys.executable, '-c', code.replace('sys.argv_of_the_test', repr(argument))],
            capture_output=True, text=True, timeout=60, env=os.environ | dict(PYTHONPATH=str(REPO)),
        )  # fmt: skip
        assert done.returncode == expected, done.stderr
        assert 'usage' in done.stdout + done.stderr and 'Loading' not in done.stderr


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is to be deferred, and one that imports it at its top."""
    (tmp_path / 'slow_one').mkdir()
    (tmp_path / 'slow_one' / '__init__.py').write_text("__version__ = '3'\nvalue = 5\n\n\nclass Base:\n    pass\n")
    (tmp_path / 'slow_one' / 'deep.py').write_text('def double(x):\n    return 2 * x\n')
    (tmp_path / 'uses_it.py').write_text(
        'import slow_one\nimport slow_one.deep\nfrom slow_one import Base, deep\nfrom slow_one.deep import double\n'
        'try:\n    import not_installed\nexcept ImportError:\n    not_installed = None\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(deferred, 'MODULES', ('slow_one', 'not_installed'))
    yield 'slow_one'
    for name in ('slow_one', 'slow_one.deep', 'uses_it'):
        sys.modules.pop(name, None)


def test_placeholders_become_real_when_they_are_used(package: str) -> None:
    with deferred_imports():
        user = importlib.import_module('uses_it')
        assert isinstance(sys.modules[package], Placeholder) and isinstance(user.double, Deferred)
    assert package not in sys.modules and user.not_installed is None
    assert not isinstance(5, user.Base) and package not in sys.modules  # no instance can exist yet
    assert user.double(4) == 8 and user.deep.double(1) == 2
    assert user.slow_one.value == 5 and user.slow_one.__version__ == '3' and user.slow_one.deep.double(3) == 6

    class Sub(user.Base):
        pass

    with pytest.raises(TypeError, match='around_import'):
        user.Base.attribute = 1
    real = importlib.import_module(package)
    assert not isinstance(real, Placeholder) and Sub.__mro__[1] is real.Base
    assert isinstance(Sub(), user.Base) and issubclass(Sub, user.Base) and not isinstance(5, user.Base)


def test_a_base_class_is_imported_at_once(package: str) -> None:
    with deferred_imports():
        user = importlib.import_module('uses_it')
        sub = type('Sub', (user.Base.resolve(),), {})
        assert not isinstance(sys.modules[package], Placeholder)  # from here on the real one is found
    assert sub.__mro__[1] is importlib.import_module(package).Base


def test_what_was_imported_before_is_not_replaced(package: str) -> None:
    real = importlib.import_module(package)
    with deferred_imports():
        user = importlib.import_module('uses_it')
    assert user.slow_one is real and user.Base is real.Base


def test_around_import(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    seen: list[str] = []
    around_import(package, before=lambda: seen.append('before'), after=lambda module: seen.append(module.__name__))
    assert importlib.util.find_spec(package) is not None and not seen  # a question is no import
    importlib.import_module(package)
    assert seen == ['before', package]
    around_import(package, after=lambda module: seen.append('at once'))
    assert seen[-1] == 'at once'
    assert not [finder for finder in sys.meta_path if getattr(finder, 'name', None) == package]
    assert _imports.is_imported(package) and not _imports.is_imported('no_such_package')
