"""Peak memory of training steps of SPT, or of its PEFT alone: a separate process of ``tools/benchmark.py spt``.

Two steps (losses and gradients) of one image with random weights, then a JSON object with `peak_mb` and, less what was
held before the first step, `extra_mb`.
"""

from __future__ import annotations

import json

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.cli.measuring import memory_mb, peak_memory_mb
from mmsam_ext.structures import Prompts

CONFIGS = {
    'base': 'spt_vitb_industrial',
    'large': 'spt_vitl_industrial',
    'huge': 'spt_vith_industrial',
    'tiny': 'spt_tiny_synthetic',
}
#: Method -> changes to SPT's configs.
METHODS = {
    'SPT': {},
    'LoRA': {
        'model.mask_decoder.num_drafts': 0,
        'model.mask_decoder.decoder.plugins': [],
        'model.peft.draft': None,
    },
}


def measure(arch: str, method: str, size: int, prompts: int, device: torch.device, dtype: str) -> dict[str, float]:
    """Train two steps; returns `peak_mb` and `extra_mb`."""
    init_default_scope('mmseg')
    config = load_config(CONFIGS[arch])
    config.merge_from_dict({**METHODS[method], 'model.init_cfg': None})
    model = MODELS.build(config.model).to(device).train()
    torch.manual_seed(0)
    image = torch.randn(1, 3, size, size, device=device)
    corners = torch.rand(prompts, 2, 2).sort(1).values * (size - 1)
    mask = torch.zeros(1, size, size, dtype=torch.long)
    mask[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    sample = SegDataSample(metainfo=dict(img_shape=(size, size)), gt_sem_seg=PixelData(data=mask.to(device)))
    sample.prompts = Prompts.create(boxes=corners.flatten(1)).to(device)
    before = memory_mb(device)
    for _ in range(2):
        model.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == 'bf16'):
            losses, _ = model.parse_losses(model.loss(image, [sample]))
        losses.backward()
    peak = peak_memory_mb(device)
    return dict(peak_mb=peak, extra_mb=peak - before)


def contend(arch: str, method: str, size: str, prompts: str, device: str, dtype: str) -> None:
    """Be the process that is measured, and print the result.

    Args:
        arch: A key of :data:`CONFIGS`.
        method: A key of :data:`METHODS`.
        size: Side of the square image.
        prompts: Number of boxes.
        device: As torch names it.
        dtype: 'fp32' or 'bf16'.
    """
    print(json.dumps(measure(arch, method, int(size), int(prompts), torch.device(device), dtype)))
