"""Reading image files, with every reason why one cannot be read in words."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageOps, UnidentifiedImageError

from .decoder import TIFF, decode_color

#: What cv2 decodes at most (its OPENCV_IO_MAX_IMAGE_PIXELS). Pillow's own limit is a sixth of it and not used.
MAX_PIXELS = 2**30
#: The TIFF tag for how a value becomes a grey level, and its value where 0 is white.
_PHOTOMETRIC, _ZERO_IS_WHITE = 262, 0
#: The TIFF tag that says what a page is, and its bits for a smaller version and for the transparency of another page.
_PAGE_KIND, _OF_ANOTHER_PAGE = 254, 0b101
#: Pages of a TIFF that are looked at; a pyramid has about ten.
_MOST_PAGES = 50
#: Formats with an end marker, for which the decoder reports damage.
_MARKED = ('JPEG', 'MPO', 'PNG')
_FORMATS = ('JPEG', 'PNG', 'TIFF', 'BMP', 'WEBP')


class ImageFacts(NamedTuple):
    """What a check of an image file finds out.

    Attributes:
        shape: Height and width in pixels as they are loaded, that is after the EXIF orientation is applied.
        largest: Largest value of a file with 16 bits a channel, None for 8 bits.
    """

    shape: tuple[int, int]
    largest: int | None


def check_image_file(path: str) -> tuple[int, int]:
    """Check that a local file is a complete image, by decoding it.

    Returns:
        Height and width in pixels as cv2 and mmcv load it, that is after its EXIF orientation is applied.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read, is truncated or damaged, has floating-point pixels or too many of them.
            The message names the file, what came and what was expected.
    """
    return inspect_image_file(path).shape


def inspect_image_file(path: str) -> ImageFacts:
    """Check an image file as :func:`check_image_file` does, and return its size and its largest value."""
    content = read_file(path)
    check_image_header(content, path)
    image = decode_image(content, path)
    return ImageFacts(image.shape[:2], None if image.dtype == np.uint8 else int(image.max(initial=0)))


def read_file(path: str) -> bytes:
    """Return the content of an image file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such image file')
    return Path(path).read_bytes()


def check_image_header(content: bytes, name: str) -> None:
    """Check what can be known of an image without decoding a JPEG or PNG: its format, size, kind of pixels and end.

    Raises:
        ValueError: See :func:`check_image_file`.
    """
    try:
        with open_image(content, name) as image:
            (width, height), kind, mode = image.size, image.format, image.mode
            if width * height <= MAX_PIXELS and kind not in _MARKED:
                image.load()  # these formats have no end marker, and cv2 does not complain where data are missing
    except Exception as error:  # readers of formats raise what they like
        raise ValueError(
            f'{name}: unreadable or truncated image of {len(content)} bytes ({open_error(error)}), expected a complete '
            'image in a common format (png, jpg, bmp, tif, webp)'
        ) from error
    if width * height > MAX_PIXELS:
        raise ValueError(
            f'{name}: image of {width} x {height} (width x height) pixels, expected at most {MAX_PIXELS} pixels, the '
            'limit of cv2; cut it into tiles'
        )
    if mode == 'F':
        raise ValueError(f'{name}: image with floating-point pixels, expected 8 or 16 bits a channel')
    if kind in _MARKED and not _is_complete(content, kind):
        raise ValueError(
            f'{name}: truncated {kind} image, {len(content)} bytes without an end marker, expected a complete file'
        )


def decode_image(content: bytes, name: str) -> np.ndarray:
    """Decode an image.

    Args:
        content: Bytes of the file.
        name: Name used in errors.

    Returns:
        (H, W, 3) BGR of uint8, or of uint16 where the file has 16 bits a channel. Alpha is dropped, the EXIF
        orientation applied. Of a file with several pictures it is the first; for a TIFF this is logged.

    Raises:
        ValueError: The content cannot be decoded, or the decoder reports damage; says what it reports.
    """
    if not content:
        raise ValueError(f'{name}: unreadable image of 0 bytes, expected a complete file')
    try:
        image, damage = decode_color(content)
    except (cv2.error, MemoryError) as error:
        raise ValueError(f'{name}: image of {len(content)} bytes cannot be decoded ({_reason(error)})') from error
    if image is None and not damage:
        raise ValueError(f'{name}: image of {len(content)} bytes cannot be decoded ({_unknown_kind(content, name)})')
    if damage or image is None:
        raise ValueError(
            f'{name}: unreadable or damaged image of {len(content)} bytes ({"; ".join(damage)}), '
            'expected a complete file. Copy it again from its source; if it looks right in a viewer, save it anew'
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f'{name}: image with pixels of {image.dtype}, expected 8 or 16 bits a channel, without sign')
    if content.startswith(TIFF):
        if has_more_pages(content, name):
            _log_more_pages(name)
        if image.dtype == np.uint16 and zero_is_white(content, name):
            return 65535 - image
        if image.dtype == np.uint8:
            return _without_alpha(content, name, image)
    return image


def open_image(content: bytes, name: str) -> Image.Image:
    """Open an image with Pillow, whose limit of 179 million pixels does not apply.

    That limit guards services against tiny files of huge pictures, and is a global setting of Pillow. Here
    :data:`MAX_PIXELS` is the limit, and the caller checks it before pixels are decoded.

    Raises:
        OSError: The content is not an image.
    """
    Image.init()
    for kind in _FORMATS:
        factory, accept = Image.OPEN[kind]
        if accept is None or accept(content[:16]):
            try:
                return factory(BytesIO(content), name)
            except (SyntaxError, IndexError, TypeError, KeyError, EOFError):
                continue
    return Image.open(BytesIO(content))


def open_error(error: Exception) -> str:
    """Return the reason why an image could not be opened, without the address of a buffer in it."""
    return 'no known image format' if isinstance(error, UnidentifiedImageError) else str(error)


def has_more_pages(content: bytes, name: str) -> bool:
    """Return whether a TIFF holds a second picture, as a scan of several pages or a stack does.

    Smaller versions of the first (thumbnails, pyramids) and its transparency do not count.
    """
    if content[:2] not in (b'II', b'MM'):
        return False
    with open_image(content, name) as image:
        try:
            for page in range(1, _MOST_PAGES):
                image.seek(page)
                if not getattr(image, 'tag_v2', {}).get(_PAGE_KIND, 0) & _OF_ANOTHER_PAGE:
                    return True
        except EOFError:
            pass
        except Exception:  # Pillow raises what it likes of a page that is damaged, or beyond the end of the file
            return True
    return False


@lru_cache(maxsize=1000)
def _log_more_pages(name: str) -> None:
    """Log, once for each file, that only the first page is read."""
    more = 'TIFF of several pages, of which the first is read; save the others as files of their own'
    print_log(f'{name}: {more}', logger='current', level=logging.WARNING)


def zero_is_white(content: bytes, name: str) -> bool:
    """Return whether a TIFF says that 0 is white, which viewers follow and decoders of 16 bits do not."""
    if content[:2] not in (b'II', b'MM'):
        return False
    with open_image(content, name) as image:
        return getattr(image, 'tag_v2', {}).get(_PHOTOMETRIC) == _ZERO_IS_WHITE


def _without_alpha(content: bytes, name: str, image: np.ndarray) -> np.ndarray:
    """Return the colours of a TIFF with alpha as they are in the file: libtiff multiplies them by it."""
    with open_image(content, name) as opened:
        if opened.mode != 'RGBA':
            return image
        return np.asarray(ImageOps.exif_transpose(opened).convert('RGB'))[..., ::-1].copy()


def _unknown_kind(content: bytes, name: str) -> str:
    """Say why cv2 does not decode a file without reporting damage."""
    try:
        with open_image(content, name) as image:
            kind, mode = image.format, image.mode
            image.load()
    except Exception as error:  # readers of formats raise what they like
        return f'{open_error(error)}; expected a complete image in a common format (png, jpg, bmp, tif, webp)'
    if mode in ('F', 'I'):
        pixels = 'floating-point pixels' if mode == 'F' else 'pixels of 32 bits'
        return f'{kind} with {pixels}, expected 8 or 16 bits a channel'
    return f'cv2 does not know this kind of {kind}; save it as PNG'


def _is_complete(content: bytes, kind: str) -> bool:
    """Return whether a PNG or JPEG file has its end marker, near its end if it is long."""
    tail = content[-65536:]
    if kind == 'PNG':
        return b'IEND\xaeB`\x82' in tail
    # An end marker before the last start of scan belongs to an embedded preview.
    return tail.rfind(b'\xff\xd9') > tail.rfind(b'\xff\xda')


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or getattr(error, 'code', None) == cv2.Error.StsNoMem:
        return f'too large for the memory of this machine: {error}'
    return str(error).strip().splitlines()[-1]
