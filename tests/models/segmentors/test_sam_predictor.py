"""From an image file to masks at its own size: our pipeline and segmentor against ``SamPredictor``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from segment_anything import SamPredictor

from mmsam_ext.structures import Prompts
from tests.models.small import segmentor_of, stock_sam
from tests.numeric import LAYER, MODEL, assert_close, assert_same_mask

SIZE = 256


def image(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB, noise at two scales."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height))
    return (coarse // 2 + rng.integers(0, 128, (height, width, 3))).astype(np.uint8)


@pytest.fixture(scope='module')
def models():
    sam = stock_sam(SIZE)
    return SamPredictor(sam), {
        multimask: segmentor_of(sam, test_cfg=dict(multimask=multimask)) for multimask in (False, True, 'ambiguous')
    }


def predict(model, path: Path, prompts: Prompts | None):
    """Our way: MMSegmentation's loading and resizing, our packing, the preprocessor, the segmentor."""
    init_default_scope('mmseg')
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True, backend='pillow'),
        dict(type='PackPromptInputs'),
    ]
    results = Compose(steps)(dict(img_path=str(path), seg_fields=[]))
    if prompts is not None:
        sample = results['data_samples']
        sample.prompts = prompts.scaled(*sample.scale_factor)
    return model.test_step(pseudo_collate([results]))[0]


CASES = {
    'point': dict(point_coords=[[100, 60]], point_labels=[1]),
    'points': dict(point_coords=[[100, 60], [20, 30]], point_labels=[1, 0]),
    'box': dict(box=[30, 20, 200, 90]),
    'box and point': dict(box=[30, 20, 200, 90], point_coords=[[100, 60]], point_labels=[1]),
}


# The sizes: larger (both round alike), smaller, upright.
@pytest.mark.parametrize('shape', [(180, 320), (96, 128), (300, 200)])
@pytest.mark.parametrize('case', CASES)
def test_equals_sam_predictor(models, tmp_path, case, shape):
    predictor, ours = models
    picture = image(*shape)
    cv2.imwrite(str(tmp_path / 'image.png'), picture[..., ::-1])
    scaled = {name: np.array(value) for name, value in CASES[case].items()}
    if shape[1] < 210:  # keep prompts inside
        scaled = {name: value if name == 'point_labels' else value // 2 for name, value in scaled.items()}
    fields = {}
    if 'point_coords' in scaled:
        fields |= dict(points=scaled['point_coords'][None], point_labels=scaled['point_labels'][None])
    if 'box' in scaled:
        fields |= dict(boxes=scaled['box'][None])
    predictor.set_image(picture)
    for multimask, model in ours.items():
        result = predict(model, tmp_path / 'image.png', Prompts.create(**fields))
        several = multimask is True or (multimask == 'ambiguous' and case == 'point')
        masks, scores, _ = predictor.predict(**scaled, multimask_output=several, return_logits=True)
        best = scores.argmax()
        got = result.pred_instances
        assert got.mask_logits.shape == (1, *shape) and masks.std() > 0.02
        assert_close(got.mask_logits[0].numpy(), masks[best], MODEL)
        assert_close(float(got.iou_scores), scores[best], MODEL)
        assert_same_mask(result.pred_sem_seg.data[0].numpy(), masks[best] > 0)
        assert_close(result.seg_logits.data[0].numpy(), masks[best], MODEL)


def test_sizes_that_round_differently(tmp_path):
    """SamPredictor rounds the shorter side half up, `(int)(x + 0.5)`; mmcv's Resize must agree for any size."""
    init_default_scope('mmseg')
    from mmseg.registry import TRANSFORMS
    from segment_anything.utils.transforms import ResizeLongestSide

    resize = TRANSFORMS.build(dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True, backend='pillow'))
    different = []
    for height in range(40, 400, 7):
        for width in (333, 512, 97):
            results = resize(dict(img=np.zeros((height, width, 3), np.uint8), img_shape=(height, width)))
            expected = ResizeLongestSide.get_preprocess_shape(height, width, SIZE)
            if tuple(results['img'].shape[:2]) != expected:
                different.append((height, width))
    assert different == []


def test_without_prompts_equals_stock_without_prompts(models, tmp_path):
    """Stock SAM with no prompt at all: no sparse token, the "no mask" embedding."""
    predictor, ours = models
    picture = image(180, 320)
    cv2.imwrite(str(tmp_path / 'image.png'), picture[..., ::-1])
    predictor.set_image(picture)
    masks, _, _ = predictor.predict(multimask_output=False, return_logits=True)
    result = predict(ours[False], tmp_path / 'image.png', None)
    assert_close(result.pred_instances.mask_logits.numpy(), masks, MODEL)
    assert result.prompts.modes == ('none',)


def test_mask_prompt(models, tmp_path):
    predictor, ours = models
    picture = image(180, 320)
    cv2.imwrite(str(tmp_path / 'image.png'), picture[..., ::-1])
    predictor.set_image(picture)
    mask = np.random.default_rng(1).normal(size=(1, 64, 64)).astype(np.float32)
    masks, _, _ = predictor.predict(mask_input=mask, multimask_output=False, return_logits=True)
    result = predict(ours[False], tmp_path / 'image.png', Prompts.create(masks=mask[None]))
    assert_close(result.pred_instances.mask_logits.numpy(), masks, MODEL)


@torch.no_grad()
def test_preprocessing_equals_stock(models):
    predictor, ours = models
    picture = torch.from_numpy(image(144, 256)).permute(2, 0, 1)  # RGB
    expected = predictor.model.preprocess(picture)
    got = ours[False].data_preprocessor(dict(inputs=[picture.flip(0)]), False)['inputs'][0]
    assert_close(got, expected, LAYER)
