"""Count the parameters and floating point operations of a config's model; --speed measures its speed and memory.

    python -m mmsam_ext model-cost CONFIG [--speed] [--input H W] [--cfg-options KEY=VALUE ...]

Prints a table and, as its last line, one JSON object. The costs are for one image with one box prompt at the config's
input size (the preprocessor's `size`, or the size that the backbone was built for). `flops` counts a multiply-add as 2.
It includes matrix products, attention and convolutions, and leaves out element-wise operations, normalization and
interpolation. The image encoder is never allocated, so counting a ViT-H takes seconds. --speed runs `predict` with
random weights in a separate process.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from typing import Any, cast

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mmsam_ext.apis import InferenceError, model_loading
from mmsam_ext.structures import Prompts

from .measuring import MEMORY_KIND, DeviceError, device_name, peak_memory_mb, pick_device, run_child, timed
from .table import text_table

FLOPS_UNIT = 'a multiply-add is 2; matrix products, attention and convolutions only'
#: Lists of components whose entries are counted separately.
LISTS = ('prompt_stages', 'auxiliary_heads', 'mask_decoder.plugins')
ROUNDS = 5
#: Pixels of a side of the input.
LARGEST = 2**14


class ConfigError(ValueError):
    """A config that cannot be measured. The message says why."""


def load_config(name: str, options: dict | None = None) -> Config:
    """Read a config and apply `options`, changes by dotted key, to it.

    Raises:
        InferenceError: there is no such config, or it has no `model`.
    """
    config = model_loading.load_config(name)
    config.merge_from_dict(options or {})
    init_default_scope(config.get('default_scope', 'mmseg'))
    return config


def build_without_backbone(model: dict) -> nn.Module:
    """Build a model whose `backbone` has all its parameters, but on the meta device, where they take no memory.

    The backbone takes real tensors and returns random ones of the right shape. The rest of the model is real, because
    shapes there depend on the values of prompts.
    """

    def build_on_meta(config: dict) -> nn.Module:
        with torch.device('meta'):
            return MODELS.build(config)

    name = 'MetaBackboneOfModelCost'
    MODELS.register_module(name=name, module=cast('type', build_on_meta), force=True)
    built = MODELS.build({**model, 'backbone': dict(type=name, config=model['backbone'])})
    backbone = built.backbone.to('meta')  # including PEFT layers, which the segmentor has added since
    backbone.register_forward_pre_hook(lambda module, args: tuple(arg.to('meta') for arg in args))
    backbone.register_forward_hook(lambda module, args, output: _as_random(output))
    return built


def _as_random(output: Tensor | tuple | list) -> Tensor | tuple:
    if isinstance(output, Tensor):
        return torch.randn(output.shape, dtype=output.dtype)
    return tuple(_as_random(part) for part in output)


def input_size(model: nn.Module, given: list[int] | None) -> tuple[int, int]:
    """Return (H, W): the size given, else the preprocessor's `size`, else the size that the backbone is built for.

    Raises:
        ConfigError: None of them is known, or a size is not positive.
    """
    sizes = (
        given,
        getattr(getattr(model, 'data_preprocessor', None), 'size', None),
        getattr(getattr(model, 'backbone', None), 'img_size', None),
    )
    for size in sizes:
        if isinstance(size, int):
            size = (size, size)
        if size is not None and not (min(size) >= 1 and max(size) <= LARGEST):
            raise ConfigError(f'input size is {tuple(size)} (height, width), expected 1 to {LARGEST} pixels')
        if size is not None:
            return int(size[0]), int(size[1])
    raise ConfigError('the config does not say the input size (data_preprocessor.size); expected --input H W')


def one_image(size: tuple[int, int], device: torch.device | str = 'cpu') -> tuple[Tensor, list[SegDataSample]]:
    """Return a normalized random image (1, 3, H, W) and its sample with one box prompt around the center."""
    height, width = size
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
    sample.prompts = Prompts.create(boxes=[[width / 4, height / 4, 3 * width / 4, 3 * height / 4]]).to(device)
    return torch.randn(1, 3, height, width, device=device), [sample]


def count_parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return name -> (number of parameters, number of trainable ones).

    Names are those of the top-level modules and, for each prompt stage, auxiliary head and decoder plugin,
    ``<list>.<class>``, with the index where a class occurs twice.
    """
    counts = {name: _sizes(child) for name, child in model.named_children()}
    own = list(model.parameters(recurse=False))
    if own:
        counts['(own)'] = _sum(own)
    modules: dict[str, Any] = dict(model.named_modules())
    for name in LISTS:
        entries = list(modules.get(name, ()))
        classes = [type(entry).__name__ for entry in entries]
        for index, (entry, kind) in enumerate(zip(entries, classes, strict=True)):
            counts[f'{name}.{kind}' + (f'[{index}]' if classes.count(kind) > 1 else '')] = _sizes(entry)
    return {name: sizes for name, sizes in counts.items() if sizes[0]}


def _sizes(module: nn.Module) -> tuple[int, int]:
    return _sum(list(module.parameters()))


def _sum(parameters: list[nn.Parameter]) -> tuple[int, int]:
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _cpu_attention_flops(q: tuple, k: tuple, v: tuple, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Count the fused attention on the CPU, which PyTorch's counter leaves out."""
    return sdpa_flop_count(q, k, v)


def count_flops(model: nn.Module, size: tuple[int, int]) -> tuple[int, dict[str, int]]:
    """Return the operations (2 for a multiply-add) for one image with one box: the total, and by top-level module."""
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 (operators have no public name)
    mapping = {operator: _cpu_attention_flops}
    inputs, samples = one_image(size)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        model(inputs, samples, mode='tensor')
    root = type(model).__name__
    counts = {name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()}
    by_module = {name: counts.get(f'{root}.{name}') for name, _ in model.named_children()}
    for name in LISTS:  # a list is never called, its entries are
        entry = re.compile(re.escape(f'{root}.{name}') + r'\.\d+')
        entries = [number for key, number in counts.items() if entry.fullmatch(key)]
        if name in by_module and entries:
            by_module[name] = sum(entries)
    return counter.get_total_flops(), {name: number for name, number in by_module.items() if number is not None}


def cost(config: Config, given_size: list[int] | None = None) -> dict:
    """Return the parameters and operations of a config's model, as in the JSON line."""
    try:
        model = build_without_backbone(config.model)
        size = input_size(model, given_size)
        flops, by_module = count_flops(model, size)
    except ConfigError:
        raise
    except Exception as error:
        # Some backbones read values, which the meta device does not have. Any other error is raised again below.
        print(f'(counting with real weights, because the meta device failed: {error})', file=sys.stderr)
        model = MODELS.build(config.model)
        size = input_size(model, given_size)
        flops, by_module = count_flops(model, size)
    counts = count_parameters(model)
    total, trainable = _sizes(model)
    return dict(
        params_total=total,
        params_trainable=trainable,
        params_by_module={name: sizes[0] for name, sizes in counts.items()},
        params_trainable_by_module={name: sizes[1] for name, sizes in counts.items()},
        flops=flops,
        flops_by_module=by_module,
        flops_unit=FLOPS_UNIT,
        input=list(size),
    )


def speed(config: Config, given_size: list[int] | None, device: torch.device) -> dict:
    """Return the median speed of `predict` over :data:`ROUNDS`, for one image with one box, and the peak memory."""
    model = MODELS.build(config.model).eval().to(device)
    inputs, samples = one_image(input_size(model, given_size), device)
    seconds = [timed(lambda: model(inputs, samples, mode='predict'), device) for _ in range(ROUNDS + 1)][1:]
    return dict(
        images_per_second=round(1 / statistics.median(seconds), 4),
        peak_memory_mb=round(peak_memory_mb(device), 1),
        peak_memory_kind=MEMORY_KIND[device.type],
        device=device_name(device),
    )


def table(result: dict) -> str:
    """Return the result as text, a row for each module."""
    rows = []
    for name, number in result['params_by_module'].items():
        flops = result['flops_by_module'].get(name)
        trainable = result['params_trainable_by_module'][name]
        rows.append((name, f'{number:,}', f'{trainable:,}', '' if flops is None else f'{flops / 1e9:.2f}'))
    rows.append(
        ('all', f'{result["params_total"]:,}', f'{result["params_trainable"]:,}', f'{result["flops"] / 1e9:.2f}')
    )
    lines = [text_table(('module', 'parameters', 'trainable', 'GFLOPs'), rows)]
    height, width = result['input']
    lines.append(f'One image of {height} x {width} (height x width), one box prompt. FLOPs: {FLOPS_UNIT}.')
    if 'images_per_second' in result:
        lines.append(
            f'{result["images_per_second"]} images per second, {result["peak_memory_mb"]} MB '
            f'({result["peak_memory_kind"]}) on {result["device"]}.'
        )
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for a config that cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='name or path of a config')
    parser.add_argument('--speed', action='store_true', help='also measure images per second and peak memory')
    parser.add_argument('--input', nargs=2, type=int, metavar=('H', 'W'), help="input size instead of the config's")
    parser.add_argument('--device', default='auto', help='device of --speed: auto (default), cpu, cuda, cuda:1, ...')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config, KEY=VALUE')
    parser.add_argument('--only-speed', action='store_true', help=argparse.SUPPRESS)  # the process that --speed starts
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    try:
        device = pick_device(args.device)
        config = load_config(args.config, args.cfg_options)
        result = speed(config, args.input, device) if args.only_speed else cost(config, args.input)
    except (ConfigError, DeviceError, InferenceError) as error:
        parser.error(str(error))
    if not args.only_speed:
        if args.speed:
            result |= run_child(['-m', 'mmsam_ext', 'model-cost', *arguments, '--only-speed'])
        print(table(result))
    print(json.dumps(result))
    return 0
