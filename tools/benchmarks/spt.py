"""The cost of SPT beside zero-shot SAM, by parts: what ``tools/benchmark.py spt`` runs.

The parts: the image encoder; what LoRA adds to its qkv layers (one layer with and without, times the number of blocks);
the relation matrix of the VRA-Adapter; and, for one and more prompts, the decoder of SAM and that of SPT: draft, mask
prompt, refinement, LoRA, and the relation, computed once an image. Weights are random. The speed of SPT relative to
zero-shot SAM is (encoder + decoder of SAM) / (encoder + LoRA in it + decoder of SPT). Then the peak memory of training
steps of SPT and of LoRA alone, each in a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import nn

from mmsam_ext.cli.measuring import run_child
from mmsam_ext.cli.table import text_table

from .by_parts import medians, time_parts
from .interleaved import CONTENDER

CHANNELS, STRIDE = 256, 16
LORA = dict(type='LoRA', modules=r'\.(q|v)_proj$')


def parts(
    arch: str, size: int, prompts: list[int], device: torch.device, dtype: str
) -> tuple[dict[str, Callable], int]:
    """Return name -> work, and the number of blocks of the encoder."""
    import mmsam_ext  # noqa: F401  (before mmseg)

    # isort: split
    from mmsam_ext.models.backbones import SAMImageEncoder
    from mmsam_ext.models.mask_decoders import SAMMaskDecoder, SelfDraftDecoder
    from mmsam_ext.models.mask_decoders.plugins import visual_relation
    from mmsam_ext.models.peft import LoRA, inject_peft
    from mmsam_ext.models.prompt_encoders import SAMPromptEncoder
    from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures

    torch.manual_seed(0)
    grid = size // STRIDE
    image = torch.randn(1, 3, size, size, device=device)
    embedding = torch.randn(1, CHANNELS, grid, grid, device=device)
    encoder, prompt_encoder = SAMImageEncoder(arch).to(device).eval(), SAMPromptEncoder().to(device).eval()
    qkv = encoder.blocks[0].attn.qkv
    tokens = torch.randn(grid * grid, qkv.in_features, device=device)
    adapted = LoRA(nn.Linear(qkv.in_features, qkv.out_features), num_slices=3, slices=(0, 2)).to(device).eval()
    plain = SAMMaskDecoder().to(device).eval()
    spt = SelfDraftDecoder(dict(type='SAMMaskDecoder', plugins=[dict(type='VRAAdapter')])).eval()
    inject_peft(spt, [LORA])
    spt.to(device)

    def evaluated(work: Callable) -> Callable:
        def timed_work() -> object:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == 'bf16'):
                return work()

        return timed_work

    def decode(decoder: nn.Module, number: int) -> Callable:
        corners = torch.rand(number, 2, 2).sort(1).values * (size - 1)
        asked = [Prompts.create(boxes=corners.flatten(1)).to(device)]

        def work() -> object:
            (group,) = prompt_encoder(PromptBatch.from_prompts(asked, (size, size)), (grid, grid))
            # New features each time, so that the relation is computed again.
            return decoder(SAMFeatures(embedding), group, prompt_encoder).logits

        return evaluated(work)

    works = {
        'encoder': evaluated(lambda: encoder(image)),
        'qkv': evaluated(lambda: qkv(tokens)),
        'qkv + LoRA': evaluated(lambda: adapted(tokens)),
        'relation': evaluated(lambda: visual_relation(embedding[0])),
    }
    for number in prompts:
        works |= {f'SAM decoder {number}': decode(plain, number), f'SPT decoder {number}': decode(spt, number)}
    return works, len(encoder.blocks)


def ratios(seconds: dict[str, float], blocks: int, prompts: list[int]) -> dict[str, float]:
    """Return the costs that follow from the medians of the parts."""
    lora = blocks * (seconds['qkv + LoRA'] - seconds['qkv'])
    result = {'LoRA in the encoder / encoder': lora / seconds['encoder']}
    for number in prompts:
        sam = seconds['encoder'] + seconds[f'SAM decoder {number}']
        spt = seconds['encoder'] + seconds[f'SPT decoder {number}']
        result |= {
            f'SPT / SAM decoder, {number} prompts': seconds[f'SPT decoder {number}'] / seconds[f'SAM decoder {number}'],
            f'speed of SPT / SAM, {number} prompts': sam / (spt + lora),
            f'speed of SPT / SAM, {number} prompts, LoRA merged in the encoder': sam / spt,
        }
    return result


def training_memory(arch: str, size: int, prompts: list[int], device: torch.device, dtype: str) -> dict[str, float]:
    """Return the peak memory of training in MB, and SPT's over LoRA's: for the process, and for what training adds."""
    result = {}
    for number in prompts:
        lora, spt = (
            run_child([*CONTENDER, 'training_memory', arch, method, size, number, device, dtype])
            for method in ('LoRA', 'SPT')
        )
        result |= {
            f'training memory of LoRA, {number} prompts, MB': lora['peak_mb'],
            f'training memory of SPT, {number} prompts, MB': spt['peak_mb'],
            f'training memory of SPT / LoRA, {number} prompts': spt['peak_mb'] / lora['peak_mb'],
            f'training memory of SPT / LoRA, {number} prompts, added': spt['extra_mb'] / lora['extra_mb'],
        }
    return result


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return dtype -> medians of seconds and CPU seconds of the parts, `ratios` of both, and `memory`."""
    results = {}
    for dtype in args.dtype:
        works, blocks = parts(args.arch, args.size, args.prompts, device, dtype)
        seconds, cpu = (medians(rounds) for rounds in time_parts(works, args.repeats, device, say))
        results[dtype] = dict(seconds=seconds, ratios=ratios(seconds, blocks, args.prompts))
        if device.type == 'cpu':
            results[dtype] |= dict(cpu_seconds=cpu, cpu_ratios=ratios(cpu, blocks, args.prompts))
        say('training memory ...')
        results[dtype]['memory'] = training_memory(args.arch, args.size, args.prompts, device, dtype)
    return results


def table(results: dict[str, dict]) -> str:
    """Return the results as text, a table for each dtype."""
    tables = []
    for dtype, result in results.items():
        rows = [
            [name, f'{value:.4f}', f'{by_cpu[name]:.4f}' if by_cpu else '']
            for kind in ('seconds', 'ratios', 'memory')
            for by_cpu in [result.get(f'cpu_{kind}')]
            for name, value in result[kind].items()
        ]
        tables.append(text_table((dtype, 'clock', 'CPU time'), rows))
    return '\n'.join(tables)
