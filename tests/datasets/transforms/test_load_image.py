"""Images are loaded as a viewer shows them: bit depths, damaged files, sizes, orientation."""

from __future__ import annotations

import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmseg.registry import HOOKS, TRANSFORMS
from PIL import Image

from mmsam_ext.apis.image_inputs import Source
from mmsam_ext.apis.inference_pipeline import InferencePipeline
from mmsam_ext.datasets import BinaryDefectDataset, binary_defect, check_image_file
from mmsam_ext.datasets.transforms import image_files, load_image
from mmsam_ext.datasets.transforms.bit_depth import depth_that_holds, to_8_bit
from mmsam_ext.datasets.transforms.load_image import bit_depth_of_dataset, trained_bit_depth
from tests.naming import raises_naming

GREY = (60 + np.arange(50 * 80).reshape(50, 80) % 190).astype(np.uint8)  # 60 to 249, so that the top bit is in use


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    for module in (load_image, binary_defect):
        monkeypatch.setattr(module, 'print_log', lambda message, **_: lines.append(message))
    return lines


def load(path: Path, **settings) -> np.ndarray:
    return TRANSFORMS.build(dict(type='LoadImageFromFile', **settings))(dict(img_path=str(path)))['img']


def write(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_every_depth_loads_like_the_8_bit_picture(tmp_path: Path, logged: list[str], bits: int, suffix: str) -> None:
    low_bits = np.arange(GREY.size).reshape(GREY.shape) % 2 ** (bits - 8)
    path = write(tmp_path / f'deep.{suffix}', (GREY.astype(np.uint16) << (bits - 8)) + low_bits.astype(np.uint16))
    want = np.repeat(GREY[..., None], 3, 2)
    np.testing.assert_array_equal(load(path), want)
    assert len(logged) == (bits < 16) and all(f'{bits}-bit' in line and 'deep' in line for line in logged)
    np.testing.assert_array_equal(load(path, bit_depth=bits), want)
    assert len(logged) == (bits < 16), 'what is stated is not logged'
    if bits > 10:
        with raises_naming(ValueError, f'deep.{suffix}', '1023', f'bit_depth={bits}'):
            load(path, bit_depth=10)
    if bits < 16:
        np.testing.assert_array_equal(load(path, bit_depth=16), want >> (16 - bits))


def test_rule_of_the_depths() -> None:
    assert [depth_that_holds(top) for top in (0, 255, 256, 1023, 1024, 4095, 4096, 16383, 16384, 65535)] == [
        8, 8, 10, 10, 12, 12, 14, 14, 16, 16,
    ]  # fmt: skip
    stretched = to_8_bit(np.array([[500, 600, 1010]], np.uint16), 'stretch', 'x')
    assert stretched.tolist() == [[0, 50, 255]]
    assert to_8_bit(np.full((2, 2), 7, np.uint16), 'stretch', 'x').tolist() == [[0, 0], [0, 0]]
    for bad in (9, '12', True, None, 'Auto'):
        with raises_naming(ValueError, 'bit_depth', repr(bad)):
            TRANSFORMS.build(dict(type='LoadImageFromFile', bit_depth=bad))
    with raises_naming(ValueError, 'bit_depth=12', "'pillow'"):
        TRANSFORMS.build(dict(type='LoadImageFromFile', bit_depth=12, imdecode_backend='pillow'))


def test_a_dataset_reads_dark_and_bright_images_of_a_camera_alike(tmp_path: Path, logged: list[str]) -> None:
    """A dark image of a 12-bit camera fits 10 bits; the dataset decides by all of its images."""
    bright, dark = GREY.astype(np.uint16) * 16, GREY.astype(np.uint16) * 3
    write(tmp_path / 'd/images/bright.png', bright)
    write(tmp_path / 'd/images/dark.png', dark)
    write(tmp_path / 'd/images/eight.png', GREY)
    for name in ('bright', 'dark', 'eight'):
        write(tmp_path / f'd/masks/{name}.png', (GREY > 240).astype(np.uint8) * 255)
    pipeline = [TRANSFORMS.build(dict(type='LoadImageFromFile'))]
    data = {
        item['sample_id']: item['img'][..., 0] for item in BinaryDefectDataset(str(tmp_path / 'd'), pipeline=pipeline)
    }
    np.testing.assert_array_equal(data['bright'], GREY)
    np.testing.assert_array_equal(data['dark'], dark >> 4)
    np.testing.assert_array_equal(data['eight'], GREY)
    assert len(logged) == 1 and '2 of 3 images' in logged[0] and 'bit_depth=12' in logged[0] and '3984' in logged[0]
    # Alone, the dark one cannot be told from a bright one of a 10-bit camera: both decisions are logged.
    loader = TRANSFORMS.build(dict(type='LoadImageFromFile'))
    for name in ('bright', 'dark', 'dark'):
        loader(dict(img_path=str(tmp_path / f'd/images/{name}.png')))
    assert len(logged) == 3 and '10-bit' in logged[2] and '12 bits for' in logged[2] and 'bright.png' in logged[2]
    np.testing.assert_array_equal(load(tmp_path / 'd/images/dark.png', bit_depth=12)[..., 0], dark >> 4)


def jpeg(progressive: bool) -> bytes:
    coarse = np.random.default_rng(0).integers(0, 255, (9, 14, 3)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(cv2.resize(coarse, (280, 180))).save(buffer, 'JPEG', quality=90, progressive=progressive)
    return buffer.getvalue()


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('damage', ['zeros', 'noise', 'cut'])
def test_damaged_jpeg_with_a_good_end(tmp_path: Path, capfd, progressive: bool, damage: str) -> None:
    """Neither cv2 nor Pillow rejects it; the decoder below them prints that it is corrupt."""
    content, path = jpeg(progressive), tmp_path / 'a.jpg'
    path.write_bytes(content)
    assert check_image_file(str(path)) == (180, 280)
    half, noise = len(content) // 2, np.random.default_rng(1).integers(0, 255, 600).astype(np.uint8).tobytes()
    middle = dict(zeros=bytes(600), noise=noise, cut=b'')[damage]
    path.write_bytes(content[:half] + middle + (content[half + 600 :] if middle else b'\xff\xd9'))
    for read in (lambda: check_image_file(str(path)), lambda: load(path)):
        with raises_naming(ValueError, 'a.jpg', 'Corrupt JPEG data'):
            read()
    assert load_ignoring(path) is None
    assert 'Corrupt' not in capfd.readouterr().err


def load_ignoring(path: Path) -> dict | None:
    return TRANSFORMS.build(dict(type='LoadImageFromFile', ignore_empty=True))(dict(img_path=str(path)))


def test_damaged_png_is_named_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.png', np.random.default_rng(0).integers(0, 255, (50, 80)).astype(np.uint8))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    with raises_naming(ValueError, 'a.png', 'libpng error'):
        check_image_file(str(path))


def test_what_others_print_meanwhile_is_not_lost(tmp_path: Path, capfd) -> None:
    """Output of other libraries is kept, and damage is reported for the right file of two decoded at once."""
    import os

    good, bad = jpeg(False), jpeg(False)
    bad = bad[: len(bad) // 2] + bytes(600) + bad[len(bad) // 2 + 600 :]
    (tmp_path / 'good.jpg').write_bytes(good)
    (tmp_path / 'bad.jpg').write_bytes(bad)
    failed: list[str] = []

    def work(name: str) -> None:
        for _ in range(15):
            try:
                check_image_file(str(tmp_path / name))
            except ValueError:
                failed.append(name)
            os.write(2, b'line of another library\n')

    threads = [threading.Thread(target=work, args=(name,)) for name in ('good.jpg', 'bad.jpg') * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ['bad.jpg'] * 30
    assert capfd.readouterr().err.count('line of another library') == 60


def test_large_pictures_are_read_and_the_limit_is_in_words(tmp_path: Path, monkeypatch) -> None:
    """Pillow's limit, 179 million pixels, does not make a sound PNG "truncated"."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    for suffix in ('png', 'jpg', 'bmp', 'tif'):
        assert check_image_file(str(write(tmp_path / f'a.{suffix}', GREY))) == (50, 80)
    monkeypatch.setattr(image_files, 'MAX_PIXELS', 3999)
    with raises_naming(ValueError, 'a.png: image of 80 x 50', '3999') as caught:
        check_image_file(str(tmp_path / 'a.png'))
    assert 'truncated' not in str(caught.value)


def test_zero_is_white_and_types_of_pixels(tmp_path: Path) -> None:
    deep = write(tmp_path / 'w.tif', (255 - GREY.astype(np.uint16)) * 257, tiffinfo={262: 0})
    np.testing.assert_array_equal(load(deep)[..., 0], GREY)
    path = tmp_path / 's.tif'
    cv2.imwrite(str(path), GREY.astype(np.int16))
    with raises_naming(ValueError, 's.tif', '8', '16'):
        check_image_file(str(path))


def test_a_training_decides_for_validation_test_and_inference(tmp_path: Path) -> None:
    """A 12-bit camera, whose validation image is dark enough for 10 bits, and whose test set is of one dark image."""
    for split, factor in (('train', 16), ('val', 3)):
        write(tmp_path / split / 'images' / 'a.png', GREY.astype(np.uint16) * factor)
        write(tmp_path / split / 'masks' / 'a.png', (GREY > 240).astype(np.uint8) * 255)

    def dataset(split: str, **options) -> BinaryDefectDataset:
        pipeline = [TRANSFORMS.build(dict(type='LoadImageFromFile', **options))]
        return BinaryDefectDataset(str(tmp_path / split), pipeline=pipeline)

    def runner(**sets) -> SimpleNamespace:
        return SimpleNamespace(**{f'{name}_dataloader': SimpleNamespace(dataset=one) for name, one in sets.items()})

    want = GREY.astype(np.uint16) * 3 >> 4
    train, val = dataset('train'), ConcatDataset([dataset('val'), dataset('train')])
    assert (train.bit_depth, val.datasets[0].bit_depth) == (12, 10) and (val[0]['img'][..., 0] != want).any()
    hook, checkpoint = HOOKS.build(dict(type='BitDepthHook')), dict(meta=dict(epoch=1))
    hook.before_train(runner(train=train))
    hook.before_val(runner(val=val))
    np.testing.assert_array_equal(val[0]['img'][..., 0], want)
    hook.before_save_checkpoint(None, checkpoint)
    assert checkpoint['meta'] == dict(epoch=1, bit_depth=12)

    later, test, own = HOOKS.build(dict(type='BitDepthHook')), dataset('val'), dataset('val', bit_depth=16)
    later.after_load_checkpoint(None, checkpoint)
    for one in (test, own):
        later.before_test(runner(test=one))
    np.testing.assert_array_equal(test[0]['img'][..., 0], want)
    np.testing.assert_array_equal(own[0]['img'][..., 0], GREY.astype(np.uint16) * 3 >> 8)
    path = str(tmp_path / 'val/images/a.png')
    single = InferencePipeline(Config(dict()), SimpleNamespace(), checkpoint['meta'])
    np.testing.assert_array_equal(single.load(Source('a', path=path))['img'][..., 0], want)


def test_bit_depths_of_no_training() -> None:
    """A foreign checkpoint, one of 8-bit images, wrong types, and data of two cameras."""
    wrong = [dict(bit_depth=bad) for bad in (9, [12], 'auto')]
    for meta in (None, [], dict(), 3, *wrong):
        assert trained_bit_depth(dict(meta=meta)) is None
    loaders = [SimpleNamespace(transforms=[TRANSFORMS.build(dict(type='LoadImageFromFile'))]) for _ in range(3)]
    parts = [SimpleNamespace(pipeline=one, bit_depth=depth) for one, depth in zip(loaders, (12, 10, None), strict=True)]
    assert bit_depth_of_dataset(SimpleNamespace(datasets=parts)) is None
    assert bit_depth_of_dataset(SimpleNamespace(datasets=parts[1:])) == 10
