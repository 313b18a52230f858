"""Runs our command line tools: in this process, in a fresh one, or in a fork of one that has everything imported."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

import mmengine.config.config

from tests.shrink import REPO, unique_name

TOOLS = REPO / 'tools'


def run_here(tool: str, *arguments: str | Path) -> None:
    """Run ``tools/<tool>`` in this process."""
    argv, path = sys.argv, list(sys.path)
    # mmengine keeps loggers and visualizers by name, so each run of a process gets its own.
    name = unique_name()
    options = [str(argument) for argument in arguments]
    if '--cfg-options' not in options:
        options.append('--cfg-options')
    options += [f'experiment_name={name}', f'visualizer.name={name}']
    sys.argv = [tool, *options]
    sys.path.insert(0, str(TOOLS))
    try:
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    except SystemExit as error:  # the tools exit with their code
        if error.code not in (0, None):
            raise
    finally:
        sys.argv, sys.path[:] = argv, path


def run_forked(folder: Path, tool: str, *arguments: str | Path, ranks: int = 1, port: int = 0) -> tuple[list, str]:
    """Run ``tools/<tool>`` in processes of its own, which a server forks: the 5 s of imports are paid once a session.

    Args:
        folder: Working directory.
        tool: 'train.py' or 'test.py'.
        arguments: Of the tool.
        ranks: With more than one, a distributed run of so many processes.
        port: Where the ranks meet.

    Returns:
        The exit codes (negative: killed by that signal), and what came on stderr.
    """
    os.environ['PYTHONPATH'] = str(REPO)
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmsam_ext', 'mmseg.apis', 'tests.run_tool'])  # in this order
    errors = folder / 'stderr.txt'
    errors.write_text('')
    options = [str(argument) for argument in arguments]
    children = []
    for rank in range(ranks):
        environment = {}
        if ranks > 1:
            environment = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=ranks, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            options = [*options, '--launcher', 'pytorch'] if '--launcher' not in options else options
        child = context.Process(target=_child, args=(folder, tool, options, environment, errors))
        child.start()
        children.append(child)
    for child in children:
        child.join(120)
        if child.exitcode is None:
            child.kill()
            child.join()
    return [child.exitcode for child in children], errors.read_text()


def _child(folder: Path, tool: str, arguments: list[str], environment: dict, errors: Path) -> None:
    os.environ.update({key: str(value) for key, value in environment.items()})
    os.chdir(folder)
    mmengine.config.config.FormatCode = lambda text, **options: (text, True)  # as shrink.spare_formatting
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with open(errors, 'a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    run_here(tool, *arguments)


def run_process(command: list[str | Path], folder: Path, **environment: str | int) -> str:
    """Run a command to its end, which must be a success, and return what it printed."""
    variables = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHON')}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**variables, **{key: str(value) for key, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f'{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}'
    return done.stdout + done.stderr


def test_results(work_dir: Path) -> dict[str, float]:
    """The numbers that the newest test run left in its work_dir, without its times."""
    newest = max(work_dir.glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    results = json.loads(newest.read_text())
    return {key: value for key, value in results.items() if key not in ('time', 'data_time')}


test_results.__test__ = False
