"""The values of a mask file, as a viewer shows them."""

from __future__ import annotations

import re
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

from .decoder import GIF, JPEG, PNG, TIFF, decode_color, reported_damage
from .image_files import MAX_PIXELS, has_more_pages, open_error, open_image, zero_is_white

PNG_START = b'\x89PNG\r\n\x1a\n'
#: Channels of a colour that differ by no more are grey: compression alone makes a little colour.
NEAR = 16
EXPECTED = 'expected 0 and 1, or 0 and 255 with grey levels at edges only'
#: Modes of Pillow whose pixels are made (R, G, B); those of other modes are single numbers.
_COLORED = ('LA', 'La', 'PA', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'RGB')


def read_mask_values(content: bytes, name: str, by_number: bool = False) -> np.ndarray:
    """Decode a mask file to one number for each pixel.

    Numbers are grey levels as a viewer shows them: those of a palette whose used colours are grey, not its indices, and
    after the EXIF orientation. A palette of colours has no order but that of its indices, so these are the numbers.

    Args:
        content: Bytes of the file.
        name: Name used in errors.
        by_number: Whether the caller says what the numbers of a palette of colours mean, so that its colours do not
            matter.

    Returns:
        (H, W) bool, uint8 or uint16, or another type of the file's.

    Raises:
        ValueError: The file cannot be read, has several pages or colours, or means one thing by its palette or its
            transparency and another by its numbers. The message names the mask, what came and what was expected.
    """
    plain = _plain_png(content)
    if plain is not None:
        return plain
    try:
        with open_image(content, name) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f'{image.width} x {image.height} pixels, more than {MAX_PIXELS}')
            image.load()
            _check_damage(content)
            image = ImageOps.exif_transpose(image)
    except Exception as error:  # readers of formats raise what they like
        raise ValueError(
            f'{name}: unreadable, truncated or damaged mask of {len(content)} bytes ({open_error(error)}), expected a '
            'complete image'
        ) from error
    if has_more_pages(content, name):
        raise ValueError(f'{name}: TIFF of several pages, expected one mask; save each page as a file of its own')
    shown = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content.startswith(b'BM') else None
    if shown is not None and np.ptp(shown, axis=2).max(initial=0) <= NEAR:
        return shown[..., 1]  # Pillow misreads an 8-bit BMP whose palette is black and white
    _check_transparency(image, name)
    if image.mode == 'P':
        return _palette_values(image, name, by_number)
    if image.mode in _COLORED:
        array = np.asarray(image.convert('RGB'))
        if np.ptp(array, axis=2).max(initial=0) > NEAR:
            raise ValueError(f'{name}: mask with colours, {EXPECTED}')
        return array[..., 1]
    array = np.asarray(image)
    if array.dtype == np.uint16 and zero_is_white(content, name):
        return 65535 - array
    return array


def is_lossy(content: bytes) -> bool:
    """Return whether a file is in a format whose compression changes values: JPEG, lossy WebP, AVIF."""
    start = content[:256]
    return start.startswith(JPEG) or start[4:10] == b'ftypav' or (start.startswith(b'RIFF') and b'VP8 ' in start[12:])


def _plain_png(content: bytes) -> np.ndarray | None:
    """Decode what most masks are, in half the time: a PNG of 8-bit grey levels without anything that changes them.

    Returns:
        (H, W) uint8; None for all other files, and for damaged ones, which the slower way describes.
    """
    if not _is_plain_png(content):
        return None
    try:
        with reported_damage(content) as damage:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        return None
    return None if damage or image is None or image.ndim != 2 or image.dtype != np.uint8 else image


def _is_plain_png(content: bytes) -> bool:
    """Return whether a file is a complete PNG of 8-bit grey levels, without transparency, orientation or animation."""
    place = len(PNG_START)
    if not content.startswith(PNG_START):
        return False
    while place + 12 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], 'big'), content[place + 4 : place + 8]
        end = place + 8 + length
        if zlib.crc32(content[place + 4 : end]).to_bytes(4, 'big') != content[end : end + 4]:
            return False
        data = content[place + 8 : end]
        if kind == b'IEND':
            return True
        if kind == b'IHDR':
            if length != 13 or data[8:10] != bytes([8, 0]):  # bits of a level, and 0 for grey
                return False
            if int.from_bytes(data[:4], 'big') * int.from_bytes(data[4:8], 'big') > MAX_PIXELS:
                return False
        elif kind == b'tEXt':
            if re.search(b'exif|xmp', data, re.IGNORECASE):
                return False
        elif kind not in (b'IDAT', b'pHYs', b'tIME', b'sRGB', b'gAMA', b'cHRM'):
            return False
        place = end + 4
    return False


def _check_damage(content: bytes) -> None:
    """Check what Pillow leaves out: the checksums of a PNG, and what libraries below say about damage.

    Raises:
        ValueError: A decoder reports damage; says what it reports.
    """
    if content.startswith((JPEG, PNG, GIF, *TIFF)):
        shown, damage = decode_color(content)
        if shown is None and not content.startswith(TIFF):  # cv2 does not have all kinds of TIFF
            damage = damage or ['not decodable']
        if damage:
            raise ValueError(f'damaged: {"; ".join(damage)}')


def _palette_values(image: Image.Image, name: str, by_number: bool) -> np.ndarray:
    """(H, W) uint8: grey levels where all used colours are grey, else indices.

    Raises:
        ValueError: A colour is 0 and black is something else, so that black is the background to the eye alone.
    """
    indices = np.asarray(image)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    palette = np.zeros((256, 3), np.uint8)
    colors = np.array(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)
    palette[: len(colors)] = colors[:256]
    if np.ptp(palette[used], axis=1).max(initial=0) <= NEAR:
        return palette[:, 1][indices]
    black = [int(index) for index in used if palette[index].max() <= NEAR]
    if black and 0 in used and 0 not in black and not by_number:
        color = tuple(palette[0].tolist())
        raise ValueError(
            f'{name}: mask with a palette that can be read in two ways: by its numbers 0 is the background, by its '
            f'colours {black[0]} is (0 is shown as RGB {color}, {black[0]} as black). Save it as a grey image of 0 and '
            '255, or name the numbers of the defect with foreground='
        )
    return indices


def _check_transparency(image: Image.Image, name: str) -> None:
    """Check that the transparency of a mask hides nothing.

    Raises:
        ValueError: The mask is in the transparency alone, or transparent pixels are not background.
    """
    if not image.has_transparency_data:
        return
    rgba = np.asarray(image.convert('RGBA')).astype(np.uint16)
    color, alpha = rgba[..., :3].max(2), rgba[..., 3]
    if np.ptp(alpha) == 0:
        return
    bright = 127 if color.max(initial=0) > 1 else 0
    if np.ptp(color) == 0 or ((color > bright) & (alpha <= 127)).any():
        raise ValueError(
            f'{name}: mask with transparent pixels that can be read in two ways: by its colours and by its '
            'transparency. Save it as a grey image of 0 and 255, without an alpha channel'
        )
