"""Masks at the size of their image do not depend on the memory limit, and the limit holds."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample

from mmsam_ext.apis import InferenceError, PromptSegInferencer, decode_rle, encode_rle
from mmsam_ext.apis.full_size import LowResMasks, full_size_masks
from mmsam_ext.apis.segmented import segment_packed
from mmsam_ext.models.segmentors.original_size import to_original
from mmsam_ext.structures import Prompts
from tests.apis.conftest import picture, visible
from tests.models.small import CHANNELS, segmentor
from tests.naming import raises_naming

META = dict(ori_shape=(90, 150), img_shape=(77, 128))
BOXES = [[20, 10, 90, 70], [60.5, 30, 149, 89], [3, 4, 50, 60]]


def low_res(number: int, meta: dict = META) -> LowResMasks:
    logits = torch.randn(number, 32, 32, generator=torch.Generator().manual_seed(0))
    return LowResMasks(logits, (128, 128), meta)


@pytest.mark.parametrize('limit', [1, 300_000, 10**9])
def test_chunks_do_not_change_masks(limit: int) -> None:
    masks = low_res(7)
    want = to_original(masks.logits, (128, 128), META).numpy()
    full = full_size_masks(masks, limit)
    np.testing.assert_array_equal(full.masks, want > 0)
    np.testing.assert_array_equal(full.union, (want > 0).any(0))
    np.testing.assert_allclose(masks.full_logits(limit), want, rtol=1e-6)
    coded = full_size_masks(masks, limit, rle=True)
    assert coded.masks is None and [decode_rle(one).tolist() for one in coded.rles] == (want > 0).tolist()
    sizes = [len(logits) for _, logits in masks.chunks(limit)]
    assert sum(sizes) == 7 and sizes[0] == {1: 1, 300_000: 2, 10**9: 7}[limit]


@pytest.mark.parametrize(('limit', 'threshold'), [(1, None), (10**9, None), (1, 0.0), (1, 1.0)])
def test_tiles_are_put_together_chunk_by_chunk(limit: int, threshold: float | None) -> None:
    """The masks that `predict` makes, without the (P, H, W) logits of all prompts; absent objects have none."""
    image = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    model = segmentor(
        data_preprocessor=dict(type='PromptDataPreprocessor', size_divisor=16),
        test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(48, 48), presence_threshold=threshold),
        **({} if threshold is None else dict(presence_head=dict(type='PresenceHead', embed_dim=CHANNELS))),
    ).eval()

    def packed() -> list[dict]:
        sample = SegDataSample(metainfo=dict(img_shape=(100, 150), ori_shape=(90, 140)))
        sample.prompts = Prompts.create(boxes=[[10.0, 20, 60, 90], [70, 5, 140, 60], [1, 1, 149, 99]])
        return [dict(inputs=torch.from_numpy(image).permute(2, 0, 1), data_samples=sample)]

    data = model.data_preprocessor(pseudo_collate(packed()), False)
    want = model.predict(data['inputs'], data['data_samples'])[0].pred_instances
    (got,) = segment_packed(model, packed(), None)
    full = full_size_masks(got.masks, limit)
    np.testing.assert_array_equal(full.masks, want.mask_logits.numpy() > 0)
    assert full.masks.any() == (threshold != 1) and not full.masks.all()
    np.testing.assert_array_equal(got.masks.full_logits(limit), want.mask_logits.numpy())
    assert torch.equal(got.scores, want.iou_scores)
    assert [len(logits) for _, logits in got.masks.chunks(limit)] == ([1, 1, 1] if limit == 1 else [3])


def test_rle_is_that_of_coco() -> None:
    """Column by column, beginning with background: pycocotools' own example of a 3 x 4 mask, by hand."""
    mask = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]], bool)
    assert encode_rle(mask) == dict(size=[3, 4], counts=[2, 5, 5])
    assert encode_rle(~mask) == dict(size=[3, 4], counts=[0, 2, 5, 5])
    assert encode_rle(np.zeros((2, 3), bool)) == dict(size=[2, 3], counts=[6])
    assert encode_rle(np.ones((2, 3), bool)) == dict(size=[2, 3], counts=[0, 6])
    for one in (mask, ~mask, np.random.default_rng(0).random((17, 5)) > 0.5):
        np.testing.assert_array_equal(decode_rle(encode_rle(one)), one)
    with raises_naming(ValueError, 'counts', '3', '4', '[2, 2]'):
        decode_rle(dict(size=[2, 2], counts=[1, 2]))


def test_peak_memory_above_the_masks() -> None:
    """At most 1.5 times the masks, chunk included; run lengths take no more than a chunk. PyTorch's own memory is not
    traced, but bounded by the limit."""
    big = low_res(40, dict(ori_shape=(900, 1500), img_shape=(77, 128)))
    size, limit = 40 * 900 * 1500, 24 * 2**20
    for rle, bound in ((False, 1.5 * size), (True, 0.5 * size)):
        tracemalloc.start()
        full_size_masks(big, limit, rle)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < bound
    assert max(4 * logits.numel() for _, logits in big.chunks(limit)) <= limit


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads the peak of a process')
def test_peak_of_a_process() -> None:
    """60 boxes on 6 megapixels: base + masks + at most 1.5 times the masks."""
    import subprocess

    code = (
        'import resource, numpy as np\n'
        'from mmsam_ext.apis import PromptSegInferencer\n'
        "inferencer = PromptSegInferencer('sam_tiny_synthetic', device='cpu', chunk_mb=64)\n"
        'image = np.random.default_rng(0).integers(0, 255, (2000, 3000, 3), dtype=np.uint8)\n'
        'peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'inferencer(image, boxes=[[0, 0, 2000, 1500]], show_progress=False)\n'
        'base = peak()\n'
        'corners = np.random.default_rng(1).uniform(0, 1900, (60, 2))\n'
        'masks = inferencer(image, boxes=np.concatenate([corners, corners + 50], 1), show_progress=False)\n'
        "masks = masks['predictions'][0]['masks']\n"
        'print((peak() - base) / masks.nbytes)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 2.5


def test_rle_of_the_inferencer_and_its_files(inferencer, save, tmp_path) -> None:
    path = save('a.png')
    want = inferencer(path, boxes=BOXES, out_dir=tmp_path / 'masks')['predictions'][0]
    got = inferencer(path, boxes=BOXES, rle=True, out_dir=tmp_path / 'rle', return_vis=True)
    assert 'masks' not in got['predictions'][0] and got['visualization'][0].ndim == 3
    np.testing.assert_array_equal([decode_rle(one) for one in got['predictions'][0]['rles']], want['masks'])
    np.testing.assert_array_equal(got['predictions'][0]['union'], want['union'])
    for name in visible(tmp_path / 'masks') - {'scores.csv'}:
        assert (tmp_path / 'rle' / name).read_bytes() == (tmp_path / 'masks' / name).read_bytes()


def test_the_bound_is_an_option(inferencer, small_files) -> None:
    tight = PromptSegInferencer(*small_files, device='cpu', chunk_mb=1)
    image = picture(400, 700)
    want = inferencer(image, boxes=BOXES)['predictions'][0]['masks']
    np.testing.assert_array_equal(tight(image, boxes=BOXES)['predictions'][0]['masks'], want)
    tight.set_image(image)
    np.testing.assert_array_equal(tight.predict(boxes=BOXES)[0], want)
    for bad in (0, 1.5, 'many'):
        with raises_naming(InferenceError, 'chunk_mb', bad):
            PromptSegInferencer(*small_files, device='cpu', chunk_mb=bad)
