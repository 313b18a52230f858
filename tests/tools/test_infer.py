"""The command line of the inferencer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.cli import infer
from tests.models.small import config, segmentor
from tests.naming import assert_names

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / 'tools' / 'infer.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.py, small.pth, and pictures/: a.png, b.png and a text file."""
    folder = tmp_path_factory.mktemp('infer')
    init_default_scope('mmseg')
    (folder / 'small.py').write_text(Config(dict(model=config())).pretty_text)
    torch.save(segmentor().state_dict(), folder / 'small.pth')
    (folder / 'pictures').mkdir()
    for seed, name in enumerate(('a.png', 'b.png')):
        image = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / 'pictures' / name), image)
    (folder / 'pictures' / 'notes.txt').write_text('no image')
    (folder / 'pictures' / 'broken.png').write_text('no image')
    return folder


def run(files: Path, what: str, *arguments: str) -> int:
    words = [str(files / 'pictures' / what), str(files / 'small.py'), '--weights', str(files / 'small.pth')]
    return infer.main([*words, '--device', 'cpu', *arguments])


def test_table_and_files(files: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / 'out'
    code = run(files, 'a.png', '--box', '5', '6', '70', '50', '--box', '1', '2', '30', '40', '--out', str(out))
    printed = capsys.readouterr().out
    assert code == 0 and str(out) in printed
    inferencer = PromptSegInferencer(files / 'small.py', files / 'small.pth', 'cpu')
    boxes = [[5, 6, 70, 50], [1, 2, 30, 40]]
    want = inferencer(files / 'pictures' / 'a.png', boxes=boxes)['predictions'][0]
    rows = [line.split() for line in printed.splitlines() if 'a.png' in line]
    for row, box, score, mask in zip(rows, boxes, want['scores'], want['masks'], strict=True):
        assert row[1:] == ['box', *map(str, box), f'{score:.3f}', f'{100 * mask.mean():.2f}', '%']
    names = {'a.png', 'a_mask0.png', 'a_mask1.png', 'a_overlay.png', 'scores.csv'}
    assert {path.name for path in out.iterdir() if not path.name.startswith('.')} == names
    written = cv2.imread(str(out / 'a_mask1.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written > 0, want['masks'][1])


def test_points_are_one_prompt_and_labels_default_to_the_object(files: Path, capsys) -> None:
    args = infer.parse(['x', '--point', '1', '2', '--point', '3', '4.5'])
    given = infer.prompts(args)
    assert given['points'].tolist() == [[[1, 2], [3, 4.5]]] and given['point_labels'].tolist() == [[1, 1]]
    args = infer.parse(['x', '--box', '0', '0', '9', '9', '--point', '1', '2', '--label', '0'])
    given = infer.prompts(args)
    assert given['boxes'].tolist() == [[0, 0, 9, 9]] and given['point_labels'].tolist() == [[0]]
    assert run(files, 'a.png', '--point', '10', '20', '--label', '1', '--multimask') == 0
    assert 'point 10 20 label 1' in capsys.readouterr().out


def test_rounds(files: Path, tmp_path: Path, capsys) -> None:
    """``--rounds 2`` is the mask that the model predicts for the box with its first mask as a mask prompt."""
    out = tmp_path / 'out'
    assert run(files, 'a.png', '--box', '5', '6', '70', '50', '--rounds', '2', '--out', str(out)) == 0
    inferencer = PromptSegInferencer(files / 'small.py', files / 'small.pth', 'cpu')
    inferencer.set_image(files / 'pictures' / 'a.png')
    _, _, low_res = inferencer.predict(boxes=[[5, 6, 70, 50]])
    masks, scores, _ = inferencer.predict(boxes=[[5, 6, 70, 50]], masks=low_res)
    np.testing.assert_array_equal(cv2.imread(str(out / 'a_mask0.png'), cv2.IMREAD_UNCHANGED) > 0, masks[0])
    assert f' {scores[0]:.3f}' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        infer.parse(['a.png', '--rounds', '0'])


def test_the_whole_image(files: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / 'out'
    assert run(files, 'a.png', '--whole-image', '--out', str(out)) == 0
    inferencer = PromptSegInferencer(files / 'small.py', files / 'small.pth', 'cpu')
    image = files / 'pictures' / 'a.png'
    want = inferencer(image, boxes=[[0, 0, 1, 1]], box_format='normalized')['predictions'][0]['masks'][0]
    written = cv2.imread(str(out / 'a_mask0.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written > 0, want)
    assert run(files, 'a.png', '--whole-image', '--box', '1', '2', '3', '4') == 2
    assert_names(capsys.readouterr().err, '--whole-image', '--box')


def test_threshold_and_least_area(files: Path, tmp_path: Path, capsys) -> None:
    box = ['--box', '5', '6', '70', '50']
    inferencer = PromptSegInferencer(files / 'small.py', files / 'small.pth', 'cpu')
    image = files / 'pictures' / 'a.png'
    logits = inferencer(image, boxes=[[5, 6, 70, 50]], return_logits=True)['predictions'][0]['logits'][0]
    level = float(np.quantile(1 / (1 + np.exp(-logits)), 0.7))
    assert run(files, 'a.png', *box, '--threshold', str(level), '--min-area', '20', '--out', str(tmp_path / 'out')) == 0
    found = cv2.imread(str(tmp_path / 'out/a_mask0.png'), cv2.IMREAD_UNCHANGED) > 0
    above = (logits > np.log(level / (1 - level))).astype(np.uint8)
    number, regions, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    want = sum(((regions == index) for index in range(1, number) if stats[index, 4] >= 20), np.zeros_like(found))
    np.testing.assert_array_equal(found, want)
    for bad in (['--threshold', '0'], ['--threshold', '1.5'], ['--min-area', '-1']):
        assert run(files, 'a.png', *box, *bad) == 2
        assert_names(capsys.readouterr().err, *bad)


def test_folder_with_a_bad_file(files: Path, capsys) -> None:
    code = run(files, '', '--box', '5', '6', '70', '50', '--batch-size', '2')
    printed = capsys.readouterr()
    assert code == 1 and 'a.png' in printed.out and 'b.png' in printed.out
    *_, last = printed.err.strip().splitlines()
    assert last == f'1 of 3 images could not be used: {files / "pictures" / "broken.png"}'
    assert_names(printed.err, 'broken.png')


def test_stdout_has_the_table_alone_row_by_row(files: Path, capsys, monkeypatch) -> None:
    """Messages go to stderr; the rows of an image are there before the next is segmented."""
    kept = []
    iterate = PromptSegInferencer.iterate

    def watched(*args, **arguments):
        for result in iterate(*args, **arguments):
            yield result
            kept.append(capsys.readouterr())

    monkeypatch.setattr(PromptSegInferencer, 'iterate', watched)
    assert run(files, '', '--box', '5', '6', '70', '50') == 1
    first, second, third, last = *kept, capsys.readouterr()
    assert 'Loads checkpoint' in first.err
    head, row = first.out.splitlines()
    assert head.split() == ['image', 'prompt', 'score', 'area'] and 'a.png' in row and len(head) == len(row)
    assert 'b.png' in second.out and second.out.count('\n') == 1 and third.out == ''
    assert last.out == 'Nothing was written (no --out DIR).\n'


@pytest.mark.parametrize(
    ('what', 'arguments', 'names'),
    [
        ('a.png', [], ('a.png', 'prompt', 'boxes')),
        ('a.png', ['--box', '5', '6', '90', '50'], ('a.png', 'boxes', '80 x 60')),
        ('a.png', ['--point', '1', '2', '--label', '1', '--label', '0'], ('2 --label', '1 --point')),
        ('a.png', ['--box', *'1234', '--box', *'1234', '--point', '1', '2'], ('--box', '--point')),
        ('notes.txt', ['--box', *'1234'], ('notes.txt',)),
        ('none.png', ['--box', *'1234'], ('none.png',)),
        ('a.png', ['--box', *'1234', '--device', 'gpu'], ('device', 'gpu')),
        ('a.png', ['--box', *'1234', '--out', '~nouser/out'], ('~nouser/out',)),
        ('a.png', ['--box', *'1234', '--weights', 'http://127.0.0.1:9/a.pth'], ('http://127.0.0.1:9/a.pth',)),
    ],
)
def test_errors_are_one_line(files: Path, capsys, what: str, arguments: list[str], names: tuple[str, ...]) -> None:
    assert run(files, what, *arguments) == 2
    printed = capsys.readouterr().err
    *before, last = printed.splitlines()
    assert last.startswith('infer: error: ')
    assert_names(last, *names)
    assert all('Loads checkpoint' in line or 'Download' in line for line in before)


@pytest.mark.slow
def test_as_a_process_from_another_folder(files: Path, tmp_path: Path) -> None:
    """A checkout without pip install; an unknown model gets the nearest names, without a traceback."""
    command = [sys.executable, str(SCRIPT), str(files / 'pictures' / 'a.png'), 'sam_tinny', '--box', *'1234']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert_names(done.stderr, 'model', 'sam_tinny', 'sam_tiny_mtd')
