"""Prompts of each image from a file, or from words."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsam_ext.apis import InferenceError, PromptSegInferencer, text_prompts
from mmsam_ext.apis.image_inputs import list_sources
from mmsam_ext.apis.outside_prompts import file_prompts
from mmsam_ext.cli import infer
from mmsam_ext.models.automatic import BoxSource, TextBoxes
from tests import grounding_dino
from tests.models.small import config, segmentor
from tests.naming import assert_names, raises_naming

SIZES = {'a.png': (60, 80), 'b.png': (50, 70), 'c.png': (60, 80)}
BOXES = {'a.png': [[5, 6, 65, 44], [1, 2, 29, 38]], 'b.png': [[10, 20, 30, 25]]}  # x y width height


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """small.py, small.pth, and pictures/ with a.png, b.png and c.png."""
    folder = tmp_path_factory.mktemp('outside')
    init_default_scope('mmseg')
    (folder / 'small.py').write_text(Config(dict(model=config())).pretty_text)
    torch.save(segmentor().state_dict(), folder / 'small.pth')
    (folder / 'pictures').mkdir()
    for seed, (name, size) in enumerate(SIZES.items()):
        image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / 'pictures' / name), image)
    return folder


@pytest.fixture(scope='module')
def inferencer(folder: Path) -> PromptSegInferencer:
    return PromptSegInferencer(folder / 'small.py', folder / 'small.pth', 'cpu')


def results() -> list[dict]:
    """As a detector writes them; one image is not there."""
    rows = [
        dict(file_name=f'pictures/{name}', category_id=1, bbox=box, score=0.9 - 0.2 * number, phrase='scratch')
        for name, boxes in BOXES.items()
        for number, box in enumerate(boxes)
    ]
    return [*rows, dict(file_name='pictures/elsewhere.png', category_id=1, bbox=[1, 2, 3, 4], score=0.5)]


def as_csv(rows: list[dict]) -> str:
    lines = [','.join(map(str, (row['file_name'], *row['bbox'], row['score']))) for row in rows]
    return '\n'.join(['file_name,x,y,width,height,score', *lines])


def as_annotations(rows: list[dict]) -> dict:
    names = sorted({row['file_name'] for row in rows})
    annotations = [
        dict(id=number, image_id=names.index(row['file_name']), category_id=1, bbox=row['bbox'])
        for number, row in enumerate(rows)
    ]
    crowd = dict(id=99, image_id=0, category_id=1, bbox=[0, 0, 9, 9], iscrowd=1)
    images = [dict(id=number, file_name=name) for number, name in enumerate(names)]
    categories = [dict(id=1, name='scratch')]
    return dict(images=images, annotations=[*annotations, crowd], categories=categories)


def write(path: Path, kind: str) -> Path:
    rows = results()
    text = {
        'result.json': json.dumps(rows),
        'boxes.csv': as_csv(rows),
        'annotations.json': json.dumps(as_annotations(rows)),
    }
    (path / kind).write_text(text[kind])
    return path / kind


@pytest.mark.parametrize('kind', ['result.json', 'boxes.csv', 'annotations.json'])
def test_each_image_has_the_prompts_of_its_name(
    kind: str, folder: Path, inferencer: PromptSegInferencer, tmp_path: Path, logged: io.StringIO
) -> None:
    file = write(tmp_path, kind)
    found = inferencer(folder / 'pictures', prompts=file, batch_size=2, show_progress=False)
    assert not found['failed'] and [Path(one['path']).name for one in found['predictions']] == list(SIZES)
    for one in found['predictions']:
        name = Path(one['path']).name
        if name == 'c.png':
            assert one['masks'].shape == (0, *SIZES[name]) and not one['union'].any() and one['prompts'] == []
            continue
        boxes = np.array(BOXES[name], float)
        boxes[:, 2:] += boxes[:, :2]
        expected = inferencer(folder / 'pictures' / name, boxes=boxes, box_format='xyxy')['predictions'][0]
        np.testing.assert_array_equal(one['masks'], expected['masks'])
        np.testing.assert_allclose(one['scores'], expected['scores'], atol=1e-5)
        prefix = '' if kind == 'boxes.csv' else 'scratch: '
        assert one['prompts'] == [prefix + text for text in expected['prompts']]
    assert_names(logged.getvalue(), '1 of 3 images in', kind, 'pictures/elsewhere.png')
    assert_names(logged.getvalue(), '1 of 3 images have no prompts', 'c.png')


def test_boxes_are_clipped_and_those_without_area_left_out(
    folder: Path, inferencer: PromptSegInferencer, tmp_path: Path, logged: io.StringIO
) -> None:
    rows = [dict(file_name='a.png', bbox=box) for box in ([-5, 10, 30, 20], [90, 5, 10, 10], [3, 3, 0, 5])]
    (tmp_path / 'boxes.json').write_text(json.dumps(rows))
    found = inferencer(folder / 'pictures/a.png', prompts=tmp_path / 'boxes.json', out_dir=tmp_path / 'out')
    (one,) = found['predictions']
    expected = inferencer(folder / 'pictures/a.png', boxes=[[0, 10, 25, 30]])['predictions'][0]
    np.testing.assert_array_equal(one['masks'], expected['masks'])
    assert_names(logged.getvalue(), '2 of 3 boxes', 'a.png', '80 x 60', '[90.0, 5.0, 100.0, 15.0]')
    assert {path.name for path in (tmp_path / 'out').glob('*mask*')} == {'a_mask0.png'}


def test_boxes_and_points_of_one_image(folder: Path, inferencer: PromptSegInferencer, tmp_path: Path) -> None:
    rows = [
        dict(file_name='a.png', bbox=[5, 6, 20, 30]),
        dict(file_name='a.png', points=[[10, 12, 1], [40, 50, 0]]),
        dict(file_name='a.png', bbox=[5, 6, 20, 30], points=[[7, 9, 1]], score=0.2),
    ]
    (tmp_path / 'mixed.json').write_text(json.dumps(rows))
    found = inferencer(folder / 'pictures/a.png', prompts=tmp_path / 'mixed.json')['predictions'][0]
    inferencer.set_image(folder / 'pictures/a.png')
    box = inferencer.predict(boxes=[5, 6, 25, 36])
    points = inferencer.predict(points=[[10, 12], [40, 50]], point_labels=[1, 0])
    both = inferencer.predict(boxes=[5, 6, 25, 36], points=[[[7, 9]]], point_labels=[[1]])
    for row, expected in enumerate((box, points, both)):
        assert found['scores'][row] == pytest.approx(expected[1][0], abs=1e-5), found['prompts'][row]
        assert np.count_nonzero(found['masks'][row] != expected[0][0]) <= 3
    sources = list_sources(folder / 'pictures/a.png')
    (few,) = file_prompts(str(tmp_path / 'mixed.json'), sources, min_score=0.5)
    assert few.number == 2, 'a missing score counts as 1'
    (none,) = file_prompts(str(tmp_path / 'mixed.json'), sources, min_score=1.5)
    assert none.number == 0


BAD = {
    'none of the images': (
        [dict(file_name='x.png', bbox=[1, 2, 3, 4]), dict(file_name='y.png', bbox=[1, 2, 3, 4])],
        ('bad.json', 'none of its 2 images', 'x.png', 'y.png', 'a.png'),
    ),
    'ids alone': ([dict(image_id=1, bbox=[1, 2, 3, 4])], ('bad.json', 'image_id', 'file_name')),
    'no prompt': ([dict(file_name='a.png')], ('bad.json', 'entry 0', 'bbox', 'points')),
    'a word': ([dict(file_name='a.png', bbox=[1, 2, 3, 'x'])], ('bad.json', 'entry 0', 'bbox', 'x')),
    'empty': ([], ('bad.json', 'empty list')),
    'unknown category': (
        dict(images=[dict(id=1, file_name='a.png')], categories=[],
             annotations=[dict(id=3, image_id=1, category_id=7, bbox=[1, 2, 3, 4])]),
        ('bad.json', 'annotation 3', 'category_id 7'),
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD)
def test_bad_files(case: str, folder: Path, inferencer: PromptSegInferencer, tmp_path: Path) -> None:
    content, names = BAD[case]
    (tmp_path / 'bad.json').write_text(json.dumps(content))
    with raises_naming(InferenceError, *names):
        inferencer(folder / 'pictures', prompts=tmp_path / 'bad.json')


def test_bad_calls(folder: Path, inferencer: PromptSegInferencer, tmp_path: Path) -> None:
    with raises_naming(InferenceError, 'none.csv'):
        inferencer(folder / 'pictures', prompts='none.csv')
    file = write(tmp_path, 'result.json')
    with raises_naming(InferenceError, 'prompts', 'boxes'):
        inferencer(folder / 'pictures', prompts=file, boxes=[1, 2, 3, 4])
    with raises_naming(InferenceError, 'array 0', 'result.json'):
        inferencer(np.zeros((60, 80, 3), np.uint8), prompts=file)
    with raises_naming(InferenceError, '0', '3 images'):
        inferencer(folder / 'pictures', prompts=[])


class OneBox(BoxSource):
    """Finds a box in images of 60 rows, and a second one outside of them."""

    def find(self, image, captions, kind, sample) -> TextBoxes:
        assert image.dtype == torch.uint8 and captions == ['scratch.'] and sample['img_path'].endswith('.png')
        number = 2 if image.shape[1] == 60 else 0
        boxes = torch.tensor([[95.0, 5, 99, 9], [5, 6, 70, 80]])[:number]
        return TextBoxes(boxes, torch.tensor([0.4, 0.8])[:number], ('', 'scratch')[:number], torch.zeros(number).long())


def test_boxes_by_words(folder: Path, inferencer: PromptSegInferencer) -> None:
    prompts = text_prompts(inferencer, folder / 'pictures', ' Scratch', OneBox())
    found = inferencer(folder / 'pictures', prompts=prompts, show_progress=False)['predictions']
    expected = inferencer(folder / 'pictures/a.png', boxes=[5, 6, 70, 60])['predictions'][0]
    np.testing.assert_array_equal(found[0]['masks'], expected['masks'])
    assert found[0]['prompts'] == ['scratch 0.80: box 5 6 70 60'] and len(found[1]['masks']) == 0
    with raises_naming(InferenceError, "' . '"):
        text_prompts(inferencer, folder / 'pictures', ' . ', OneBox())


def command(folder: Path, *arguments: str, image: str = '') -> int:
    words = [str(folder / 'pictures' / image), str(folder / 'small.py'), '--weights', str(folder / 'small.pth')]
    return infer.main([*words, '--device', 'cpu', *arguments])


def test_command_with_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = write(tmp_path, 'result.json')
    assert command(folder, '--prompts', str(file), '--out', str(tmp_path / 'out')) == 0
    printed = capsys.readouterr().out
    assert printed.count('scratch: box') == 3 and 'c.png  none' in printed
    table = (tmp_path / 'out/scores.csv').read_text().splitlines()
    assert len(table) == 5 and [line for line in table if 'c.png' in line and ',none,' in line]
    assert command(folder, '--prompts', str(file), '--min-score', '0.8') == 0
    assert capsys.readouterr().out.count('scratch: box') == 2


ERRORS = [
    (['--prompts', 'none.csv'], ('none.csv',)),
    (['--prompts', 'x.csv', '--box', '1', '2', '3', '4'], ('--prompts', '--box')),
    (['--prompts', 'x.csv', '--text', 'dent.'], ('--prompts', '--text')),
    (['--min-score', '0.5', '--box', '1', '2', '3', '4'], ('--min-score', '0.5')),
    (['--text', ' . '], ("' . '",)),
]


@pytest.mark.parametrize(('arguments', 'names'), ERRORS)
def test_command_errors(folder: Path, arguments: list[str], names: tuple, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip('transformers') if names[0].startswith("'") else None
    assert command(folder, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('infer: error: ')
    assert_names(error, *names)


def test_command_without_transformers(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'transformers', None)
    assert command(folder, '--text', 'scratch.') == 2
    assert_names(capsys.readouterr().err, 'transformers', 'pip install "mmsam_ext[text]"')


@pytest.mark.slow
def test_command_with_words(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """GroundingDINO, saved in a folder, the model and the files, from end to end."""
    detector = grounding_dino.save(tmp_path / 'detector')
    words = ['--text', 'Scratch. Dent', '--detector', str(detector), '--min-score']
    assert command(folder, *words, '0.0', '--out', str(tmp_path / 'out'), image='b.png') == 0
    printed = capsys.readouterr().out
    assert 1 <= printed.count('b.png') <= 20 and 'box' in printed
    assert (tmp_path / 'out/b_mask0.png').is_file()
    assert command(folder, *words, '1', image='b.png') == 0
    assert 'b.png  none' in capsys.readouterr().out, 'nothing has a probability above 1'
    assert command(folder, '--text', 'scratch dent ' * 10, '--detector', str(detector)) == 2
    assert_names(capsys.readouterr().err, 'scratch dent', '23 tokens', '16')
    assert command(folder, '--text', 'scratch', '--detector', str(tmp_path)) == 2
    assert_names(capsys.readouterr().err, '--detector', str(tmp_path))
