"""Time and memory of the published models, side by side: what ``tools/benchmark.py zoo`` runs.

Each model predicts the masks of one box on one image, from image to logits, in a process of its own. Weights are
random. The figures are relative to SAM-B, which is measured first.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmsam_ext.apis.model_names import NAMED_MODELS, named_config
from mmsam_ext.cli.measuring import reset_peak_memory
from mmsam_ext.cli.table import text_table

from .interleaved import CONTENDER, interleave, serve

REFERENCE = 'sam_vit_b'


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return name -> median seconds and CPU seconds, peak memory, and the reference's CPU seconds over its own."""
    saved = Path(args.save) if args.save else None
    results = json.loads(saved.read_text()) if saved and saved.is_file() else {}
    for name in dict.fromkeys([REFERENCE, *(args.models or NAMED_MODELS)]):
        for dtype in args.dtype:
            title = f'{name}, {dtype}'
            if title in results:
                say(f'{title}: measured before, see {saved}')
                continue
            say(f'{title} ...')
            outcome = interleave({name: [*CONTENDER, 'zoo', name, dtype, str(device)]}, args.repeats, say)[name]
            results[title] = dict(
                seconds=statistics.median(outcome.seconds),
                cpu_seconds=statistics.median(outcome.cpu_seconds),
                peak_memory_mb=outcome.peak_memory_mb,
            )
            reference = results[f'{REFERENCE}, {args.dtype[0]}']['cpu_seconds']
            results[title]['speed'] = reference / results[title]['cpu_seconds']
            say(table({title: results[title]}))
            if saved:
                saved.write_text(json.dumps(results, indent=1))
    return results


@torch.no_grad()
def prepare(name: str, dtype: str, device: torch.device) -> Callable[[], Tensor]:
    """Return the work of a model: the logits (1, M, 4h, 4w) of one box on an image."""
    from mmseg.registry import MODELS

    from mmsam_ext.models.segmentors.compute_dtype import store_in
    from mmsam_ext.structures import PromptBatch, Prompts

    config = named_config(name).model
    config.init_cfg, config.test_cfg = None, dict(compute_dtype=dtype, decoder_dtype=dtype)
    model = MODELS.build(config).eval().to(device)
    store_in(model.computed_parts(device))
    side = NAMED_MODELS[name].size
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    box = Prompts.create(boxes=[[0.2 * side, 0.2 * side, 0.7 * side, 0.7 * side]]).to(device)
    batch = PromptBatch.from_prompts([box], (side, side))
    reset_peak_memory(device)
    return torch.no_grad()(lambda: model.decode(model.extract_feat(image), batch).logits)


def contend(name: str, dtype: str, place: str, output: str) -> None:
    """Be one model: the process that :func:`run` starts."""
    device = torch.device(place)
    serve(prepare(name, dtype, device), device, output)


def table(results: dict[str, dict]) -> str:
    """Return results as text, a row for each model."""
    head = ('model', 's', 'CPU s', f'speed by CPU time, {REFERENCE} = 1', 'MB')
    rows = [
        [
            name,
            f'{one["seconds"]:.2f}',
            f'{one["cpu_seconds"]:.2f}',
            f'{one["speed"]:.2f}',
            f'{one["peak_memory_mb"]:.0f}',
        ]
        for name, one in results.items()
    ]
    return text_table(head, rows, left=0)
