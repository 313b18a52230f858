"""Drawings are at the right places, and captions describe the panels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample

from mmsam_ext.structures import Prompts
from mmsam_ext.visualization import PromptVisualizer, contact_sheet, drawing
from mmsam_ext.visualization.prompt_visualizer import BOX, FOREGROUND_POINT, PREDICTION, TRUTH
from tests.naming import raises_naming

Make = Callable[..., SegDataSample]


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    text_bar = drawing.text_bar

    def spy(text: str, *args, **kwargs) -> np.ndarray:
        texts.append(text)
        return text_bar(text, *args, **kwargs)

    monkeypatch.setattr(drawing, 'text_bar', spy)
    return texts


@pytest.fixture
def visualizer() -> PromptVisualizer:
    return PromptVisualizer(alpha=1.0)


def extent(picture: np.ndarray, color: drawing.Color) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of the pixels of a colour, the last ones included."""
    ys, xs = (picture == color).all(-1).nonzero()
    return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())


def test_prompts_and_masks_lie_in_place(visualizer: PromptVisualizer, boxed: Make) -> None:
    """60 x 100 is enlarged by 16 / 3 to 320 x 533; a panel has a caption bar, the picture a title bar above."""
    image = np.full((60, 100, 3), 90, np.uint8)
    picture = visualizer.compose(image, boxed(), draw_gt=True, draw_pred=True)
    scale, panel, gap = 320 / 60, 533, 4
    bar = round(22 * 1.7)  # of a font of 533 / 24
    assert picture.shape == (2 * bar + 320 + gap, 3 * panel + 2 * gap, 3)
    pictures = picture[2 * bar : 2 * bar + 320]
    left, middle, right = (pictures[:, start : start + panel] for start in (0, panel + gap, 2 * (panel + gap)))
    truth = np.array([30, 20, 70, 40]) * scale
    # from the middle of the first pixel to the middle of the last one, lines two pixels wide
    assert extent(left, BOX) == pytest.approx(np.array([30.5, 20.5, 69.5, 39.5]) * scale, abs=2)
    assert extent(middle, PREDICTION) == pytest.approx(np.array([30, 20, 50, 40]) * scale, abs=3)
    assert extent(right, TRUTH) == pytest.approx(truth, abs=3)
    assert not (left == TRUTH).all(-1).any() and not (middle == BOX).all(-1).any()
    assert (left[0, 0] == 90).all()


def test_points_are_pixel_centres(visualizer: PromptVisualizer, predicted: Make) -> None:
    """Of a 40 x 40 image the pixel (10, 30) covers 80..88 x 240..248 at 8 times the size."""
    mask = np.zeros((1, 40, 40), bool)
    mask[:, 25:35, 5:15] = True
    prompts = Prompts.create(
        points=[[[10 * 6.4, 30 * 6.4], [0, 0]]], point_labels=[[1, -1]], modes=('1 point',)
    )  # fmt: skip
    sample = predicted(mask, mask, prompts, (256, 256))
    picture = visualizer.compose(np.zeros((40, 40, 3), np.uint8), sample, draw_gt=False, draw_pred=False)
    x1, y1, x2, y2 = extent(picture, FOREGROUND_POINT)
    top = 2 * round(13 * 1.7)
    assert ((x1 + x2) / 2, (y1 + y2) / 2 - top) == pytest.approx((83.5, 243.5), abs=0.6)
    # padding is not drawn: the disc's corner of the picture stays black
    assert not picture[top : top + 30, :30].any()


def test_captions(visualizer: PromptVisualizer, boxed: Make, predicted: Make, captions: list[str]) -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    visualizer.compose(image, boxed(), True, True)
    assert captions == ['prompt: box', 'prediction   IoU 50.0', 'truth', 'one   [MTD, crack]']

    # mode 'noisy': six draws, one of them empty, the others right; mode 'boxes': two prompts for one target
    truth = np.zeros((1, 60, 100), bool)
    truth[:, :, :50] = True
    masks = truth.repeat(8, 0)
    masks[5] = False
    masks[6, :30], masks[7, 30:] = False, False
    prompts = Prompts.create(
        boxes=[[0, 0, 50, 60]] * 8, mode_ids=[0] * 6 + [1] * 2, draw_ids=[*range(6), 0, 0], modes=('noisy', 'boxes')
    )
    captions.clear()
    visualizer.compose(image, predicted(masks, truth, prompts, (60, 100)), True, True)
    assert captions[:2] == ['prompt: noisy - 4 of 6 draws (2 left out)', 'prediction   IoU 83.3 (mean of 6 draws)']
    assert captions[3:5] == ['prompt: boxes', 'prediction   IoU 100.0']

    captions.clear()
    visualizer.compose(image, predicted(masks, truth & False, prompts, (60, 100)), True, True)
    assert captions[1:3] == ['prediction', 'truth is empty']


def test_samples_that_lack_something(visualizer: PromptVisualizer, boxed: Make, captions: list[str]) -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    sample = boxed()
    del sample.prompts, sample.pred_instances, sample.gt_masks
    picture = visualizer.compose(image, sample, True, True)  # an ordinary MMSeg model
    assert captions[:3] == ['no prompt', 'prediction', 'truth']
    assert (picture == PREDICTION).all(-1).any()
    sample.gt_sem_seg.data[0, 0, 0] = 255  # to be ignored
    visualizer.compose(image, sample, True, True)
    captions.clear()
    sample = boxed()
    sample.prompts.set_metainfo(dict(modes=('box', 'not drawn for this sample')))
    visualizer.compose(image, sample, True, True)
    assert len(captions) == 4
    captions.clear()
    assert visualizer.compose(image, SegDataSample(), True, True).shape[1] == 533
    assert captions[0] == 'no prompt'


@pytest.mark.parametrize('size', [(100, 100), (2000, 1500), (30, 700), (900, 60), (1, 1)])
def test_any_size_is_legible(visualizer: PromptVisualizer, predicted: Make, size: tuple[int, int]) -> None:
    mask = np.ones((1, *size), bool)
    sample = predicted(mask, mask, Prompts.create(boxes=[[0, 0, size[1], size[0]]]), size)
    picture = visualizer.compose(np.zeros((*size, 3), np.uint8), sample, True, True)
    panel = (picture.shape[1] - 8) / 3
    assert 320 <= panel <= 960 and picture.shape[0] <= 960 + 100
    assert size[0] >= 320 or size[1] > 600 or picture.shape[0] > 320


def test_add_datasample_writes_where_it_is_told(boxed: Make, tmp_path: Path) -> None:
    config = dict(
        type='PromptVisualizer', name=str(tmp_path), vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path)
    )
    visualizer = VISUALIZERS.build(config)
    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    picture = visualizer.add_datasample('test_one', image, boxed(), step=7)
    assert visualizer.image_dir == tmp_path / 'vis_data' / 'vis_image'
    written = cv2.imread(str(visualizer.image_dir / 'test_one_7.png'))[..., ::-1]
    np.testing.assert_array_equal(written, picture)
    visualizer.add_datasample('one', image, boxed(), out_file=str(tmp_path / 'new' / 'a.png'), with_labels=False)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'new' / 'a.png'))[..., ::-1], picture)
    assert visualizer.get_image().shape == picture.shape  # what MMSegInferencer returns
    with raises_naming(ValueError, 'one', 'uint8', '(60, 100)', '(H, W, 3)'):
        visualizer.add_datasample('one', image[..., 0], boxed())


def test_thin_masks_survive_shrinking() -> None:
    mask = np.zeros((90, 90), bool)
    mask[:, 45] = True
    assert drawing.resized_mask(mask, 30, 30).any(1).all()


def test_long_text_keeps_its_end() -> None:
    short, long = drawing.text_bar('b.png', 320, 14), drawing.text_bar('a' * 200 + 'b.png', 320, 14)
    assert short.shape == long.shape == (24, 320, 3)
    ink = [(bar != drawing.BAR).any((0, 2)).nonzero()[0].max() for bar in (short, long)]
    assert ink[0] < 80 and 250 < ink[1] < 320


def test_contact_sheet(tmp_path: Path) -> None:
    images = [np.full((100, 200, 3), (200, 10, 10), np.uint8), np.full((50, 100, 3), 255, np.uint8)]
    images.append(np.full((20, 40, 3), 128, np.uint8))
    path = tmp_path / 'new' / 'sheet.png'
    contact_sheet(images, 2, path, cell_width=100)
    sheet = cv2.imread(str(path))[..., ::-1]
    # cells of 100 + 8; rows of 50 + 8 and 20 + 8
    assert sheet.shape == (86, 216, 3)
    assert sheet[25, 54].tolist() == [200, 10, 10]
    assert sheet[25, 108 + 54].tolist() == [255] * 3 and sheet[60, 54].tolist() == [128] * 3
    assert torch.tensor(sheet[58:, 108:].copy()).unique().tolist() == sorted(drawing.BACKGROUND)
    with raises_naming(ValueError, '0 images', '2 columns'):
        contact_sheet([], 2, path)


def test_modes_side_by_side(predicted: Make) -> None:
    """Three modes in rows of two: the third is below the first, and the place beside it is background."""
    truth = np.zeros((1, 320, 320), bool)
    truth[:, 100:200, 100:200] = True
    prompts = Prompts.create(boxes=[[100, 100, 199, 199]] * 3, mode_ids=[0, 1, 2], modes=('a', 'b', 'c'))
    sample = predicted(np.repeat(truth, 3, 0), truth, prompts, (320, 320))
    image = np.full((320, 320, 3), 90, np.uint8)
    tall, wide = (
        PromptVisualizer(alpha=1.0, modes_per_row=columns).compose(image, sample, draw_gt=True, draw_pred=True)
        for columns in (1, 2)
    )
    width = tall.shape[1]
    bar = round(13 * 1.7)
    row, title = (tall.shape[0] - bar) // 3, bar
    assert wide.shape == (title + 2 * row, 2 * width + 12, 3)
    first, second, third = (tall[title + index * row : title + (index + 1) * row] for index in range(3))
    assert (wide[title : title + row, :width] == first).all() and (wide[title : title + row, -width:] == second).all()
    assert (wide[title + row :, :width] == third).all() and (wide[title + row :, width:] == drawing.BACKGROUND).all()


@pytest.mark.parametrize('field', ['modes_per_row', 'max_draws'])
def test_numbers_below_one(field: str) -> None:
    with raises_naming(ValueError, 'PromptVisualizer', f'{field}=0'):
        PromptVisualizer(**{field: 0})
