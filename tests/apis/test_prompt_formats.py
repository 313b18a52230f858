"""Boxes and masks in the formats that users hold them, and errors for those in another format than they seem."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmsam_ext.apis import InferenceError, prompt_formats
from mmsam_ext.apis.prompt_formats import boxes_in_pixels, fit_masks, mask_logits, notice_ambiguous_boxes
from mmsam_ext.apis.prompt_sets import PromptSet
from mmsam_ext.cli import infer
from tests.apis.conftest import picture
from tests.naming import raises_naming

BOX, SIDE = [20, 10, 90, 70], 32
SHARES = [20 / 150, 10 / 90, 90 / 150, 70 / 90]


def disc(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """(H, W) uint8 of 0 and 1."""
    mask = np.zeros((height, width), np.uint8)
    return cv2.circle(mask, (width // 2, height // 2), min(height, width) // 3, 1, -1)


def test_formats_of_boxes_mean_the_same(inferencer) -> None:
    inferencer.set_image(picture())
    want, _, want_low = inferencer.predict(boxes=BOX)
    for boxes, box_format in (([20, 10, 70, 60], 'xywh'), (SHARES, 'normalized'), (BOX, 'xyxy')):
        masks, _, low = inferencer.predict(boxes=boxes, box_format=box_format)
        np.testing.assert_allclose(low, want_low, atol=1e-3)
        called = inferencer(picture(), boxes=boxes, box_format=box_format)['predictions'][0]
        np.testing.assert_array_equal(called['masks'], masks)
        assert (masks == want).mean() > 0.999


@pytest.mark.parametrize(
    ('prompt', 'names'),
    [
        (dict(boxes=SHARES), ('boxes', '0.133333', "box_format='normalized'")),
        (dict(boxes=[[0, 0, 1, 1], SHARES]), ('boxes', "'normalized'")),
        (dict(boxes=[0, 0, 1, 1]), ('boxes', "'normalized'")),
        (dict(boxes=[90, 10, 20, 70]), ('boxes', 'row 0', '90', "box_format='xywh'")),
        (dict(boxes=[BOX, [60, 50, 30, 20]]), ('boxes', 'row 1', '60', "box_format='xywh'")),
        (dict(boxes=[20, 10, -5, 60], box_format='xywh'), ('boxes', '-5')),
        (dict(boxes=BOX, box_format='normalized'), ('boxes', '10 to 90', "'normalized'")),
        (dict(boxes=[100, 10, 90, 70], box_format='xywh'), ('boxes', '190', '150 x 90')),
        (dict(boxes=BOX, box_format='cxcywh'), ('box_format', "'cxcywh'", "'xywh'")),
        (dict(points=[[0.4, 0.6]], point_labels=[1]), ('points', '0.4', '150 x 90')),
        (dict(masks=disc()), ('masks', '0 to 1', "mask_format='binary'")),
        (dict(masks=disc() * 255), ('masks', '0 to 255', "mask_format='binary'")),
        (dict(masks=disc().astype(bool)), ('masks', "mask_format='binary'")),
        (dict(masks=cv2.GaussianBlur(disc().astype(np.float32), (9, 9), 2)), ('masks', "mask_format='probability'")),
        (dict(masks=disc() * 2, mask_format='binary'), ('masks', '[0.0, 2.0]', "'binary'")),
        (dict(masks=disc() * 9.0 - 3, mask_format='probability'), ('masks', '-3 to 6', "'probability'")),
        (dict(masks=disc(), mask_format='bool'), ('mask_format', "'bool'", 'binary')),
        (dict(boxes=np.ma.masked_equal([BOX, [1, 2, 3, 4]], 3)), ('boxes', 'masked')),
        (dict(points=[np.ma.masked_equal([5, 6], 6)], point_labels=[1]), ('points', 'masked')),
        (dict(boxes=np.array(BOX, np.complex64)), ('boxes', 'complex64')),
        (dict(boxes=torch.tensor(BOX, dtype=torch.complex64)), ('boxes', 'complex')),
        (dict(boxes=np.array(BOX, 'datetime64[s]')), ('boxes', 'datetime64')),
        (dict(points=[np.array([5, 6], 'timedelta64[s]')], point_labels=[1]), ('points', 'timedelta64')),
        (dict(masks=disc(40, 60), mask_format='binary'), ('array 0', 'masks', '40, 60')),
    ],
)
def test_prompts_in_another_format_than_they_seem(inferencer, prompt: dict, names: tuple[str, ...]) -> None:
    inferencer.set_image(picture())
    for ask in (inferencer.predict, lambda **given: inferencer(picture(), **given)):
        with raises_naming(InferenceError, *names):
            ask(**prompt)


def test_what_is_meant_can_be_said(inferencer) -> None:
    """A box of one pixel, a point on the first pixels, logits that are all positive."""
    for prompt in (
        dict(boxes=[0, 0, 1, 1], box_format='xyxy'),
        dict(points=[[0, 1]], point_labels=[1]),
        dict(masks=disc(), mask_format='logits'),
        dict(masks=disc() * 9.0 + 0.5),  # beyond any probability
        dict(masks=np.zeros((SIDE, SIDE))),  # knows nothing
    ):
        assert inferencer(picture(), **prompt)['predictions'][0]['masks'].shape == (1, 90, 150)


def test_values_of_the_formats() -> None:
    assert boxes_in_pixels(np.array([[0.1, 0.5, 1, 1]]), 'normalized', 200, 100, 'x').tolist() == [[20, 50, 200, 100]]
    assert boxes_in_pixels(np.array([[3, 4, 5, 6]]), 'xywh', 20, 10, 'x').tolist() == [[3, 4, 8, 10]]
    for mask in (disc(), disc() * 255, disc().astype(bool)):
        logits = mask_logits(mask[None], 'binary', 'x')
        np.testing.assert_allclose(logits, np.where(disc() > 0, 6.906755, -6.906755)[None], rtol=1e-5)
    got = mask_logits(np.array([[[0.0, 0.25, 0.5, 1.0]]]), 'probability', 'x')
    np.testing.assert_allclose(got, [[[-6.906755, np.log(1 / 3), 0, 6.906755]]], rtol=1e-5)


def test_masks_of_the_size_of_the_image(inferencer) -> None:
    """They are brought to the decoder's frame, with background where the network input is padding: 150 x 90 becomes
    128 x 77 of 128 x 128, so 32 x 19 of 32 x 32."""
    import torch

    meta = dict(ori_shape=(90, 150), img_shape=(77, 128))
    full = np.zeros((90, 150), np.uint8)
    full[:, 75:] = 1  # the right half
    logits = torch.from_numpy(mask_logits(full[None], 'binary', 'x'))[:, None]
    fitted = fit_masks(logits, (32, 32), (128, 128), meta)[0, 0]
    assert fitted.shape == (32, 32) and (fitted[19:] < -6.9).all()
    assert (fitted[:19, 17:] > 6).all() and (fitted[:19, :15] < -6).all()
    assert fit_masks(fitted[None, None], (32, 32), (128, 128), meta)[0, 0] is not None
    inferencer.set_image(picture())
    small = np.zeros((SIDE, SIDE), np.uint8)
    small[:19, 16:] = 1
    want = inferencer.predict(masks=small, mask_format='binary')[2]
    got = inferencer.predict(masks=full, mask_format='binary')[2]
    assert np.abs(got - want).max() < 0.35 * np.abs(want).max()  # the edge alone differs
    called = inferencer(picture(), masks=full, mask_format='binary', return_logits=True)['predictions'][0]
    np.testing.assert_array_equal(called['masks'], inferencer.predict(masks=full, mask_format='binary')[0])


def test_boxes_that_fit_in_two_ways_are_logged_once(monkeypatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(prompt_formats, 'print_log', lambda message, **_: logged.append(message))
    assert notice_ambiguous_boxes(np.array([[20, 10, 90, 70]]), 150, 90, 'a.png')
    assert 'a.png' in logged[0] and 'x y w h' in logged[0] and '[20, 10, 90, 70]' in logged[0]
    assert not notice_ambiguous_boxes(np.array([[80, 40, 120, 80]]), 150, 90, 'a.png') and len(logged) == 1


def test_formats_of_the_command_line(inferencer, save, tmp_path: Path, monkeypatch, capsys) -> None:
    path, given = str(save('a.png')), []
    iterate = type(inferencer).iterate
    monkeypatch.setattr(infer, 'PromptSegInferencer', lambda *args: inferencer)

    def watched(self, *args, **options):
        given.append(options)
        return iterate(self, *args, **options)

    monkeypatch.setattr(type(inferencer), 'iterate', watched)
    assert infer.main([path, '--box', '0.2', '0.2', '0.6', '0.7']) == 2
    assert "box_format='normalized'" in capsys.readouterr().err
    assert infer.main([path, '--box', '0.2', '0.2', '0.6', '0.7', '--box-format', 'normalized']) == 0
    mask = tmp_path / 'm.png'
    cv2.imwrite(str(mask), disc(90, 150) * 255)
    assert infer.main([path, '--mask', str(mask)]) == 0
    np.testing.assert_array_equal(given[-1]['masks'][0], disc(90, 150))
    np.save(tmp_path / 'm.npy', np.linspace(-5, 5, SIDE * SIDE).reshape(SIDE, SIDE))
    assert infer.main([path, '--mask', str(tmp_path / 'm.npy')]) == 0 and given[-1]['mask_format'] == 'logits'
    capsys.readouterr()
    for files in (['none.png'], [str(mask), str(tmp_path / 'm.npy')], [path]):
        assert infer.main([path, *(part for file in files for part in ('--mask', file))]) == 2
        assert '--mask' in capsys.readouterr().err


@pytest.mark.parametrize(('kind', 'most'), [(bool, 5), (np.uint8, 5), (np.float32, 1.2)])
def test_many_masks_of_an_image_take_little_more_than_their_logits(kind: type, most: float) -> None:
    """float32 logits are four times the user's bool masks; all of them at once in float64 took 36 times as much."""
    masks = np.zeros((40, 100, 200), kind)
    masks[:, 20:50, 30:90] = 1
    tracemalloc.start()
    given = PromptSet.create(masks=masks, mask_format='binary')
    logits = given.prompts(200, 100, 'a.png').masks
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    certain = float(np.float32(np.log(0.999 / 0.001)))
    assert logits[:, 0, 20:50, 30:90].min() == certain and logits.min() == -certain
    assert peak < most * masks.nbytes
