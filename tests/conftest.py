"""Fixtures and helpers that all tests share."""

from __future__ import annotations

import io
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: tests run side by side on few cores, and pictures are drawn without a display.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import mmsam_ext  # noqa: F401  (compat must be applied before any test imports mmseg)

# As a Runner sets it: else what a name in a config means would depend on the tests that ran before.
init_default_scope('mmseg')

REPO = Path(__file__).resolve().parents[1]


def find_data(name: str) -> Path:
    """Folder of a data set, in ``data/`` or ``../shared/data/``; skips the test that asks where it is in neither.

    Use it inside a test or a fixture: ``from tests.conftest import find_data``.
    """
    for root in (REPO / 'data', REPO.parent / 'shared' / 'data'):
        if (root / name).is_dir():
            return root / name
    pytest.skip(f'needs the data set `{name}` in data/ or ../shared/data/')


def free_port() -> int:
    """A TCP port that nobody listens on, for a distributed run of a test."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged to the terminal, whatever level an earlier test in this process has set."""
    stream = io.StringIO()
    logger = MMLogger.get_current_instance()
    handler = next(one for one in logger.handlers if type(one) is logging.StreamHandler)
    monkeypatch.setattr(handler, 'stream', stream)
    monkeypatch.setattr(handler, 'level', logging.INFO)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield stream
    logger.setLevel(level)
