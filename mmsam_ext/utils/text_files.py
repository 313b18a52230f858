"""Text files as Linux and Windows write them."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any

from .printable import printable

#: Byte-order mark -> encoding. The longer marks come first, since that of UTF-32 begins like that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)


def read_text(path: str | os.PathLike) -> str:
    r"""Read a text file in UTF-8, with or without a byte-order mark, or in UTF-16 or UTF-32 with one.

    Returns:
        The text without its mark; every line ends in '\n'.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file has another encoding. The message names the file, the line and the encoding.
    """
    content = Path(path).read_bytes()
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), 'utf-8')
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b'\n') + 1
        raise ValueError(
            f'{printable(path)}, line {line}: byte {content[error.start]:#04x} is not {encoding.upper()}, expected a '
            'text file in UTF-8. It may have been written in an 8-bit Windows encoding such as cp1252: save it as UTF-8'
        ) from error
    if '\0' in text:
        line = text[: text.index('\0')].count('\n') + 1
        raise ValueError(
            f'{printable(path)}, line {line}: a zero byte, expected a text file in UTF-8. It may be UTF-16 without a '
            'byte-order mark, or not a text file at all: save it as UTF-8'
        )
    return text.replace('\r\n', '\n').replace('\r', '\n')


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file in any encoding of :func:`read_text`.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file has another encoding, or it is not JSON; names the file.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{printable(path)}: not a JSON file ({error})') from error
