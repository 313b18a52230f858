"""The command that decides: `python -m mmsam_ext inspect`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.apis.inspection import Decision
from mmsam_ext.apis.inspection.records import full_mask, read_records
from mmsam_ext.cli import inspect_images
from tests.models.small import config, segmentor


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.py, small.pth, its decision, and dataset/: images (with a broken one) and masks."""
    folder = tmp_path_factory.mktemp('inspect')
    init_default_scope('mmseg')
    (folder / 'small.py').write_text(Config(dict(model=config())).pretty_text)
    torch.save(segmentor().state_dict(), folder / 'small.pth')
    data = folder / 'dataset'
    for name in ('images', 'masks'):
        (data / name).mkdir(parents=True)
    for seed in range(6):
        image = np.random.default_rng(seed).integers(0, 90, (60, 80, 3), dtype=np.uint8)
        mask = np.zeros((60, 80), np.uint8)
        if seed % 2:
            mask[20:30, 10 * seed : 10 * seed + 12] = 255
            image[mask > 0] = 250
        cv2.imwrite(str(data / 'images' / f'{seed}.png'), image)
        cv2.imwrite(str(data / 'masks' / f'{seed}.png'), mask)
    arguments = ['--weights', str(folder / 'small.pth'), '--model', str(folder / 'small.py'), '--device', 'cpu']
    assert inspect_images.main([*arguments, '--calibrate', str(data)]) == 0
    (data / 'images' / 'broken.png').write_text('no image')
    return folder


def run(files: Path, *arguments: str, images: str = 'images') -> int:
    words = [str(files / 'dataset' / images), '--weights', str(files / 'small.pth'), '--device', 'cpu']
    return inspect_images.main([*words, *arguments])


def test_calibration_is_what_the_inferencer_says(files: Path) -> None:
    decision = Decision.load(files / 'small.pth')
    assert decision.names == tuple('012345') and decision.defective == (False, True) * 3 and decision.normals == 3
    inferencer = PromptSegInferencer(files / 'small.py', files / 'small.pth', 'cpu')
    image = files / 'dataset/images/1.png'
    logits = inferencer(image, boxes=[[0, 0, 79, 59]], return_logits=True)['predictions'][0]['logits']
    assert decision.scores[1] == pytest.approx(float(logits.max()), abs=2e-2)


def test_tables_report_and_exit_codes(files: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / 'out'
    code = run(files, '--out', str(out), '--recall', '1.0', '--mm-per-pixel', '0.5')
    printed = capsys.readouterr()
    assert code == inspect_images.SOME_FAILED and 'broken.png' in printed.err
    assert sum(': defect' in line for line in printed.out.splitlines()) >= 3
    with (out / 'images.csv').open() as file:
        images = {Path(row['image']).name: row for row in csv.DictReader(file)}
    assert len(images) == 7 and images['broken.png']['error']
    assert all(images[f'{index}.png']['decision'] == 'defect' for index in (1, 3, 5))
    records = {Path(record['image']).name: record for record in read_records(out)[1]}
    with (out / 'defects.csv').open() as file:
        rows = [row for row in csv.DictReader(file) if row['image'].endswith('1.png')]
    assert len(rows) == len(records['1.png']['defects']) > 0
    for row, defect in zip(rows, records['1.png']['defects'], strict=True):
        mask = full_mask(records['1.png'], defect)
        x, y, width, height = (int(row[key]) for key in ('x', 'y', 'width', 'height'))
        assert mask.shape == (60, 80) and mask.sum() == int(row['area_px']) == mask[y : y + height, x : x + width].sum()
        assert float(row['area_mm2']) == mask.sum() / 4
        assert float(row['length_mm']) == pytest.approx(float(row['length_px']) / 2, abs=0.01)
    page = (out / 'report.html').read_text()
    assert '1.png' in page and 'could not be used' in page
    assert (out / records['1.png']['picture']).is_file() and records['1.png']['picture'] in page


def test_decision_for_scripts(files: Path, tmp_path: Path) -> None:
    """3 with a defect, 0 without one, 2 for an error."""
    (tmp_path / 'one').mkdir()
    cv2.imwrite(str(tmp_path / 'one' / 'a.png'), cv2.imread(str(files / 'dataset/images/1.png')))
    weights = ['--weights', str(files / 'small.pth'), '--device', 'cpu']
    assert inspect_images.main([str(tmp_path / 'one'), *weights, '--recall', '1']) == inspect_images.DEFECT
    none = ['--recall', '1', '--min-area', '100000']
    assert inspect_images.main([str(tmp_path / 'one'), *weights, *none]) == inspect_images.NO_DEFECT
    assert inspect_images.main([str(tmp_path / 'nowhere'), *weights]) == inspect_images.ERROR


def test_a_run_that_was_killed_goes_on(files: Path, tmp_path: Path, capsys) -> None:
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    run(files, '--out', str(whole), '--recall', '1')
    run(files, '--out', str(cut), '--recall', '1')
    lines = (cut / 'results.jsonl').read_text().splitlines(keepends=True)
    (cut / 'results.jsonl').write_text(''.join(lines[:3]) + lines[3][:20])  # two images, and half a line
    capsys.readouterr()
    run(files, '--out', str(cut), '--recall', '1')
    printed = capsys.readouterr()
    assert '2 of 7 images were inspected by an earlier run' in printed.err
    assert len(printed.out.splitlines()) == 4  # and the broken one
    for name in ('images.csv', 'defects.csv'):
        assert sorted((cut / name).read_text().splitlines()) == sorted((whole / name).read_text().splitlines())


def test_results_of_other_settings_are_not_mixed(files: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / 'out'
    run(files, '--out', str(out))
    assert run(files, '--out', str(out), '--min-area', '7') == inspect_images.ERROR
    error = capsys.readouterr().err
    assert 'min_area' in error and '7' in error and 'results.jsonl' in error
    assert run(files, '--out', str(out), '--min-area', '7', '--overwrite') == inspect_images.SOME_FAILED
    assert json.loads((out / 'results.jsonl').read_text().splitlines()[0])['run']['min_area'] == 7


def test_in_bf16(files: Path, tmp_path: Path, capsys) -> None:
    """Close to fp32, and not mixed with it in one folder."""
    plain, half = tmp_path / 'plain', tmp_path / 'half'
    run(files, '--out', str(plain), '--recall', '1')
    run(files, '--out', str(half), '--recall', '1', '--dtype', 'bf16')
    scores = [[record.get('score') for record in read_records(folder)[1]] for folder in (plain, half)]
    assert scores[0] != scores[1]
    assert [one for one in scores[1] if one] == pytest.approx([one for one in scores[0] if one], abs=0.1)
    capsys.readouterr()
    assert run(files, '--out', str(plain), '--recall', '1', '--dtype', 'bf16') == inspect_images.ERROR
    assert 'dtype' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['--mm-per-pixel', '0'], '0.0'),
        (['--mm-per-pixel', 'nan'], 'nan'),
        (['--recall', '1.5'], '1.5'),
        (['--min-area', '-1'], '-1'),
        (['--model', 'no_such_config'], 'no_such_config'),
    ],
)
def test_bad_input(files: Path, arguments: list[str], named: str, capsys) -> None:
    try:
        code = run(files, *arguments)
    except SystemExit as error:  # of argparse
        code = error.code
    assert code == inspect_images.ERROR and named in capsys.readouterr().err


def test_weights_without_thresholds_are_an_error(files: Path, tmp_path: Path, capsys) -> None:
    """Never 'area 0' from a model that nobody has checked."""
    torch.save(segmentor().state_dict(), tmp_path / 'new.pth')
    images = str(files / 'dataset' / 'images')
    code = inspect_images.main([images, '--weights', str(tmp_path / 'new.pth'), '--model', str(files / 'small.py')])
    assert code == inspect_images.ERROR
    error = capsys.readouterr().err
    assert 'new.decision.json' in error and 'fit' in error
