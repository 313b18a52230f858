"""An epoch of training with stored embeddings against one without: what ``tools/benchmark.py cache`` runs.

Each contender is a process that trains the decoder's plugins of Stable-SAM, or PLM, on a few random images, on a frozen
encoder with random weights. An epoch is one step for each image: preprocessing, encoder, decoder, losses, gradients and
the optimizer; reading image files is left out on both sides. The untimed first epoch fills the cache.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.engine.hooks import EmbeddingCacheHook
from mmsam_ext.structures import Prompts

from .comparison import compare, table
from .interleaved import CONTENDER, interleave, serve

#: Method -> config by architecture.
CONFIGS = {'stable_sam': '_base_/models/stable_sam_{}.py', 'plm': '_base_/models/plm_{}.py'}
NAMES = {'tiny': 'tiny', 'base': 'vitb', 'large': 'vitl', 'huge': 'vith'}
IMAGES = 4


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return method -> :func:`~benchmarks.comparison.compare`, with 'stock' for the training without a cache."""
    results = {}
    for method in CONFIGS:
        say(f'{method} ...')
        with tempfile.TemporaryDirectory() as folder:
            case = dict(method=method, arch=args.arch, size=args.size, device=str(device), prompts=args.prompts[0])
            commands = {
                name: [*CONTENDER, 'cache', json.dumps(dict(case, path=path))]
                for name, path in (('stock', None), ('ours', folder))
            }
            outcomes = interleave(commands, args.repeats, say)
        results[method] = compare(outcomes['stock'], outcomes['ours'])
    return results


def contend(case: str, output: str) -> None:
    """Be one contender; `case` is a JSON object with the arguments of :func:`epoch`."""
    settings = json.loads(case)
    serve(epoch(**settings), torch.device(settings['device']), output)


def epoch(method: str, arch: str, size: int, device: str, prompts: int, path: str | None) -> Callable[[], Tensor]:
    """Return an epoch of training, which returns the loss of each step.

    Args:
        method: A key of :data:`CONFIGS`.
        arch: A key of :data:`NAMES`.
        size: Side of the square images.
        device: As torch names it.
        prompts: Boxes of each image.
        path: Folder of the cache; None for none.
    """
    config = load_config(Path(__file__).resolve().parents[2] / 'configs' / CONFIGS[method].format(NAMES[arch]))
    config.merge_from_dict({'model.init_cfg': None, 'model.data_preprocessor.size': (size, size)})
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device).train()
    if path is not None:
        model.cache_embeddings(EmbeddingCacheHook(path).open(model, strict=True))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    images = torch.randint(0, 256, (IMAGES, 3, size, size), dtype=torch.uint8)
    corners = torch.rand(IMAGES, prompts, 2, 2).sort(2).values * (size - 1)
    mask = torch.zeros(1, size, size, dtype=torch.long)
    mask[:, size // 4 : size // 2, size // 4 : size // 2] = 1

    def run_epoch() -> Tensor:
        losses = []
        for image, boxes in zip(images, corners, strict=True):
            sample = SegDataSample(metainfo=dict(img_shape=(size, size)), gt_sem_seg=PixelData(data=mask.clone()))
            sample.prompts = Prompts.create(boxes=boxes.flatten(1))
            data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), True)
            loss, _ = model.parse_losses(model.loss(**data))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return run_epoch


__all__ = ['contend', 'epoch', 'run', 'table']
