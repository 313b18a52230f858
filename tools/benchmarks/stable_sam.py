"""The cost of deformable sampling and dynamic routing, by parts: what ``tools/benchmark.py stable_sam`` runs.

In one process, round by round in turn: the image encoder, and the decoder of SAM, of SAM with deformable sampling, and
with dynamic routing on top, each with the resize to the input's size. Weights are random; the plugins' too, so that
offsets are no integers. CPU seconds are of the process's threads: on a busy machine trust these.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsam_ext.cli.table import text_table

from .by_parts import medians, time_parts

CHANNELS, STRIDE = 256, 16
DSP = dict(type='DeformableSamplingPlugin')
PLUGINS = {
    'sam': [],
    'dsp': [DSP],
    'dsp_drp': [dict(DSP, router=dict(type='DynamicRouter'))],
}


def parts(arch: str, size: int, prompts: list[int], device: torch.device, dtype: str) -> dict[str, Callable]:
    """Return name -> work: 'encoder', and '<decoder>_<prompts>' for each entry of PLUGINS and number of noisy boxes."""
    import mmsam_ext  # noqa: F401  (before mmseg)

    # isort: split
    from mmsam_ext.models.backbones import SAMImageEncoder
    from mmsam_ext.models.mask_decoders import SAMMaskDecoder
    from mmsam_ext.models.prompt_encoders import SAMPromptEncoder
    from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures

    torch.manual_seed(0)
    grid = size // STRIDE
    images = torch.randn(1, 3, size, size, device=device)
    embedding = torch.randn(1, CHANNELS, grid, grid, device=device)
    encoder, prompt_encoder = SAMImageEncoder(arch).to(device).eval(), SAMPromptEncoder().to(device).eval()

    def evaluate(work: Callable[[], Tensor]) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == 'bf16'):
            return work()

    def decode(decoder: SAMMaskDecoder, asked: Prompts) -> Tensor:
        (group,) = prompt_encoder(PromptBatch.from_prompts([asked], (size, size)), (grid, grid))
        logits = decoder(SAMFeatures(embedding), group).logits[:, :1]
        return F.interpolate(logits.float(), (size, size), mode='bilinear', align_corners=False)

    works = {'encoder': lambda: evaluate(lambda: encoder(images)[-1])}
    for name, plugins in PLUGINS.items():
        decoder = SAMMaskDecoder(plugins=plugins).to(device).eval()
        for parameter in decoder.plugins.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        for number in prompts:
            centre, half = size / 2 * (1 + 0.1 * torch.rand(number, 2)), size / 8 * (1 + 0.4 * torch.rand(number, 2))
            asked = Prompts.create(boxes=torch.cat([centre - half, centre + half], 1)).to(device)
            works[f'{name}_{number}'] = lambda d=decoder, a=asked: evaluate(lambda: decode(d, a))
    return works


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return dtype -> seconds and CPU seconds (median, smallest, largest), and the ratios of their medians."""
    prompts = sorted({1, *args.prompts})
    results = {}
    for dtype in args.dtype:
        works = parts(args.arch, args.size, prompts, device, dtype)
        seconds, cpu = time_parts(works, args.repeats, device, say)
        results[dtype] = dict(
            seconds=summary(seconds), cpu_seconds=summary(cpu), ratios=ratios(medians(seconds), prompts)
        )
        if device.type == 'cpu':
            results[dtype]['cpu_ratios'] = ratios(medians(cpu), prompts)
    return results


def summary(rounds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return name -> median, smallest and largest value."""
    return {name: [statistics.median(v), min(v), max(v)] for name, v in rounds.items()}


def ratios(seconds: dict[str, float], prompts: list[int]) -> dict[str, float]:
    """Return the costs that follow from medians of seconds.

    These are the time added to the decoder relative to the encoder's, the decoder's time relative to SAM's decoder, and
    the time for many prompts on one image relative to one prompt, encoder included.
    """
    encoder, most = seconds['encoder'], max(prompts)
    result = {}
    for name in ('dsp', 'dsp_drp'):
        for number in prompts:
            plain, ours = seconds[f'sam_{number}'], seconds[f'{name}_{number}']
            result[f'{name}_{number}_added_over_encoder'] = (ours - plain) / encoder
            result[f'{name}_{number}_over_sam_decoder'] = ours / plain
    for name in PLUGINS:
        one, many = seconds[f'{name}_1'], seconds[f'{name}_{most}']
        result[f'{name}_{most}_over_1_end_to_end'] = (encoder + many) / (encoder + one)
    return result


def table(results: dict[str, dict]) -> str:
    """Return the results as text, a table for each dtype."""
    tables = []
    for dtype, result in results.items():
        rows = []
        for name, values in result['seconds'].items():
            pair = (values, result['cpu_seconds'][name])
            rows.append([name, *('{:.3f} ({:.3f}-{:.3f})'.format(*row) for row in pair)])
        for name, value in result['ratios'].items():
            by_cpu = result.get('cpu_ratios', {}).get(name)
            rows.append([name, f'{value:.4f}', '' if by_cpu is None else f'{by_cpu:.4f}'])
        tables.append(text_table((dtype, 's (spread)', 'CPU s (spread)'), rows))
    return '\n'.join(tables)
