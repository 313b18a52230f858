"""Robustness curves, pictures of sampling, and the benchmark's arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from benchmarks import stable_sam as benchmark
from mmengine.config import Config
from mmseg.registry import METRICS, MODELS

from mmsam_ext.cli import analyze_robustness as analyze
from mmsam_ext.cli import everything
from mmsam_ext.cli import visualize_sampling as visualize
from mmsam_ext.models.mask_decoders import DeformableSamplingPlugin
from mmsam_ext.structures import PromptBatch
from tests.models.small import CHANNELS, DECODER, randomise
from tests.models.small import config as small_config
from tests.naming import assert_names, error_line, raises_naming
from tests.numeric import LAYER, assert_close, assert_differs
from tests.shrink import CONFIGS, shrink

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture(scope='module')
def stable(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of a small config, and of a checkpoint of it as if trained."""
    folder = tmp_path_factory.mktemp('stable')
    config = shrink(CONFIGS / 'stable_sam_tiny_synthetic.py', folder)
    path = folder / 'small.py'
    config.dump(path)
    model = analyze.Runner.from_cfg(config).model
    randomise(model, seed=3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'weights.pth')
    return str(path), str(folder / 'weights.pth')


def test_curves_and_picture(stable, tmp_path, capsys):
    """Two models in one picture; the same prompts for both; numbers in percent."""
    path, weights = stable
    arguments = ['--model', 'one', path, weights, '--model', 'two', path, weights, '--device', 'cpu']
    sweep = ['--noise', '0', '0.4', '--points', '1', '5', '--draws', '2', '--images', '2', '--out', str(tmp_path)]
    assert analyze.main([*arguments, *sweep]) == 0
    report = json.loads((tmp_path / 'robustness.json').read_text())
    assert report['noise'] == [0, 0.4] and report['points'] == [1, 5] and list(report['models']) == ['one', 'two']
    one = report['models']['one']
    assert one == report['models']['two']
    percents = [value for sweep in one.values() for name in analyze.METRIC_NAMES for value in sweep[name]]
    assert one['noise']['ST'][0] == 100 and all(0 <= value <= 100 for value in percents)
    assert cv2.imread(str(tmp_path / 'robustness.png')).shape[1] > 1000
    printed = capsys.readouterr().out
    assert 'box noise 0.4' in printed and 'alpha1' in printed
    # A cell by the metric itself, and alpha_1 of each prompt as recorded with that prompt alone.
    config = Config.fromfile(path)
    model = analyze.load_model(config, weights, 'cpu')
    data = analyze.Runner.build_dataloader(analyze.sweep_data(config, [0, 0.4], [1, 5], 2, 2), seed=0)
    metric = METRICS.build(dict(type='PromptIoUMetric'))
    alphas = {}
    for batch in data:
        metric.process(batch, [sample.to_dict() for sample in model.test_step(batch)])
        ready = model.data_preprocessor(batch, False)
        for image, sample in zip(ready['inputs'], ready['data_samples'], strict=True):
            prompts = sample.prompts
            for row in range(len(prompts)):
                records = []
                with torch.no_grad():
                    model.decode(
                        replace(model.extract_feat(image[None]), observe=records.append),
                        PromptBatch.from_prompts([prompts[row : row + 1]], image.shape[-2:]),
                    )
                alpha = np.mean([float(record.alphas[0, 0]) for record in records])
                alphas.setdefault(prompts.modes[prompts.mode_ids[row]], []).append(alpha)
    expected = metric.evaluate(2)
    assert one['noise']['mIoU'][1] == pytest.approx(expected['mIoU/box noise 0.4'])
    assert one['points']['mBIoU'][0] == pytest.approx(expected['mBIoU/1 points'])
    means = {mode: np.mean(values) for mode, values in alphas.items()}
    assert one['noise']['alpha1'] == pytest.approx([means['box noise 0'], means['box noise 0.4']], abs=1e-5)
    assert one['points']['alpha1'] == pytest.approx([means['1 points'], means['5 points']], abs=1e-5)
    assert np.ptp(list(means.values())) > 1e-3


def test_what_has_no_value_is_nan_and_not_100():
    found = analyze.curves({'mIoU/box noise 0': 50.0}, [0, 0.4], [1])
    assert found['noise']['mIoU'][0] == 50 and found['noise']['ST'][0] == 100
    rest = [*found['noise']['mIoU'][1:], *found['noise']['mBIoU'], found['noise']['ST'][1]]
    assert np.isnan(rest + [value for values in found['points'].values() for value in values]).all()
    assert 'alpha1' not in found['noise']  # no dynamic routing


def test_so_many_images_of_each_dataset_of_a_suite(stable):
    loader = Config.fromfile(stable[0]).test_dataloader.to_dict()
    pipeline = loader['dataset'].pop('pipeline')
    loader['dataset'] = dict(type='BenchmarkSuite', datasets=[loader['dataset'], loader['dataset']], pipeline=pipeline)
    swept = analyze.sweep_data(Config(dict(test_dataloader=loader)), [0], [], 2, 1)
    analyze.init_default_scope('mmseg')
    assert len(analyze.Runner.build_dataloader(swept, seed=0).dataset) == 2


def test_the_sweep_replaces_the_configs_prompts(stable):
    config = Config.fromfile(stable[0])
    loader = analyze.sweep_data(config, [0, 0.5], [3], 7, None)
    steps = loader['dataset']['pipeline']
    assert [step['type'] for step in steps].count('PerturbPrompts') == 1
    generate = next(step for step in steps if step['type'] == 'GeneratePrompts')
    assert generate['modes'] == {
        'box noise 0': dict(kind='box', draws=1),
        'box noise 0.5': dict(kind='box', draws=7),
        '3 points': dict(kind='points', num_points=3, draws=7),
    }
    config.test_dataloader.dataset.pipeline = [dict(type='PackSegInputs')]
    with raises_naming(ValueError, 'pipeline', 'GeneratePrompts'):
        analyze.sweep_data(config, [0], [], 2, None)


@pytest.mark.parametrize(
    ('arguments', 'names'),
    [
        (['--model', 'a'], ('--model', 'NAME CONFIG')),
        (['--model', 'a', 'b', '--model', 'a', 'c'], ('--model', 'names')),
        (['--model', 'a', 'b', '--noise', '0', '-0.1'], ('--noise', '-0.1')),
        (['--model', 'a', 'b', '--points', '0'], ('--points', '0')),
        (['--model', 'a', 'b', '--draws', '1'], ('--draws', '1')),
        (['--model', 'a', 'b', '--noise', '--points'], ('--noise', '--points', 'empty')),
    ],
)
def test_bad_arguments(arguments, names, tmp_path, capsys):
    with pytest.raises(SystemExit):
        analyze.main([*arguments, '--out', str(tmp_path)])
    assert_names(error_line(capsys), *names)
    assert analyze.main(['--model', 'a', 'no_such_config', '--out', str(tmp_path)]) == 2


def test_sampling_picture(stable, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    out = tmp_path / 'out' / 'picture.png'
    arguments = [str(tmp_path / 'image.png'), stable[0], '--weights', stable[1], '--device', 'cpu']
    assert visualize.main([*arguments, '--box', '5', '5', '40', '50', '--out', str(out)]) == 0
    drawn = cv2.imread(str(out))
    assert drawn.shape[1] == 2 * 64 + visualize.GAP and drawn.shape[0] > 64
    assert 'without deformable sampling: ' in capsys.readouterr().out
    assert visualize.main([*arguments, '--point', '5', '5', '--block', '2', '--out', str(out)]) == 2
    assert_names(error_line(capsys), '--block', '2', '0 to 1')


def test_attention_and_sampled_places(stable):
    """Weights as the attention itself has them, at the grid or at the offsets that the plugin recorded."""
    inferencer = visualize.PromptSegInferencer(*stable, 'cpu')
    inferencer.set_image(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    prompt = dict(boxes=np.array([[5.0, 5, 40, 50]]))
    plain, moved = (visualize.look(inferencer, prompt, 1, deformable) for deformable in (False, True))
    assert plain.size == (4, 4) and plain.alpha is None and moved.alpha is not None
    assert plain.points[:6].tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [1, 1]]
    assert (moved.points - plain.points).abs().max() > 0.1 and moved.points.min() >= 0 and moved.points.max() <= 3
    for one in (plain, moved):
        assert_close(one.weights.sum(), torch.tensor(1.0), LAYER)
    assert_differs(plain.weights, moved.weights)
    decoder, plugin = visualize.decoder_of(inferencer.model)
    assert isinstance(plugin, DeformableSamplingPlugin) and list(decoder.plugins) == [plugin]  # as it was
    # By the attention's own output: values that are one-hot in a direction are weighted with these numbers.
    attention = decoder.transformer.layers[1].cross_attn_token_to_image
    queries, keys, values = torch.randn(1, 7, 32), torch.randn(1, 16, 32), torch.randn(1, 16, 32)
    weights = visualize.attention_weights(attention, queries, keys)
    heads = attention.num_heads
    with torch.no_grad():
        v = attention.v_proj(values)
        per_head = []
        for head in range(heads):
            part = slice(head * v.shape[-1] // heads, (head + 1) * v.shape[-1] // heads)
            q, k = attention.q_proj(queries)[0, 1, part], attention.k_proj(keys)[0, :, part]
            per_head.append(torch.exp(k @ q / q.numel() ** 0.5))
    expected = torch.stack([one / one.sum() for one in per_head]).mean(0)
    assert_close(weights, expected, LAYER)


def test_places_on_an_image_that_is_padded(stable):
    """A wide image fills the upper half of a square input: the map's pixels come back where they are in the image."""
    config = Config.fromfile(stable[0])
    for step in config.test_dataloader.dataset.pipeline:
        if step['type'] == 'Resize':
            step['keep_ratio'] = True
    inferencer = visualize.PromptSegInferencer(config, stable[1], 'cpu')
    inferencer.set_image(np.random.default_rng(0).integers(0, 255, (60, 120, 3), dtype=np.uint8))
    assert inferencer.encoded.input_size == (64, 64) and inferencer.encoded.meta['img_shape'][:2] == (32, 64)
    seen = visualize.look(inferencer, dict(boxes=np.array([[5.0, 5, 40, 50]])), 1, deformable=False)
    centres = [14.5, 44.5, 74.5, 104.5]  # of 4 x 4 places, each 30 pixels wide
    assert seen.places[:4].tolist() == [[x, 14.5] for x in centres]
    assert seen.places[4:8].tolist() == [[x, 44.5] for x in centres]
    assert visualize._on_image(seen, (60, 120)).tolist() == [True] * 8 + [False] * 8
    whole = seen._replace(mask=np.ones((60, 120), bool))
    assert visualize._inside(whole, (60, 120)).tolist() == [True] * 8 + [False] * 8
    image = np.zeros((60, 120, 3), np.uint8)
    shown = visualize.picture(image, seen, {}, 'title', 16)
    few = visualize.picture(
        image, seen._replace(weights=seen.weights * torch.tensor([1.0] * 8 + [0.0] * 8)), {}, 'title', 16
    )
    assert np.array_equal(shown, few)  # what lies in the padding is not drawn


def test_without_sampling_is_without_it_in_drafts_too():
    plugins = [dict(type=kind, dim=CHANNELS) for kind in ('DeformableSamplingPlugin', 'VRAAdapter')]
    decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER, plugins=plugins)
    model = MODELS.build(small_config() | dict(mask_decoder=dict(type='SelfDraftDecoder', decoder=decoder)))
    decoders = [model.mask_decoder.refine, model.mask_decoder.drafts[0]]
    kept = [list(one.plugins) for one in decoders]
    copied = visualize.with_own_decoder(model)
    visualize.remove_sampling(copied)
    own = [copied.mask_decoder.refine, copied.mask_decoder.drafts[0]]
    assert [[type(plugin).__name__ for plugin in one.plugins] for one in own] == [['VRAAdapter']] * 2
    assert [list(one.plugins) for one in decoders] == kept
    assert copied.backbone is model.backbone and own[0] is not decoders[0]


def test_ratios_of_the_benchmark():
    seconds = {'encoder': 10.0}
    for name, one, many in (('sam', 1.0, 4.0), ('dsp', 1.1, 5.0), ('dsp_drp', 1.2, 6.0)):
        seconds |= {f'{name}_1': one, f'{name}_20': many}
    ratios = benchmark.ratios(seconds, [1, 20])
    assert ratios['dsp_drp_1_added_over_encoder'] == pytest.approx(0.02)
    assert ratios['dsp_drp_20_over_sam_decoder'] == pytest.approx(1.5)
    assert ratios['dsp_drp_20_over_1_end_to_end'] == pytest.approx(16 / 11.2)
    assert benchmark.summary({'a': [1.0, 9, 2]}) == {'a': [2, 1, 9]}


def test_results_of_untrained_parts_need_to_be_wanted(stable, tmp_path, capsys):
    """With plain SAM's weights for a config with deformable sampling, as `init_cfg` names them before a training."""
    path, weights = stable
    state = torch.load(weights, weights_only=True)['state_dict']
    plain = tmp_path / 'plain.pth'
    torch.save({key: value for key, value in state.items() if '.plugins.' not in key}, plain)
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.full((64, 64, 3), 90, np.uint8))
    rows = {
        analyze: ['--model', 'one', path, str(plain), '--images', '1', '--draws', '2', '--points', '--noise', '0'],
        visualize: [str(image), path, '--weights', str(plain), '--box', '8', '8', '40', '40'],
        everything: [str(image), path, '--weights', str(plain), '--points-per-side', '2'],
    }
    for index, (tool, arguments) in enumerate(rows.items()):
        arguments += ['--device', 'cpu', '--out', str(tmp_path / (f'{index}.png' if tool is visualize else str(index)))]
        assert tool.main(arguments) == 2
        assert_names(capsys.readouterr().err, 'plugins', '--untrained')
        assert tool.main([*arguments, '--untrained']) == 0
