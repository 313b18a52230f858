"""Time and peak memory of work, for the commands that measure."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parents[1]
#: What `peak_memory_mb` means, by type of device.
MEMORY_KIND = {
    'cpu': 'peak resident memory of the whole measuring process, PyTorch itself included',
    'cuda': 'torch.cuda.max_memory_allocated',
}


class DeviceError(ValueError):
    """A device that PyTorch cannot use on this machine."""


def pick_device(name: str) -> torch.device:
    """Return the device for 'auto' (a GPU if there is one), 'cpu', 'cuda' or 'cuda:1'.

    Raises:
        DeviceError: PyTorch does not know the device, or a GPU is named and there is none.
    """
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f'device {name!r} is unknown to PyTorch; expected auto, cpu, cuda, cuda:1, ...') from error
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise DeviceError(f'device {name!r}: this machine has no GPU that PyTorch can use; expected auto or cpu')
    return device


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or 'cpu (2 threads)'."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device.type} ({torch.get_num_threads()} threads)'


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory so far in MB (2**20 bytes); :data:`MEMORY_KIND` says of what."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Linux passes a parent's peak on to its children in ru_maxrss, so it is only the second choice.
    status = _status('VmHWM')
    if status is not None:
        return status
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == 'darwin' else peak / 1024


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak memory so far; nothing on a CPU where the system cannot do so (only Linux can)."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')


def memory_mb(device: torch.device) -> float:
    """Return the memory held now in MB; the peak so far where the system does not report it."""
    if device.type == 'cuda':
        return torch.cuda.memory_allocated(device) / 2**20
    status = _status('VmRSS')
    return peak_memory_mb(device) if status is None else status


def _status(field: str) -> float | None:
    """Return a field of this process's status on Linux in MB; None elsewhere."""
    path = Path('/proc/self/status')
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith(f'{field}:'):
                return int(line.split()[1]) / 1024
    return None


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that `work` takes, including what it puts into the GPU's queue."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def run_child(command: Sequence[str | Path]) -> dict:
    """Run Python with a command line (a script, or ``-m mmsam_ext COMMAND``) in a separate process.

    Returns:
        The JSON object that is the last line it prints.

    Raises:
        RuntimeError: The process failed; the message has the end of its stderr.
    """
    words = [str(word) for word in command]
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get('PYTHONPATH')])]  # a checkout need not be installed
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f'{" ".join(words)} failed ({done.returncode}):\n{done.stderr[-3000:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])
