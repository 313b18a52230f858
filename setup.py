"""Packaging of mmsam_ext: ``pip install -e .`` to work on it, ``pip install -e .[dev]`` with the tools of the tests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
#: Folders that an installed package has in its ``.mim/``, where OpenMMLab's packages have theirs.
SHIPPED = ('configs', 'tools', 'requirements')
#: Scripts that make or check a checkout's own environment.
NOT_SHIPPED = ('__pycache__', 'quickstart.sh', 'run_tests.sh', 'setup_env.sh')


def version() -> str:
    """Read ``__version__`` of the package without importing it, which needs torch."""
    return re.search(r"^__version__ = '(.+)'$", (ROOT / 'mmsam_ext/__init__.py').read_text(), re.MULTILINE).group(1)


def requirements(name: str) -> list[str]:
    """Return the lines of ``requirements/NAME.txt`` that are requirements."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


class BuildWithConfigs(build_py):
    """Copy ``configs/``, ``tools/`` and ``requirements/`` into the package's ``.mim/``.

    A checkout, and what ``pip install -e`` installs, needs no copy.
    """

    def run(self) -> None:
        """Build the package, then copy the configs into it."""
        super().run()
        if getattr(self, 'editable_mode', False):
            return
        target = Path(self.build_lib) / 'mmsam_ext/.mim'
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for folder in SHIPPED:
            shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns(*NOT_SHIPPED))


setup(
    cmdclass={'build_py': BuildWithConfigs},
    name='mmsam_ext',
    version=version(),
    description='Promptable SAM, and its published improvements, as ordinary MMSegmentation models',
    long_description=(ROOT / 'README.md').read_text() if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmsam_ext', 'mmsam_ext.*']),
    package_data={'mmsam_ext': ['assets/*']},
    python_requires='>=3.10',
    # Ranges that are known to work; requirements/runtime.txt has the pinned set. Neither mmcv nor mmcv-lite is listed:
    # the package needs one of them, and both together overwrite one another. tools/check_env.py reports it when both
    # are missing.
    install_requires=[
        'torch>=2.6',
        'torchvision>=0.21',
        'mmengine>=0.10.7,<0.11',
        'mmsegmentation>=1.2.2,<1.3',
        'mmpretrain>=1.2.0,<1.3',
        'segment-anything==1.0',
        'numpy',
        'opencv-python',
        'pillow',
        'matplotlib',
        'prettytable>=3.12',
        'rich',
        'scikit-image',
        'scipy',
        'timm',
        'safetensors',
        'ftfy',
        'regex',
    ],
    extras_require={name: requirements(name) for name in ('dev', 'mamba', 'coco', 'text', 'export', 'hub')},
)
