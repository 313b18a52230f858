"""Check the installed packages against the versions that are known to work, and print how to fix each problem.

    python -m mmsam_ext check-env
    python tools/check_env.py

Exit code 0 if every required package is right, otherwise 1. Needs only Python itself.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
#: The pinned set, in a checkout and in an installed package alike.
REQUIREMENTS = shlex.quote(str(REPO / 'requirements' / 'runtime.txt'))
TEST_REQUIREMENTS = shlex.quote(str(REPO / 'requirements' / 'dev.txt'))
PYTHON_RANGE = ((3, 10), (3, 13))

#: Distribution -> (lowest version, first version that is too new or None), as in setup.py. The versions that the tests
#: run on are in requirements/*.txt.
NEEDED: dict[str, tuple[str, str | None]] = {
    'torch': ('2.6', None),
    'torchvision': ('0.21', None),
    'mmengine': ('0.10.7', '0.11'),
    'mmsegmentation': ('1.2.2', '1.3'),
    'mmpretrain': ('1.2.0', '1.3'),
    'segment-anything': ('1.0', None),
    'numpy': ('1.24', None),
    'opencv-python': ('4.5', None),
    'pillow': ('9.0', None),
    'matplotlib': ('3.5', None),
    'scipy': ('1.9', None),
    'scikit-image': ('0.20', None),
    'prettytable': ('3.12', None),
    'rich': ('12.0', None),
    'timm': ('0.9', None),
    'safetensors': ('0.4', None),
    'ftfy': ('6.0', None),
    'regex': ('2022', None),
}
#: Packages of the onedl fork of OpenMMLab, by the package that they replace: name, lowest and first too new version.
FORKS: dict[str, tuple[str, str, str | None]] = {
    'mmengine': ('onedl-mmengine', '0.10.12', '0.11'),
    'mmcv': ('onedl-mmcv', '2.3.6', '2.4'),
    'mmsegmentation': ('onedl-mmsegmentation', '1.4.2', '1.5'),
    'mmpretrain': ('onedl-mmpretrain', '1.3.6', '1.4'),
}
MMCV_RANGE = ('2.0.0', '2.2')
NOTES = {
    'ftfy': 'mmsegmentation imports it and does not declare it',
    'regex': 'mmsegmentation imports it and does not declare it',
}
DEVELOPMENT = ('pytest', 'pytest-xdist', 'ruff', 'basedpyright', 'setuptools')
#: Any of these provides the module cv2.
OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')
PYTHON = shlex.quote(sys.executable or 'python')
PIP = f'{PYTHON} -m pip install'
PROBE = """
import json
report = dict(torch=None, torchvision=None, error=None, cuda=False, devices=[])
try:
    import torch
    report.update(torch=torch.__version__, cuda=torch.cuda.is_available())
    report['devices'] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    import torchvision
    report['torchvision'] = torchvision.__version__
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except Exception as error:
    report['error'] = f'{type(error).__name__}: {error}'.splitlines()[0]
print(json.dumps(report))
"""


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: The package or property.
        installed: What is there; '-' for nothing.
        wanted: What is known to work.
        state: The verdict, 'ok' or what differs.
        fix: A command or an advice; empty where there is nothing to do.
        wrong: Whether this makes the exit code 1.
    """

    name: str
    installed: str
    wanted: str
    state: str = 'ok'
    fix: str = ''
    wrong: bool = False


def pinned(folder: Path = REPO / 'requirements') -> dict[str, str]:
    """Return the version of each distribution of the pinned set, for the Python that runs."""
    versions = {}
    for path in sorted(folder.glob('*.txt')):
        for line in path.read_text().splitlines():
            found = re.match(r'([\w.-]+)==([^\s;]+)(?:\s*;\s*python_version\s*(>=|<)\s*"(\d+)\.(\d+)")?', line)
            if not found:
                continue
            name, version, sign, *limit = found.groups()
            newer = sign and sys.version_info[:2] >= tuple(map(int, limit))
            if not sign or newer == (sign == '>='):
                versions[name] = version
    return versions


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: '2.11.0+cu130' -> (2, 11, 0)."""
    return tuple(int(part) for part in re.findall(r'\d+', version.split('+')[0])[:3])


def within(version: str, lowest: str, too_new: str | None) -> bool:
    """Return whether `lowest` <= `version` < `too_new`; None means no upper limit."""
    return numbers(lowest) <= numbers(version) and (too_new is None or numbers(version) < numbers(too_new))


def installed_versions() -> dict[str, str]:
    """Return the version of every installed distribution; names are in lower case with dashes."""
    return {
        (distribution.metadata['Name'] or '').lower().replace('_', '-'): distribution.version
        for distribution in metadata.distributions()
    }


def probe() -> dict:
    """Return what torch and torchvision report, imported in a separate process that a bad pair may crash."""
    done = subprocess.run([sys.executable, '-c', PROBE], capture_output=True, text=True)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ['no output'])[-1]
        return dict(torch=None, torchvision=None, error=f'exit code {done.returncode}: {last}', cuda=False, devices=[])


def check(installed: dict[str, str], report: dict | None, pins: dict[str, str]) -> list[Row]:
    """Compare the environment with what is needed.

    Args:
        installed: Version of each installed distribution.
        report: What :func:`probe` returned; None where torch or torchvision is missing.
        pins: Version of each distribution of the pinned set.
    """
    rows = [_python_row()]
    for name, (lowest, too_new) in NEEDED.items():
        rows.append(_package_row(name, installed, lowest, too_new, pins))
    rows.insert(4, _mmcv_row(installed, pins))  # beside mmengine
    rows.insert(3, _pair_row(installed, report, pins))  # below torchvision
    rows.append(_cuda_row(report))
    for name in DEVELOPMENT:
        row = Row(f'{name} (tests)', installed.get(name, '-'), pins.get(name, 'any'))
        if name not in installed:
            row.state, row.fix = 'not installed', f'{PIP} -r {TEST_REQUIREMENTS}'
        rows.append(row)
    rows.append(_mamba_row(installed, report))
    return rows


def _python_row() -> Row:
    here = sys.version_info[:2]
    row = Row('python', '.'.join(map(str, sys.version_info[:3])), '3.10 to 3.13')
    if not PYTHON_RANGE[0] <= here <= PYTHON_RANGE[1]:
        row.state, row.wrong = 'WRONG', True
        row.fix = 'install Python 3.11 and create the environment with it: python3.11 -m venv .venv'
    return row


def _package_row(name: str, installed: dict[str, str], lowest: str, too_new: str | None, pins: dict[str, str]) -> Row:
    version = installed.get(name)
    if name in FORKS and FORKS[name][0] in installed:
        return _fork_row(name, installed)
    if name == 'opencv-python':
        version = next((installed[other] for other in OPENCV if other in installed), None)
    pin = pins.get(name, lowest)
    row = Row(name, version or '-', pin)
    install = f'{PIP} {name}=={pin}'
    if name in ('torch', 'torchvision'):
        install = _install_pair(pins)
    if version is None:
        row.state, row.fix, row.wrong = 'MISSING', install, True
        if name in NOTES:
            row.fix += f'  # {NOTES[name]}'
    elif not within(version, lowest, too_new):
        row.state, row.fix, row.wrong = 'WRONG', install, True
    elif numbers(version) != numbers(pin):
        row.state = 'differs'  # inside the range that should work, but not the version that the tests run on
    return row


def _fork_row(name: str, installed: dict[str, str]) -> Row:
    """Check a package of the onedl fork, which has the modules of OpenMMLab's package of that name."""
    fork, lowest, too_new = FORKS[name]
    row = Row(name, f'{installed[fork]} ({fork})', f'{lowest} of the onedl fork')
    if name in installed:
        row.state, row.wrong = f'WRONG ({name} {installed[name]} and {fork} overwrite one another)', True
        row.fix = f'{PYTHON} -m pip uninstall -y {name} {fork} && {PIP} {fork}=={lowest}'
    elif not within(installed[fork], lowest, too_new):
        row.state, row.wrong, row.fix = 'WRONG', True, f'{PIP} {fork}=={lowest}'
    return row


def _install_pair(pins: dict[str, str]) -> str:
    return f'{PIP} torch=={pins.get("torch", "2.11.0")} torchvision=={pins.get("torchvision", "0.26.0")}'


def _pair_row(installed: dict[str, str], report: dict | None, pins: dict[str, str]) -> Row:
    """Check the pair: torch 2.N needs torchvision 0.(N + 15), and both must have the same build (+cpu, +cu130, ...)."""
    row = Row('torch and torchvision', '-', 'a matching pair')
    torch, vision = installed.get('torch'), installed.get('torchvision')
    if torch is None or vision is None or report is None:
        row.state = 'unknown'  # the rows above say what is missing
        return row
    torch, vision = report['torch'] or torch, report['torchvision'] or vision
    row.installed = f'{torch} / {vision}'
    releases = (numbers(torch), numbers(vision))
    builds = {version.split('+')[1] for version in (torch, vision) if '+' in version}
    problem = report['error']
    if problem is None and releases[0][0] == 2 and releases[1][1] != releases[0][1] + 15:
        problem = f'torch {torch} needs torchvision 0.{releases[0][1] + 15}'
    if problem is None and len(builds) > 1:
        problem = f'different builds: {" and ".join(sorted(builds))}'
    if problem is not None:
        row.state, row.wrong = f'WRONG ({problem})', True
        row.fix = f'{PYTHON} -m pip uninstall -y torch torchvision && {_install_pair(pins)}'
    return row


def _mmcv_row(installed: dict[str, str], pins: dict[str, str]) -> Row:
    full, lite = installed.get('mmcv'), installed.get('mmcv-lite')
    lite_pin = pins.get('mmcv-lite', '2.1.0')
    row = Row('mmcv or mmcv-lite', '-', f'{lite_pin}, one of them')
    install_lite = f'{PIP} mmcv-lite=={lite_pin}'
    if FORKS['mmcv'][0] in installed and lite is None:
        return _fork_row('mmcv', installed)
    if full is None and lite is None:
        row.state, row.fix, row.wrong = 'MISSING', install_lite, True
    elif full is not None and lite is not None:
        row.installed = f'mmcv {full} and mmcv-lite {lite}'
        row.state, row.wrong = 'WRONG (they overwrite each other; keep one)', True
        row.fix = f'{PYTHON} -m pip uninstall -y mmcv mmcv-lite && {install_lite}'
    else:
        version = full or lite
        row.installed = f'{version} ({"full" if full else "lite, no compiled operators"})'
        if not within(version, *MMCV_RANGE):
            row.state, row.wrong = f'WRONG (mmsegmentation 1.2 needs {MMCV_RANGE[0]} to below {MMCV_RANGE[1]})', True
            row.fix = f'{PYTHON} -m pip uninstall -y mmcv mmcv-lite && {install_lite}'
        elif numbers(version) != numbers(lite_pin):
            row.state = 'differs'
    return row


def _cuda_row(report: dict | None) -> Row:
    row = Row('GPU', 'none found', 'optional')
    if report and report['cuda']:
        row.installed = ', '.join(report['devices'])
    else:
        row.state = 'CPU only'
        if report and '+cpu' in str(report['torch']):
            row.fix = 'this is a CPU build of torch; to use a GPU, install CUDA builds of torch and torchvision'
    return row


def _mamba_row(installed: dict[str, str], report: dict | None) -> Row:
    row = Row('mamba-ssm', installed.get('mamba-ssm', '-'), 'optional', 'not installed')
    if 'mamba-ssm' in installed:
        row.state = 'ok' if report and report['cuda'] else 'unused (without a GPU the scan in PyTorch runs)'
    return row


def table(rows: list[Row]) -> str:
    """Return the rows as text with aligned columns (by hand, since prettytable may be missing)."""
    cells = [('package', 'installed', 'wanted', 'state')]
    cells += [(row.name, row.installed, row.wanted, row.state) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]  # noqa: B905
    lines.insert(1, '  '.join('-' * width for width in widths))
    return '\n'.join(lines)


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table and the fixes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)  # there are none but --help
    installed = installed_versions()
    both = 'torch' in installed and 'torchvision' in installed
    rows = check(installed, probe() if both else None, pinned())
    print(table(rows))
    fixes = [(row.name, row.fix) for row in rows if row.fix]
    if fixes:
        print('\nHow to fix it:')
        print('\n'.join(f'  {name}: {fix}' for name, fix in fixes))
    wrong = [row.name for row in rows if row.wrong]
    if wrong:
        print(f'\nProblems: {", ".join(wrong)}. To install the whole pinned set: {PIP} -r {REQUIREMENTS}')
        return 1
    print('\nAll required packages are installed.')
    if 'mmcv-lite' in installed:
        print('With mmcv-lite, import mmsam_ext before mmseg.apis or mmseg.models.')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
