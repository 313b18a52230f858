"""The inferencer compared with the Runner and with segment_anything's predictor, and its own guarantees."""

from __future__ import annotations

import csv
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmseg.registry import DATASETS, METRICS
from segment_anything import SamPredictor

from mmsam_ext.apis import InferenceError, PromptSegInferencer
from mmsam_ext.checkpoints.loaders import ASSETS
from mmsam_ext.models.prompt_stages import PromptLearningModule, SSMODCPromptHead
from mmsam_ext.structures import PromptBatch, PromptKind, Prompts
from tests.apis.conftest import PIPELINE, picture, visible
from tests.models.small import SIZE, config, segmentor, segmentor_of, stock_sam
from tests.naming import assert_names, raises_naming
from tests.numeric import LAYER, MODEL, assert_close, assert_same_mask

BOX, OTHER = [20, 10, 90, 70], [60.5, 30, 149, 89]


@METRICS.register_module(force=True)
class KeepAll(BaseMetric):
    """Keeps the predictions of a test."""

    kept: dict = {}

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            self.kept[sample['sample_id']] = sample['pred_instances']
            self.results.append(0)

    def compute_metrics(self, results) -> dict:
        return dict(number=len(results))


def defect_folder(folder: Path) -> Path:
    """Three images of different sizes (upright, wide, grey JPEG) with masks of one or two defects."""
    (folder / 'images').mkdir(parents=True)
    (folder / 'masks').mkdir()
    for index, (height, width) in enumerate([(200, 90), (100, 260), (80, 64)]):
        image = picture(height, width, seed=index)
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, (width // 3, height // 3), 12, 255, -1)
        if index < 2:
            cv2.rectangle(mask, (width - 30, height - 30), (width - 12, height - 20), 255, -1)
        if index == 2:
            cv2.imwrite(str(folder / 'images' / 'c2.jpg'), image[..., 0])
        else:
            cv2.imwrite(str(folder / 'images' / f'c{index}.png'), image)
        cv2.imwrite(str(folder / 'masks' / f'c{index}.png'), mask)
    return folder


@pytest.mark.parametrize('keep_ratio', [True, False])
def test_masks_are_those_of_the_runner(small_files, tmp_path: Path, keep_ratio: bool) -> None:
    """Same files, same checkpoint, same prompts: by Runner.test (what tools/test.py calls), and by the inferencer."""
    root = defect_folder(tmp_path / 'data')
    path, weights = small_files
    settings = Config.fromfile(str(path))
    settings.test_dataloader.dataset.data_root = str(root)
    settings.test_dataloader.dataset.pipeline[3].keep_ratio = keep_ratio
    KeepAll.kept = {}
    settings.merge_from_dict(
        dict(
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='KeepAll'),
            work_dir=str(tmp_path / 'work'),
            load_from=str(weights),
            log_level='WARNING',
            experiment_name=f'inferencer_{keep_ratio}',
        )
    )
    Runner.from_cfg(settings).test()
    drawn = DATASETS.build(dict(type='BinaryDefectDataset', data_root=str(root), test_mode=True, pipeline=PIPELINE[:3]))
    assert len(drawn) == len(KeepAll.kept) == 3
    inferencer = PromptSegInferencer(settings, weights, 'cpu')
    files, wanted = [], []
    given = dict(boxes=[], points=[], point_labels=[])
    for results in drawn:  # prompts in the frame of the original image
        prompts, truth = results['prompts'], KeepAll.kept[results['sample_id']]
        boxes, points = prompts.uses(PromptKind.BOX), prompts.uses(PromptKind.POINTS)
        one = [  # boxes and points apart, as one call takes prompts of one kind
            inferencer(results['img_path'], boxes=prompts.boxes[boxes], return_logits=True),
            inferencer(
                results['img_path'],
                points=prompts.points[points],
                point_labels=prompts.point_labels[points],
                return_logits=True,
            ),
        ]
        for result, rows in zip(one, (boxes, points), strict=True):
            got = result['predictions'][0]
            assert_close(got['logits'], truth['mask_logits'][rows].numpy(), MODEL)
            assert_same_mask(got['masks'], truth['mask_logits'][rows].numpy() > 0)
            assert_close(got['scores'], truth['iou_scores'][rows].numpy(), MODEL)
            assert 0.02 < got['masks'].mean() < 0.98
        files.append(results['img_path'])
        given['boxes'].append(prompts.boxes[boxes])
        wanted.append(truth['mask_logits'][boxes].numpy() > 0)
    # The same for all images in one call: a set of prompts per image, two images a batch.
    result = inferencer(files, boxes=given['boxes'], batch_size=2, show_progress=False)
    for got, masks in zip(result['predictions'], wanted, strict=True):
        assert_same_mask(got['masks'], masks)
        assert_same_mask(got['union'], masks.any(0))


def test_equals_sam_predictor(tmp_path: Path) -> None:
    """Compare with SamPredictor on the same random weights, mask prompts included; our arrays are BGR, its are RGB."""
    sam = stock_sam(256)
    torch.save(segmentor_of(sam).state_dict(), tmp_path / 'sam.pth')
    resize = dict(type='Resize', scale=(256, 256), keep_ratio=True, backend='pillow')
    settings = Config(dict(model=config(size=256), test_pipeline=[resize]))
    ours, stock = PromptSegInferencer(settings, tmp_path / 'sam.pth', 'cpu'), SamPredictor(sam)
    image = picture(180, 320)
    ours.set_image(image)
    stock.set_image(image[..., ::-1])
    points, labels, box = np.array([[100, 60], [20, 30]]), np.array([1, 0]), np.array([30, 20, 200, 90])
    for multimask in (False, True):
        theirs = stock.predict(points, labels, box, multimask_output=multimask, return_logits=True)
        best = theirs[1].argmax()
        got = ours.predict(box, points, labels, multimask=multimask, return_logits=True)
        for mine, yours in zip(got, theirs, strict=True):
            assert_close(mine[0], yours[best], MODEL)
    again = stock.predict(points, labels, mask_input=theirs[2][best][None], multimask_output=False)
    masks, scores, low_res = ours.predict(points=points, point_labels=labels, masks=got[2], multimask=False)
    assert masks.dtype == bool and masks.shape == (1, 180, 320) and low_res.shape == (1, 64, 64)
    assert_close(low_res[0], again[2][0], MODEL)
    assert_close(scores, again[1], MODEL)
    assert (masks[0] == again[0][0]).mean() > 0.999 and 0.02 < masks.mean() < 0.98


def test_prompts_of_an_image_cost_one_encoding(inferencer, encodings, save) -> None:
    path = save('a.png')
    called = inferencer(path, boxes=[BOX, OTHER])['predictions'][0]
    assert encodings == [1] and called['masks'].shape == (2, 90, 150)
    inferencer.set_image(path)
    masks, scores, low_res = inferencer.predict(boxes=[BOX, OTHER])
    single, _, _ = inferencer.predict(boxes=OTHER)
    inferencer.predict(points=[[30, 30]], point_labels=[1])
    assert encodings == [1, 1], 'set_image encodes once, predict never'
    assert_same_mask(masks, called['masks'])
    assert_close(scores, called['scores'], LAYER)
    assert_same_mask(single[0], masks[1])
    assert not np.array_equal(masks[0], masks[1]) and low_res.shape == (2, SIZE // 4, SIZE // 4)
    inferencer.reset_image()
    with raises_naming(InferenceError, 'set_image'):
        inferencer.predict(boxes=BOX)


def test_paths_arrays_and_files_are_one(inferencer, save) -> None:
    path = save('a.png')
    want = inferencer(str(path), boxes=BOX)['predictions'][0]
    got = inferencer([picture(), path], boxes=BOX, batch_size=2, show_progress=False)['predictions']
    for one in got:
        assert_same_mask(one['masks'], want['masks'])
    assert [one['path'] for one in got] == [None, str(path)] and got[0]['name'] == 'array 0'
    mirrored = inferencer(picture()[..., ::-1], boxes=BOX, return_logits=True)['predictions'][0]
    plain = inferencer(picture(), boxes=BOX, return_logits=True)['predictions'][0]
    assert np.abs(mirrored['logits'] - plain['logits']).max() > 1e-3, 'the order of channels counts'
    grey = picture()[..., 0]
    want = inferencer(np.repeat(grey[..., None], 3, 2), boxes=BOX)['predictions'][0]['masks']
    alpha = np.dstack([grey, grey, grey, 255 - grey])
    for same in (grey, grey[..., None], alpha):
        np.testing.assert_array_equal(inferencer(same, boxes=BOX)['predictions'][0]['masks'], want)


def test_boxes_and_points_combine_and_padding_does_not_count(inferencer) -> None:
    image = picture()
    both = dict(boxes=[BOX, OTHER], points=[[[30, 30]], [[100, 60]]], point_labels=[[1], [0]])
    combined = inferencer(image, **both)['predictions'][0]
    assert combined['prompts'] == ['box 20 10 90 70 + point 30 30 label 1', 'box 60.5 30 149 89 + point 100 60 label 0']
    alone = inferencer(image, boxes=BOX, points=[[30, 30]], point_labels=[1])['predictions'][0]
    assert_same_mask(combined['masks'][0], alone['masks'][0])
    assert not np.array_equal(alone['masks'][0], inferencer(image, boxes=BOX)['predictions'][0]['masks'][0])
    padded = dict(points=[[[30, 30], [5, 5]], [[40, 40], [50, 50]]], point_labels=[[1, -1], [1, 1]])
    short = inferencer(image, points=[[30, 30]], point_labels=[1], return_logits=True)['predictions'][0]
    long = inferencer(image, **padded, return_logits=True)['predictions'][0]
    assert_close(long['logits'][0], short['logits'][0], MODEL)


def test_multimask_is_chosen_by_the_iou_head_for_one_call(inferencer) -> None:
    image, model = picture(), inferencer.model
    point = dict(points=[[70, 40]], point_labels=[1])
    inferencer.set_image(image)
    encoded = inferencer.encoded
    single, best = (inferencer.predict(**point, multimask=choice, return_logits=True) for choice in (False, True))
    prompts = Prompts.create(points=[[[70 * (128 / 150), 40 * (77 / 90)]]], point_labels=[[1]])  # 90 x 150 -> 77 x 128
    with torch.no_grad():
        every = model.decode(encoded.features, PromptBatch.from_prompts([prompts], encoded.input_size))
    assert_close(single[2][0], every.logits[0, 0].numpy(), MODEL)
    assert_close(single[1], every.iou[0, :1].numpy(), LAYER)
    chosen = 1 + int(every.iou[0, 1:].argmax())
    assert_close(best[2][0], every.logits[0, chosen].numpy(), MODEL)
    ambiguous = inferencer.predict(**point, multimask='ambiguous')
    assert_same_mask(ambiguous[0], best[0] > 0)
    called = inferencer(image, **point, multimask=True)['predictions'][0]
    assert_same_mask(called['masks'], best[0] > 0)
    assert model.test_cfg == {}, 'the choice lasts for the call'
    with raises_naming(InferenceError, 'multimask', 'all', 'ambiguous'):
        inferencer(image, **point, multimask='all')


def test_oracle_without_truth_is_ambiguous(small_files, encodings) -> None:
    """The inferencer works with the mini SAM's own training configs."""
    settings = Config(dict(model=config(test_cfg=dict(multimask='oracle'))))
    inferencer = PromptSegInferencer(settings, small_files[1], 'cpu')
    point = dict(points=[[70, 40]], point_labels=[1])
    want = inferencer(picture(), **point, multimask='ambiguous')['predictions'][0]['masks']
    assert not np.array_equal(want, inferencer(picture(), **point, multimask=False)['predictions'][0]['masks'])
    np.testing.assert_array_equal(inferencer(picture(), **point)['predictions'][0]['masks'], want)
    inferencer.set_image(picture())
    np.testing.assert_array_equal(inferencer.predict(**point)[0], want)
    assert inferencer.model.test_cfg == dict(multimask='oracle')


@pytest.mark.parametrize('shape', [(30, 50), (90, 150), (400, 300)], ids=['enlarged', 'as it is', 'made smaller'])
def test_coordinates_half_a_pixel_beside_the_image(inferencer, shape) -> None:
    """The lowest valid coordinate is -0.5, the border of the first pixel; the highest depends on the image."""
    height, width = shape
    image = picture(height, width)
    inferencer.set_image(image)
    for prompt in (
        dict(boxes=[-0.4, -0.5, width, height]),
        dict(points=[[-0.4, 5], [width, height]], point_labels=[1, 0]),
    ):
        called = inferencer(image, **prompt, return_logits=True)['predictions'][0]['logits']
        assert_close(inferencer.predict(**prompt, return_logits=True)[0], called, MODEL)
    for ask in (inferencer.predict, lambda **prompt: inferencer(image, **prompt)):
        with raises_naming(InferenceError, 'boxes', np.float32(-0.6).item(), f'{width} x {height}'):
            ask(boxes=[-0.6, 0, 9, 9])


def test_iterate_yields_one_image_at_a_time(inferencer, encodings, save) -> None:
    path, other = save('a.png'), save('b.png', seed=1)
    want = inferencer([path, other], boxes=BOX, show_progress=False, return_vis=True)
    encodings.clear()
    results = inferencer.iterate([path, 'none.png', other], boxes=BOX, return_vis=True)
    assert encodings == []
    for number, index in ((1, 0), (2, 1)):
        got = next(results)
        if 'error' in got:
            assert got['path'] == got['name'] == 'none.png'
            assert_names(got['error'], 'none.png')
            got = next(results)
        assert encodings == [1] * number
        np.testing.assert_array_equal(got['masks'], want['predictions'][index]['masks'])
        np.testing.assert_array_equal(got['overlay'], want['visualization'][index])
    assert list(results) == []
    with raises_naming(InferenceError, 'prompt'):
        inferencer.iterate(path)  # at once


def test_iterate_keeps_nothing(inferencer) -> None:
    kept = []
    for result in inferencer.iterate([picture(seed=seed) for seed in range(3)], boxes=BOX):
        assert [one for one in kept if one() is not None] == []
        kept = [weakref.ref(result['masks'])]
        del result
    assert len(kept) == 1


def test_progress_is_shown_on_stderr(inferencer, capsys) -> None:
    inferencer([picture(), picture()], boxes=BOX)
    printed = capsys.readouterr()
    assert 'Segmenting' in printed.err and printed.out == ''


def test_files_of_an_earlier_run(inferencer, save, tmp_path: Path) -> None:
    """A second run with fewer prompts removes the older masks of its images and keeps the files of others."""
    path, out = save('in/a.png'), tmp_path / 'out'
    inferencer(path, boxes=[BOX, OTHER, BOX], out_dir=out)
    for name in ('a_mask1.jpg', 'a_mask01.png', 'b_mask1.png', 'a_mask.png'):
        (out / name).write_text('of somebody else')
    inferencer(path, boxes=OTHER, out_dir=out)
    names = {'a.png', 'a_mask0.png', 'a_overlay.png', 'scores.csv'}
    assert visible(out) == names | {'a_mask1.jpg', 'a_mask01.png', 'b_mask1.png', 'a_mask.png'}
    # A union of this run that has the name of an older mask of another image stays.
    other, out = save('in/a_mask1.png', seed=1), tmp_path / 'other'
    inferencer(path, boxes=[BOX, OTHER], out_dir=out)
    inferencer([other, path], boxes=OTHER, out_dir=out, show_progress=False)
    assert (out / 'a_mask1.png').exists() and (out / 'a_mask0.png').exists()


def test_folder_with_mixed_files(inferencer, save, tmp_path: Path, monkeypatch) -> None:
    """Good images are segmented, bad ones are listed at the end, and equal stems do not overwrite one another."""
    from mmsam_ext.apis import failures

    logged = []
    monkeypatch.setattr(failures, 'print_log', lambda message, **_: logged.append(message))
    folder, out = tmp_path / 'in', tmp_path / 'out'
    save('in/a.png')
    save('in/a.jpg', seed=1)
    save('in/a_mask0.png', seed=2)  # where the first mask of a.jpg goes
    save('in/small.png', height=40, width=40)  # the box is outside
    whole = save('in/cut.jpg', seed=3).read_bytes()
    (folder / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    (folder / 'notes.txt').write_text('no image')
    (folder / 'broken.png').write_bytes((folder / 'a.png').read_bytes()[:100] + b'IEND\xaeB`\x82')
    (folder / '.hidden').write_text('left out')
    result = inferencer(folder, boxes=[BOX, OTHER], out_dir=out, batch_size=3, show_progress=False, return_vis=True)
    names = [Path(one['path']).name for one in result['predictions']]
    assert names == ['a.jpg', 'a.png', 'a_mask0.png']
    reasons = {Path(one['path']).name: one['error'] for one in result['failed']}
    assert set(reasons) == {'small.png', 'cut.jpg', 'broken.png'}
    assert 'outside the image of 40 x 40' in reasons['small.png'] and 'truncated' in reasons['cut.jpg']
    assert str(folder / 'broken.png') in reasons['broken.png']
    assert len(logged) == 1 and logged[0].startswith('3 of 6 images could not be used')
    assert all(name in logged[0] for name in reasons)

    stems = ['a', 'a_png', 'a_mask0_png']
    endings = ['.png', '_mask0.png', '_mask1.png', '_overlay.png']
    files = visible(out)
    assert files == {stem + ending for stem in stems for ending in endings} | {'scores.csv'}
    for stem, one, overlay in zip(stems, result['predictions'], result['visualization'], strict=True):
        union = cv2.imread(str(out / f'{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(union)) <= {0, 255} and union.shape == (90, 150)
        np.testing.assert_array_equal(union > 0, one['union'])
        for row in range(2):
            mask = cv2.imread(str(out / f'{stem}_mask{row}.png'), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(mask > 0, one['masks'][row])
        drawn = cv2.imread(str(out / f'{stem}_overlay.png'))
        np.testing.assert_array_equal(drawn[..., ::-1], overlay)
    table = list(csv.DictReader((out / 'scores.csv').read_text().splitlines()))
    rows = [row for row in table if not row['error']]
    assert {Path(row['image']).name: row['error'] for row in table if row['error']} == reasons
    assert [row['mask'] for row in rows] == [f'{stem}_mask{row}.png' for stem in stems for row in range(2)]
    last = result['predictions'][-1]
    assert rows[-1]['image'] == last['path'] and rows[-1]['description'] == 'box 60.5 30 149 89'
    assert float(rows[-1]['score']) == pytest.approx(last['scores'][1], abs=1e-6)
    assert {row['score_from'] for row in rows} == {'IoU head not trained'}  # the small config has no IoU loss
    assert float(rows[-1]['area_percent']) == pytest.approx(100 * last['masks'][1].mean(), abs=1e-4)


def test_overlay_draws_the_prompt_and_the_mask(inferencer) -> None:
    """The mask's blue tint in the second panel is where the mask is."""
    shown = inferencer(picture(), boxes=BOX, return_vis=True)
    overlay, union = shown['visualization'][0], shown['predictions'][0]['union']
    assert overlay.ndim == 3 and overlay.dtype == np.uint8 and overlay.shape[1] > 2 * 320
    zoom = 320 / 90
    height, width = 320, round(150 * zoom)
    panel = overlay[-4 - height : -4, -width:].astype(int)
    blue = (panel[..., 2] - panel[..., 0]).astype(np.float32)
    blue = cv2.resize(blue, (150, 90), interpolation=cv2.INTER_AREA)
    plain = picture().astype(int)
    shift = blue - (plain[..., 0] - plain[..., 2])
    assert shift[union].mean() > 50 > abs(shift[~union].mean()) + 20


def test_prompt_free_models_need_no_prompt(small_files, tmp_path: Path) -> None:
    """A model with a stage that creates prompts accepts an image without a prompt, which gets the empty prompt."""
    from mmseg.registry import MODELS

    from mmsam_ext.models.prompt_stages import PromptStage

    class PassingStage(PromptStage):
        creates_prompt = True

        def forward(self, features, prompts):
            return prompts

    MODELS.register_module(name='PassingStage', module=PassingStage, force=True)
    settings = Config(dict(model=config(prompt_stages=[dict(type='PassingStage')])))
    inferencer = PromptSegInferencer(settings, small_files[1], 'cpu')
    image = picture(SIZE, SIZE)
    got = inferencer(image, return_vis=True, return_logits=True)
    data = dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)])
    want = segmentor().test_step(data)[0].pred_instances.mask_logits
    assert_close(got['predictions'][0]['logits'], want.numpy(), MODEL)
    assert got['predictions'][0]['prompts'] == ['none'] and len(got['visualization']) == 1


def test_stages_that_edit_prompts_need_one(small_files) -> None:
    """With PLM a prompt of the user is needed; with SSMODC, which creates prompts, none is."""
    assert SSMODCPromptHead.creates_prompt and not PromptLearningModule.creates_prompt
    settings = Config(dict(model=config(prompt_stages=[dict(type='PromptLearningModule', dim=32)])))
    with raises_naming(InferenceError, small_files[1], 'prompt_stages.0', '--untrained'):
        PromptSegInferencer(settings, small_files[1], 'cpu')
    inferencer = PromptSegInferencer(settings, small_files[1], 'cpu', untrained=True)
    inferencer.set_image(picture())
    for ask in (inferencer.predict, lambda: inferencer(picture())):
        with raises_naming(InferenceError, 'array 0', 'prompt'):
            ask()


def test_a_pipeline_that_moves_the_image_is_refused(small_files) -> None:
    flip = dict(type='RandomFlip', prob=1.0)
    settings = Config(dict(model=config(), test_pipeline=[flip]))
    inferencer = PromptSegInferencer(settings, small_files[1], 'cpu')
    with raises_naming(ValueError, 'Resize'):
        inferencer.set_image(picture())


@pytest.mark.skipif(
    not (ASSETS / 'sam_tiny.safetensors').exists(), reason='the package has no weights mmsam_ext/assets/sam_tiny yet'
)
def test_the_packaged_model_segments_a_disc() -> None:
    """Load a config by its name, with its own weights, and segment a bright disc on a dark background."""
    image = np.full((256, 256, 3), 60, np.uint8)
    cv2.circle(image, (120, 140), 40, (190, 200, 180), -1)
    truth = np.hypot(*np.meshgrid(np.arange(256) - 120, np.arange(256) - 140)) <= 40
    mask = PromptSegInferencer('sam_tiny_synthetic', device='cpu')(image, boxes=[80, 100, 160, 180])
    mask = mask['predictions'][0]['masks'][0]
    assert (mask & truth).sum() / (mask | truth).sum() > 0.7
