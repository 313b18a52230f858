"""The wheel, installed without the checkout: configs are inherited, and commands run, in a folder that has neither."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.naming import assert_names

REPO = Path(__file__).resolve().parents[1]
SOURCES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE')
FOLDERS = ('mmsam_ext', 'configs', 'tools', 'requirements')
#: Two steps of the shipped config, as little of its data as possible.
CONFIG = """
_base_ = 'mmsam_ext::spt_tiny_synthetic.py'
train_cfg = dict(max_iters=2, val_interval=2)
train_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False)
val_cfg = None
val_dataloader = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(interval=2))
"""
CHECKS = """
import os, sys
import mmengine.hub
import mmsam_ext
from mmengine.config import Config
assert mmsam_ext.__file__.startswith(sys.prefix), mmsam_ext.__file__
open('slash.py', 'w').write("_base_ = 'mmsam_ext::/spt_tiny_synthetic.py'")
one, two = Config.fromfile('slash.py'), mmengine.hub.get_config('mmsam_ext::spt_tiny_synthetic.py')
assert one.to_dict() == two.to_dict() and two.filename.startswith(os.path.dirname(mmsam_ext.__file__))
"""


def can_build() -> bool:
    """Whether setuptools makes wheels by itself, which it does since 70.1."""
    if importlib.util.find_spec('setuptools') is None:
        return False
    return tuple(map(int, importlib.metadata.version('setuptools').split('.')[:2])) >= (70, 1)


class Installation:
    """A virtual environment with the wheel, and an empty folder to work in."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess:
        """Run its Python in the folder."""
        kept = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHONHOME')}
        done = subprocess.run(
            [str(self.python), *map(str, arguments)], cwd=self.folder, env=kept, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == code, f'{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
        return done


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Build the wheel from a copy of the sources, and install it into an environment that sees this one's packages."""
    if not can_build():
        pytest.skip('needs setuptools 70.1 or newer to build a wheel without a network; see requirements/dev.txt')
    folder = tmp_path_factory.mktemp('installed')
    source, wheels, environment, work = (folder / name for name in ('source', 'wheels', 'environment', 'work'))
    source.mkdir()
    work.mkdir()
    for name in SOURCES:
        shutil.copy(REPO / name, source)
    for name in FOLDERS:
        shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    build = ['wheel', '--no-deps', '--no-build-isolation', '-w', wheels, source]
    subprocess.run([*pip, *map(str, build)], check=True, capture_output=True, timeout=300)
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(environment)], check=True, timeout=120)
    python = environment / 'bin' / 'python'
    # Packages of the running environment by their path alone: an editable mmsam_ext in it stays unseen.
    names = dict(base=str(environment), platbase=str(environment))
    packages = Path(sysconfig.get_path('purelib', vars=names))
    own = {sysconfig.get_path(kind) for kind in ('purelib', 'platlib')}
    (packages / 'running.pth').write_text('\n'.join(sorted(own)) + '\n')
    (wheel,) = wheels.glob('mmsam_ext-*.whl')
    install = ['--python', python, 'install', '--no-deps', '--no-index', '--force-reinstall', '--ignore-installed']
    subprocess.run([*pip, *map(str, install), str(wheel)], check=True, capture_output=True, timeout=300)
    return Installation(python, work)


@pytest.mark.slow
def test_the_installed_package_works_without_the_checkout(installed: Installation) -> None:
    run, folder = installed.run, installed.folder
    run('-c', CHECKS)

    listed = run('-m', 'mmsam_ext', '--help').stdout
    assert_names(listed, 'train', 'infer', 'model-cost', 'merge-peft', 'benchmark', 'reproduce')

    (folder / 'mine.py').write_text(CONFIG)
    run('-m', 'mmsam_ext', 'train', 'mine.py', '--work-dir', 'trained')
    checkpoint = torch.load(folder / 'trained/iter_2.pth', map_location='cpu', weights_only=False)
    assert any('lora_b' in key for key in checkpoint['state_dict'])

    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'tile.png'), image)
    done = run('-m', 'mmsam_ext', 'infer', 'tile.png', '--box', '5', '6', '70', '50', '--out', 'out')
    assert 'tile.png' in done.stdout
    assert {path.name for path in (folder / 'out').iterdir()} >= {'tile_mask0.png', 'tile_overlay.png', 'scores.csv'}

    # Scripts that are packaged as they are, with the configs and the modules beside them.
    done = run('-m', 'mmsam_ext', 'reproduce', 'plm', '--dry-run', '--seeds', '0', '--only', 'SAM')
    assert_names(done.stdout, 'SAM', '2 runs')
    scan = ['scan', '--size', '64', '--repeats', '1', '--device', 'cpu', '--json', 'scan.json']
    run('-m', 'mmsam_ext', 'benchmark', *scan)
    assert (folder / 'scan.json').is_file()
