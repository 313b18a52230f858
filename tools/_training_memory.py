"""Peak memory of training steps of SPT or of its PEFT alone: a process of its own for ``tools/benchmark.py spt``.

Usage: python tools/_training_memory.py {base,large,huge,tiny} {SPT,LoRA} SIZE PROMPTS DEVICE {fp32,bf16}

Two steps (losses and gradients) of one image with random weights, then a JSON object with `peak_mb` and, less what was
held before the first step, `extra_mb`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))  # a checkout works without `pip install`

import mmsam_ext  # noqa: E402, F401  (before mmseg)

# isort: split
from _measure import memory_mb, peak_memory_mb  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

from mmsam_ext.structures import Prompts  # noqa: E402

CONFIGS = {
    'base': 'spt_vitb_industrial',
    'large': 'spt_vitl_industrial',
    'huge': 'spt_vith_industrial',
    'tiny': 'spt_tiny_synthetic',
}
#: What is left out of SPT's configs.
METHODS = {
    'SPT': {},
    'LoRA': {
        'model.mask_decoder.num_drafts': 0,
        'model.mask_decoder.decoder.plugins': [],
        'model.peft.draft': None,
    },
}


def measure(arch: str, method: str, size: int, prompts: int, device: torch.device, dtype: str) -> dict[str, float]:
    """Train two steps -> `peak_mb`, `extra_mb`."""
    init_default_scope('mmseg')
    config = Config.fromfile(REPO / 'configs' / f'{CONFIGS[arch]}.py')
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


if __name__ == '__main__':
    arch, method, size, prompts, device, dtype = sys.argv[1:]
    print(json.dumps(measure(arch, method, int(size), int(prompts), torch.device(device), dtype)))
