"""The simulated user of the end-to-end script; the rest of it is tested where it lives."""

from __future__ import annotations

import runpy
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsam_ext.cli.annotate import make_server, parse
from mmsam_ext.cli.main import run_command
from mmsam_ext.datasets.synthetic.cracked_parts import write_cracked_parts
from tests.naming import assert_names

SCRIPT = Path(__file__).resolve().parents[2] / 'tools/analysis/photograph_to_decision.py'


def test_the_user_labels_through_the_page(tmp_path: Path) -> None:
    folder = write_cracked_parts(tmp_path / 'parts', 3, (64, 64))
    server = make_server(parse([str(folder / 'images'), '--out', str(tmp_path / 'dataset'), '--device', 'cpu']))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    user = runpy.run_path(str(SCRIPT))['User'](server)
    ious = []
    for path in sorted((folder / 'masks').glob('*.png')):
        truth = cv2.imread(str(path), 0) > 0
        user.label(path.stem, truth)
        saved = cv2.imread(str(tmp_path / 'dataset/masks' / path.name), cv2.IMREAD_UNCHANGED) > 0
        assert saved.any() or not truth.any() or user.ious[-1] == 0
        ious += [(saved & truth).sum() / (saved | truth).sum()] if truth.any() else []
    assert user.call('state')['done'] == 3 and user.actions >= 3 + len(ious)
    assert user.ious == pytest.approx([float(one) for one in ious]) and np.mean(ious) > 0.2
    server.shutdown()
    server.server_close()
    server.service.store.close()


def test_a_folder_with_files_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any command: one line that names the folder, and no traceback, though the script itself raises the error."""
    monkeypatch.setattr(sys, 'argv', ['x'])
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(SystemExit) as stopped:
        run_command('photograph-to-decision', ['--out', str(tmp_path)])
    assert_names(str(stopped.value), 'photograph-to-decision: error', str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']
