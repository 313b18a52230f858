"""Synthetic occlusion: what is pasted, where, and what remains of the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS

from mmsam_ext.datasets.transforms import SynthesizeOcclusion
from tests.naming import raises_naming

RED, BLUE, GREY = (0, 0, 255), (255, 0, 0), (90, 90, 90)


def scene(name: str, colour: tuple, rows: slice, columns: slice) -> dict[str, Any]:
    """A grey image of 80 x 100 with one rectangle, which is the target."""
    image = np.full((80, 100, 3), GREY, np.uint8)
    mask = np.zeros((80, 100), np.uint8)
    image[rows, columns], mask[rows, columns] = colour, 1
    return dict(img=image, gt_seg_map=mask, gt_masks=mask[None], sample_id=name)


def occlude(seed: int = 0, source: dict | None = None, **options) -> tuple[dict, dict]:
    """Return a red target before and after the occlusion with a blue object."""
    np.random.seed(seed)
    before = scene('target', RED, slice(30, 50), slice(30, 60))
    source = source or scene('source', BLUE, slice(5, 25), slice(50, 70))
    after = SynthesizeOcclusion(prob=1, **options)(before | dict(mix_results=[source]))
    assert (before['img'] == scene('target', RED, slice(30, 50), slice(30, 60))['img']).all()  # not in place
    return before, after


def blue(results: dict) -> np.ndarray:
    return (results['img'] == BLUE).all(2)


@pytest.mark.parametrize('seed', range(8))
def test_over_the_target(seed):
    """The pasted rectangle is complete, and the 10 to 50 % of the target that it covers leave the target."""
    before, after = occlude(seed, over_prob=1)
    pasted, target = blue(after), before['gt_seg_map'] == 1
    rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
    assert pasted.sum() == len(rows) * len(columns) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    share = (pasted & target).sum() / target.sum()
    assert 0.1 <= share <= 0.5
    assert np.array_equal(after['gt_seg_map'] == 1, target & ~pasted)
    assert np.array_equal(after['gt_masks'][0] == 1, target & ~pasted)
    assert (after['img'][~pasted] == before['img'][~pasted]).all()
    assert 0.5 <= np.sqrt(pasted.sum() / target.sum()) * 1.06 and np.sqrt(pasted.sum() / target.sum()) <= 1.5 * 1.06
    _, whole = occlude(seed, over_prob=1, target='whole')
    assert (whole['img'] == after['img']).all() and np.array_equal(whole['gt_seg_map'] == 1, target)


@pytest.mark.parametrize('seed', range(8))
def test_under_the_target(seed):
    """The target stays as it is, in the image too."""
    before, after = occlude(seed, over_prob=0, overlap=(0.2, 0.3))
    target = before['gt_seg_map'] == 1
    assert blue(after).any() and not (blue(after) & target).any()
    assert (after['img'][target] == RED).all() and np.array_equal(after['gt_seg_map'] == 1, target)
    # It touches the target: the object, completed to a rectangle, overlaps by 20 to 30 % of the target.
    rows, columns = np.flatnonzero(blue(after).any(1)), np.flatnonzero(blue(after).any(0))
    rectangle = np.zeros_like(target)
    rectangle[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    assert (rectangle & target).sum() / target.sum() <= 0.3
    assert (rectangle | target)[rows[0] - 1 : rows[-1] + 2, columns[0] - 1 : columns[-1] + 2].any()


def test_other_labels_stay():
    """An ignored pixel under the object is neither target nor background."""
    np.random.seed(0)
    before = scene('target', RED, slice(0, 80), slice(0, 50))
    before['gt_seg_map'][:, 50:] = 255
    source = scene('source', BLUE, slice(5, 25), slice(50, 70))
    after = SynthesizeOcclusion(prob=1, over_prob=1)(before | dict(mix_results=[source]))
    assert ((after['gt_seg_map'] == 255) == (before['gt_seg_map'] == 255)).all()


def test_seeded_and_as_often_as_asked():
    assert (occlude(3)[1]['img'] == occlude(3)[1]['img']).all()
    assert not (occlude(3)[1]['img'] == occlude(4)[1]['img']).all()
    np.random.seed(0)
    drawn = [SynthesizeOcclusion(prob=0.3).get_indices(range(7)) for _ in range(1000)]
    assert 250 < sum(map(len, drawn)) < 350 and {i for indices in drawn for i in indices} == set(range(7))
    over = [(occlude(seed)[1]['gt_seg_map'].sum() < 600) for seed in range(60)]
    assert 15 < sum(over) < 45


def test_no_place_and_no_other_sample():
    before, after = occlude(overlap=(0.989, 0.99), scale=(0.2, 0.3))  # it is too small for that
    assert (after['img'] == before['img']).all()
    before, after = occlude(source=scene('target', BLUE, slice(5, 25), slice(50, 70)))  # the sample itself
    assert (after['img'] == before['img']).all()


def test_a_source_without_an_object():
    source = scene('part_7', BLUE, slice(0, 0), slice(0, 0))
    with raises_naming(ValueError, 'part_7', 'drop_empty=True'):
        occlude(source=source)


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(prob=1.5), ('prob', '1.5')),
        (dict(over_prob=-0.1), ('over_prob', '-0.1')),
        (dict(overlap=(0.5, 0.2)), ('overlap', '(0.5, 0.2)')),
        (dict(overlap=(0.5, 1.0)), ('overlap', '(0.5, 1.0)')),
        (dict(scale=(0, 1)), ('scale', '(0, 1)')),
        (dict(target='amodal'), ('target', 'amodal', 'visible', 'whole')),
    ],
)
def test_arguments(options, names):
    with raises_naming(ValueError, *names):
        SynthesizeOcclusion(**options)


@TRANSFORMS.register_module(force=True)
class RefuseOdd:
    """Returns None for every second sample, as GeneratePrompts does for one without foreground."""

    def __call__(self, results: dict) -> dict | None:
        return None if results['sample_idx'] % 2 else results


def mix(*pipeline: dict):
    return DATASETS.build(
        dict(
            type='PromptMixDataset',
            dataset=dict(type='SyntheticDefectDataset', length=6, size=(64, 64)),
            pipeline=list(pipeline),
        )
    )


def test_in_a_dataset():
    """The object comes from another sample, and a sample for which a later transform returns None is replaced."""
    np.random.seed(0)
    plain, mixed = mix(), mix(dict(type='SynthesizeOcclusion', prob=1), dict(type='RefuseOdd'))
    changed = [(mixed[index]['img'] != plain[index]['img']).any() for index in (0, 2, 4)]
    assert any(changed) and 'mix_results' not in mixed[0]
    assert all(mixed[index]['sample_idx'] % 2 == 0 for index in range(6))


def test_a_pipeline_that_refuses_everything():
    dataset = mix(dict(type='RefuseOdd'))
    with raises_naming(RuntimeError, '100 samples'):
        np.random.seed(0)
        dataset.dataset.get_data_info = lambda idx: dict(sample_idx=1)
        dataset.dataset.prepare_data = lambda idx: dict(sample_idx=1)
        dataset[0]
