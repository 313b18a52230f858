"""Lists and tables as Linux and Windows write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from mmsam_ext.datasets.binary_defect import read_list
from mmsam_ext.utils import printable, read_text
from tests.naming import raises_naming

LINES = 'crack\\Größe_1.png\r\ncrack\\b.png\r\n'


@pytest.mark.parametrize(
    'content',
    [
        LINES.encode('utf-8-sig'),
        LINES.encode('utf-8'),
        codecs.BOM_UTF16_LE + LINES.encode('utf-16-le'),
        codecs.BOM_UTF16_BE + LINES.encode('utf-16-be'),
        LINES.replace('\\', '/').replace('\r\n', '\r').encode(),
    ],
    ids=['mark', 'utf-8', 'utf-16-le', 'utf-16-be', 'old mac'],
)
def test_lists_as_windows_writes_them(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'train.txt').write_bytes(content)
    assert read_list(str(tmp_path / 'train.txt')) == ['crack/Größe_1', 'crack/b']


def test_other_encodings_are_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / 'train.txt'
    path.write_bytes(b'a.png\n' + 'b\ngröße.png\n'.encode('cp1252'))
    with raises_naming(ValueError, 'train.txt', 'line 3', '0xf6'):
        read_list(str(path))
    path.write_bytes('a.png\nb.png\n'.encode('utf-16-le'))
    with raises_naming(ValueError, 'train.txt', 'line 1', 'UTF-16'):
        read_list(str(path))
    path.write_bytes(codecs.BOM_UTF16_LE + b'a')
    with raises_naming(ValueError, 'train.txt', 'line 1', 'UTF-16'):
        read_text(path)


def test_names_that_are_not_utf_8_can_be_printed() -> None:
    name = b'part_\xe4.png'.decode('utf-8', 'surrogateescape')
    assert printable(name) == 'part_\\udce4.png' and printable(name).encode('utf-8')
    assert printable('Größe.png') == 'Größe.png'


def test_empty_list_and_repeated_samples(tmp_path: Path) -> None:
    path = tmp_path / 'train.txt'
    path.write_text('\n  \n')
    with raises_naming(ValueError, path) as error:
        read_list(str(path))
    assert 'more than once' not in str(error.value)
    path.write_text('b\na.png\nb.png\nc\na')
    with raises_naming(ValueError, path, 'a, b'):
        read_list(str(path))
