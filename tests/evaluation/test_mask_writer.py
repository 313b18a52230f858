"""A test's masks as files: a folder for each dataset and prompt mode, each file what a score was computed from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmsam_ext.evaluation.functional import mask_iou
from mmsam_ext.evaluation.metrics import LabelMapWriter, PromptIoUMetric
from mmsam_ext.structures import Prompts
from tests.naming import raises_naming

MODES = ('box', 'box+points')


def sample(dataset: str, name: str, path: str, rows: list[tuple[int, int, int]], seed: int = 0) -> dict:
    """`rows`: mode, target and draw of each prompt."""
    generator = torch.Generator().manual_seed(seed)
    ids = {
        key: torch.tensor(value) for key, value in zip(('mode', 'target', 'draw'), zip(*rows, strict=True), strict=True)
    }
    prompts = Prompts.create(
        boxes=torch.tensor([[1.0, 1, 9, 9]] * len(rows)),
        modes=MODES,
        mode_ids=ids['mode'],
        target_ids=ids['target'],
        draw_ids=ids['draw'],
    )
    one = SegDataSample(metainfo=dict(sample_id=name, dataset_name=dataset, img_path=path))
    one.prompts = prompts
    one.gt_masks = PixelData(data=(torch.rand(2, 20, 30, generator=generator) > 0.5).to(torch.uint8))
    one.pred_instances = InstanceData(
        mask_logits=torch.randn(len(rows), 20, 30, generator=generator),
        iou_scores=torch.ones(len(rows)),
        **{f'{key}_ids': value for key, value in ids.items()},
    )
    one.pred_sem_seg = PixelData(data=(one.pred_instances.mask_logits > 0).any(0, keepdim=True).long())
    return one.to_dict()


def files(folder: Path) -> dict[str, np.ndarray]:
    paths = sorted(path for path in folder.rglob('*.png'))
    return {str(path.relative_to(folder)): cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths}


def test_equal_names_of_two_datasets_and_several_modes(tmp_path: Path) -> None:
    rows = [(0, 0, 0), (1, 0, 0), (1, 0, 1)]
    one = sample('left', 'part/001', 'l/part/001.png', rows)
    other = sample('right', 'part/001', 'r/part/001.png', rows, seed=1)
    metric = PromptIoUMetric(output_dir=str(tmp_path / 'out'), boundary=False)
    metric.process(None, [one, other])
    written = files(tmp_path / 'out')
    assert list(written) == [f'{name}/{mode}/part/001.png' for name in ('left', 'right') for mode in MODES]
    for name, given in (('left', one), ('right', other)):
        for row, mode in enumerate(MODES):
            mask = given['pred_instances']['mask_logits'][row] > 0
            np.testing.assert_array_equal(written[f'{name}/{mode}/part/001.png'], mask.numpy() * 255)
    # A file is what the row of the table is computed from.
    ious = [mask_iou(torch.from_numpy(written[f'{name}/box/part/001.png'] > 0), given['gt_masks']['data'][0] > 0)
            for name, given in (('left', one), ('right', other))]  # fmt: skip
    assert metric.evaluate(2)['mIoU/box'] == pytest.approx(100 * float(sum(ious)) / 2, abs=1e-4)


def test_targets_draws_and_chosen_modes(tmp_path: Path) -> None:
    rows = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 0, 1)]
    given = sample('d', 's', 's.png', rows)
    logits = given['pred_instances']['mask_logits'] > 0
    metric = PromptIoUMetric(output_dir=str(tmp_path / 'out'), output_draws=2, boundary=False)
    metric.process(None, [given])
    written = files(tmp_path / 'out')
    expected = {
        'd/box/s_target0_draw0.png': logits[0], 'd/box/s_target1_draw0.png': logits[1],
        'd/box+points/s_draw0.png': logits[2], 'd/box+points/s_draw1.png': logits[3] | logits[4],
    }  # fmt: skip
    assert written.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(written[name] > 0, mask.numpy())
    metric = PromptIoUMetric(output_dir=str(tmp_path / 'one'), output_modes='box', boundary=False)
    metric.process(None, [given])
    assert list(files(tmp_path / 'one')) == ['d/box/s_target0.png', 'd/box/s_target1.png']
    metric = PromptIoUMetric(output_dir=str(tmp_path / 'no'), output_modes=['points'], boundary=False)
    with raises_naming(ValueError, "['points']", "['box', 'box+points']"):
        metric.process(None, [given])
    with raises_naming(ValueError, 'output_draws', '0'):
        PromptIoUMetric(output_dir=str(tmp_path / 'no'), output_draws=0)


def test_two_images_of_one_name_are_an_error_and_paths_stay_inside(tmp_path: Path) -> None:
    rows = [(0, 0, 0)]
    metric = PromptIoUMetric(output_dir=str(tmp_path / 'out'), boundary=False)
    metric.process(None, [sample('d', 's', 'a/s.png', rows)] * 2)  # a sampler repeats samples to fill batches
    with raises_naming(ValueError, 'b/s.png', 'a/s.png', 'dataset_name'):
        metric.process(None, [sample('d', 's', 'b/s.png', rows)])
    metric.process(None, [sample('../../up', '/abs/../../x', 'c.png', rows), sample('d', '', '/data/e.png', rows)])
    assert set(files(tmp_path / 'out')) == {'d/box/s.png', 'up/box/abs/x.png', 'd/box/data/e.png'}
    assert {path.name for path in tmp_path.iterdir()} == {'out'}


def test_two_masks_of_an_image_and_modes_of_one_file_are_errors(tmp_path: Path) -> None:
    """An image that two datasets of one name have, with a mask each; and names of modes that are one path."""
    metric = PromptIoUMetric(output_dir=str(tmp_path / 'out'), boundary=False)
    scratch, dent = (sample('d', 's', 'images/s.png', [(0, 0, 0)]) | dict(seg_map_path=f'{one}/s.png') for one in 'xy')
    metric.process(None, [scratch, scratch])
    with raises_naming(ValueError, 'images/s.png', 'x/s.png', 'y/s.png', 'd/box/s.png', 'dataset_name'):
        metric.process(None, [dent])
    both = sample('d', 't', 't.png', [(0, 0, 0), (1, 0, 0)])
    both['prompts']['modes'] = ('a/box', '/a/box')
    with raises_naming(ValueError, 't.png', 'a/box', '/a/box'):
        metric.process(None, [both])


def test_label_maps_replace_those_of_an_earlier_test_only(tmp_path: Path) -> None:
    folder, one = tmp_path / 'labels', sample('d', 's', 's.png', [(0, 0, 0)]) | dict(sample_idx=3)
    for _ in range(2):
        LabelMapWriter(folder).process(None, [one])
    assert [path.name for path in folder.iterdir()] == ['000003.png']  # MMSegmentation's tool reads all files in it
    assert (cv2.imread(str(folder / '000003.png'), -1) == one['pred_sem_seg']['data'][0].numpy()).all()
    (folder / '000004.png').write_text('mine')  # a mask of the user may have such a name, too
    with raises_naming(FileExistsError, 'labels', '000004.png'):
        LabelMapWriter(folder)


def test_files_of_the_user_stay(tmp_path: Path) -> None:
    out = tmp_path / 'masks'
    out.mkdir()
    (out / 'notes.txt').write_text('mine')
    settings = dict(output_dir=str(out), boundary=False)
    for _ in range(2):  # results of an earlier test are replaced
        PromptIoUMetric(**settings).process(None, [sample('d', 's', 's.png', [(0, 0, 0)])])
    (out / 'truth.png').write_text('mine')
    with raises_naming(FileExistsError, 'masks', '1', 'truth.png'):
        PromptIoUMetric(**settings)
    PromptIoUMetric(**settings, overwrite=True).process(None, [sample('d', 's', 's.png', [(0, 0, 0)])])
    assert (out / 'truth.png').read_text() == 'mine'


def test_two_processes_and_one_file(tmp_path: Path) -> None:
    """Samplers repeat an image so that all processes have as many; two images of one name are found in the end."""
    one = sample('data', 'part/001', 'l/part/001.png', [(0, 0, 0)])
    other = sample('data', 'part/001', 'r/part/001.png', [(0, 0, 0)])
    ranks = [PromptIoUMetric(output_dir=str(tmp_path / 'out'), boundary=False) for _ in range(3)]
    for rank, predicted in zip(ranks, (one, one, other), strict=True):
        rank.process(None, [predicted])
    assert ranks[0].compute_metrics([*ranks[0].results, *ranks[1].results])
    with raises_naming(ValueError, 'l/part/001.png', 'r/part/001.png', 'data/box/part/001.png'):
        ranks[0].compute_metrics([result for rank in ranks for result in rank.results])
