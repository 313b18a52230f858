from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Browser


@pytest.fixture
def browser() -> Iterator[Browser]:
    folder = tempfile.mkdtemp()
    opened = Browser(Path(folder))
    yield opened
    opened.close()
    shutil.rmtree(folder, ignore_errors=True)
