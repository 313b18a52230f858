"""A segmentor with classes: a prompt, a mask and a logit for each; off, and with one class, it is as before."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.cli.mmseg_tool import run_mmseg_tool
from mmsam_ext.structures import PromptBatch, Prompts
from tests.conftest import free_port
from tests.models.small import SIZE, config, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.run_tool import run_forked, run_here, test_results
from tests.shrink import CONFIGS, shrink, spare_formatting

HEAD = dict(
    type='SSMODCPromptHead',
    feature_encoder=dict(
        type='mmpretrain.TIMMBackbone', model_name='efficientvit_b0', features_only=True, out_indices=(1, 2, 3)
    ),
    in_channels=(32, 64, 128), embed_dim=32, dim=16, d_state=4, dt_rank=4,
)  # fmt: skip


def test_a_mask_and_a_logit_for_each_class() -> None:
    model = segmentor(num_classes=3, prompt_stages=[HEAD])
    (result,) = model.predict(images(), [sample()])
    masks = result.pred_instances.mask_logits
    assert masks.shape == (3, SIZE, SIZE) and result.pred_instances.class_ids.tolist() == [1, 2, 3]
    assert (masks[0] - masks[1]).abs().max() > 1e-3 and (masks[1] - masks[2]).abs().max() > 1e-3
    expected = torch.cat([torch.zeros_like(masks[:1]), masks])
    assert torch.equal(result.seg_logits.data, expected)
    assert torch.equal(result.pred_sem_seg.data[0], expected.argmax(0))


def test_the_head_writes_the_prompt_of_its_class() -> None:
    """Without the other classes' weights, their prompts are those of plain SAM."""
    model, plain = segmentor(num_classes=3, prompt_stages=[HEAD]), segmentor()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if 'prompt_stages' not in key})
    model.prompt_stages[0].proj.weight.data[32:] = 0
    model.prompt_stages[0].proj.bias.data[32:] = 0
    batch = model.prompt_batch([sample()], images())
    with torch.no_grad():
        logits = model.decode(model.extract_feat(images()), batch).logits
        stock = plain.decode(plain.extract_feat(images()), PromptBatch.from_prompts([Prompts.empty()], (SIZE, SIZE)))
    assert torch.allclose(logits[1:], stock.logits.expand(2, -1, -1, -1), atol=1e-4)
    assert (logits[0] - stock.logits[0]).abs().max() > 1e-2
    with raises_naming(ValueError, 'SSMODCPromptHead', 'class_ids', '3'):
        model.decode(model.extract_feat(images()), PromptBatch.from_prompts([Prompts.empty()], (SIZE, SIZE)))
    with raises_naming(ValueError, 'SSMODCPromptHead', '2', '3'):
        segmentor(num_classes=3, prompt_stages=[dict(HEAD, num_classes=2)])


@torch.no_grad()
def test_one_class_is_as_without_classes() -> None:
    off, one = segmentor(prompt_stages=[HEAD]), segmentor(num_classes=1, prompt_stages=[HEAD])
    (before,), (after,) = (model.predict(images(), [sample()]) for model in (off, one))
    assert torch.equal(before.pred_instances.mask_logits, after.pred_instances.mask_logits)
    assert torch.equal(before.pred_sem_seg.data, after.pred_sem_seg.data)
    item = sample(masks=disc()[None], labels=disc())
    for name, value in off.loss(images(), [item]).items():
        assert torch.equal(value, one.loss(images(), [item])[name])


def test_each_class_learns_from_its_own_pixels() -> None:
    """The gradient of one class's weights is zero where the label of that class is predicted with certainty alone."""
    model = segmentor(num_classes=2, prompt_stages=[HEAD], losses=dict(bce=dict(type='MaskBCELoss'))).train()
    two = disc() + 2 * disc(x=100, y=30, radius=10) * (1 - disc())
    first, second = (
        model.loss(images(), [sample(labels=labels)])['loss_bce'] for labels in (two, torch.where(two == 2, 0, two))
    )
    (prediction,) = [model.decode(model.extract_feat(images()), model.prompt_batch([sample()], images())).logits[:, 0]]
    area = torch.nn.functional.interpolate((two == 2)[None, None].float(), (32, 32), mode='area')[0, 0]
    # The two losses differ in the targets of class 2 alone: the mean of logit times the change of the target.
    assert first.item() - second.item() == pytest.approx(-(prediction[1] * area).mean().item() / 2, abs=1e-4)


@pytest.fixture
def unformatted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '0')
    spare_formatting(monkeypatch)


def numbered_folder(root: Path) -> None:
    """Four classes in MMSegmentation's layout: images as .jpg, masks of class numbers as .png."""
    rng = np.random.default_rng(0)
    for index in range(4):
        mask = np.zeros((64, 64), np.uint8)
        for label in range(1, 5):
            cv2.circle(mask, (12 * label, 10 + 10 * label), 6, label, -1)
        image = rng.integers(0, 90, (64, 64, 3), dtype=np.uint8) + 40 * mask[..., None]
        for folder, suffix, content in (('img_dir', 'jpg', image), ('ann_dir', 'png', mask)):
            path = root / folder / f'{index}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), content)


def test_a_folder_of_mmsegmentation_trains_with_two_changed_lines(tmp_path: Path, unformatted: None) -> None:
    """A config of four classes for MMSegmentation, with its own dataset, transforms, metric and schedule."""
    numbered_folder(tmp_path / 'data')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    data = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path / 'data'),
        data_prefix=dict(img_path='img_dir', seg_map_path='ann_dir'),
        metainfo=dict(classes=('background', 'a', 'b', 'c', 'd'), palette=[[index] * 3 for index in range(5)]),
        pipeline=pipeline,
    )
    loader = dict(batch_size=2, num_workers=0, dataset=data, sampler=dict(type='DefaultSampler', shuffle=False))
    theirs = Config(
        dict(
            train_dataloader=dict(loader, sampler=dict(type='InfiniteSampler', shuffle=True)),
            val_dataloader=loader,
            test_dataloader=loader,
            val_evaluator=dict(type='IoUMetric'),
            test_evaluator=dict(type='IoUMetric'),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            default_scope='mmseg',
        )
    )
    theirs.dump(tmp_path / 'theirs.py')
    mine = f"_base_ = ['{CONFIGS}/_base_/models/ods_sam_tiny.py', 'theirs.py']\n"
    (tmp_path / 'mine.py').write_text(mine + 'model = dict(num_classes=4, data_preprocessor=dict(size=(64, 64)))\n')
    cfg = Config.fromfile(tmp_path / 'mine.py')
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'work'), 'four_classes'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert {'aAcc', 'mIoU', 'mAcc'} <= set(runner.test())
    assert runner.model.prompt_stages[0].proj.weight.shape[0] == 4 * 128


def test_inferencer_answers_with_a_mask_for_each_class(tmp_path: Path) -> None:
    """Called, and on an encoded image; the files are named as the masks of prompts are."""
    torch.save(segmentor(num_classes=3, prompt_stages=[HEAD]).state_dict(), tmp_path / 'weights.pth')
    test = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
    settings = Config(dict(model=config(num_classes=3, prompt_stages=[HEAD]), test_dataloader=test))
    inferencer = PromptSegInferencer(settings, tmp_path / 'weights.pth', device='cpu')
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    (prediction,) = inferencer(image, out_dir=tmp_path / 'out')['predictions']
    assert prediction['masks'].shape == (3, 90, 120) and prediction['prompts'] == ['class 1', 'class 2', 'class 3']
    assert len(list((tmp_path / 'out').glob('*_mask?.png'))) == 3
    inferencer.set_image(image)
    np.testing.assert_array_equal(inferencer.predict()[0], prediction['masks'])


@pytest.mark.slow
def test_two_ranks_and_the_confusion_matrix(tmp_path: Path, unformatted: None) -> None:
    """By prompts: label maps and metrics are those of one rank, and MMSegmentation's tool draws its picture of them."""
    cfg = shrink(CONFIGS / 'sam_tiny_mtd_classes.py', tmp_path)
    checkpoint, maps = tmp_path / 'work' / 'iter_2.pth', tmp_path / 'maps'
    cfg.test_evaluator[2].folder = str(maps)
    cfg.dump(tmp_path / 'config.py')
    Runner.from_cfg(cfg).train()
    run_here('test.py', tmp_path / 'config.py', checkpoint, '--work-dir', tmp_path / 'one')
    expected = {path.name: path.read_bytes() for path in maps.iterdir()}
    assert sorted(expected) == [f'{index:06d}.png' for index in range(4)]
    for path in maps.iterdir():
        path.unlink()
    command = (tmp_path / 'config.py', checkpoint, '--work-dir', tmp_path / 'two')
    codes, errors = run_forked(tmp_path, 'test.py', *command, ranks=2, port=free_port())
    assert codes == [0, 0], errors[-3000:]
    assert test_results(tmp_path / 'one') == test_results(tmp_path / 'two')
    assert {path.name: path.read_bytes() for path in maps.iterdir()} == expected
    run_mmseg_tool('analysis_tools/confusion_matrix.py', [str(tmp_path / 'config.py'), str(maps), str(tmp_path)])
    picture = cv2.imread(str(tmp_path / 'confusion_matrix.png'))
    assert picture is not None and picture.std() > 5
