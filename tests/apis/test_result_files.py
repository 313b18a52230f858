"""Results overwrite what an earlier run wrote and nothing else; every image of a folder run is accounted for."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsam_ext.apis import InferenceError, inference_pipeline
from mmsam_ext.apis.exchange import read_labels, write_dataset
from mmsam_ext.apis.image_inputs import Source
from mmsam_ext.cli import everything, infer
from mmsam_ext.utils import ResultFolder, check_output_file, replacing
from tests.apis.conftest import visible
from tests.naming import raises_naming

BOX, OTHER = [20, 10, 90, 70], [60.5, 30, 149, 89]
REPO = Path(__file__).resolve().parents[2]


def content(folder: Path) -> dict[str, str]:
    """Hash of each file, without the manifest."""
    return {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in visible(folder)}


@pytest.mark.parametrize('name', ['a.png', 'a_overlay.png', 'a_mask0.png', 'scores.csv'])
def test_a_file_of_the_user_stays(inferencer, encodings, save, tmp_path: Path, name: str) -> None:
    path, out = save('in/a.png'), tmp_path / 'masks'
    out.mkdir()
    for file in (name, 'a_mask7.png', 'other.png', 'scores_old.csv'):
        (out / file).write_text(f'the user wrote {file}')
    before = content(out)
    with raises_naming(InferenceError, 'masks', name, 'overwrite') as caught:
        inferencer(path, boxes=BOX, out_dir=out)
    assert content(out) == before and encodings == [] and 'a_mask7.png' not in str(caught.value)
    inferencer(path, boxes=BOX, out_dir=out, overwrite=True)
    after = content(out)
    assert after.keys() >= {'a.png', 'a_overlay.png', 'a_mask0.png', 'scores.csv'} and after[name] != before[name]
    assert all(after[file] == before[file] for file in ('a_mask7.png', 'other.png', 'scores_old.csv') if file != name)


def test_own_results_are_replaced_until_the_user_changes_them(inferencer, save, tmp_path: Path) -> None:
    path, out = save('in/a.png'), tmp_path / 'out'
    for boxes in ([BOX, OTHER], [OTHER, BOX], [BOX]):
        masks = inferencer(path, boxes=boxes, out_dir=out)['predictions'][0]['masks']
        written = cv2.imread(str(out / 'a_mask0.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written > 0, masks[0])
    assert visible(out) == {'a.png', 'a_mask0.png', 'a_overlay.png', 'scores.csv'}
    cv2.imwrite(str(out / 'a_mask0.png'), np.zeros((90, 150), np.uint8))  # corrected by hand
    with raises_naming(InferenceError, '1', 'a_mask0.png'):
        inferencer(path, boxes=BOX, out_dir=out)
    assert cv2.imread(str(out / 'a_mask0.png')).max() == 0
    (out / '.mmsam_ext_results.jsonl').unlink()
    with raises_naming(InferenceError, '4'):
        inferencer(path, boxes=BOX, out_dir=out)


def test_a_later_mask_of_an_earlier_run_that_the_user_changed_stays(inferencer, save, tmp_path: Path) -> None:
    path, out = save('in/a.png'), tmp_path / 'out'
    inferencer(path, boxes=[BOX, OTHER, BOX], out_dir=out)
    (out / 'a_mask2.png').write_text('changed')
    inferencer(path, boxes=BOX, out_dir=out)
    assert (out / 'a_mask2.png').read_text() == 'changed' and not (out / 'a_mask1.png').exists()


def test_a_run_that_was_stopped_can_be_repeated(inferencer, save, tmp_path: Path) -> None:
    """No file is half written: each has its whole content or does not exist."""
    paths, out = [save(f'in/{name}.png', seed=seed) for seed, name in enumerate('abc')], tmp_path / 'out'
    results = inferencer.iterate(paths, boxes=BOX, out_dir=out)
    next(results)
    results.close()
    assert visible(out) == {'a.png', 'a_mask0.png', 'a_overlay.png', 'scores.csv'}
    with (out / '.mmsam_ext_results.jsonl').open('a') as file:
        file.write('{"name": "b.png", "sha')  # a line cut short by a kill
    inferencer(paths, boxes=BOX, out_dir=out, show_progress=False)
    rows = list(csv.DictReader((out / 'scores.csv').open()))
    assert [Path(row['image']).name for row in rows] == ['a.png', 'b.png', 'c.png']
    assert not [name for name in os.listdir(out) if name.startswith('.') and 'mmsam' not in name]


def test_a_loop_over_images_fills_one_table(inferencer, save, tmp_path: Path) -> None:
    """Rows stay of images that a later call does not segment, as long as their masks are there."""
    paths, out = [save(f'in/{name}.png', seed=seed) for seed, name in enumerate('abc')], tmp_path / 'out'
    for path in paths:
        inferencer(path, boxes=[BOX, OTHER], out_dir=out)
    read = lambda: [row[:2] + row[5:6] for row in csv.reader((out / 'scores.csv').open())][1:]  # noqa: E731
    assert read() == [
        [str(path), str(row), f'{path.stem}_mask{row}.png'] for path in map(Path, paths) for row in (0, 1)
    ]
    inferencer(paths[1], boxes=BOX, out_dir=out)
    (out / 'c_mask0.png').unlink()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'broken.png').write_text('no image')
    save('other/d.png', seed=8)
    inferencer(tmp_path / 'other', boxes=BOX, out_dir=out, show_progress=False)
    inferencer(save('other/a.png', seed=9), boxes=BOX, out_dir=out)  # takes the names of in/a.png
    kept = [[str(paths[2]), '1', 'c_mask1.png'], [str(paths[1]), '0', 'b_mask0.png']]
    kept += [[str(tmp_path / 'other/broken.png'), '', ''], [str(tmp_path / 'other/d.png'), '0', 'd_mask0.png']]
    kept += [[str(tmp_path / 'other/a.png'), '0', 'a_mask0.png']]
    # What is left of in/a.png is its second mask, which the run for other/a.png removed.
    assert sorted(read()) == sorted(kept)


def test_nothing_is_loaded_before_the_folder_is_checked(save, tmp_path: Path, monkeypatch, capsys) -> None:
    path = save('in/a.png')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'a_mask1.png').write_text('mine')
    monkeypatch.setattr(infer, 'PromptSegInferencer', lambda *args: pytest.fail('the model was loaded'))
    boxes = ['--box', *map(str, BOX), '--box', '1', '2', '30', '40']
    assert infer.main([str(path), *boxes, '--out', str(tmp_path / 'out')]) == 2
    assert 'a_mask1.png' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'a_mask1.png').read_text() == 'mine'


def test_names_do_not_depend_on_what_fails(inferencer, save, tmp_path: Path) -> None:
    """`a.jpg` is 'a' whether or not it can be read, so that a repaired file does not rename the results of others."""
    save('in/a.png')
    (tmp_path / 'in/a.jpg').write_text('no image')
    inferencer(tmp_path / 'in', boxes=BOX, out_dir=tmp_path / 'out', show_progress=False)
    assert visible(tmp_path / 'out') == {'a_png.png', 'a_png_mask0.png', 'a_png_overlay.png', 'scores.csv'}


# ---------------------------------------------------------------- every image of a folder is accounted for


def table(out: Path) -> dict[str, str]:
    """Name of the image -> its error, '' where there is none."""
    with (out / 'scores.csv').open(encoding='utf-8', newline='') as file:
        return {Path(row['image']).name: row['error'] for row in csv.DictReader(file)}


def test_an_image_too_large_for_memory_does_not_take_others_along(
    inferencer, save, tmp_path: Path, monkeypatch
) -> None:
    for seed, name in enumerate('abcd'):
        save(f'in/{name}.png', seed=seed)
    load = inference_pipeline.InferencePipeline.load

    def scarce(self, source):
        if source.name.endswith('b.png'):
            raise MemoryError('Unable to allocate 34.5 GiB for an array')
        return load(self, source)

    monkeypatch.setattr(inference_pipeline.InferencePipeline, 'load', scarce)
    out = tmp_path / 'out'
    result = inferencer(tmp_path / 'in', boxes=BOX, out_dir=out, batch_size=2, show_progress=False)
    assert [Path(one['path']).name for one in result['predictions']] == ['a.png', 'c.png', 'd.png']
    assert len(result['failed']) == 1 and '34.5 GiB' in result['failed'][0]['error']
    assert 'too large for the memory' in table(out)['b.png'] and table(out)['d.png'] == ''
    # In the model: a batch is repeated image by image.
    monkeypatch.setattr(inference_pipeline.InferencePipeline, 'load', load)
    decode = inferencer.model.decode

    def scarce_decode(features, *args, **kwargs):
        if len(features.embedding) > 1 or scarce_decode.calls == 1:
            scarce_decode.calls += 1
            raise RuntimeError('DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.')
        scarce_decode.calls += 1
        return decode(features, *args, **kwargs)

    scarce_decode.calls = 0
    monkeypatch.setattr(inferencer.model, 'decode', scarce_decode)
    result = inferencer(tmp_path / 'in', boxes=BOX, batch_size=4, show_progress=False)
    assert [Path(one['path']).name for one in result['predictions']] == ['b.png', 'c.png', 'd.png']
    assert 'a.png' in result['failed'][0]['error'] and 'memory' in result['failed'][0]['error']


@pytest.mark.skipif(sys.platform != 'linux', reason='names of files are bytes on Linux')
def test_a_name_that_is_not_utf_8(inferencer, save, tmp_path: Path, capfd, monkeypatch) -> None:
    """The image is segmented, and its results have its name; a broken one is reported."""
    source, folder, out = save('a.png'), tmp_path / 'in', tmp_path / 'out'
    folder.mkdir()
    for name in (b'part_\xe4.png', b'broken_\xff.png'):
        (folder / os.fsdecode(name)).write_bytes(source.read_bytes() if name.startswith(b'part') else b'no image')
    save('in/z.png', seed=1)
    result = inferencer(folder, boxes=BOX, out_dir=out, show_progress=False)
    assert len(result['predictions']) == 2 and len(result['failed']) == 1
    assert os.fsencode(out / os.fsdecode(b'part_\xe4_mask0.png')) and b'part_\xe4.png' in os.listdir(os.fsencode(out))
    assert set(table(out)) == {'part_\\udce4.png', 'broken_\\udcff.png', 'z.png'}
    assert 'broken_\\udcff.png' in result['failed'][0]['error']
    inferencer(folder, boxes=BOX, out_dir=out, show_progress=False)  # its own results, once more
    monkeypatch.setattr(infer, 'PromptSegInferencer', lambda *args: inferencer)
    assert infer.main([str(folder), '--box', *map(str, BOX)]) == 1
    printed = capfd.readouterr()
    assert 'part_\\udce4.png' in printed.out and 'Logging error' not in printed.err
    assert printed.err.rstrip().endswith('broken_\\udcff.png')


def test_files_that_are_not_images_are_left_out(inferencer, save, tmp_path: Path) -> None:
    folder = tmp_path / 'in'
    save('in/a.png')
    (folder / 'photo').write_bytes((folder / 'a.png').read_bytes())  # an image without a suffix
    for name in ('Thumbs.db', 'desktop.ini', 'notes.txt', 'labels.json', 'model.pth', '.DS_Store', 'a.xml'):
        (folder / name).write_bytes(b'\xd0\xcf\x11\xe0 something else')
    os.mkfifo(folder / 'pipe.png')  # reading it would wait for ever
    (folder / 'gone.png').symlink_to(folder / 'nowhere.png')  # an image that is missing
    result = inferencer(folder, boxes=BOX, show_progress=False)
    assert [Path(one['path']).name for one in result['predictions']] == ['a.png', 'photo']
    assert [Path(one['path']).name for one in result['failed']] == ['gone.png']
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts/a.txt').write_text('x')
    with raises_naming(InferenceError, 'texts'):
        inferencer(tmp_path / 'texts', boxes=BOX)


def test_an_error_of_the_overlay_or_of_the_disk_is_one_image(inferencer, save, tmp_path: Path, monkeypatch) -> None:
    for seed, name in enumerate('abc'):
        save(f'in/{name}.png', seed=seed)
    write = ResultFolder.write

    def full(self, name, content):
        if name == 'b_mask0.png':
            raise OSError(28, 'No space left on device')
        write(self, name, content)

    monkeypatch.setattr(ResultFolder, 'write', full)
    result = inferencer(tmp_path / 'in', boxes=BOX, out_dir=tmp_path / 'out', show_progress=False)
    assert [Path(one['path']).name for one in result['predictions']] == ['a.png', 'c.png']
    assert 'b_mask0.png: No space left' in table(tmp_path / 'out')['b.png']
    monkeypatch.setattr(ResultFolder, 'write', write)
    compose = inferencer.visualizer.compose

    def failing(image, sample, **options):
        if failing.calls.append(1) or len(failing.calls) == 2:
            raise TypeError('a mistake of the program')
        return compose(image, sample, **options)

    failing.calls = []
    monkeypatch.setattr(inferencer.visualizer, 'compose', failing)
    result = inferencer(tmp_path / 'in', boxes=BOX, return_vis=True, show_progress=False)
    assert len(result['predictions']) == 2 and 'b.png: TypeError: a mistake' in result['failed'][0]['error']


# ---------------------------------------------------------------- single files


def test_output_files_are_checked_and_replaced_whole(tmp_path: Path) -> None:
    mine = tmp_path / 'a.pth'
    mine.write_text('mine')
    for path, inputs, overwrite in [
        (mine, (), False),
        (mine, (mine,), True),
        (tmp_path / 'x/../a.pth', (mine,), True),
        (tmp_path, (), True),
    ]:
        (tmp_path / 'x').mkdir(exist_ok=True)
        with raises_naming(OSError, path):
            check_output_file(path, inputs, overwrite)
    (tmp_path / 'link.pth').symlink_to(mine)
    with raises_naming(FileExistsError, 'link.pth'):
        check_output_file(tmp_path / 'link.pth', [mine], True)
    check_output_file(tmp_path / 'new/b.pth', [mine])
    with pytest.raises(ZeroDivisionError), replacing(mine, True) as temporary:  # noqa: PT012 (the error comes last)
        temporary.write_text('half')
        raise ZeroDivisionError
    assert mine.read_text() == 'mine'
    with raises_naming(FileExistsError, 'a.pth'), replacing(mine) as temporary:
        pytest.fail('the file belongs to the user')
    for text in ('whole', 'once more'):
        with replacing(mine, overwrite=text == 'whole') as temporary:
            temporary.write_text(text)
        assert mine.read_text() == text
        check_output_file(mine)  # our own
    assert visible(tmp_path) == {'a.pth', 'x', 'new', 'link.pth'}


def test_manifest_records_what_was_written(tmp_path: Path) -> None:
    first = ResultFolder(tmp_path / 'out')
    first.write('sub/a.txt', b'1')
    first.append('sub/a.txt', b'2')
    other = ResultFolder(tmp_path / 'out', rank=1)
    other.write('b.txt', b'3')
    lines = [json.loads(line) for line in (tmp_path / 'out/.mmsam_ext_results.jsonl').read_text().splitlines()]
    assert [line['name'] for line in lines] == ['sub/a.txt', 'sub/a.txt']
    assert lines[-1]['sha256'] == hashlib.sha256(b'12').hexdigest()
    again = ResultFolder(tmp_path / 'out')
    assert again.wrote('sub/a.txt') and again.wrote('b.txt') and not again.wrote('c.txt')
    (tmp_path / 'out/sub/c.txt').write_text('mine')
    assert again.foreign_files('.txt') == ['sub/c.txt']
    with raises_naming(FileExistsError, 'sub/c.txt'):
        again.write('sub/c.txt', b'4')
    ResultFolder(tmp_path / 'out', overwrite=True).write('sub/c.txt', b'4')
    assert (tmp_path / 'out/sub/c.txt').read_bytes() == b'4'


@pytest.mark.parametrize('name', ['../a.png', '/tmp/a.png', 'b/../../a.png'])
def test_nothing_is_written_outside_the_folder(name: str, tmp_path: Path) -> None:
    results = ResultFolder(tmp_path / 'out')
    with raises_naming(ValueError, 'out', name, 'outside'):
        results.write(name, b'x')
    assert list(tmp_path.iterdir()) == []
    results.write('b/../a.png', b'x')
    assert (tmp_path / 'out/a.png').read_bytes() == b'x'


def test_a_folder_that_cannot_be_made_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    for name in ('file', 'file/below', 'loop'):
        with raises_naming(OSError, tmp_path / name, 'folder'):
            ResultFolder(tmp_path / name).prepare(['a.png'])
    ResultFolder(tmp_path / 'new/below').prepare(['a.png'])
    assert (tmp_path / 'new/below').is_dir()


def test_pictures_of_everything_have_names_of_their_own() -> None:
    sources = [Source(name, path=name) for name in ('x.y.png', 'x_y.png', 'x_y.jpg', 'x.y.jpg', 'x.png')]
    files = [file for source in sources for file in everything.names(source)]
    assert len(set(files)) == len(files) == 10 and 'x_png_everything.json' in files


def test_labels_do_not_name_images_outside_their_folder(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'secret.png'), np.zeros((30, 40), np.uint8))
    for name in ('../secret.png', str(tmp_path / 'secret.png')):
        entry = dict(id=1, file_name=name, height=30, width=40)
        coco = dict(images=[entry], annotations=[], categories=[dict(id=1, name='a')])
        (tmp_path / 'coco.json').write_text(json.dumps(coco))
        with raises_naming(InferenceError, 'coco.json', name, 'images'):
            write_dataset(read_labels(tmp_path / 'coco.json', tmp_path / 'images'), tmp_path / 'out')
