"""Lists and tables as Linux and Windows write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from PIL import Image

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.exchange import read_labels
from mmsam_ext.apis.fitting.facts import read_classes
from mmsam_ext.cli.compare_runs import read_result
from mmsam_ext.datasets.binary_defect import read_list
from mmsam_ext.structures.coco_files import read_coco
from mmsam_ext.structures.prompt_files import PromptFile
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


def labelme(folder: Path) -> object:
    Image.new('L', (40, 30)).save(folder / 'a.png')
    return read_labels(folder, folder).classes


def yolo(folder: Path) -> object:
    Image.new('L', (40, 30)).save(folder / 'a.png')
    (folder / 'a.txt').write_text('1 0.5 0.5 0.2 0.2')
    return next(iter(read_labels(folder, folder).images)).instances[0].name


def yolo_labels(folder: Path) -> object:
    Image.new('L', (40, 30)).save(folder / 'a.png')
    (folder / 'classes.txt').write_text('Größe')  # without an end of the line
    return next(iter(read_labels(folder, folder).images)).instances[0].name


SHAPE = '{"label": "Größe", "points": [[1, 2], [9, 2], [9, 9]]}'
ROW = '{"file_name": "Größe.png", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}'
#: Reader -> name of its file, its text, what is called with the folder, what comes.
READERS = {
    'prompts': ('p.json', f'[{ROW}]', lambda d: list(PromptFile(str(d / 'p.json'))._named), ['Größe.png']),
    'csv': ('p.csv', 'file_name,x,y,width,height,score,category_id\r\nGröße.png,1,2,3,4,0.5,1\r\n',
            lambda d: list(PromptFile(str(d / 'p.csv'))._named), ['Größe.png']),
    'coco': ('c.json', '{"images": [], "annotations": [], "categories": [], "info": "Größe"}',
             lambda d: read_coco(str(d / 'c.json'))['info'], 'Größe'),
    'classes': ('classes.json', '["Größe"]', read_classes, ('Größe',)),
    'labelme': ('a.json', f'{{"imageHeight": 30, "imageWidth": 40, "shapes": [{SHAPE}]}}', labelme, ('Größe',)),
    'yolo': ('classes.txt', 'a\r\nGröße', yolo, 'Größe'),
    'yolo names': ('data.yaml', 'names:\n  0: a\n  1: Größe\n', yolo, 'Größe'),
    'yolo labels': ('a.txt', '0 0.5 0.5 0.2 0.2\r\n', yolo_labels, 'Größe'),
    'result': ('r.json', '{"mIoU/Größe": 50.0}', lambda d: next(iter(read_result(d / 'r.json'))), 'mIoU/Größe'),
}  # fmt: skip


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('reader', READERS)
def test_every_reader_takes_byte_order_marks(reader: str, encoding: str, tmp_path: Path) -> None:
    name, text, read, expected = READERS[reader]
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert read(tmp_path) == expected


@pytest.mark.parametrize('reader', sorted(set(READERS) - {'yolo labels'}))
def test_every_reader_names_file_and_line_of_another_encoding(reader: str, tmp_path: Path) -> None:
    name, text, read, _ = READERS[reader]
    (tmp_path / name).write_bytes(text.encode('latin-1'))
    with raises_naming((ValueError, InferenceError), name, 'line', '0xf6', 'UTF-8'):
        read(tmp_path)


@pytest.mark.parametrize('reader', ['prompts', 'coco', 'classes', 'labelme', 'result'])
@pytest.mark.parametrize('content', ['[' * 100_000, '', '{"a": 1'], ids=['deep', 'empty', 'cut'])
def test_every_reader_of_json_names_the_file(reader: str, content: str, tmp_path: Path) -> None:
    name, _, read, _ = READERS[reader]
    (tmp_path / name).write_text(content)
    with raises_naming((ValueError, InferenceError), name, 'JSON'):
        read(tmp_path)


@pytest.mark.parametrize('line', ['-1 0.5 0.5 0.2 0.2', '2 0.5 0.5 0.2 0.2', '0 nan 0.5 0.2 0.2', '0 0.5 0.5 0.2'])
def test_labels_of_yolo_that_mean_nothing(line: str, tmp_path: Path) -> None:
    """A class of -1 was the last one."""
    (tmp_path / 'classes.txt').write_text('a\nb\n')
    (tmp_path / 'a.txt').write_text(line)
    Image.new('L', (40, 30)).save(tmp_path / 'a.png')
    with raises_naming(InferenceError, 'a.txt', 'line 1', line):
        list(read_labels(tmp_path, tmp_path).images)


def test_tables_that_are_none(tmp_path: Path) -> None:
    (tmp_path / 'p.csv').write_text('file_name,x\n"' + 'a' * 200_000)
    with raises_naming(ValueError, 'p.csv', 'CSV'):
        PromptFile(str(tmp_path / 'p.csv'))
