"""Masks and images of every kind that occurs, and a clear error for those that should not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmsam_ext.datasets import LoadBinaryMask, check_image_file, read_binary_mask
from tests.naming import raises_naming

TRUTH = np.zeros((40, 60), np.uint8)
TRUTH[8:30, 10:35] = 1


def encode(array: np.ndarray, suffix: str = 'PNG', mode: str | None = None, **options) -> bytes:
    buffer = BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, suffix, **options)
    return buffer.getvalue()


def palette_png(labels: np.ndarray) -> bytes:
    image = Image.fromarray(labels)
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    buffer = BytesIO()
    image.save(buffer, 'PNG')
    return buffer.getvalue()


@pytest.mark.parametrize(
    'content',
    [
        encode(TRUTH),
        encode(TRUTH * 255),
        encode(TRUTH * 255, 'BMP'),
        encode(TRUTH * 255, 'TIFF'),
        encode(TRUTH * 255, 'JPEG', quality=60),
        encode(TRUTH * 255, 'WEBP', quality=60),
        encode(TRUTH * 255, mode='RGB'),
        encode(TRUTH * 255, mode='RGBA'),
        encode(TRUTH * 255, mode='LA'),
        encode(TRUTH * 255, mode='1'),
        encode(TRUTH.astype(np.uint16) * 65535),
        encode(TRUTH.astype(np.uint16)),
        encode(TRUTH.astype(np.int32), 'TIFF'),
        palette_png(TRUTH),
        palette_png(TRUTH * 255),
    ],
    ids=[
        '0/1',
        '0/255',
        'bmp',
        'tif',
        'jpg',
        'webp',
        'rgb',
        'rgba',
        'la',
        '1-bit',
        '16-bit',
        '16-bit-0/1',
        'int32',
        'palette-0/1',
        'palette-0/255',
    ],
)
def test_masks_that_mean_the_same(content: bytes) -> None:
    mask = read_binary_mask(content, 'm')
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, TRUTH)


def test_grey_edges_are_cut_above_127() -> None:
    ramp = TRUTH * 255
    ramp[8, 10:35], ramp[29, 10:35] = 127, 128
    expected = TRUTH.copy()
    expected[8, 10:35] = 0
    np.testing.assert_array_equal(read_binary_mask(encode(ramp), 'm'), expected)
    soft = cv2.GaussianBlur(TRUTH * 255, (5, 5), 1.0)
    np.testing.assert_array_equal(read_binary_mask(encode(soft), 'm'), (soft > 127).astype(np.uint8))
    straight = TRUTH * 255
    straight[[7, 30], 10:35] = straight[8:30, [9, 35]] = 180  # edges of one and the same grey
    assert read_binary_mask(encode(straight), 'm').sum() == TRUTH.sum() + 2 * 25 + 2 * 22
    faint = np.zeros((100, 100), np.uint8)
    faint[3, 4:10] = [4, 35, 82, 93, 101, 90]  # a residue of less than 0.1 %, as in MTD: an empty mask
    assert read_binary_mask(encode(faint), 'm').sum() == 0


LABELS = (np.arange(6, dtype=np.uint8).repeat(10)[None] * np.ones((40, 1), np.uint8)).astype(np.uint8)


@pytest.mark.parametrize(
    ('content', 'names'),
    [
        (encode(LABELS), ('values', '0, 1, 2, 3, 4, 5')),
        (palette_png(LABELS), ('values', '0, 1, 2, 3, 4, 5')),
        (encode(LABELS * 51), ('values', '0, 51, 102, 153, 204, 255')),
        (encode(TRUTH * 2), ('values', '0, 2')),
        (encode(TRUTH * 128), ('values', '0, 128')),
        (encode(np.where(LABELS == 5, 255, np.minimum(LABELS, 2)).astype(np.uint8)), ('values', '0, 1, 2, 255')),
        (encode(np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))), ('values', '0, 4', '236')),
        (encode(np.stack([TRUTH * 255, TRUTH * 0, TRUTH], 2)), ('colours',)),
        (encode(TRUTH.astype(np.float32), 'TIFF'), ('float32',)),
        (encode(TRUTH * 255)[:60], ('60 bytes',)),
        (b'no image', ('8 bytes',)),
    ],
    ids=[
        'labels',
        'palette',
        'grey-labels',
        '0/2',
        '0/128',
        '0/1/2/255',
        'ramp',
        'colours',
        'float',
        'truncated',
        'no-image',
    ],
)
def test_masks_that_are_none(content: bytes, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, 'some/mask.png', 'mask', 'expected', *names):
        read_binary_mask(content, 'some/mask.png')


def test_transform(tmp_path: Path) -> None:
    path = tmp_path / 'm.png'
    path.write_bytes(encode(TRUTH * 255))
    load = LoadBinaryMask()
    info = dict(img_path='a.jpg', seg_map_path=str(path), seg_fields=[], ori_shape=(40, 60))
    results = load(dict(info))
    np.testing.assert_array_equal(results['gt_seg_map'], TRUTH)
    assert results['seg_fields'] == ['gt_seg_map']
    assert load(dict(info, seg_map_path=None))['gt_seg_map'].sum() == 0
    assert 'gt_seg_map' not in load(dict(img_path='a.jpg'))  # no ground truth: the inferencer's samples
    with raises_naming(ValueError, 'm.png', '60 x 40', '30 x 20', 'a.jpg'):
        load(dict(info, ori_shape=(20, 30)))
    with pytest.raises(FileNotFoundError):
        load(dict(info, seg_map_path=str(tmp_path / 'none.png')))


def photo(seed: int = 0) -> np.ndarray:
    return cv2.resize(np.random.default_rng(seed).integers(0, 255, (5, 8, 3)).astype(np.uint8), (80, 50))


@pytest.mark.parametrize('suffix', ['PNG', 'JPEG', 'BMP', 'TIFF', 'WEBP'])
def test_truncated_and_foreign_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / 'image'
    content = encode(photo(), suffix)
    path.write_bytes(content)
    assert check_image_file(str(path)) == (50, 80)
    for length in (len(content) // 2, len(content) * 9 // 10, 10, 0):
        path.write_bytes(content[:length])
        with raises_naming(ValueError, 'truncated', f'{length} bytes'):
            check_image_file(str(path))
    with raises_naming(FileNotFoundError, 'none.png'):
        check_image_file(str(tmp_path / 'none.png'))


def test_exif_preview_and_float(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    path = tmp_path / 'turned.jpg'
    path.write_bytes(encode(photo(), 'JPEG', exif=exif))
    assert check_image_file(str(path)) == cv2.imread(str(path)).shape[:2] == (80, 50)
    # The end marker of an embedded preview is not the end of the file.
    preview = encode(photo(), 'JPEG', exif=b'Exif\0\0' + encode(photo(1), 'JPEG'))
    path.write_bytes(preview[:-40])
    with raises_naming(ValueError, 'JPEG'):
        check_image_file(str(path))
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / 'float.tif')
    with raises_naming(ValueError, '8 or 16 bits'):
        check_image_file(str(tmp_path / 'float.tif'))


def test_channels_and_depths_become_bgr(tmp_path: Path) -> None:
    """MMSeg's own loading makes 8-bit BGR of all of them, the upper eight bits of 16: hence no loader of ours."""
    load = TRANSFORMS.build(dict(type='LoadImageFromFile'))
    grey, color = photo()[..., 0], photo()
    files = {
        'grey.png': (encode(grey), np.stack([grey] * 3, 2)),
        'alpha.png': (encode(np.dstack([color, grey])), color[..., ::-1]),
        'grey-alpha.png': (encode(np.dstack([grey, grey // 2])), np.stack([grey] * 3, 2)),
        'deep.png': (encode(grey.astype(np.uint16) * 256 + 77), np.stack([grey] * 3, 2)),
        'deep.tif': (encode(grey.astype(np.uint16) * 256 + 77, 'TIFF'), np.stack([grey] * 3, 2)),
    }
    for name, (content, expected) in files.items():
        (tmp_path / name).write_bytes(content)
        assert check_image_file(str(tmp_path / name)) == (50, 80)
        image = load(dict(img_path=str(tmp_path / name)))['img']
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, expected, err_msg=name)
