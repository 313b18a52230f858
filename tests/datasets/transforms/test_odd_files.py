"""Image and mask files of odd kinds: read as a viewer shows them, or an error with the reason."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from mmsam_ext.datasets.transforms import image_files
from mmsam_ext.datasets.transforms.image_files import decode_image
from mmsam_ext.datasets.transforms.mask_files import is_lossy
from mmsam_ext.datasets.transforms.mask_values import read_binary_mask
from tests.naming import raises_naming

MASK = np.zeros((240, 320), np.uint8)
MASK[50:120, 100:220] = MASK[150:200, 20:60] = 1
ROW, COLUMN = np.mgrid[:60, :80].astype(np.uint8)
PICTURE = np.stack([COLUMN * 3, ROW * 4, ROW + COLUMN], 2)
TURNED = Image.Exif()
TURNED[0x112] = 6


def encode(array: np.ndarray, kind: str, mode: str = '', **options: object) -> bytes:
    image, buffer = Image.fromarray(array), BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def damage(content: bytes, share: float = 0.5, bytes_: int = 1) -> bytes:
    """Change bytes in the middle of a file, whose beginning and end stay good."""
    place = int(len(content) * share)
    return (
        content[:place] + bytes(value ^ 0x5A for value in content[place : place + bytes_]) + content[place + bytes_ :]
    )


def silently_damaged(content: bytes) -> bytes:
    """Change bytes at the first place where Pillow reads another mask than before without an error."""
    good = np.asarray(Image.open(BytesIO(content)))
    for share in np.linspace(0.3, 0.95, 200):
        bad = damage(content, share, 3)
        try:
            if (np.asarray(Image.open(BytesIO(bad))) != good).mean() > 0.02:
                return bad
        except (OSError, SyntaxError, ValueError):  # Pillow notices this damage
            continue
    raise AssertionError('Pillow notices every damage')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (encode(MASK * 255, 'PNG'), 'libpng error'),
        (encode(MASK * 255, 'PNG', '1'), 'libpng error'),
        (encode(MASK * 255, 'JPEG', quality=90), 'Corrupt JPEG data'),
        (encode(MASK * 255, 'TIFF', '1', compression='group4'), 'Fax4Decode'),
        (encode(MASK * 255, 'GIF'), 'not decodable'),
    ],
    ids=['png', '1-bit-png', 'jpeg', 'fax', 'gif'],
)  # fmt: skip
def test_damaged_masks(content: bytes, reason: str) -> None:
    """Pillow alone reads them without a word, with a part of the mask missing."""
    read_binary_mask(content, 'm.png')
    with raises_naming(ValueError, 'm.png', 'damaged', reason):
        read_binary_mask(silently_damaged(content), 'm.png')


@pytest.mark.parametrize('kind', ['JPEG', 'WEBP'])
def test_numbers_do_not_survive_lossy_compression(kind: str) -> None:
    """A mask of 0 and 1 came back with an IoU of 0.7; one of 0 and 255 is cut at 127 as ever."""
    ones, white = (encode(np.stack([MASK * value] * 3, 2), kind, quality=60) for value in (1, 255))
    assert is_lossy(ones) and is_lossy(white)
    calls = [dict(), dict(labels=True), dict(foreground=1), dict(foreground=[1], ignore=255)]
    for content, options in ((ones, calls[0]), (ones, calls[1]), (white, calls[1]), (white, calls[3])):
        with raises_naming(ValueError, 'm.jpg', 'lossy', 'PNG'):
            read_binary_mask(content, 'm.jpg', **options)
    assert (read_binary_mask(white, 'm.jpg') != MASK).mean() < 0.005
    assert not read_binary_mask(encode(MASK * 0, kind), 'm.jpg').any()
    for lossless in (encode(MASK, 'PNG'), encode(np.stack([MASK] * 3, 2), 'WEBP', lossless=True)):
        assert not is_lossy(lossless)
        np.testing.assert_array_equal(read_binary_mask(lossless, 'm.png', labels=True), MASK)


@pytest.mark.parametrize(
    'content',
    [
        encode(MASK * 255, 'TIFF', '1', compression='group4'),
        encode(MASK * 255, 'TIFF', '1', tiffinfo={262: 0}),
        encode(MASK * 255, 'JPEG', 'CMYK', quality=95),
        encode(MASK * 255, 'GIF', save_all=True, append_images=[Image.fromarray(255 - MASK * 255)]),
        encode(np.rot90(MASK * 255), 'PNG', exif=TURNED),
        encode(np.rot90(MASK * 255), 'TIFF', exif=TURNED),
    ],
    ids=['fax', 'zero-is-white', 'cmyk', 'animated', 'turned-png', 'turned-tif'],
)  # fmt: skip
def test_masks_as_a_viewer_shows_them(content: bytes) -> None:
    mask = read_binary_mask(content, 'm')
    assert mask.shape == MASK.shape and (mask != MASK).mean() < 0.002


SEE_THROUGH = np.dstack([PICTURE, np.where(ROW < 30, 0, 255).astype(np.uint8)])


@pytest.mark.parametrize(
    'content',
    [
        encode(PICTURE, 'JPEG', 'CMYK', quality=95, subsampling=0),
        encode(PICTURE, 'JPEG', quality=95, subsampling=0, exif=TURNED),
        encode(PICTURE, 'WEBP', lossless=True, exif=TURNED),
        encode(PICTURE, 'WEBP', lossless=True, save_all=True, append_images=[Image.fromarray(255 - PICTURE)]),
        encode(PICTURE, 'TIFF', compression='jpeg', quality=95),
        encode(PICTURE, 'TIFF', save_all=True, append_images=[Image.fromarray(255 - PICTURE)]),
        encode(SEE_THROUGH, 'PNG'),
        encode(SEE_THROUGH, 'TIFF'),
        encode(SEE_THROUGH, 'TIFF', exif=TURNED),
        encode(PICTURE, 'PNG', 'P', transparency=3),
        encode(PICTURE, 'TIFF', '1', compression='group4'),
    ],
    ids=['cmyk', 'turned', 'turned-webp', 'animated', 'jpeg-tif', 'pages', 'alpha', 'alpha-tif', 'turned-alpha-tif',
         'palette', '1-bit'],
)  # fmt: skip
def test_images_as_a_viewer_shows_them(content: bytes) -> None:
    """The first picture of several, the orientation applied, transparency left out."""
    with Image.open(BytesIO(content)) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert('RGB')).astype(int)
    image = decode_image(content, 'a')[..., ::-1].astype(int)
    assert image.shape == shown.shape and np.abs(image - shown).mean() < 1.1


@pytest.mark.parametrize(
    ('content', 'names'),
    [
        (b'', ('0 bytes',)),
        (encode(PICTURE, 'TIFF', compression='zstd'), ('TIFF', 'PNG')),
        (encode(PICTURE, 'TGA'), ('TGA', 'PNG')),
        (encode(PICTURE[..., 0].astype(np.float32), 'TIFF'), ('floating-point',)),
        (encode(PICTURE[..., 0].astype(np.int32) * 1000, 'TIFF'), ('32 bits',)),
        (damage(encode(PICTURE, 'TIFF', compression='jpeg', quality=95), bytes_=60), ('JPEG',)),
        (damage(encode(PICTURE, 'TIFF', '1', compression='group4'), bytes_=4), ('Fax4Decode',)),
    ],
    ids=['empty', 'zstd', 'tga', 'float', '32-bit', 'jpeg-tif', 'fax'],
)  # fmt: skip
def test_the_reason_why_an_image_is_not_read(content: bytes, names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    path.write_bytes(content)
    with raises_naming(ValueError, 'a.tif', *names):
        TRANSFORMS.build(dict(type='LoadImageFromFile'))(dict(img_path=str(path)))


def test_pages_of_a_tiff(monkeypatch) -> None:
    """A second page of a mask is an error, of an image a warning for each file; a smaller version is neither."""
    small = Image.fromarray(MASK[::2, ::2] * 255)
    small.encoderinfo = dict(tiffinfo={254: 1})
    pyramid = encode(MASK * 255, 'TIFF', save_all=True, append_images=[small])
    with Image.open(BytesIO(pyramid)) as image:
        image.seek(1)
        assert image.size == (160, 120), 'the file has a second page'
    pages = encode(MASK * 255, 'TIFF', save_all=True, append_images=[Image.fromarray(255 - MASK * 255)])
    logged = []
    monkeypatch.setattr(image_files, 'print_log', lambda message, **_: logged.append(message))
    with raises_naming(ValueError, 'mask 7', 'pages'):
        read_binary_mask(pages, 'mask 7')
    for content, name in ((pyramid, 'b.tif'), (pages, 'c.tif'), (pages, 'c.tif')):
        assert (decode_image(content, name)[..., 0] == MASK * 255).all()
    assert len(logged) == 1 and 'c.tif' in logged[0]
    single = bytearray(encode(MASK * 255, 'TIFF'))
    first = int.from_bytes(single[4:8], 'little')  # where the list of the first page begins; the next one's comes last
    last = first + 2 + 12 * int.from_bytes(single[first : first + 2], 'little')
    single[last : last + 4] = (2**31).to_bytes(4, 'little')  # cut off: the second page is beyond the end of the file
    with raises_naming(ValueError, 'mask 9', 'pages'):
        read_binary_mask(bytes(single), 'mask 9')
    assert (read_binary_mask(pyramid, 'mask 8') == MASK).all()
