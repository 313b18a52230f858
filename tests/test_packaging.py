"""What a clone and an installed package must have."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import check_env
import pytest

import mmsam_ext
from mmsam_ext import config_files
from mmsam_ext.apis.model_loading import load_config
from tests.conftest import free_port
from tests.naming import assert_names
from tests.packaging_files import imported, install_requires

REPO = Path(__file__).resolve().parents[1]
LAUNCHERS = ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **options)


def test_setup_names_version_packages_and_assets() -> None:
    done = run(sys.executable, 'setup.py', '--version', cwd=REPO)
    assert done.stdout.strip().splitlines()[-1] == mmsam_ext.__version__, done.stderr
    text = (REPO / 'setup.py').read_text()
    assert "package_data={'mmsam_ext': ['assets/*']}" in text
    assert not re.search(r"'mmcv(-lite)?\b", text.split('install_requires')[1]), 'mmcv-lite must not be forced on mmcv'


def test_an_installed_package_has_configs_tools_and_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file but the scripts of a checkout, where commands look for them; nothing is left in the checkout."""
    done = run(sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', tmp_path, cwd=REPO)
    assert done.returncode == 0, done.stderr
    installed = tmp_path / 'mmsam_ext/.mim'

    def files(folder: Path) -> dict[str, bytes]:
        paths = [path for path in folder.rglob('*') if path.is_file() and path.suffix != '.pyc']
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    for name, left_out in (
        ('configs', set()),
        ('tools', {'quickstart.sh', 'run_tests.sh', 'setup_env.sh'}),
        ('requirements', set()),
    ):
        expected = {path: content for path, content in files(REPO / name).items() if path not in left_out}
        assert files(installed / name) == expected, name
    assert not (REPO / 'mmsam_ext/.mim').exists()
    monkeypatch.setattr(config_files, 'CONFIG_FOLDERS', (installed / 'configs',))
    assert set(config_files.known_configs()) == {path.stem for path in (REPO / 'configs').glob('*.py')}
    assert Path(load_config('spt_tiny_mtd').filename) == installed / 'configs/spt_tiny_mtd.py'


#: Declared and not imported: another package needs it and does not declare it.
FOR_OTHERS = {
    'torchvision': 'segment_anything and mmpretrain.models',
    'mmpretrain': 'configs whose backbone is one of its',
    'timm': 'TIMMBackbone in configs',
    'ftfy': 'mmsegmentation',
    'regex': 'mmsegmentation',
}
#: Imported and not declared, and why.
NOT_DECLARED = {
    'mmcv': 'either mmcv or mmcv-lite must be installed, which setup.py cannot express',
    'segment_anything_hq': 'only for tools/analysis/family_goldens.py, which wrote the expected values of the tests',
    'peft': 'only for tools/benchmark.py peers, which installs it into a throw-away environment',
    'pavi': 'not on PyPI; only for checkpoints named pavi://',
}


@cache
def distributions() -> Mapping[str, list[str]]:
    """Read once which distributions provide which module, since that reads all that is installed."""
    return metadata.packages_distributions()


#: What Python 3.10 does not find, since the distribution has no list of its modules.
BEFORE_3_11 = {'skimage': 'scikit-image'}


def distribution(module: str) -> str:
    """The distribution that provides a module, as pip spells it."""
    names = distributions().get(module, [BEFORE_3_11.get(module, module)])
    return min(names, key=len).lower().replace('_', '-')


@pytest.mark.parametrize('folder', ['mmsam_ext', 'tools'])
def test_imports_are_declared(folder: str) -> None:
    """At a file's top level by install_requires; inside of a function also by an extra."""
    declared = {re.match(r'[\w-]+', line)[0] for line in install_requires()}
    extras = {
        re.match(r'[\w-]+', line)[0].lower()
        for path in (REPO / 'requirements').glob('*.txt')
        if path.stem not in ('runtime', 'dev')
        for line in path.read_text().splitlines()
        if line and not line.startswith('#')
    }
    modules = imported(folder)
    assert {'torch', 'mmengine'} <= modules.keys()
    missing = {
        module
        for module, at_top in modules.items()
        if module not in NOT_DECLARED and distribution(module) not in (declared if at_top else declared | extras)
    }
    assert missing == set()


def test_declared_packages_are_used() -> None:
    declared = {re.match(r'[\w-]+', line)[0] for line in install_requires()}
    used = {distribution(module) for folder in ('mmsam_ext', 'tools') for module in imported(folder)}
    assert declared - used - set(FOR_OTHERS) == set()


def test_every_folder_with_modules_is_a_package() -> None:
    """find_packages leaves out folders without __init__.py, and what is in them, without a word."""
    folders = {path.parent for path in (REPO / 'mmsam_ext').rglob('*.py')}
    assert [str(folder) for folder in sorted(folders) if not (folder / '__init__.py').exists()] == []


def test_pinned_set_is_what_is_installed() -> None:
    pins = check_env.pinned()
    assert {'torch', 'torchvision', 'mmengine', 'mmsegmentation', 'mmcv-lite', 'ftfy', 'regex'} <= set(pins)
    stamps = {path.stem: path.read_text().split()[0] for path in Path(sys.prefix).glob('*.sha256')}
    if 'runtime' not in stamps:
        pytest.skip('an environment of your own: only that of tools/setup_env.sh promises the pinned set')
    for name in ('runtime', 'dev'):
        wanted = hashlib.sha256((REPO / f'requirements/{name}.txt').read_bytes()).hexdigest()
        assert stamps.get(name) == wanted, f'source tools/setup_env.sh installs requirements/{name}.txt'
    installed = {one.metadata['Name'].lower() for one in metadata.distributions()}
    if 'mmcv' in installed:  # the compiled one, in place of mmcv-lite
        pins = {'mmcv' if name == 'mmcv-lite' else name: version for name, version in pins.items()}
    assert {name: metadata.version(name) for name in pins} == pins


def test_license_and_executable_scripts() -> None:
    assert 'Apache License' in (REPO / 'LICENSE').read_text() and 'APPENDIX' in (REPO / 'LICENSE').read_text()
    for script in [f'tools/{name}' for name in (*LAUNCHERS, 'run_tests.sh', 'quickstart.sh')] + ['.ci/run']:
        assert os.access(REPO / script, os.X_OK), f'{script} is not executable'
        assert run('bash', '-n', REPO / script).returncode == 0


@pytest.mark.parametrize('name', LAUNCHERS)
def test_launchers_say_how_they_are_called(name: str) -> None:
    done = run('bash', REPO / 'tools' / name)
    assert done.returncode == 2 and f'tools/{name}' in done.stderr and 'Usage' in done.stderr


def fake(folder: Path, name: str) -> Path:
    """A program that prints its arguments, one a line."""
    program = folder / name
    program.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    return program


def test_dist_train_passes_arguments_as_mmseg_does(tmp_path: Path) -> None:
    environment = os.environ | dict(
        PYTHON=str(fake(tmp_path, 'python')), NNODES='3', NODE_RANK='2', MASTER_ADDR='10.0.0.1', PORT='1234'
    )
    options = ['--cfg-options', 'model.name=two words', '--resume']
    done = run('bash', REPO / 'tools/dist_train.sh', 'config.py', 8, *options, env=environment, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        '-m', 'torch.distributed.run', '--nnodes=3', '--node_rank=2', '--master_addr=10.0.0.1', '--nproc_per_node=8',
        '--master_port=1234', str(REPO / 'tools/train.py'), 'config.py', '--launcher', 'pytorch', *options,
    ]  # fmt: skip
    done = run('bash', REPO / 'tools/dist_test.sh', 'config.py', 'a.pth', 2, '--tta', env=environment, cwd=tmp_path)
    assert done.stdout.splitlines()[-6:] == [
        str(REPO / 'tools/test.py'), 'config.py', 'a.pth', '--launcher', 'pytorch', '--tta',
    ]  # fmt: skip


def test_slurm_train_passes_arguments_as_mmseg_does(tmp_path: Path) -> None:
    fake(tmp_path, 'srun')
    environment = os.environ | dict(
        PATH=f'{tmp_path}:{os.environ["PATH"]}', PYTHON='python', GPUS='16', GPUS_PER_NODE='8', SRUN_ARGS='-x bad'
    )
    done = run('bash', REPO / 'tools/slurm_train.sh', 'gpu', 'job', 'config.py', '--amp', env=environment, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        '-p', 'gpu', '--job-name=job', '--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8', '--cpus-per-task=5',
        '--kill-on-bad-exit=1', '-x', 'bad', 'python', '-u', str(REPO / 'tools/train.py'), 'config.py',
        '--launcher=slurm', '--amp',
    ]  # fmt: skip
    done = run('bash', REPO / 'tools/slurm_test.sh', 'gpu', 'job', 'c.py', 'a.pth', env=environment, cwd=tmp_path)
    assert done.stdout.splitlines()[-5:] == ['-u', str(REPO / 'tools/test.py'), 'c.py', 'a.pth', '--launcher=slurm']


CONFIG = """
custom_imports = dict(imports=['mmsam_ext', 'toy'])
default_scope = 'mmseg'
model = dict(type='Toy')
train_dataloader = dict(dataset=dict(type='ToyPoints'), batch_size=2, num_workers=0,
                        sampler=dict(type='InfiniteSampler'), collate_fn=dict(type='default_collate'))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2))
env_cfg = dict(dist_cfg=dict(backend='nccl'))
"""
COMPONENTS = """
from mmseg.registry import DATASETS, MODELS
from tests.toy import ToyData, ToyModel
MODELS.register_module(name='Toy', module=ToyModel)
DATASETS.register_module(name='ToyPoints', module=ToyData)
"""


@pytest.mark.slow
def test_launchers_run_from_another_folder(tmp_path: Path) -> None:
    """A checkout without pip install, any working folder: two ranks, then one with a mistake in its config."""
    (tmp_path / 'toy.py').write_text(COMPONENTS)
    (tmp_path / 'config.py').write_text(CONFIG)
    environment = os.environ | dict(PYTHONPATH=str(tmp_path), PYTHON=sys.executable, PORT=str(free_port()))
    options = dict(env=environment, cwd=tmp_path)
    done = run('bash', REPO / 'tools/dist_train.sh', 'config.py', 2, '--work-dir', 'two', **options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'two/iter_2.pth').exists()
    (tmp_path / 'config.py').write_text(CONFIG.replace("type='Toy'", "type='NoSuchModel'"))
    done = run(sys.executable, REPO / 'tools/train.py', 'config.py', '--work-dir', 'one', **options)
    assert done.returncode != 0
    assert_names(done.stderr, 'NoSuchModel', 'mmseg::model registry')


def test_tools_without_the_packages_name_check_env(tmp_path: Path) -> None:
    done = run(sys.executable, '-I', '-S', '-c', f"""
import runpy, sys
sys.path.insert(0, {str(REPO / 'tools')!r})
sys.argv = ['train.py', 'config.py']
runpy.run_path({str(REPO / 'tools/train.py')!r}, run_name='__main__')
""")  # fmt: skip
    assert done.returncode == 1 and 'ModuleNotFoundError' in done.stderr and 'check_env.py' in done.stderr
