"""MMSegmentation's own interfaces and tools on our configs: they work, or their error says why not."""

from __future__ import annotations

import json
import runpy
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmseg.apis import inference_model, init_model, show_result_pyplot
from mmseg.registry import DATASETS, METRICS, MODELS
from mmseg.structures import SegDataSample

from mmsam_ext.cli.mmseg_tool import main as mmseg_command
from tests.naming import raises_naming
from tests.shrink import CONFIGS, shrink, spare_formatting, unique_name

MMSEG_TOOLS = Path(mmseg.__file__).parent / '.mim' / 'tools'


@pytest.fixture(autouse=True)
def unformatted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(tmp_path)  # some of the tools write into it
    spare_formatting(monkeypatch)


class Trained(NamedTuple):
    """A run of two iterations on files in the layout of MTD."""

    folder: Path
    config: Path
    checkpoint: Path


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp('mmseg')
    cfg = shrink(CONFIGS / 'sam_tiny_mtd.py', folder, iterations=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        spare_formatting(monkeypatch)
        cfg.dump(folder / 'config.py')
        Runner.from_cfg(cfg).train()
        yield Trained(folder, folder / 'config.py', folder / 'work' / 'iter_2.pth')


def run_tool(name: str, *arguments: str | Path) -> None:
    """Run one of MMSegmentation's tools in this process."""
    argv = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        runpy.run_path(str(MMSEG_TOOLS / name), run_name='__main__')
    finally:
        sys.argv = argv


def photograph(trained: Trained) -> Path:
    return trained.folder / 'data' / 'mtd' / 'MT_Blowhole' / 'Imgs' / 'exp_0.jpg'


# ------------------------------------------------------------------------------------------------------------- apis


def test_init_inference_and_drawing(trained, tmp_path) -> None:
    """init_model and inference_model take files, arrays and lists; the prompt is always the empty one."""
    model = init_model(trained.config, str(trained.checkpoint), device='cpu')
    assert tuple(model.dataset_meta['classes']) == ('background', 'defect') and not model.training
    path = photograph(trained)
    image = cv2.imread(str(path))
    result = inference_model(model, str(path))
    assert result.pred_sem_seg.data.shape == (1, *image.shape[:2])
    assert len(inference_model(model, [str(path), str(path)])) == 2
    from_array = inference_model(model, image)
    torch.testing.assert_close(from_array.seg_logits.data, result.seg_logits.data)
    drawn = show_result_pyplot(model, str(path), result, show=False, out_file=str(tmp_path / 'out.png'))
    assert drawn.shape == image.shape and (tmp_path / 'out.png').is_file()


def test_init_with_plain_weights_and_without_any(tmp_path) -> None:
    """A checkpoint of Meta, which has no classes, loads."""
    cfg = shrink(CONFIGS / 'sam_tiny_mtd.py', tmp_path)
    plain = init_model(cfg, device='cpu')
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    model = init_model(shrink(CONFIGS / 'sam_tiny_mtd.py', tmp_path), str(tmp_path / 'plain.pth'), device='cpu')
    assert list(model.dataset_meta['classes']) == ['background', 'foreground']
    cfg.model.pretrained = 'sam.pth'
    with raises_naming(ValueError, 'pretrained', 'sam.pth', 'init_cfg'):
        MODELS.build(cfg.model)


# ------------------------------------------------------------------------------------------------------------ tools


def test_print_config(trained, capsys) -> None:
    run_tool('misc/print_config.py', trained.config)
    assert "type='PromptableSegmentor'" in capsys.readouterr().out


@pytest.mark.parametrize('tool', ['misc/browse_dataset.py', 'analysis_tools/browse_dataset.py'])
def test_browse_dataset(tool, trained, tmp_path) -> None:
    name = f'visualizer.name={unique_name()}'
    run_tool(tool, trained.config, '--output-dir', tmp_path / 'seen', '--not-show', '--cfg-options', name)
    assert len([path for path in (tmp_path / 'seen').rglob('exp_*') if path.is_file()]) == 4


def test_publish_model(trained, tmp_path) -> None:
    """publish_model removes the optimizer; the rest loads as before."""
    run_tool('misc/publish_model.py', trained.checkpoint, tmp_path / 'small.pth')
    for _ in range(100):
        if found := list(tmp_path.glob('small-????????.pth')):
            break
        time.sleep(0.05)
    assert 'optimizer' not in torch.load(found[0], weights_only=True)
    before, after = (init_model(trained.config, str(p), device='cpu') for p in (trained.checkpoint, found[0]))
    assert all(
        torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    )


def test_analyze_logs(trained, tmp_path) -> None:
    pytest.importorskip('seaborn')
    log = next((trained.folder / 'work').glob('*/vis_data/scalars.json'))
    run_tool('analysis_tools/analyze_logs.py', log, '--keys', 'loss', '--out', tmp_path / 'loss.png')
    assert (tmp_path / 'loss.png').is_file()


def test_benchmark(trained, tmp_path) -> None:
    """MMSegmentation's benchmark runs on the 200 images that it needs."""
    cfg = shrink(CONFIGS / 'sam_tiny_synthetic.py', tmp_path)
    cfg.test_dataloader.dataset.length = 200
    cfg.test_dataloader.dataset.pipeline = [
        step for step in cfg.test_dataloader.dataset.pipeline if step.type != 'GeneratePrompts'
    ]
    cfg.dump(tmp_path / 'config.py')
    run_tool(
        'analysis_tools/benchmark.py', tmp_path / 'config.py', 'none', '--work-dir', tmp_path, '--repeat-times', '1'
    )
    assert json.loads(next(tmp_path.glob('fps_*.json')).read_text())['average_fps'] > 0


def test_confusion_matrix(trained, tmp_path) -> None:
    """On masks that IoUMetric wrote; perfect ones give 100 % on the diagonal."""
    images = trained.folder / 'data' / 'mtd'
    paths = [images / ('MT_Blowhole', 'MT_Crack')[i % 2] / 'Imgs' / f'exp_{i}.png' for i in range(4)]
    truth = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    dataset = DATASETS.build(Config.fromfile(trained.config).test_dataloader.dataset)
    tool = runpy.run_path(str(MMSEG_TOOLS / 'analysis_tools' / 'confusion_matrix.py'))
    matrix = tool['calculate_confusion_matrix'](dataset, [(mask > 127).astype(np.uint8) for mask in truth])
    assert matrix[0, 1] == matrix[1, 0] == 0 and matrix.sum() == sum(mask.size for mask in truth)


@pytest.mark.parametrize('tool', ['analysis_tools/get_flops.py', 'analysis_tools/visualization_cam.py'])
def test_tools_that_cannot_work_say_why(tool, trained) -> None:
    with raises_naming(SystemExit, tool):
        mmseg_command([tool, str(trained.config)])
    with raises_naming(SystemExit, 'TOOL'):
        mmseg_command([])


def test_get_flops_cannot_work_on_any_model(tmp_path) -> None:
    (tmp_path / 'stock.py').write_text("model = dict(type='EncoderDecoder', decode_head=dict(type='FCNHead'))")
    with raises_naming(SystemExit, 'get_flops.py', 'input_shape', 'model-cost'):
        mmseg_command(['analysis_tools/get_flops.py', str(tmp_path / 'stock.py')])


def test_get_flops_run_directly_says_why(trained) -> None:
    with raises_naming(AttributeError, 'decode_head', 'get_flops.py', 'model-cost'):
        run_tool('analysis_tools/get_flops.py', trained.config, '--shape', '64', '64')


def test_cam_run_directly_says_why(trained, tmp_path, monkeypatch) -> None:
    """It predicts, draws the prediction, and then looks for the preprocessor outside of the model."""
    cam, image = types.ModuleType('pytorch_grad_cam'), types.ModuleType('pytorch_grad_cam.utils.image')
    cam.GradCAM = image.preprocess_image = image.show_cam_on_image = None
    for name, module in (('', cam), ('.utils', cam), ('.utils.image', image)):
        monkeypatch.setitem(sys.modules, f'pytorch_grad_cam{name}', module)
    options = ['--target-layers', 'backbone', '--device', 'cpu', '--out-file', tmp_path / 'seen.png']
    with raises_naming(AttributeError, 'data_preprocessor', 'visualization_cam.py', 'class scores'):
        run_tool(
            'analysis_tools/visualization_cam.py', photograph(trained), trained.config, trained.checkpoint, *options
        )
    assert (tmp_path / 'seen.png').is_file()


def test_settings_of_other_models_are_missing_as_before() -> None:
    """Only a promptable segmentor's config explains itself; a setting that is there is returned."""
    promptable = ConfigDict(type='PromptableSegmentor', mask_decoder=dict(type='SAMMaskDecoder'))
    with raises_naming(AttributeError, 'decode_head', 'num_classes'):
        _ = promptable.decode_head.num_classes
    assert not hasattr(promptable, 'decode_head') and promptable.get('decode_head') is None
    stock = ConfigDict(model=dict(type='EncoderDecoder', decode_head=dict(num_classes=2)))
    assert stock.model.decode_head.num_classes == 2
    for ask in (lambda: stock.data_preprocessor, lambda: ConfigDict(type='x').decode_head):
        with pytest.raises(AttributeError, match='object has no attribute'):
            ask()


# ---------------------------------------------------------------------------------------------------------- metrics


def test_iou_metric_beside_ours(trained, tmp_path) -> None:
    """With one mode it measures that mode; the names of both metrics do not collide."""

    def results(modes: list[str]) -> dict[str, float]:
        cfg = Config.fromfile(trained.config)
        step = next(step for step in cfg.test_dataloader.dataset.pipeline if step.type == 'GeneratePrompts')
        for mode in set(step.modes) - set(modes):
            step.modes.pop(mode)
        cfg.test_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='PromptIoUMetric')]
        cfg.load_from, cfg.work_dir = str(trained.checkpoint), str(tmp_path)
        cfg.experiment_name = cfg.visualizer.name = unique_name()
        return Runner.from_cfg(cfg).test()

    one = results(['box'])
    assert {'mIoU', 'mIoU/box', 'IoUMetric/mIoU', 'aAcc'} <= set(one) and one['mIoU'] == one['mIoU/box']
    with raises_naming(ValueError, 'IoUMetric', 'exp_0.jpg', 'box', '5 points', 'PromptIoUMetric'):
        results(['box', '5 points'])


@pytest.mark.parametrize(
    ('classes', 'channels', 'truth', 'names'),
    [
        (('background', 'scratch', 'dent'), 1, 1, ('3 classes', 'dent', 'predicts 2', 'num_classes')),
        (('background', 'scratch'), 4, 1, ('2 classes', 'predicts 4')),
        (('defect',), 1, 1, ('1 classes', 'predicts 2')),
        (('background', 'scratch'), 1, 2, ('gt_sem_seg', 'label 2', 'at most 1')),
        (('background', 'scratch'), 1, 255, None),
        (('background', 'scratch', 'dent'), 3, 2, None),
    ],
)
def test_iou_metric_has_the_classes_of_model_and_truth(classes, channels, truth, names) -> None:
    """IoUMetric leaves out labels beyond its classes, and scored those that a model does not know as 0."""
    one = SegDataSample(metainfo=dict(img_path='a.png'))
    one.seg_logits, one.pred_instances = PixelData(data=torch.zeros(channels, 4, 4)), InstanceData()
    one.pred_sem_seg = PixelData(data=torch.zeros(1, 4, 4, dtype=torch.long))
    one.gt_sem_seg = PixelData(data=torch.full((1, 4, 4), truth))
    evaluator = Evaluator(METRICS.build(dict(type='IoUMetric')))
    evaluator.dataset_meta = dict(classes=classes)
    if names is None:
        evaluator.process([one])
    else:
        with raises_naming(ValueError, 'IoUMetric', 'a.png', *names):
            evaluator.process([one])


# ------------------------------------------------------------------------------------------------- while training


def test_save_best_and_averages_and_resume(tmp_path) -> None:
    cfg = shrink(CONFIGS / 'sam_tiny_mtd.py', tmp_path, iterations=4)
    cfg.default_hooks.checkpoint.update(save_best='mIoU', rule='greater')
    cfg.custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage'), *cfg.custom_hooks]
    Runner.from_cfg(cfg).train()
    work = tmp_path / 'work'
    assert len(list(work.glob('best_mIoU_iter_*.pth'))) == 1
    assert 'ema_state_dict' in torch.load(work / 'iter_4.pth', weights_only=True)
    cfg.update(resume=True, experiment_name=unique_name())
    cfg.train_cfg.max_iters = 6
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 6 and runner.message_hub.get_info('best_score') > 0
    assert len(list(work.glob('best_*.pth'))) == 1


def test_tensorboard(tmp_path) -> None:
    pytest.importorskip('tensorboard')
    cfg = shrink(CONFIGS / 'sam_tiny_mtd.py', tmp_path)
    cfg.visualizer.vis_backends = [dict(type='TensorboardVisBackend')]
    Runner.from_cfg(cfg).train()
    assert list((tmp_path / 'work').rglob('events.out.tfevents.*'))
