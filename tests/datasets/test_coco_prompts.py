"""Images with COCO annotations, prompted by their boxes or by those of a result file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsam_ext.datasets import BenchmarkSuite, CocoPromptDataset
from mmsam_ext.structures.prompt_files import PromptFile
from tests.layouts import write_coco, write_coco_results
from tests.naming import assert_names, raises_naming

ANNOTATIONS = 'annotations/instances_val2017.json'


def dataset(root: Path, *steps: dict, **options) -> CocoPromptDataset:
    settings = dict(ann_file=ANNOTATIONS, data_prefix=dict(img_path='val2017'), serialize_data=False, **options)
    return CocoPromptDataset(
        str(root), pipeline=[dict(type='LoadImageFromFile'), *steps, dict(type='PackPromptInputs')], **settings
    )


def continuous_iou(box: np.ndarray, other: np.ndarray) -> float:
    overlap = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0).prod()
    return overlap / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - overlap)


def test_boxes_of_annotations(tmp_path: Path) -> None:
    samples = dataset(write_coco(tmp_path), dict(type='LoadPrompts'))
    assert len(samples) == 2, 'the image with a crowd alone, and the one without annotations, are left out'
    sample = samples[1]['data_samples']
    assert sample.img_id == 11 and sample.ann_file.endswith(ANNOTATIONS)
    assert sample.prompts.boxes.tolist() == [[22, 17, 38, 33], [55, 35, 75, 55]]
    assert sample.prompt_info.annotation_ids.tolist() == [102, 103]
    assert sample.prompt_info.category_ids.tolist() == [1, 2] and sample.prompt_info.scores.tolist() == [1, 1]


def test_noise_within_an_iou_range_is_a_function_of_annotation_and_draw(tmp_path: Path) -> None:
    steps = (
        dict(type='LoadPrompts', modes=('low', 'high'), draws=3),
        dict(type='PerturbPrompts', box_iou=(0.5, 0.6), modes=['low'], seed=0),
        dict(type='PerturbPrompts', box_iou=(0.6, 0.7), modes=['high'], seed=0),
    )
    first = dataset(write_coco(tmp_path), *steps)[0]['data_samples']
    clean = dataset(tmp_path, steps[0])[0]['data_samples'].prompts.boxes.numpy()
    prompts = first.prompts
    assert len(prompts) == 12 and len(prompts.boxes.unique(dim=0)) == 12
    for row, (box, true) in enumerate(zip(prompts.boxes.numpy(), clean, strict=True)):
        low, high = ((0.5, 0.6), (0.6, 0.7))[int(prompts.mode_ids[row])]
        assert low - 1e-5 <= continuous_iou(box, true) <= high + 1e-5
    # The same annotation in another file, in another order: the same noise.
    data = json.loads((tmp_path / ANNOTATIONS).read_text())
    data['annotations'].reverse()
    (tmp_path / ANNOTATIONS).write_text(json.dumps(data))
    again = dataset(tmp_path, *steps, dataset_name='other')[0]['data_samples']
    for number in (100, 101):
        rows, others = (one.prompt_info.annotation_ids == number for one in (first, again))
        assert torch.equal(prompts.boxes[rows], again.prompts.boxes[others])


def test_boxes_of_a_detector(tmp_path: Path) -> None:
    results = write_coco_results(tmp_path / 'results.json')
    options = dict(require_annotations=False)
    samples = dataset(write_coco(tmp_path), dict(type='LoadPrompts', result_file=str(results)), **options)
    assert len(samples) == 4
    sample = samples[0]['data_samples']
    assert np.allclose(sample.prompts.boxes, [[20, 10, 40.5, 30], [1, 1, 13, 31]])
    assert sample.prompt_info.scores.tolist() == [0.9, 0.3] and sample.prompt_info.annotation_ids.tolist() == [-1, -1]
    assert len(samples[3]['data_samples'].prompts) == 0, 'the detector found nothing there'
    best = dict(type='LoadPrompts', result_file=str(results), max_per_image=1)
    assert len(dataset(tmp_path, best, **options)[0]['data_samples'].prompts) == 1
    sure = dict(type='LoadPrompts', result_file=str(results), min_score=0.95)
    assert len(dataset(tmp_path, sure, **options)[0]['data_samples'].prompts) == 0


def test_boxes_outside_or_without_area_are_left_out(tmp_path: Path, logged: io.StringIO) -> None:
    rows = [
        dict(image_id=10, category_id=1, bbox=bbox, score=0.5)
        for bbox in ([200, 5, 10, 10], [5, 5, 0, 10], [80, 60, 40, 40])
    ]
    (tmp_path / 'results.json').write_text(json.dumps(rows))
    step = dict(type='LoadPrompts', result_file=str(tmp_path / 'results.json'))
    prompts = dataset(write_coco(tmp_path), step)[0]['data_samples'].prompts
    assert prompts.boxes.tolist() == [[80, 60, 90, 70]], 'clipped to the image of 90 x 70 pixels'
    assert_names(logged.getvalue(), '2 of 3 boxes', '90 x 70')


def test_results_of_another_dataset(tmp_path: Path, logged: io.StringIO) -> None:
    path = tmp_path / 'results.json'
    step = dict(type='LoadPrompts', result_file=str(path))
    write_coco(tmp_path)
    row = dict(image_id=77, category_id=1, bbox=[1, 1, 5, 5], score=0.5)
    path.write_text(json.dumps([row]))
    with raises_naming(ValueError, 'results.json', '77'):
        dataset(tmp_path, step)
    path.write_text(json.dumps([row, dict(row, image_id=10)]))  # one of two: counted in the log
    assert len(dataset(tmp_path, step)) == 2
    assert_names(logged.getvalue(), 'results.json', '1 of 2 images', '[77]')
    path.write_text(json.dumps([dict(row, image_id=10, category_id=9)]))
    with raises_naming(ValueError, 'results.json', '9', '1, 2'):
        dataset(tmp_path, step)


@pytest.mark.parametrize(
    ('row', 'named'),
    [
        (dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4]), 'score'),
        (dict(image_id=1, category_id=1, bbox=[1, 2, 3], score=1.0), '[1, 2, 3]'),
        (dict(image_id=1, category_id=1, bbox=[1, 2, 3, float('nan')], score=1.0), 'nan'),
        (dict(category_id=1, bbox=[1, 2, 3, 4], score=1.0), 'image_id'),
        (dict(image_id=1, category_id='cat', bbox=[1, 2, 3, 4], score=1.0), "'cat'"),
        (dict(image_id=1, category_id=1, score=1.0), 'bbox'),
        ([1, 2, 3, 4], 'list'),
    ],
)
def test_malformed_result_files_name_the_entry(row: object, named: str, tmp_path: Path) -> None:
    path = tmp_path / 'results.json'
    good = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=1.0)
    path.write_text(json.dumps([good, row]))
    with raises_naming(ValueError, 'results.json', 'entry 1', named):
        PromptFile(str(path))


def test_other_files(tmp_path: Path) -> None:
    with raises_naming(FileNotFoundError, 'nothing.json'):
        PromptFile(str(tmp_path / 'nothing.json'))
    for text in ('[]', '{}', 'no json'):
        (tmp_path / 'a.json').write_text(text)
        with raises_naming(ValueError, 'a.json'):
            PromptFile(str(tmp_path / 'a.json'))


def test_prompts_by_file_name_from_json_and_csv(tmp_path: Path) -> None:
    (tmp_path / 'a.csv').write_text(
        'file_name,x,y,width,height,score,points\n'
        'MT_Crack/1.jpg,1,2,10,20,0.5,\n'
        '1.jpg,,,,,,3 4 1; 5 6 0\n'
    )  # fmt: skip
    file = PromptFile(str(tmp_path / 'a.csv'), need_scores=False)
    table = file.of_image(None, '/data/mtd/MT_Crack/1.jpg')
    assert table.boxes.tolist() == [[1, 2, 11, 22]] and table.scores.tolist() == [0.5]
    table = file.of_image(None, '/data/mtd/MT_Break/1.jpg')
    assert table.points.tolist() == [[[3, 4], [5, 6]]] and table.point_labels.tolist() == [[1, 0]]
    assert len(file.of_image(None, '2.jpg')) == 0
    (tmp_path / 'b.csv').write_text('file_name,x,y,width,height\n1.jpg,1,2,ten,20\n')
    with raises_naming(ValueError, 'b.csv', 'entry 0', 'ten'):
        PromptFile(str(tmp_path / 'b.csv'))


def test_sets_of_sginw_in_one_suite(tmp_path: Path) -> None:
    file = 'valid/_annotations_min1cat.coco.json'
    write_coco(tmp_path / 'Cows', file, 'valid')
    write_coco_results(tmp_path / 'results/Cows.json')
    sets = [
        dict(
            type='CocoPromptDataset', data_root=str(tmp_path / name), ann_file=file, data_prefix=dict(img_path='valid'),
            require_annotations=False,
        )
        for name in ('Cows', 'Rail')
    ]  # fmt: skip
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadPrompts', result_file=str(tmp_path / 'results/{dataset_name}.json')),
        dict(type='PackPromptInputs'),
    ]
    suite = BenchmarkSuite(sets, steps)
    assert len(suite) == 4 and suite[0]['data_samples'].dataset_name == 'Cows'
    assert len(suite[0]['data_samples'].prompts) == 2


def test_lvis_style_files(tmp_path: Path) -> None:
    """No `file_name` and no `iscrowd`."""
    path = write_coco(tmp_path) / ANNOTATIONS
    data = json.loads(path.read_text())
    for image in data['images']:
        image['coco_url'] = f'http://images.cocodataset.org/val2017/{image.pop("file_name")}'
    for annotation in data['annotations']:
        del annotation['iscrowd']
    path.write_text(json.dumps(data))
    samples = CocoPromptDataset(str(tmp_path), ANNOTATIONS, pipeline=[], serialize_data=False)
    assert len(samples) == 3 and samples.get_data_info(0)['img_path'].endswith('val2017/000000000000.jpg')


def test_bad_annotation_files(tmp_path: Path) -> None:
    with raises_naming(FileNotFoundError, 'instances_val2017.json'):
        dataset(tmp_path)
    path = write_coco(tmp_path) / ANNOTATIONS
    data = json.loads(path.read_text())
    (tmp_path / 'val2017/000000000001.jpg').rename(tmp_path / 'away.jpg')
    with raises_naming(FileNotFoundError, '1', '000000000001.jpg'):
        dataset(tmp_path)
    data['annotations'][0]['image_id'] = 99
    path.write_text(json.dumps(data))
    with raises_naming(ValueError, 'instances_val2017.json', '100', '99'):
        dataset(tmp_path)
