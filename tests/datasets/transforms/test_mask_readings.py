"""Masks are read as a viewer shows them, and those that can be read in two ways are errors or need an option."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.registry import TRANSFORMS
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmsam_ext.datasets import BinaryDefectDataset, binary_defect, read_binary_mask
from mmsam_ext.datasets.transforms import mask_files
from mmsam_ext.datasets.transforms.mask_values import check_values, level_counts
from mmsam_ext.evaluation.metrics import PromptIoUMetric
from mmsam_ext.models.segmentors.prompt_targets import prompt_targets
from mmsam_ext.structures import MaskPrediction, PromptBatch
from tests.models.small import segmentor
from tests.naming import raises_naming

TRUTH = np.zeros((40, 60), np.uint8)
TRUTH[8:30, 10:35] = 1
WHITE, BLACK, RED, GREY = (255, 255, 255), (0, 0, 0), (200, 0, 0), (180, 180, 180)


def encode(image: Image.Image, kind: str = 'PNG', **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def palette_image(indices: np.ndarray, colors: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), 'P')
    image.putpalette([level for color in colors for level in color])
    return image


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'GIF'])
@pytest.mark.parametrize('colors', [(WHITE, BLACK), (BLACK, WHITE)], ids=['white-black', 'black-white'])
def test_a_black_and_white_palette_is_what_a_viewer_shows(colors: tuple, kind: str) -> None:
    """White is the defect, whether its palette index is 0 or 1."""
    indices = np.where(TRUTH == 1, colors.index(WHITE), colors.index(BLACK))
    content = encode(palette_image(indices, list(colors)), kind)
    if kind in ('PNG', 'BMP'):  # cv2 is the viewer
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), 0) > 127, TRUTH)
    np.testing.assert_array_equal(read_binary_mask(content, 'm'), TRUTH)


def test_palettes_of_greys_and_of_colours() -> None:
    soft = cv2.GaussianBlur(TRUTH * 255, (5, 5), 1.0)
    reversed_ramp = palette_image(255 - soft, [(255 - level,) * 3 for level in range(256)])
    np.testing.assert_array_equal(read_binary_mask(encode(reversed_ramp), 'm'), soft > 127)
    quantized = Image.fromarray(soft).convert('RGB').quantize(8)
    shown = np.asarray(quantized.convert('L')) > 127
    np.testing.assert_array_equal(read_binary_mask(encode(quantized), 'm'), shown)
    # A colour on black, and two colours, of which only the numbers say which is the defect.
    for colors in ((BLACK, RED), (GREY, RED), (RED, WHITE)):
        np.testing.assert_array_equal(read_binary_mask(encode(palette_image(TRUTH, list(colors))), 'm'), TRUTH)
    inverted = encode(palette_image(1 - TRUTH, [RED, BLACK]))
    with raises_naming(ValueError, 'a/m.png', '(200, 0, 0)'):
        read_binary_mask(inverted, 'a/m.png')
    np.testing.assert_array_equal(read_binary_mask(inverted, 'm', foreground=0), TRUTH)
    np.testing.assert_array_equal(
        read_binary_mask(encode(palette_image(TRUTH * 3, [BLACK] * 2 + [RED] * 2)), 'm', True), TRUTH
    )


def test_transparency_and_orientation() -> None:
    white = np.full((40, 60), 255, np.uint8)
    opaque_where_defect = Image.fromarray(np.dstack([TRUTH * 255] * 3 + [TRUTH * 255]), 'RGBA')
    np.testing.assert_array_equal(read_binary_mask(encode(opaque_where_defect), 'm'), TRUTH)  # both readings agree
    for rgb in (white, TRUTH * 0):  # the mask is in the alpha channel alone
        with raises_naming(ValueError, 'm.png', 'transparency'):
            read_binary_mask(encode(Image.fromarray(np.dstack([rgb] * 3 + [TRUTH * 255]), 'RGBA')), 'm.png')
    with raises_naming(ValueError, 'm.png', 'transparency'):  # white pixels that nobody sees
        read_binary_mask(encode(Image.fromarray(np.dstack([TRUTH * 255, 255 - TRUTH * 255]), 'LA')), 'm.png')
    exif = Image.Exif()
    exif[274] = 3  # turned by half
    turned = encode(Image.fromarray(TRUTH * 255), exif=exif)
    np.testing.assert_array_equal(read_binary_mask(turned, 'm'), TRUTH[::-1, ::-1])
    deep = encode(Image.fromarray((1 - TRUTH).astype(np.uint16) * 65535), 'TIFF', tiffinfo={262: 0})
    np.testing.assert_array_equal(read_binary_mask(deep, 'm'), TRUTH)  # 0 is white


def void() -> np.ndarray:
    mask = TRUTH.copy()
    mask[:, 45:] = 255
    return mask


@pytest.mark.parametrize('area', [1, 3, 20])
def test_masks_of_0_1_and_255_can_be_read_in_two_ways(area: int) -> None:
    """This holds however small the area of either value is."""
    mask = np.zeros((40, 60), np.uint8)
    mask[:area, :area], mask[30:, :] = 1, 255
    other = np.where(mask == 255, 1, np.where(mask == 1, 255, 0)).astype(np.uint8)
    for array in (mask, other, np.where(mask == 0, 255, 1).astype(np.uint8)):
        with raises_naming(ValueError, 'd/m.png', '1, 255', 'ignore=255', 'foreground=255'):
            read_binary_mask(encode(Image.fromarray(array)), 'd/m.png')
    content = encode(Image.fromarray(mask))
    np.testing.assert_array_equal(read_binary_mask(content, 'm', ignore=255), mask)
    np.testing.assert_array_equal(read_binary_mask(content, 'm', foreground=255), mask == 255)
    np.testing.assert_array_equal(read_binary_mask(content, 'm', foreground=[1], ignore=[255]), mask)


def test_options_name_exact_values() -> None:
    classes = (np.arange(6, dtype=np.uint8).repeat(10)[None] * np.ones((40, 1), np.uint8)).astype(np.uint8)
    content = encode(Image.fromarray(classes))
    with raises_naming(ValueError, 'm.png', '0, 1, 2, 3, 4, 5', 'foreground='):
        read_binary_mask(content, 'm.png')
    got = read_binary_mask(content, 'm', foreground=[1, 4], ignore=5)
    np.testing.assert_array_equal(got, np.select([np.isin(classes, (1, 4)), classes == 5], [1, 255], 0))
    trimap = np.where(TRUTH == 1, 255, 0).astype(np.uint8)
    trimap[:, :5] = 128
    want = TRUTH.copy()
    want[:, :5] = 255
    np.testing.assert_array_equal(read_binary_mask(encode(Image.fromarray(trimap)), 'm', ignore=128), want)
    np.testing.assert_array_equal(
        read_binary_mask(encode(Image.fromarray(255 - TRUTH * 255)), 'm', foreground=0), TRUTH
    )
    for bad in (dict(foreground='1'), dict(ignore=[0.5]), dict(foreground=True), dict(foreground=[1, 2], ignore=2)):
        with raises_naming(ValueError, next(iter(bad))):
            check_values(**{'foreground': None, 'ignore': None, **bad})


def dataset_folder(root: Path, masks: list[np.ndarray]) -> str:
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    for index, mask in enumerate(masks):
        cv2.imwrite(str(root / f'images/{index}.png'), np.full((*mask.shape, 3), 90, np.uint8))
        cv2.imwrite(str(root / f'masks/{index}.png'), mask)
    return str(root)


def test_ignored_pixels_reach_losses_and_metrics(tmp_path: Path) -> None:
    """Loss and IoU do not depend on what is predicted where pixels are ignored."""
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 10:30], mask[:, 48:] = 1, 255
    root = dataset_folder(tmp_path / 'd', [mask])
    prompts = dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), seed=0)
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask'), prompts, dict(type='PackPromptInputs')]
    pipeline = [TRANSFORMS.build(step) for step in steps]
    sample = BinaryDefectDataset(data_root=root, ignore=255, pipeline=pipeline)[0]['data_samples']
    np.testing.assert_array_equal(sample.gt_sem_seg.data[0], mask)
    assert sample.gt_masks.data[0].sum() == 400 and sample.prompts.boxes.tolist() == [[10, 10, 29, 29]]

    targets, ignored = prompt_targets([sample], PromptBatch.from_prompts([sample.prompts], (64, 64)), (16, 16))
    assert ignored[0, :, 12:].all() and not ignored[0, :, :12].any()
    logits = torch.randn(1, 4, 16, 16)
    elsewhere = logits.clone()
    elsewhere[..., 12:] = 50
    model = segmentor()
    losses = [
        model.mask_losses(MaskPrediction(logits=one, iou=torch.ones(1, 4)), targets, ignored)
        for one in (logits, elsewhere)
    ]
    assert losses[0] == losses[1] and losses[0]['loss_bce'] > 0.1

    full_size = torch.full((1, 64, 64), -1.0)
    full_size[0, 10:30, 10:20], full_size[0, :, 48:] = 1, 1  # half of the target, and all that is ignored
    sample.pred_instances = _instances(full_size)
    metric = PromptIoUMetric(boundary=False)
    metric.process(None, [sample.to_dict()])
    assert metric.evaluate(1)['mIoU'] == pytest.approx(50.0)


def _instances(logits: torch.Tensor) -> InstanceData:
    zeros = torch.zeros(1, dtype=torch.int64)
    return InstanceData(mask_logits=logits, iou_scores=torch.ones(1), target_ids=zeros, draw_ids=zeros, mode_ids=zeros)


def test_a_dataset_of_inverted_masks_is_logged_with_the_share(tmp_path: Path, monkeypatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(binary_defect, 'print_log', lambda message, **_: logged.append(message))
    inverted = dataset_folder(tmp_path / 'inverted', [255 - TRUTH * 255] * 2)
    BinaryDefectDataset(data_root=inverted)
    share = f'{1 - TRUTH.mean():.1%}'
    assert len(logged) == 1 and share in logged[0] and 'foreground=0' in logged[0] and 'inverted' in logged[0]
    steps = [TRANSFORMS.build(dict(type=name)) for name in ('LoadImageFromFile', 'LoadBinaryMask')]
    np.testing.assert_array_equal(
        BinaryDefectDataset(data_root=inverted, foreground=0, pipeline=steps)[1]['gt_seg_map'], TRUTH
    )
    one = dataset_folder(tmp_path / 'one', [255 - TRUTH * 255, TRUTH * 255, TRUTH * 255])  # one large defect is fine
    BinaryDefectDataset(data_root=one)
    assert len(logged) == 1


def outcome(content: bytes) -> np.ndarray | str:
    """Return the values of a mask, or 'error'."""
    try:
        return mask_files.read_mask_values(content, 'm')
    except ValueError:
        return 'error'


def test_the_quick_way_for_plain_masks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey PNG files are decoded once; all others, and damaged ones, as before."""
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (40, 60)).astype(np.uint8))
    text, exif = PngInfo(), Image.Exif()
    text.add_text('Software', 'painter')
    exif[0x0112] = 6  # turned by 90 degrees
    quick = [
        encode(grey),
        encode(Image.fromarray(TRUTH * 255), pnginfo=text, dpi=(72, 72)),
        encode(Image.fromarray(TRUTH)),
    ]
    turned = PngInfo()
    turned.add_itxt('XML:com.adobe.xmp', '<x tiff:Orientation="6"/>')
    slow = [
        encode(grey, exif=exif),
        encode(grey, pnginfo=turned),
        encode(grey, transparency=7),
        encode(grey.convert('1')),
        encode(grey.convert('RGB')),
        encode(grey.quantize(8)),
        encode(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)),
        encode(grey, 'TIFF'),
        encode(grey, save_all=True, append_images=[grey.rotate(90)]),
    ]
    damaged = [quick[0][:cut] for cut in range(0, len(quick[0]), 97)] + [quick[0][:-1], quick[0] + b'more']
    for place in rng.integers(8, len(quick[1]), 60):  # any byte after the signature
        content = bytearray(quick[1])
        content[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(content))
    for content in quick:
        values = mask_files._plain_png(content)
        assert values is not None
        np.testing.assert_array_equal(values, np.asarray(Image.open(BytesIO(content))))
    for content in slow:
        assert mask_files._plain_png(content) is None
    found = [outcome(content) for content in (*quick, *slow, *damaged)]
    monkeypatch.setattr(mask_files, '_plain_png', lambda content: None)
    before = [outcome(content) for content in (*quick, *slow, *damaged)]
    assert sum(isinstance(one, str) for one in before) > 60
    for one, other in zip(found, before, strict=True):
        assert one == other if isinstance(one, str) else np.array_equal(one, other)


def test_counts_of_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(1).integers(0, 256, (70, 50)).astype(np.uint8)
    expected = np.bincount(image.ravel(), minlength=256)
    assert np.array_equal(level_counts(image), expected)
    assert np.array_equal(level_counts(image[::2, ::3]), np.bincount(image[::2, ::3].ravel(), minlength=256))
    assert level_counts(image[:0]).tolist() == [0] * 256
    large = np.zeros((4200, 4096), np.uint8)  # more than 2^24 of one level, where float32 cannot count on
    large[:, 0] = 9
    assert level_counts(large)[[0, 9]].tolist() == [4200 * 4095, 4200]
