"""Image to masks with ``torch.compile`` against without: what ``tools/benchmark.py compile`` runs.

Both models have the same random weights and run in turn in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.cli.measuring import timed
from mmsam_ext.cli.table import text_table
from mmsam_ext.models.segmentors.compute_dtype import store_in
from mmsam_ext.structures import Prompts

from .by_parts import medians, time_parts


def prediction(arch: str, size: int, prompts: int, dtype: str, device: torch.device, compiled: bool) -> Callable:
    """Return the work of one model: an image (1, 3, size, size) and boxes -> mask logits (P, size, size)."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='PromptableSegmentor',
            backbone=dict(type='SAMImageEncoder', arch=arch),
            prompt_encoder=dict(type='SAMPromptEncoder'),
            mask_decoder=dict(type='SAMMaskDecoder'),
            test_cfg=dict(compute_dtype=dtype, decoder_dtype=dtype),
            torch_compile=compiled,
        )
    )
    model = model.to(device).eval()
    store_in(model.computed_parts(device))
    image = torch.randn(1, 3, size, size, device=device)
    boxes = torch.rand(prompts, 2, 2).sort(1).values.flatten(1) * (size - 1)
    meta = dict(img_shape=(size, size), ori_shape=(size, size))

    def predict() -> Tensor:
        sample = SegDataSample(metainfo=meta)
        sample.prompts = Prompts.create(boxes=boxes).to(device)
        return model.predict(image, [sample])[0].pred_instances.mask_logits

    return predict


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return '<prompts>_<dtype>' -> median seconds, `speedup`, `compile_seconds` and `max_abs_diff`."""
    results = {}
    for dtype in args.dtype:
        for prompts in args.prompts:
            works = {
                name: prediction(args.arch, args.size, prompts, dtype, device, name == 'compiled')
                for name in ('eager', 'compiled')
            }
            say(f'{prompts} prompts, {dtype}: compiling ...')
            first = timed(works['compiled'], device)
            seconds, cpu = time_parts(works, args.repeats, device, say)
            one, other = works['eager'](), works['compiled']()
            middle, middle_cpu = medians(seconds), medians(cpu)
            results[f'{prompts}_{dtype}'] = dict(
                seconds=middle,
                speedup=middle['eager'] / middle['compiled'],
                cpu_time_speedup=middle_cpu['eager'] / middle_cpu['compiled'],
                compile_seconds=first - middle['compiled'],
                max_abs_diff=float((one - other).abs().max()),
                max_abs_output=float(one.abs().max()),
            )
    return results


def table(results: dict[str, dict]) -> str:
    """Return the results as text."""
    head = ('case', 'eager s', 'compiled s', 'times as fast', 'by CPU time', 'compiling s', 'max diff')
    rows = [
        [
            case,
            f'{result["seconds"]["eager"]:.3f}',
            f'{result["seconds"]["compiled"]:.3f}',
            f'{result["speedup"]:.2f}',
            f'{result["cpu_time_speedup"]:.2f}',
            f'{result["compile_seconds"]:.0f}',
            f'{result["max_abs_diff"]:.1e} of {result["max_abs_output"]:.2g}',
        ]
        for case, result in results.items()
    ]
    return text_table(head, rows)
