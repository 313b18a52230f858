"""Normalisation, padding and checks of a batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import stack_batch

from mmsam_ext.models.data_preprocessors import PromptDataPreprocessor
from mmsam_ext.structures import Prompts
from tests.models.small import disc, sample
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close


def build(**options) -> PromptDataPreprocessor:
    return MODELS.build(dict(type='PromptDataPreprocessor', **(options or dict(size_divisor=16))))


def image(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize('training', [False, True])
def test_normalises_and_pads_to_the_largest(training):
    pictures = [image(40, 60), image(50, 33)]
    samples = [SegDataSample(), sample(Prompts.create(boxes=[[1, 2, 30, 40]]), torch.ones(2, 50, 33))]
    out = build()(dict(inputs=pictures, data_samples=samples), training)
    assert out['inputs'].shape == (2, 3, 64, 64)
    red = (pictures[1][2].float() - 123.675) / 58.395  # pictures are BGR
    assert_close(out['inputs'][1, 0, :50, :33], red, LAYER)
    assert not out['inputs'][1, :, 50:].any() and not out['inputs'][1, :, :, 33:].any()
    first, second = out['data_samples']
    assert first.prompts.modes == ('none',) and second.prompts.boxes.tolist() == [[1, 2, 30, 40]]
    masks = second.gt_masks.data
    if training:  # padded with the image
        assert masks.shape == (2, 64, 64) and masks.sum() == 2 * 50 * 33 and not masks[:, 50:].any()
    else:  # at the original size
        assert masks.shape == (2, 50, 33)
        assert second.pad_shape == (64, 64) and second.img_padding_size == (0, 31, 0, 14)


@pytest.mark.parametrize('channels', [3, 1])
def test_what_is_cut_from_an_image_is_a_part_of_the_normalised_one(channels):
    pictures = [image(300, 60)[:channels], image(50, 33)[:channels]]
    preprocessor = build(size_divisor=16, pad_val=0.5)
    whole = preprocessor(dict(inputs=pictures, data_samples=[SegDataSample(), SegDataSample()]))
    uncut, samples = preprocessor.uncut(dict(inputs=pictures, data_samples=[SegDataSample(), SegDataSample()]))
    assert [one.metainfo for one in samples] == [one.metainfo for one in whole['data_samples']]
    assert all(one.prompts.modes == ('none',) for one in samples)
    for one, expected in zip(uncut, whole['inputs'], strict=True):
        assert one.size == (304, 64) and one.pixels.dtype == torch.uint8
        for rows, columns in (
            (slice(0, 304), slice(0, 64)),
            (slice(32, 64), slice(16, 48)),
            (slice(64, 96), slice(48, 64)),
        ):
            assert torch.equal(one.crop(rows, columns)[0], expected[:, rows, columns])
        for size in ((80, 16), (304, 16), (304, 64)):
            resized = F.interpolate(expected[None], size, mode='bilinear', antialias=True, align_corners=False)
            assert_close(one.shrunk(size), resized, LAYER)


def test_labels_are_padded_with_255_in_training_alone():
    item = SegDataSample()
    item.gt_sem_seg = PixelData(data=torch.ones(1, 20, 30, dtype=torch.int64))
    out = build(size=(32, 32))(dict(inputs=[image(20, 30)], data_samples=[item]), True)['data_samples'][0]
    assert (out.gt_sem_seg.data[:, 20:] == 255).all() and (out.gt_sem_seg.data[:, :20, :30] == 1).all()
    out = build(size=(32, 32))(dict(inputs=[image(20, 30)], data_samples=[item]), False)['data_samples'][0]
    assert out.gt_sem_seg.shape == (20, 30)


def test_the_caller_s_samples_stay_as_they_are():
    """The samples of the caller stay unchanged, because a dataset may return the same ones again."""
    item = sample(masks=torch.ones(1, 20, 30))
    data = dict(inputs=[image(20, 30)], data_samples=[item])
    for _ in range(2):
        build()(data, True)
    assert 'prompts' not in item and item.gt_masks.shape == (20, 30) and data['inputs'][0].dtype == torch.uint8


def test_without_samples():
    out = build()(dict(inputs=[image(20, 30)]))
    assert out['inputs'].shape == (1, 3, 32, 32) and len(out['data_samples'][0].prompts) == 1


WRONG = {
    'too large': (
        dict(size=(32, 32)),
        image(33, 30),
        None,
        ('33 x 30', 'size', '(32, 32)', 'Resize'),
    ),
    'outside': (
        dict(size=(64, 64)),  # inside the padded input, but not in the image
        image(20, 30),
        Prompts.create(points=[[[40, 5]]], point_labels=[[1]]),
        ('points', '[0, 0]', '[40.0, 5.0]', '30 x 20'),
    ),
    'box outside': (
        dict(size=(64, 64)),
        image(20, 30),
        Prompts.create(boxes=[[1, 1, 29, 50]]),
        ('boxes', 'row 0', '30 x 20'),
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_errors_name_the_sample(case):
    options, picture, prompts, names = WRONG[case]
    with raises_naming(ValueError, 'folder/one.png', *names):
        build(**options)(dict(inputs=[picture], data_samples=[sample(prompts)]))


def test_errors_of_malformed_prompts():
    prompts = Prompts.create(boxes=[[1, 2, 3, 4]])
    prompts.boxes[0, 3] = float('nan')
    with raises_naming(ValueError, 'folder/one.png', 'boxes', 'nan', '[0, 3]'):
        build()(dict(inputs=[image(20, 30)], data_samples=[sample(prompts)]))
    prompts = Prompts.create(boxes=[[1, 2, 3, 4]])
    prompts.boxes[0, 2] = 0
    with raises_naming(ValueError, 'folder/one.png', 'boxes', 'row 0'):
        build()(dict(inputs=[image(20, 30)], data_samples=[sample(prompts)]))


def test_training_targets_must_be_of_the_image_s_size():
    """GeneratePrompts before Resize would give these; they were cropped or padded in silence otherwise."""
    data = dict(inputs=[image(64, 64)], data_samples=[sample(masks=disc(128)[None])])
    with raises_naming(ValueError, 'folder/one.png', 'gt_masks', '(1, 128, 128)', '(T, 64, 64)'):
        build()(data, True)
    build()(data, False)  # in evaluation they are of the original size


def test_errors_of_arguments():
    for options in (dict(size=(32, 32), size_divisor=16), dict(pad_val=0)):
        with raises_naming(ValueError, 'size', 'size_divisor'):
            build(**options)
    with raises_naming(TypeError, 'batch_augments'):
        build(size_divisor=16, batch_augments=[dict(type='x')])


@pytest.mark.parametrize(
    'options', [dict(size=(64, 80)), dict(size_divisor=16), dict(size_divisor=16, bgr_to_rgb=False, pad_val=1.5)]
)
def test_evaluation_equals_mmsegmentation_bit_for_bit(options):
    preprocessor, pictures = build(**options), [image(50, 70), image(48, 64)]
    kept = [picture.clone() for picture in pictures]
    out = preprocessor(dict(inputs=pictures, data_samples=[SegDataSample(), SegDataSample()]))
    assert all(map(torch.equal, pictures, kept))
    swap = options.get('bgr_to_rgb', True)
    normalised = [
        (one[[2, 1, 0]] if swap else one).float().sub(preprocessor.mean).div(preprocessor.std) for one in kept
    ]
    settings = {name: options.get(name) for name in ('size', 'size_divisor')}
    expected, padded = stack_batch(normalised, None, pad_val=options.get('pad_val', 0), **settings)
    assert torch.equal(out['inputs'], expected)
    for sample_, meta in zip(out['data_samples'], padded, strict=True):
        assert (sample_.img_padding_size, sample_.pad_shape) == (meta['img_padding_size'], meta['pad_shape'])
