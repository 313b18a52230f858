"""What SPT costs beside zero-shot SAM, by parts: what ``tools/benchmark.py spt`` runs.

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

from .by_parts import medians, time_parts
from .interleaved import CONTENDER

CHANNELS, STRIDE = 256, 16
LORA = dict(type='LoRA', modules=r'\.(q|v)_proj$')


def parts(
    arch: str, size: int, prompts: list[int], device: torch.device, dtype: str
) -> tuple[dict[str, Callable], int]:
    """Name -> work, and the encoder's number of blocks."""
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

    def run(work: Callable) -> Callable:
        def timed_work() -> object:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == 'bf16'):
                return work()

        return timed_work

    def decode(decoder: nn.Module, number: int) -> Callable:
        corners = torch.rand(number, 2, 2).sort(1).values * (size - 1)
        asked = [Prompts.create(boxes=corners.flatten(1)).to(device)]

        def work() -> object:
            (group,) = prompt_encoder(PromptBatch.from_prompts(asked, (size, size)), (grid, grid))
            return decoder(SAMFeatures(embedding), group, prompt_encoder).logits  # new features: a new relation

        return run(work)

    works = {
        'encoder': run(lambda: encoder(image)),
        'qkv': run(lambda: qkv(tokens)),
        'qkv + LoRA': run(lambda: adapted(tokens)),
        'relation': run(lambda: visual_relation(embedding[0])),
    }
    for number in prompts:
        works |= {f'SAM decoder {number}': decode(plain, number), f'SPT decoder {number}': decode(spt, number)}
    return works, len(encoder.blocks)


def ratios(seconds: dict[str, float], blocks: int, prompts: list[int]) -> dict[str, float]:
    """What the medians of the parts amount to."""
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
    """MB at the peak of training, and SPT's over LoRA's: of the whole process, and of what training adds to it."""
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


def spt(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Dtype -> medians of seconds and CPU seconds of the parts, `ratios` of both, and `memory`."""
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
    """The results for people."""
    lines = []
    for dtype, result in results.items():
        lines.append(f'{dtype:<66}{"clock":>10}{"CPU time":>10}')
        for kind in ('seconds', 'ratios', 'memory'):
            by_cpu = result.get(f'cpu_{kind}', {})
            for name, value in result[kind].items():
                lines.append(f'{name:<66}{value:>10.4f}' + (f'{by_cpu[name]:>10.4f}' if by_cpu else ''))
    return '\n'.join(lines)
