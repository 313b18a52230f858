# ruff: noqa: E501 (one row of a table is one line)
"""Bad input, one row each: every command's arguments, every reader of files, every field of prompts.

A command ends with an exit code and one line that names the argument or the file, without a traceback. A reader or a
structure raises the type in its row and names the file or the field, and what came.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.prompt_sets import PromptSet
from mmsam_ext.checkpoints.errors import CheckpointError
from mmsam_ext.cli import main
from mmsam_ext.datasets.binary_defect import read_list
from mmsam_ext.datasets.transforms.image_files import check_image_file
from mmsam_ext.structures import Prompts
from mmsam_ext.structures.coco_files import read_coco, read_json
from mmsam_ext.structures.prompt_files import PromptFile
from tests.models.small import config, segmentor
from tests.naming import assert_names, raises_naming

BOX = ['--box', '1', '2', '30', '40']


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model, its weights, an image, and files that are none of these."""
    folder = tmp_path_factory.mktemp('files')
    init_default_scope('mmseg')
    (folder / 'small.py').write_text(Config(dict(default_scope='mmseg', model=config())).pretty_text)
    (folder / 'typo.py').write_text(Config(dict(default_scope='mmseg', model=dict(type='NoSuchModel'))).pretty_text)
    (folder / 'broken.py').write_text('model = dict(')
    (folder / 'empty.py').write_text('')
    state = segmentor().state_dict()
    torch.save(state, folder / 'small.pth')
    torch.save(dict(epoch=1), folder / 'numbers.pth')
    (folder / 'cut.pth').write_bytes((folder / 'small.pth').read_bytes()[:5000])
    (folder / 'cut.safetensors').write_bytes(b'\x00\x01')
    (folder / 'text.pth').write_text('no weights')
    (folder / 'text.txt').write_text('no image')
    (folder / 'text.png').write_text('no image')
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'empty').mkdir()
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'a.png'), image)
    (folder / 'cut.png').write_bytes((folder / 'a.png').read_bytes()[:900])
    cv2.imwrite(str(folder / 'a.jpg'), image)
    (folder / 'cut.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:900])
    (folder / 'bad.json').write_text('{"images": [')
    (folder / 'list.json').write_text('[1, 2]')
    (folder / 'no_images.json').write_text('{"annotations": [], "categories": []}')
    (folder / 'no_box.json').write_text('[{"image_id": 1, "category_id": 1, "score": 0.5}]')
    (folder / 'short_box.json').write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3], "score": 0.5}]')
    (folder / 'no_image.json').write_text('[{"category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]')
    (folder / 'text.json').write_text('[{"image_id": 1, "category_id": 1, "bbox": "all", "score": 0.5}]')
    (folder / 'latin.txt').write_bytes('Gr\xf6\xdfe\n'.encode('latin-1'))
    (folder / 'blank.txt').write_text('\n\n')
    (folder / 'twice.txt').write_text('a\nb\na\n')
    (folder / 'page.md').write_text('no markers')
    np.save(folder / 'complex.npy', np.zeros((32, 32), complex))
    (folder / 'words.json').write_text('{"mIoU/box": "high"}')
    (folder / 'good.json').write_text('{"mIoU/box": 50.0}')
    (folder / 'pictures').mkdir()
    cv2.imwrite(str(folder / 'pictures' / 'a.png'), image)
    os.mkfifo(folder / 'pipe.png')
    os.mkfifo(folder / 'pipe.pth')
    for name in ('loop.png', 'loop.pth', 'loop.py'):
        (folder / name).symlink_to(folder / name)
    (folder / 'deep.json').write_text('[' * 100_000)
    (folder / 'empty.json').write_text('')
    (folder / 'latin.json').write_bytes('["Größe"]'.encode('latin-1'))
    (folder / 'run').mkdir()
    (folder / 'run/20260101_000000').mkdir()
    (folder / 'run/20260101_000000/x.json').write_text('{"lr": 1}')
    return folder


COMMAND_ROWS: list[tuple[str, tuple[str, ...]]] = [
    # command and arguments ({} is the folder of `files`), and what the error names
    ('nonsense', ('nonsense',)),
    ('trian', ('trian', 'train')),
    ('infer', ('IMAGE_OR_DIR',)),
    ('infer {}/none.png {}/small.py --weights {}/small.pth BOX', ('none.png',)),
    ('infer {}/text.png {}/small.py --weights {}/small.pth BOX --device cpu', ('text.png',)),
    ('infer {}/empty.png {}/small.py --weights {}/small.pth BOX --device cpu', ('empty.png',)),
    ('infer {}/cut.png {}/small.py --weights {}/small.pth BOX --device cpu', ('cut.png',)),
    ('infer {}/cut.jpg {}/small.py --weights {}/small.pth BOX --device cpu', ('cut.jpg',)),
    ('infer {}/empty {}/small.py --weights {}/small.pth BOX', ('empty',)),
    ('infer {}/a.png {}/none.py BOX', ('none.py',)),
    ('infer {}/a.png {}/broken.py BOX', ('broken.py',)),
    ('infer {}/a.png {}/empty.py BOX', ('empty.py', 'model')),
    ('infer {}/a.png {}/typo.py --weights {}/small.pth BOX', ('NoSuchModel',)),
    ('infer {}/a.png spt_tiny_sinthetic BOX', ('spt_tiny_sinthetic', 'spt_tiny_synthetic')),
    ('infer {}/a.png {}/small.py BOX', ('small.py', 'weights')),
    ('infer {}/a.png {}/small.py --weights {}/none.pth BOX', ('none.pth',)),
    ('infer {}/a.png {}/small.py --weights {}/text.pth BOX', ('text.pth',)),
    ('infer {}/a.png {}/small.py --weights {}/cut.pth BOX', ('cut.pth',)),
    ('infer {}/a.png {}/small.py --weights {}/cut.safetensors BOX', ('cut.safetensors',)),
    ('infer {}/a.png {}/small.py --weights {}/numbers.pth BOX', ('numbers.pth',)),
    ('infer {}/a.png {}/small.py --weights {}/empty BOX', ('empty',)),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device gpu', ('device', 'gpu')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu', ('a.png', 'prompt')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --box 1 2 3', ('--box', '4')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --box 1 2 3 x', ('--box', 'x')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --box 30 40 1 2', ('boxes', '[30.0, 40.0, 1.0, 2.0]')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --box 1 2 90 40', ('boxes', '80 x 60')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --box nan 2 9 9', ('boxes', 'nan')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --point -5 2', ('points', '80 x 60')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --point 5 2 --label 3', ('label', '3')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --point 5 2 --label 1 --label 0', ('--label', '--point')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/none.json', ('none.json',)),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/bad.json', ('bad.json',)),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/list.json', ('list.json', 'entry 0')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/no_images.json', ('no_images.json', 'images')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/short_box.json', ('short_box.json', 'bbox', '[1, 2, 3]')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --prompts {}/bad.json', ('--prompts', '--box')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --box-format xyxz', ('--box-format', 'xyxz', "'xyxy'")),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --mask-format logit', ('--mask-format', 'logit', "'logits'")),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --batch-size 0', ('batch_size', '0')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --out {}', ('a.png',)),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --out {}/a.png', ('a.png', 'folder')),
    ('train', ('config',)),
    ('train spt_tiny_sinthetic', ('spt_tiny_sinthetic', 'spt_tiny_synthetic')),
    ('train {}/none.py', ('none.py',)),
    ('train {}/broken.py --work-dir {}/work', ('broken.py',)),
    ('train {}/empty.py --work-dir {}/work', ('empty.py',)),
    ('train {}/small.py --work-dir {}/work --nonsense', ('--nonsense',)),
    ('train {}/small.py --work-dir {}/work --launcher mpirun', ('--launcher', 'mpirun')),
    ('test', ('config',)),
    ('test spt_tiny_sinthetic {}/small.pth', ('spt_tiny_sinthetic', 'spt_tiny_synthetic')),
    ('test {}/small.py', ('checkpoint',)),
    ('test {}/small.py {}/small.pth --out {}/masks', ('--out', 'small.py', 'test_evaluator')),
    ('test {}/none.py {}/small.pth', ('none.py',)),
    ('test {}/broken.py {}/small.pth --work-dir {}/work', ('broken.py',)),
    ('compare-runs', ('NAME=DIR',)),
    ('compare-runs {}/run', ('run', 'NAME=DIR')),
    ('compare-runs a={}/none', ('none',)),
    ('compare-runs a={}/run', ('run', "['lr']")),
    ('compare-runs a={}/run --metrics', ('--metrics',)),
    ('compare-runs a={}/good.json --metrics mIuO', ('--metrics', 'mIuO', 'mIoU')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --mask {}/complex.npy', ('--mask', 'complex.npy', 'complex128')),
    ('model-cost {}/small.py --input 1000000000 16', ('1000000000',)),
    ('model-cost {}/small.py --cfg-options model', ('--cfg-options', "'model'", 'KEY=VALUE')),
    ('model-cost {}/small.py --cfg-options model.nonsense=3', ('nonsense',)),
    ('train {}/small.py --work-dir {}/work --cfg-options train_cfg', ('--cfg-options', "'train_cfg'")),
    ('train {}/small.py --work-dir {}/work --cfg-options a=dict(b=1,c=2)', ('--cfg-options', 'a=dict(b=1,c=2)', 'KEY=')),
    ('train {}/small.py --work-dir {}/work --cfg-options a.b=[1,(2]', ('--cfg-options', 'a.b=[1,(2]', 'KEY=')),
    ('train {}/small.py --work-dir work', ('train_dataloader',)),
    ('analyze-robustness --model a {}/small.py --out {}/out', ('small.py', 'test_dataloader')),
    ('reproduce spt --seeds -1 --dry-run', ('--seeds', '-1')),
    ('compare-runs a={}/list.json', ('list.json', 'list')),
    ('compare-runs a={}/bad.json', ('bad.json', 'JSON')),
    ('compare-runs a={}/words.json', ('words.json', 'mIoU/box', 'high')),
    ('compare-runs a={}/good.json a={}/good.json', ('good.json', "'a'")),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out {}/out --points-per-side 0', ('points_per_side', '0')),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out {}/out --points-per-side 99999', ('points_per_side', '99999')),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out {}/out --pred-iou nan', ('pred_iou_thresh', 'nan')),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out {}/out --stability nan', ('stability_score_thresh', 'nan')),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out {}/out --crop-layers 30', ('crop_n_layers', '30')),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out {}/out --min-area -1', ('min_mask_region_area', '-1')),
    ('model-cost', ('config',)),
    ('model-cost {}/none.py', ('none.py',)),
    ('model-cost {}/broken.py', ('broken.py',)),
    ('model-cost {}/empty.py', ('model',)),
    ('model-cost {}/typo.py', ('NoSuchModel',)),
    ('model-cost {}/small.py --device gpu', ('gpu',)),
    ('model-cost {}/small.py --input 64', ('--input', '2')),
    ('model-cost {}/small.py --input 100 128', ('(100, 128)', '16')),
    ('model-cost {}/small.py --input 0 0', ('0',)),
    ('model-cost {}/small.py --cfg-options model.backbone.type=NoSuchThing', ('NoSuchThing',)),
    ('merge-peft {}/small.py', ('checkpoint',)),
    ('merge-peft {}/none.py {}/small.pth {}/out.pth', ('none.py',)),
    ('merge-peft {}/broken.py {}/small.pth {}/out.pth', ('broken.py',)),
    ('merge-peft {}/empty.py {}/small.pth {}/out.pth', ('empty.py', 'model')),
    ('merge-peft {}/small.py {}/none.pth {}/out.pth', ('none.pth',)),
    ('merge-peft {}/small.py {}/text.pth {}/out.pth', ('text.pth',)),
    ('merge-peft {}/small.py {}/small.pth {}/out.pth', ('small.pth', 'PEFT')),
    ('merge-peft {}/small.py {}/small.pth {}/out.pth --ours --drop', ('--ours', '--drop')),
    ('merge-peft {}/small.py {}/small.pth {}/out.pth --undo {}/none.pth', ('none.pth',)),
    ('export --format onxx --out {}/out', ('--format', 'onxx', "'onnx'")),
    ('export-plain-sam {}/small.pth', ('out',)),
    ('export-plain-sam {}/small.pth {}/out.txt', ('out.txt',)),
    ('export-plain-sam {}/none.pth {}/out.pth', ('none.pth',)),
    ('export-plain-sam {}/text.pth {}/out.pth', ('text.pth',)),
    ('export-plain-sam {}/small.pth {}/small.pth', ('small.pth',)),
    ('convert', ('FORMAT',)),
    ('convert nonsense', ('nonsense', 'spt-official')),
    ('convert spt-official {}/small.pth', ('base',)),
    ('convert spt-official {}/none.pth {}/small.pth {}/out.pth', ('none.pth',)),
    ('convert spt-official {}/small.pth {}/small.pth {}/out.pth', ('small.pth',)),
    ('convert spt-official {}/text.pth {}/small.pth {}/out.pth', ('text.pth',)),
    ('mtd-split {}/empty', ('MTD', 'empty')),
    ('mtd-split {}/none', ('MTD', 'none')),
    ('mtd-split {}/empty --val x', ('--val', 'x')),
    ('simulate-boxes spt_tiny_mtd', ('--out',)),
    ('simulate-boxes {}/none.py --out {}/boxes.json', ('none.py',)),
    ('simulate-boxes {}/small.py --out {}/boxes.json', ('small.py', 'test_dataloader')),
    ('simulate-boxes spt_tiny_mtd --out {}/bad.json', ('bad.json',)),
    ('simulate-boxes spt_tiny_mtd --out {}/boxes.json --noise -1', ('--noise', '-1')),
    ('analyze-robustness --out {}/out', ('--model',)),
    ('analyze-robustness --model a --out {}/out', ('--model', 'NAME CONFIG')),
    ('analyze-robustness --model a no_such_config --out {}/out', ('no_such_config',)),
    ('analyze-robustness --model a {}/small.py --draws 1 --out {}/out', ('--draws', '1')),
    ('analyze-robustness --model a {}/small.py --noise -1 --out {}/out', ('--noise', '-1')),
    ('analyze-robustness --model a {}/small.py --points 0 --out {}/out', ('--points', '0')),
    ('analyze-robustness --model a {}/small.py --noise nan --out {}/out', ('--noise', 'nan')),
    ('analyze-robustness --model a {}/small.py --images 0 --out {}/out', ('--images', '0')),
    ('tiles-demo --size 10 10', ('--size', '10', '--diameter', '12')),
    ('tiles-demo --size 100 100 --defects 50', ('--defects', '50', '17')),
    ('kill-and-resume --kills 0', ('--kills', '0')),
    ('kill-and-resume --size 30', ('--size', '30')),
    ('kill-and-resume {}/none.py', ('none.py',)),
    ('kill-and-resume {}/small.py', ('small.py', 'train_dataloader')),
    ('kill-and-resume --out {}/text.txt', ('text.txt', 'folder')),
    ('mini-sam-card --images 0', ('--images', '0')),
    ('mini-sam-card --tables mtd --mtd {}/none', ('--mtd', 'none', 'val.txt')),
    ('visualize-sampling {}/a.png {}/small.py BOX --top 0 --out {}/out.png', ('--top', '0')),
    ('visualize-sampling {}/a.png {}/small.py --out {}/out.png', ('--box', '--point')),
    ('visualize-sampling {}/a.png {}/none.py BOX --out {}/out.png', ('none.py',)),
    ('visualize-sampling {}/none.png {}/small.py --weights {}/small.pth BOX --out {}/out.png', ('none.png',)),
    ('visualize-sampling {}/a.png {}/small.py --weights {}/small.pth BOX --out {}/out.png', ('DeformableSamplingPlugin',)),
    ('reproduce', ('study',)),
    ('reproduce nonsense', ('study', 'nonsense')),
    ('reproduce ods_san', ('study', 'ods_san', "did you mean 'ods_sam'?")),
    ('reproduce spt --seeds 1 1 --dry-run', ('--seeds', '[1, 1]')),
    ('reproduce spt --iters 0 --dry-run', ('--iters', '0')),
    ('reproduce spt --only nonsense --dry-run', ('nonsense', 'did you mean')),
    ('reproduce spt --speed trian', ('--speed', 'trian', "'train'")),
    ('reproduce spt --data synthetik --dry-run', ('synthetik', "'synthetic'")),
    ('benchmark stabel_sam', ('stabel_sam', "'stable_sam'")),
    ('benchmark --stages decodr', ('--stages', 'decodr', "'decoder'")),
    ('benchmark --dtype fp23', ('--dtype', 'fp23', "'fp32'")),
    ('benchmark --size 100', ('--size', '100', '16')),
    ('benchmark --repeats 0', ('--repeats', '0')),
    ('benchmark --device gpu', ('gpu',)),
    ('benchmark --arch lrge', ('--arch', 'lrge', "'large'")),
    ('mini-sam-card --tables object', ('--tables', 'object', "'objects'")),
    ('mmseg analysis_tools/benchmrk.py', ('benchmrk.py', "'analysis_tools/benchmark.py'")),
    ('check-env --nonsense', ('--nonsense',)),
    ('infer {}/pipe.png {}/small.py --weights {}/small.pth BOX', ('pipe.png',)),
    ('infer {}/loop.png {}/small.py --weights {}/small.pth BOX', ('loop.png',)),
    ('infer {}/a.png {}/small.py --weights {}/pipe.pth BOX', ('pipe.pth', 'named pipe')),
    ('infer {}/a.png {}/small.py --weights {}/loop.pth BOX', ('loop.pth',)),
    ('infer {}/a.png {}/small.py --weights ftp://localhost/a.pth BOX', ('ftp://localhost/a.pth', 'scheme')),
    ('infer {}/a.png {}/small.py --weights file:///etc/passwd BOX', ('file:///etc/passwd', 'scheme')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --out /dev/null', ('/dev/null', 'folder')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth BOX --device cpu --out {}/text.txt/below', ('text.txt/below',)),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/deep.json', ('deep.json', 'JSON')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/empty.json', ('empty.json', 'JSON')),
    ('infer {}/a.png {}/small.py --weights {}/small.pth --device cpu --prompts {}/latin.json', ('latin.json', 'line 1', '0xf6')),
    ('everything {}/a.png {}/small.py --weights {}/small.pth --device cpu --out /dev/null', ('/dev/null',)),
    ('compare-runs a={}/good.json --out {}/text.txt/below', ('text.txt',)),
    ('compare-runs a={}/good.json --out /dev/null', ('/dev/null', '--overwrite')),
    ('export-plain-sam {}/pipe.pth {}/out.pth', ('pipe.pth', 'named pipe')),
    ('merge-peft {}/small.py {}/pipe.pth {}/out.pth', ('pipe.pth', 'named pipe')),
    ('convert spt-official {}/small.pth {}/loop.pth {}/out.pth', ('loop.pth',)),
    ('train {}/loop.py', ('loop.py',)),
    ('fit {}/run --minutes nan', ('minutes', 'nan')),
    ('fit {}/run --iterations 0', ('iterations', '0')),
    ('fit {}/a.png', ('a.png', 'folder')),
    ('annotate {}/pictures --out {}/labels --port 99999999', ('99999999', '65535')),
    ('annotate {}/pictures --out {}/text.txt', ('text.txt',)),
    ('inspect {}/a.png --weights {}/none.pth', ('none.pth',)),
    ('inspect {}/a.png --weights {}/small.pth', ('small.decision.json', '--calibrate')),
    ('import-labels {}/deep.json --images {}/run --out {}/none', ('deep.json', 'JSON')),
    ('tiles-demo --size 1000000 1000000', ('--size', '1000000')),
]  # fmt: skip


@pytest.mark.parametrize(('line', 'names'), COMMAND_ROWS, ids=[line for line, _ in COMMAND_ROWS])
def test_command(
    line: str, names: tuple[str, ...], files: Path, tmp_path: Path, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['mmsam_ext'])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    before = {path: path.is_file() and path.read_bytes() for path in files.rglob('*')}
    arguments = [part for word in line.split() for part in (BOX if word == 'BOX' else [word])]
    code: object
    try:
        code = main([word.replace('{}', str(files)) for word in arguments])
    except SystemExit as stopped:
        code = stopped.code
    printed = capsys.readouterr().err
    text = f'{printed.split("error: ", 1)[-1]} {code if isinstance(code, str) else ""}'
    assert code not in (None, 0), printed
    assert 'Traceback' not in text
    assert_names(text, *names)
    after = {path: path.is_file() and path.read_bytes() for path in files.rglob('*')}
    assert after == before, 'a file of the user was changed, or something was left behind'


def prompts(**fields: object) -> Callable[[Path], object]:
    return lambda folder: Prompts.create(**fields, sample='one.png')


def given(**fields: object) -> Callable[[Path], object]:
    return lambda folder: PromptSet.create(
        **{'boxes': None, 'points': None, 'point_labels': None, 'masks': None, **fields}, name='one.png'
    )


def load(name: str) -> Callable[[Path], object]:
    return lambda folder: CheckpointLoader.load_checkpoint(str(folder / name), 'cpu')


def build(registry: object, **options: object) -> Callable[[Path], object]:
    return lambda folder: registry.build(options)


NAN = float('nan')
#: Name of the row, what is called with the folder of `files`, the error's type, what it names.
ROWS: dict[str, tuple[Callable[[Path], object], type[Exception], tuple[object, ...]]] = {
    # fields of prompts
    'no prompt': (prompts(), ValueError, ('one.png', 'boxes')),
    'boxes of 3': (prompts(boxes=[[1, 2, 3]]), ValueError, ('one.png', 'boxes', '(1, 3)')),
    'boxes with NaN': (prompts(boxes=[[1, 2, NAN, 4]]), ValueError, ('one.png', 'boxes', 'nan', '[0, 2]')),
    'boxes as words': (prompts(boxes=[['a'] * 4]), ValueError, ('one.png', 'boxes')),
    'boxes ragged': (prompts(boxes=[[1, 2, 3, 4], [1]]), ValueError, ('one.png', 'boxes')),
    'boxes turned': (prompts(boxes=[[9, 2, 3, 4]]), ValueError, ('one.png', 'boxes', 'row 0')),
    'points alone': (prompts(points=[[[1, 2]]]), ValueError, ('one.png', 'point_labels')),
    'labels alone': (prompts(point_labels=[[1]]), ValueError, ('one.png', 'points')),
    'points with inf': (prompts(points=[[[1, float('inf')]]], point_labels=[[1]]), ValueError, ('points', 'inf')),
    'points of 3': (prompts(points=[[[1, 2, 3]]], point_labels=[[1]]), ValueError, ('points', '(1, 1, 3)')),
    'labels of 2': (prompts(points=[[[1, 2]]], point_labels=[[2]]), ValueError, ('point_labels', '[2]')),
    'labels too few': (prompts(points=[[[1, 2], [3, 4]]], point_labels=[[1]]), ValueError, ('point_labels', '(1, 1)')),
    'points masked': (prompts(points=[np.ma.masked_equal([[1, 2]], 2)], point_labels=[[1]]), ValueError, ('points', 'masked')),
    'only padding': (prompts(points=[[[1, 2]]], point_labels=[[-1]]), ValueError, ('prompt 0', 'point_labels')),
    'masks without channel': (prompts(masks=torch.zeros(1, 8, 8)), ValueError, ('masks', '(1, 8, 8)')),
    'masks with NaN': (prompts(masks=torch.full((1, 1, 4, 4), NAN)), ValueError, ('masks', 'nan')),
    'kinds unknown': (prompts(boxes=[[1, 2, 3, 4]], kinds=[9]), ValueError, ('kinds', '[9]')),
    'kinds without field': (prompts(boxes=[[1, 2, 3, 4]], kinds=[4]), ValueError, ('MASK', 'masks')),
    'target_ids negative': (prompts(boxes=[[1, 2, 3, 4]], target_ids=[-1]), ValueError, ('target_ids', '-1')),
    'target_ids too many': (prompts(boxes=[[1, 2, 3, 4]], target_ids=[0, 1]), ValueError, ('target_ids', '(2,)')),
    'draw_ids negative': (prompts(boxes=[[1, 2, 3, 4]], draw_ids=[-2]), ValueError, ('draw_ids', '-2')),
    'mode_ids unnamed': (prompts(boxes=[[1, 2, 3, 4]], mode_ids=[3]), ValueError, ('mode_ids', '[3]', 'modes')),
    'a field unknown': (prompts(bboxes=[[1, 2, 3, 4]]), TypeError, ('bboxes',)),
    # prompts for the inferencer
    'given boxes of 3': (given(boxes=[1, 2, 3]), InferenceError, ('boxes', '(3,)')),
    'given boxes as words': (given(boxes=['a', 1, 2, 3]), InferenceError, ('boxes',)),
    'given labels of 2': (given(points=[[1, 2]], point_labels=[2]), InferenceError, ('point_labels', '[2.0]')),
    'given points alone': (given(points=[[1, 2]]), InferenceError, ('points', 'point_labels')),
    'given labels alone': (given(point_labels=[1]), InferenceError, ('points', 'point_labels')),
    'given points flat': (given(points=[1, 2], point_labels=[1]), InferenceError, ('points', '(2,)')),
    'given no rows': (given(boxes=np.zeros((0, 4))), InferenceError, ('boxes', '0 rows')),
    # readers of images and masks
    'image absent': (lambda folder: check_image_file(str(folder / 'none.png')), FileNotFoundError, ('none.png',)),
    'image of text': (lambda folder: check_image_file(str(folder / 'text.png')), ValueError, ('text.png', '8 bytes')),
    'image empty': (lambda folder: check_image_file(str(folder / 'empty.png')), ValueError, ('empty.png', '0 bytes')),
    'image cut': (lambda folder: check_image_file(str(folder / 'cut.png')), ValueError, ('cut.png', '900 bytes')),
    'jpeg cut': (lambda folder: check_image_file(str(folder / 'cut.jpg')), ValueError, ('cut.jpg', '900 bytes')),
    # readers of checkpoints
    'weights absent': (load('none.pth'), FileNotFoundError, ('none.pth',)),
    'weights cut': (load('cut.pth'), CheckpointError, ('cut.pth', '5000 bytes')),
    'weights of text': (load('text.pth'), CheckpointError, ('text.pth', '10 bytes')),
    'weights without tensors': (load('numbers.pth'), CheckpointError, ('numbers.pth',)),
    'weights in a folder': (load('empty'), CheckpointError, ('empty', 'folder')),
    'safetensors cut': (load('cut.safetensors'), CheckpointError, ('cut.safetensors',)),
    # readers of lists, JSON and CSV
    'list absent': (lambda folder: read_list(str(folder / 'none.txt')), FileNotFoundError, ('none.txt',)),
    'list empty': (lambda folder: read_list(str(folder / 'blank.txt')), ValueError, ('blank.txt',)),
    'list with repetition': (lambda folder: read_list(str(folder / 'twice.txt')), ValueError, ('twice.txt', 'a')),
    'list not UTF-8': (lambda folder: read_list(str(folder / 'latin.txt')), ValueError, ('latin.txt', 'line 1', '0xf6')),
    'json absent': (lambda folder: read_json(str(folder / 'none.json')), FileNotFoundError, ('none.json',)),
    'json broken': (lambda folder: read_json(str(folder / 'bad.json')), ValueError, ('bad.json',)),
    'coco a list': (lambda folder: read_coco(str(folder / 'list.json')), ValueError, ('list.json',)),
    'coco without images': (lambda folder: read_coco(str(folder / 'no_images.json')), ValueError, ('no_images.json', 'images')),
    'prompts without box': (lambda folder: PromptFile(str(folder / 'no_box.json')), ValueError, ('no_box.json', 'bbox')),
    'prompts with short box': (lambda folder: PromptFile(str(folder / 'short_box.json')), ValueError, ('short_box.json', 'bbox')),
    'prompts without image': (lambda folder: PromptFile(str(folder / 'no_image.json')), ValueError, ('no_image.json', 'image_id')),
    'prompts with words': (lambda folder: PromptFile(str(folder / 'text.json')), ValueError, ('text.json', 'bbox', 'all')),
    # components
    'metric threshold': (build(METRICS, type='DiceIoU', threshold=2), ValueError, ('threshold', '2')),
    'metric limit': (build(METRICS, type='AnomalyMetric', limit=0), ValueError, ('limit', '0')),
    'metric grouping': (build(METRICS, type='MAE', by='colour'), ValueError, ('by', 'colour')),
    'metric dilation': (build(METRICS, type='PromptIoUMetric', dilation_ratio=0), ValueError, ('dilation_ratio', '0')),
    'hook fraction': (build(HOOKS, type='KernelTemperatureHook', fraction=0), ValueError, ('fraction', '0')),
    'hook keeps one': (build(HOOKS, type='AtomicCheckpointHook', max_keep_ckpts=1), ValueError, ('max_keep_ckpts', '1')),
    'dataset split': (build(DATASETS, type='GlaSDataset', split='val'), ValueError, ('split', 'val')),
    'dataset absent': (build(DATASETS, type='MTDDataset', data_root='nowhere'), FileNotFoundError, ('MTD', 'nowhere')),
    'transform prob': (build(TRANSFORMS, type='SynthesizeOcclusion', prob=2), ValueError, ('prob', '2')),
    'transform noise': (build(TRANSFORMS, type='PerturbPrompts', box_noise=-1), ValueError, ('box_noise', '-1')),
    'transform modes': (build(TRANSFORMS, type='GeneratePrompts', modes={}), ValueError, ('modes',)),
    'model arch': (build(MODELS, type='SAMImageEncoder', arch='vit_b'), ValueError, ('arch', 'vit_b')),
    'model trainable': (lambda folder: MODELS.build(config(trainable=['x_y_z'])), ValueError, ('trainable', 'x_y_z')),
    'model test_cfg': (lambda folder: MODELS.build(config(test_cfg=dict(presense_threshold=0.5))), ValueError, ('test_cfg', 'presense_threshold', 'presence_threshold')),
    'model train_cfg': (lambda folder: MODELS.build(config(train_cfg=dict(crop_size=(8, 8)))), ValueError, ('train_cfg', 'crop_size')),
    'model losses': (lambda folder: MODELS.build(config(train_cfg=dict(multimask='yes'))), ValueError, ('multimask', 'yes')),
    'model peft': (lambda folder: MODELS.build(config(peft=[dict(type='LoRA', modules='x_y_z')])), ValueError, ('modules', 'x_y_z')),
}  # fmt: skip


@pytest.mark.parametrize('name', ROWS)
def test_call(name: str, files: Path) -> None:
    init_default_scope('mmseg')
    call, kind, names = ROWS[name]
    with raises_naming(kind, *names):
        call(files)


def test_the_table_is_as_long_as_promised() -> None:
    assert len(COMMAND_ROWS) + len(ROWS) >= 120
