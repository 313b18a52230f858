"""`fit` from end to end, on cracks of a few pixels and an input so small that a step takes moments."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmsam_ext.apis.fitting import fit
from mmsam_ext.apis.fitting.run import _new_folder
from mmsam_ext.apis.inspection import Decision
from mmsam_ext.cli import inspect_images
from mmsam_ext.datasets.synthetic.cracked_parts import write_cracked_parts
from tests.naming import raises_naming
from tests.shrink import spare_formatting

SETTINGS = dict(size=64, iterations=2, device='cpu')


@pytest.fixture(scope='module')
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_cracked_parts(tmp_path_factory.mktemp('parts'), 10, (64, 64))
    (folder / 'classes.json').write_text('["crack", "dent"]')
    cracked = [path for path in sorted((folder / 'masks').glob('*.png')) if cv2.imread(str(path), 0).any()]
    for index, path in enumerate(cracked):
        cv2.imwrite(str(path), (cv2.imread(str(path), 0) > 0).astype(np.uint8) * (1 + index % 2))
    return folder


@pytest.mark.slow
def test_fit_then_inspect(parts: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """As a user calls it: a step is measured first, and the time is short."""
    spare_formatting(monkeypatch)
    monkeypatch.setattr('mmsam_ext.apis.fitting.plan._LEAST', 2)
    said: list[str] = []
    weights = fit(parts, 'spt', minutes=0.01, out=tmp_path / 'fit', say=said.append, size=64, device='cpu')
    folder = weights.parent
    assert any('10 labelled images' in line for line in said) and any('inspect' in line for line in said)
    decision = Decision.load(weights)
    assert decision.classes == ('crack', 'dent')
    assert len(decision.names) == len((folder / 'val.txt').read_text().split()) and decision.normals == 1
    progress = json.loads((folder / 'progress.json').read_text())
    assert progress['state'] == 'done' and progress['iteration'] == progress['iterations'] == 2
    assert len(progress['losses']) == 2 and progress['scores']
    page = (folder / 'report.html').read_text()
    assert page.count('<svg') >= 2 and 'data:image/jpeg' in page and 'spt on sam_tiny' in page
    code = inspect_images.main([str(parts / 'images'), '--weights', str(weights), '--device', 'cpu', '--recall', '1'])
    found = [': defect' in line for line in capsys.readouterr().out.splitlines() if 'score' in line]
    assert code == inspect_images.DEFECT and len(found) == 10
    config = Config.fromfile(folder / 'config.py')  # an ordinary config
    assert config.train_cfg.max_iters == 2
    with raises_naming(FileExistsError, str(folder)):
        fit(parts, out=folder, **SETTINGS)


def test_a_training_that_fails_says_why(parts: Path, tmp_path: Path, monkeypatch) -> None:
    def fail(*args: object) -> None:
        raise FloatingPointError('iteration 1: loss is not finite')

    monkeypatch.setattr('mmsam_ext.apis.fitting.run.train', fail)
    with pytest.raises(FloatingPointError):
        fit(parts, out=tmp_path / 'fit', say=lambda line: None, **SETTINGS)
    progress = json.loads((tmp_path / 'fit/progress.json').read_text())
    assert progress['state'] == 'failed' and 'loss is not finite' in progress['error']


@pytest.mark.parametrize(
    ('arguments', 'error', 'named'),
    [
        (dict(method='sptt'), ValueError, ('sptt', 'spt')),
        (dict(model='sam_vit_x'), ValueError, ('sam_vit_x', 'sam_vit_b')),
        (dict(minutes=0), ValueError, ('minutes', '0')),
        (dict(model='sam_vit_b'), FileNotFoundError, ('sam_vit_b_01ec64.pth',)),
    ],
)
def test_bad_input(arguments: dict, error: type, named: tuple, parts: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with raises_naming(error, *named):
        fit(parts, **arguments)
    assert not (tmp_path / 'work_dirs').exists()


def test_one_of_two_that_start_at_once_gets_the_folder(tmp_path: Path, monkeypatch) -> None:
    """Both found it empty; the second wrote its config over the first one's, and 'failed' into its progress."""
    stock = Path.iterdir

    def other_is_as_fast(self: Path):
        found = list(stock(self))
        if self.name == 'out' and not found:
            monkeypatch.undo()
            _new_folder(tmp_path, tmp_path / 'out')
        return iter(found)

    monkeypatch.setattr(Path, 'iterdir', other_is_as_fast)
    with raises_naming(FileExistsError, 'out', '--out'):
        _new_folder(tmp_path, tmp_path / 'out')
