"""Every format gives the masks back that went into it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsam_ext.apis.errors import InferenceError
from mmsam_ext.apis.exchange import WRITERS, read_labels, read_source, write_dataset
from mmsam_ext.apis.exchange.outlines import fill, image_rle, polygons, with_bridges
from mmsam_ext.apis.rle import decode_rle
from mmsam_ext.utils.result_files import ResultFolder
from tests.naming import raises_naming

CLASSES = ('crack', 'dent')


def labels() -> np.ndarray:
    """A ring with two holes, a diagonal line, a pixel in the corner, and a bar of the second class."""
    found = np.zeros((50, 70), np.uint8)
    found[5:30, 5:35] = 1
    found[10:14, 9:15] = 0
    found[18:25, 20:31] = 0
    cv2.line(found, (45, 5), (65, 20), 1, 1)
    found[49, 69] = 1
    found[40:44, 10:50] = 2
    return found


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two images: one with all of the above, one without a defect."""
    for name in ('images/a', 'masks/a'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    for name, mask in (('a/one', labels()), ('two', np.zeros((20, 30), np.uint8))):
        cv2.imwrite(str(tmp_path / f'data/images/{name}.png'), np.full((*mask.shape, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f'data/masks/{name}.png'), mask)
    (tmp_path / 'data/classes.json').write_text(json.dumps(CLASSES))
    return tmp_path / 'data'


@pytest.mark.parametrize('kind', ['labelme', 'yolo'])
def test_there_and_back(kind: str, dataset: Path, tmp_path: Path) -> None:
    out, back = tmp_path / kind, tmp_path / 'back'
    assert WRITERS[kind](read_source(dataset), ResultFolder(out)) == 2
    read = read_labels(out / 'labels' if kind == 'yolo' else out, dataset / 'images')
    assert write_dataset(read, back) == 2
    order = json.loads((back / 'classes.json').read_text())
    assert sorted(order) == sorted(CLASSES)
    found = cv2.imread(str(back / 'masks/a/one.png'), cv2.IMREAD_UNCHANGED)
    for label, name in enumerate(CLASSES, 1):
        np.testing.assert_array_equal(found == order.index(name) + 1, labels() == label)
    assert not cv2.imread(str(back / 'masks/two.png'), cv2.IMREAD_UNCHANGED).any()


def test_coco_there_and_back(dataset: Path, tmp_path: Path) -> None:
    WRITERS['coco'](read_source(dataset), ResultFolder(tmp_path / 'coco'))
    content = json.loads((tmp_path / 'coco/annotations.json').read_text())
    assert [one['name'] for one in content['categories']] == list(CLASSES)
    assert len(content['images']) == 2 and len(content['annotations']) == 4
    for one in content['annotations']:
        mask = decode_rle(one['segmentation'])
        assert mask.shape == (50, 70) and mask.sum() == one['area']
        assert list(cv2.boundingRect(mask.astype(np.uint8))) == one['bbox']
    flat = tmp_path / 'flat'
    flat.mkdir()
    for path in (dataset / 'images').rglob('*.png'):
        (flat / path.name).write_bytes(path.read_bytes())
    write_dataset(read_labels(tmp_path / 'coco/annotations.json', flat), tmp_path / 'back')
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'back/masks/one.png'), cv2.IMREAD_UNCHANGED), labels())


def test_pycocotools_reads_coco(dataset: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip('pycocotools.coco')
    WRITERS['coco'](read_source(dataset), ResultFolder(tmp_path))
    read = coco.COCO(str(tmp_path / 'annotations.json'))
    union = np.zeros((50, 70), np.uint8)
    for one in read.loadAnns(read.getAnnIds()):
        union[read.annToMask(one) > 0] = one['category_id']
    np.testing.assert_array_equal(union, labels())


def test_masks_there_and_back(dataset: Path, tmp_path: Path) -> None:
    WRITERS['masks'](read_source(dataset), ResultFolder(tmp_path / 'out'))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'out/masks/a/one.png'), cv2.IMREAD_UNCHANGED), labels())
    assert json.loads((tmp_path / 'out/classes.json').read_text()) == list(CLASSES)


def test_csv(dataset: Path, tmp_path: Path) -> None:
    WRITERS['csv'](read_source(dataset), ResultFolder(tmp_path))
    rows = (tmp_path / 'defects.csv').read_text().splitlines()
    assert len(rows) == 5 and rows[-1].split(',')[1:] == ['dent', '', '10', '40', '40', '4', '160']


@pytest.mark.parametrize('seed', range(20))
def test_polygons_and_run_lengths_of_random_masks(seed: int) -> None:
    """Filled outlines without their holes are the mask; run lengths of a box are those of the whole image."""
    rng = np.random.default_rng(seed)
    mask = cv2.resize(rng.random((9, 12)).astype(np.float32), (48, 36)) > 0.45
    again = np.zeros_like(mask)
    for outline, holes in polygons(mask):
        again |= fill([outline, *holes], 36, 48)
        np.testing.assert_array_equal(fill([with_bridges(outline, holes)], 36, 48) & ~mask, np.zeros_like(mask))
    np.testing.assert_array_equal(again, mask)
    for box in ((0, 0, 48, 36), (3, 5, 20, 30), (28, 6, 20, 30)):
        x, y, width, height = box
        part = np.zeros_like(mask)
        part[y : y + height, x : x + width] = mask[y : y + height, x : x + width]
        rle = image_rle(mask[y : y + height, x : x + width], box, 36, 48)
        np.testing.assert_array_equal(decode_rle(rle), part)


def test_bad_labels(dataset: Path, tmp_path: Path) -> None:
    images = dataset / 'images'
    with raises_naming(InferenceError, 'nowhere'):
        read_labels(tmp_path / 'nowhere', images)
    folder = tmp_path / 'yolo'
    (folder / 'labels').mkdir(parents=True)
    (folder / 'labels/two.txt').write_text('7 0.1 0.1 0.2 0.2 0.1 0.3\n')
    with raises_naming(InferenceError, 'data.yaml'):
        read_labels(folder / 'labels', images)
    (folder / 'classes.txt').write_text('crack\n')
    with raises_naming(InferenceError, 'two.txt', 'line 1'):
        list(read_labels(folder / 'labels', images).images)
    (folder / 'labels/two.txt').rename(folder / 'labels/three.txt')
    with raises_naming(InferenceError, 'three'):
        list(read_labels(folder / 'labels', images).images)
    shapes = [dict(label='a', shape_type='spline', points=[[1, 1], [2, 2]])]
    (tmp_path / 'me').mkdir()
    (tmp_path / 'me/two.json').write_text(json.dumps(dict(shapes=shapes, imageHeight=20, imageWidth=30)))
    with raises_naming(InferenceError, 'two.json', 'spline'):
        list(read_labels(tmp_path / 'me', images).images)
    (tmp_path / 'me/two.json').write_text(json.dumps(dict(shapes=shapes, imageHeight=21, imageWidth=30)))
    with raises_naming(InferenceError, 'two.json', '21'):
        list(read_labels(tmp_path / 'me', images).images)
    with raises_naming(InferenceError, str(tmp_path)):
        read_source(tmp_path)
