"""Plot accuracy and stability of models against the quality of their prompts: a table, a JSON file and a picture.

    python -m mmsam_ext analyze-robustness --model NAME CONFIG [WEIGHTS] [--model ...] --out DIR
        [--noise 0 0.2 0.4 0.6 0.8 1] [--points 1 2 3 5 10 20] [--draws 20] [--images N] [--device cpu]

Takes the test data of each config and replaces its prompts by boxes at every noise scale and by every number of points,
`--draws` of each (one for the clean box). The prompts are the same for all models. WEIGHTS is a checkpoint; by default
the one that the config names (`init_cfg`). Every image is encoded once.

Writes DIR/robustness.json and DIR/robustness.png: mIoU, mBIoU and ST (stability, which needs no ground truth) over the
noise scale and over the number of points, a line for each model. For models with dynamic routing it adds alpha1, the
weight of the deformable features, averaged over prompts and attentions.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import matplotlib
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.model_loading import load_config, load_model
from mmsam_ext.datasets.transforms.load_image import use_bit_depth
from mmsam_ext.models.mask_decoders import DeformableSamplingPlugin, SAMMaskDecoder, SamplingRecord
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import PromptBatch
from mmsam_ext.structures.samples import sample_prompts
from mmsam_ext.utils import ResultFolder

from .table import text_table

METRIC_NAMES = ('mIoU', 'mBIoU', 'ST')
ALPHA = 'alpha1'
FILES = ('robustness.json', 'robustness.png')
#: Kind of sweep -> (name of a mode by its value, label of its axis).
SWEEPS = {'noise': ('box noise {:g}', 'noise scale of the box'), 'points': ('{:g} points', 'points')}


def sweep_data(config: Config, noise: Sequence[float], points: Sequence[int], draws: int, images: int | None) -> dict:
    """Return the config's test dataloader with the prompts of the sweep in place of its own.

    Args:
        config: Config of a model.
        noise: Noise scales of the box.
        points: Numbers of points.
        draws: Random draws of each prompt except the clean box.
        images: Number of images to use of each dataset, counted from the first; None for all.

    Raises:
        ValueError: There is no dataloader, or no pipeline of it has GeneratePrompts.
    """
    if config.get('test_dataloader') is None:
        raise ValueError(f'{config.filename}: no field `test_dataloader`, expected the data to test with')
    loader = config.test_dataloader.to_dict()
    modes: dict[str, dict] = {}
    for scale in noise:
        modes[SWEEPS['noise'][0].format(scale)] = dict(kind='box', draws=draws if scale else 1)
    for number in points:
        modes[SWEEPS['points'][0].format(number)] = dict(kind='points', num_points=number, draws=draws)
    found = 0
    for pipeline in _pipelines(loader):
        steps: list[dict] = []
        for step in pipeline:
            if step['type'] == 'GeneratePrompts':
                found += 1
                steps.append(dict(step, modes=modes, seed=step.get('seed') or 0))
                for scale in filter(None, noise):
                    name = SWEEPS['noise'][0].format(scale)
                    steps.append(dict(type='PerturbPrompts', box_noise=scale, modes=[name], seed=0))
            elif step['type'] != 'PerturbPrompts':
                steps.append(step)
        pipeline[:] = steps
    if not found:
        raise ValueError('test_dataloader has no pipeline with GeneratePrompts; expected a config of this project')
    if images is not None:
        for dataset in loader['dataset'].get('datasets', [loader['dataset']]):  # for a suite, each of its datasets
            dataset['indices'] = images
    return loader


def _pipelines(node: Any) -> Iterator[list[dict]]:
    """Yield all pipelines in a config."""
    if isinstance(node, dict):
        if isinstance(node.get('pipeline'), list):
            yield node['pipeline']
        for value in node.values():
            yield from _pipelines(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _pipelines(value)


def evaluate(
    config: Config, weights: str | None, loader: dict, device: str | None, untrained: bool = False
) -> dict[str, float]:
    """Evaluate a model in one pass over the data.

    Args:
        config: Config of the model.
        weights: Checkpoint; None for the one that the config names.
        loader: Dataloader of :func:`sweep_data`.
        device: As torch names it; None for a GPU if there is one.
        untrained: Take weights that lack parts which training brings.

    Returns:
        Percent by ``<metric>/<mode>``, and for a model with dynamic routing its ``alpha1/<mode>``.
    """
    model = load_model(config, weights, device, untrained)
    data = Runner.build_dataloader(loader, seed=0)
    use_bit_depth(data.dataset, cast('Any', model).dataset_meta.get('bit_depth'))
    metrics = [METRICS.build(dict(type=kind)) for kind in ('PromptIoUMetric', 'StabilityMetric')]
    evaluator = Evaluator(metrics)
    routed: dict[str, list[float]] = {}
    for batch in data:
        samples, alphas = predict(model, batch)
        evaluator.process(samples, batch)
        if alphas is not None:
            given = [sample_prompts(sample) for sample in samples]
            modes = [prompts.modes[mode] for prompts in given for mode in prompts.mode_ids.tolist()]
            for mode, alpha in zip(modes, alphas.tolist(), strict=True):
                routed.setdefault(mode, []).append(alpha)
    results = {key: float(value) for key, value in evaluator.evaluate(len(cast('Sized', data.dataset))).items()}
    return results | {f'{ALPHA}/{mode}': sum(values) / len(values) for mode, values in routed.items()}


@torch.no_grad()
def predict(model: PromptableSegmentor, batch: dict) -> tuple[list[SegDataSample], Tensor | None]:
    """Predict a batch.

    Returns:
        The predicted samples, and alpha_1 (P,) of all their prompts in the decoder that makes the final mask, averaged
        over attentions; None for a model without dynamic routing, or one that predicts tile by tile.
    """
    decoder = cast('SAMMaskDecoder', getattr(model.mask_decoder, 'refine', model.mask_decoder))
    plugins = [plugin for plugin in decoder.plugins if isinstance(plugin, DeformableSamplingPlugin)]
    if model.slide_settings is not None or not plugins or not len(plugins[0].routers):
        return model.test_step(batch), None
    data = model.data_preprocessor(batch, False)
    prompts = PromptBatch.from_samples(data['data_samples'], data['inputs'])
    alphas = torch.zeros(len(prompts), len(decoder.transformer.layers) + 1)  # (P, attentions)

    def keep(record: SamplingRecord) -> None:
        if record.plugin is plugins[0]:
            alphas[record.order, record.site] = record.alphas[:, 0].float().cpu()

    features = replace(model.extract_feat(data['inputs']), observe=keep)
    return model.predict_from_features(features, prompts, data['data_samples']), alphas.mean(1)


def curves(results: dict[str, float], noise: Sequence[float], points: Sequence[int]) -> dict[str, dict[str, list]]:
    """Return sweep -> metric (and alpha1 if the model has it) -> values.

    There is one draw of the clean box, which agrees with itself, so its ST is 100. Other missing values are NaN.
    """
    names = [*METRIC_NAMES, *[ALPHA] * any(key.startswith(f'{ALPHA}/') for key in results)]
    return {
        sweep: {name: [_value(results, name, sweep, value) for value in values] for name in names}
        for sweep, values in (('noise', noise), ('points', points))
    }


def _value(results: dict[str, float], metric: str, sweep: str, value: float) -> float:
    of_itself = metric == 'ST' and sweep == 'noise' and value == 0
    return results.get(f'{metric}/{SWEEPS[sweep][0].format(value)}', 100.0 if of_itself else math.nan)


def draw(report: dict) -> bytes:
    """Draw a row for each sweep, a column for each metric, a line for each model; returns a PNG file."""
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    sweeps = [sweep for sweep in SWEEPS if report[sweep]]
    names = _names(report)
    figure, axes = plt.subplots(len(sweeps), len(names), figsize=(4 * len(names), 3.4 * len(sweeps)), squeeze=False)
    for row, sweep in zip(axes, sweeps, strict=True):
        for axis, metric in zip(row, names, strict=True):
            for number, (name, model) in enumerate(report['models'].items()):
                if metric in model[sweep]:
                    axis.plot(report[sweep], model[sweep][metric], marker='o', color=f'C{number}', label=name)
            percent = metric in METRIC_NAMES
            axis.set(xlabel=SWEEPS[sweep][1], ylabel=f'{metric} (%)' if percent else metric)
            if percent:
                axis.set_ylim(0, 100)
            axis.grid(alpha=0.3)
    axes[0][0].legend()
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    plt.close(figure)
    return buffer.getvalue()


def table(report: dict) -> str:
    """Return the report as text, a row for each model and prompt."""
    names = _names(report)
    rows = []
    for name, model in report['models'].items():
        for sweep, (mode, _) in SWEEPS.items():
            for place, value in enumerate(report[sweep]):
                cells = [_cell(metric, model[sweep].get(metric), place) for metric in names]
                rows.append([name, mode.format(value), *cells])
    return text_table(('model', 'prompt', *names), rows, left=2)


def _cell(metric: str, values: list[float] | None, place: int) -> str:
    if values is None:
        return '-'
    return f'{values[place]:.{2 if metric in METRIC_NAMES else 3}f}'


def _names(report: dict) -> list[str]:
    """Return the names of the metrics, and alpha1 if a model has it."""
    routed = any(ALPHA in sweep for model in report['models'].values() for sweep in model.values())
    return [*METRIC_NAMES, *[ALPHA] * routed]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', nargs='+', action='append', required=True, metavar='NAME CONFIG [WEIGHTS]')
    parser.add_argument('--noise', nargs='*', type=float, default=[0, 0.2, 0.4, 0.6, 0.8, 1.0], help='noise of boxes')
    parser.add_argument('--points', nargs='*', type=int, default=[1, 2, 3, 5, 10, 20], help='numbers of points')
    parser.add_argument('--draws', type=int, default=20, help='random draws of each prompt except the clean box')
    parser.add_argument('--images', type=int, help='number of images of each dataset, from the first (default: all)')
    parser.add_argument(
        '--untrained', action='store_true', help='go on if the weights lack parts that this config trains'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    parser.add_argument('--overwrite', action='store_true', help="replace the user's files in --out, too")
    args = parser.parse_args(arguments)
    names = [model[0] for model in args.model]
    if any(len(model) not in (2, 3) for model in args.model) or len(set(names)) < len(names):
        parser.error(f'--model {args.model}: expected NAME CONFIG [WEIGHTS] for each model, with different names')
    for name, values, least in (('noise', args.noise, 0), ('points', args.points, 1), ('draws', [args.draws], 2)):
        for value in values:
            if not least <= value < math.inf:
                parser.error(f'--{name} {value:g}: expected {least} or more')
    if args.images is not None and args.images < 1:
        parser.error(f'--images {args.images}: expected 1 or more')
    if not args.noise and not args.points:
        parser.error('--noise and --points are both empty; expected values for one of them')
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    init_default_scope('mmseg')
    models = {}
    try:
        results_folder = ResultFolder(args.out, args.overwrite)
        results_folder.check(FILES)
        configs = {name: load_config(path) for name, path, *_ in args.model}
        loaders = {
            name: sweep_data(config, args.noise, args.points, args.draws, args.images)
            for name, config in configs.items()
        }
        results_folder.prepare(FILES)
        for name, _, *weights in args.model:
            weight = weights[0] if weights else None
            results = evaluate(configs[name], weight, loaders[name], args.device, args.untrained)
            models[name] = curves(results, args.noise, args.points)
    except (InferenceError, ValueError, OSError) as error:
        print(f'analyze-robustness: error: {error}', file=sys.stderr)
        return 2
    report = dict(noise=args.noise, points=args.points, draws=args.draws, models=models)
    results_folder.write(FILES[0], f'{json.dumps(report, indent=1)}\n'.encode())
    results_folder.write(FILES[1], draw(report))
    print(table(report))
    print(f'Written: {", ".join(str(args.out / name) for name in FILES)}')
    return 0
