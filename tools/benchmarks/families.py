"""Image to masks of other SAMs against their public implementations: what ``tools/benchmark.py families`` runs.

'stock' is ``transformers`` (SAM 2.1) or ``segment-anything-hq`` (HQ-SAM, and MobileSAM's encoder before
``segment_anything``'s decoder), in an environment of their own (:mod:`benchmarks.peer_environment`). 'ours' is the
model of the same name. Both have the same random weights, from a file that the public implementation writes. An image
of 1024 x 1024 pixels is encoded anew in each round. Each case is shown as soon as it is measured and, with --save,
kept, so that a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmsam_ext.cli.measuring import reset_peak_memory

from .comparison import compare, table
from .interleaved import CONTENDER, interleave, serve
from .peer_environment import environment

SIZE = 1024
#: Name of a model -> which of our masks its public implementation predicts: the three for ambiguous prompts, or the
#: single one.
MASKS = {
    'sam2.1_hiera_t': slice(1, None),
    'sam2.1_hiera_s': slice(1, None),
    'sam2.1_hiera_b+': slice(1, None),
    'sam2.1_hiera_l': slice(1, None),
    'mobile_sam': slice(0, 1),
    'sam_hq_vit_tiny': slice(0, 1),
    'sam_hq_vit_b': slice(0, 1),
    'sam_hq_vit_l': slice(0, 1),
    'sam_hq_vit_h': slice(0, 1),
}
#: What is measured unless --models names others: one of each family.
MODEL_NAMES = ('sam2.1_hiera_t', 'mobile_sam', 'sam_hq_vit_b')
#: The public implementations. segment-anything-hq imports timm, which is there, under the name of an older version.
PACKAGES = ('transformers==5.24.0', 'segment-anything-hq==0.3')

Work = Callable[[], Tensor]


def example_boxes(number: int) -> Tensor:
    """Return random boxes (P, 4) x1 y1 x2 y2 in pixels, 100 to 500 on a side."""
    generator = torch.Generator().manual_seed(0)
    corner, side = torch.rand(2, number, 2, generator=generator)
    return torch.cat([500 * corner, 500 * corner + 100 + 400 * side], 1)


def example_image() -> Tensor:
    """Return a random image (1, 3, 1024, 1024), as it enters an image encoder."""
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def ours(name: str, weights: dict[str, Tensor], image: Tensor, boxes: Tensor, dtype: torch.dtype | None) -> Work:
    """Return this package's work; arguments as for :func:`benchmarks.family_models.stock`."""
    from mmseg.registry import MODELS

    from mmsam_ext.apis.model_names import named_config
    from mmsam_ext.models.segmentors.compute_dtype import store_in
    from mmsam_ext.structures import PromptBatch, Prompts

    config = named_config(name).model
    kind = 'bf16' if dtype else 'fp32'
    config.test_cfg = dict(compute_dtype=kind, decoder_dtype=kind)
    model = MODELS.build(config).eval()
    model.load_state_dict(weights)
    model.to(image.device)
    store_in(model.computed_parts(image.device))
    batch = PromptBatch.from_prompts([Prompts.create(boxes=boxes)], (SIZE, SIZE))
    return torch.no_grad()(lambda: model.decode(model.extract_feat(image), batch).logits[:, MASKS[name]])


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Time both contenders in turn; returns the comparisons by model, number of prompts and format."""
    if args.size != SIZE:
        sys.exit(f'benchmark: error: families: --size {args.size}, expected {SIZE}, for which the models are published')
    saved = Path(args.save) if args.save else None
    results = json.loads(saved.read_text()) if saved and saved.is_file() else {}
    names = args.models or MODEL_NAMES
    if unknown := [name for name in names if name not in MASKS]:
        sys.exit(f'benchmark: error: families: --models {unknown[0]}, expected some of {", ".join(MASKS)}')
    cases = [(name, prompts, dtype) for name in names for dtype in args.dtype for prompts in args.prompts]
    with environment(args.peers, PACKAGES, say) as python, tempfile.TemporaryDirectory() as folder:
        for name, prompts, dtype in cases:
            title = f'{name}, {prompts} {"box" if prompts == 1 else "boxes"}, {dtype}'
            if title in results:
                say(f'{title}: measured before, see {saved}')
                continue
            say(f'{title} ...')
            weights = Path(folder) / f'{name}.pth'
            if not weights.is_file():
                write = [str(python), *CONTENDER, 'families', 'weights', name, str(weights)]
                done = subprocess.run(write, capture_output=True, text=True)
                if done.returncode:
                    raise RuntimeError(f'families: the weights of {name} cannot be made:\n{done.stderr[-3000:]}')
            arguments = [name, str(prompts), dtype, str(device), str(weights)]
            commands = {who: [*CONTENDER, 'families', who, *arguments] for who in ('stock', 'ours')}
            outcomes = interleave(commands, args.repeats, say, dict(stock=str(python)))
            results[title] = compare(outcomes['stock'], outcomes['ours'])
            say(table({title: results[title]}))
            if saved:
                saved.write_text(json.dumps(results, indent=1))
    return results


def contend(contender: str, name: str, *arguments: str) -> None:
    """Be one contender, or write weights: the processes that :func:`run` starts."""
    if contender == 'weights':
        from .family_models import random_weights

        torch.save(random_weights(name), arguments[0])
        return
    prompts, dtype, place, weights, output = arguments
    device = torch.device(place)
    format_ = torch.bfloat16 if dtype == 'bf16' else None
    serve(prepare(contender, name, int(prompts), format_, device, weights), device, output)


def prepare(
    contender: str, name: str, prompts: int, dtype: torch.dtype | None, device: torch.device, weights: str
) -> Work:
    """Return the work of a contender, 'stock' or 'ours': the masks of `prompts` boxes on one image."""
    if contender == 'stock':
        from .family_models import stock as build
    else:
        build = ours
    state = torch.load(weights, weights_only=True, mmap=True)
    work = build(name, state, example_image().to(device), example_boxes(prompts).to(device), dtype)
    del state
    reset_peak_memory(device)  # loading is not what is compared
    return work


__all__ = ['contend', 'prepare', 'run', 'table']
