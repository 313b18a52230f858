"""Segment everything against ``segment_anything``'s generator: what ``tools/benchmark.py everything`` runs.

Both segment the same procedural scene with the weights of the packaged mini SAM, by the default grid of 32 x 32 points.
'stock' is ``SamAutomaticMaskGenerator`` on ``segment_anything``'s own modules (but for the mini SAM's patch projection,
which ``segment_anything`` does not have). The output that is compared is the number of masks over each pixel.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from mmsam_ext.apis import PromptSegInferencer, SegmentEverything
from mmsam_ext.checkpoints.plain_sam import plain_sam
from mmsam_ext.datasets import SyntheticObjectsDataset
from mmsam_ext.models.backbones.sam_image_encoder import ARCHS
from mmsam_ext.models.segmentors import PromptableSegmentor

from .comparison import compare_all, table
from .interleaved import CONTENDER, interleave, serve

#: Thresholds under which the mini SAM keeps some masks of the scene and drops others.
SETTINGS = dict(pred_iou_thresh=0.6, stability_score_thresh=0.85)


def scene(size: int) -> np.ndarray:
    """Return a procedural scene, (size, size, 3) uint8 BGR."""
    dataset = SyntheticObjectsDataset(length=1, seed=3, size=(size, size))
    return np.ascontiguousarray(dataset[0]['img'])


def stock_sam(model: PromptableSegmentor) -> Sam:
    """Return ``segment_anything``'s model with the weights of a mini SAM, but for the stages that its decoder adds."""
    arch = {key: value for key, value in ARCHS['tiny'].items() if key != 'conv_stem'}
    size, channels = arch['img_size'], arch['out_chans']
    norm = partial(nn.LayerNorm, eps=1e-6)
    encoder = ImageEncoderViT(patch_size=16, qkv_bias=True, norm_layer=norm, use_rel_pos=True, **arch)
    encoder.patch_embed = type(model.backbone.patch_embed)(arch['embed_dim'])
    transformer = TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=2048, num_heads=8)
    sam = Sam(
        encoder,
        PromptEncoder(channels, (size // 16, size // 16), (size, size), 16),
        MaskDecoder(transformer_dim=channels, transformer=transformer, iou_head_hidden_dim=256),
    )
    weights = plain_sam(model.state_dict())[0]
    sam.load_state_dict({key: value for key, value in weights.items() if '.conv_s' not in key})
    return sam.eval()


def prepare(contender: str, size: int, device: torch.device, points: int = 32) -> Callable[[], Tensor]:
    """Return the work of a contender, 'stock' or 'ours': the number of masks over each pixel, (size, size).

    Args:
        contender: Name of the contender.
        size: Side of the image.
        device: Where the model is.
        points: Points along each side of the grid.
    """
    settings = SETTINGS | dict(points_per_side=points)
    image = scene(size)
    inferencer = PromptSegInferencer('sam_tiny_synthetic', device=str(device))
    for stage in (inferencer.model.mask_decoder.conv_s0, inferencer.model.mask_decoder.conv_s1):
        for parameter in stage.parameters():
            torch.nn.init.zeros_(parameter)  # `segment_anything` has no such stages
    if contender == 'stock':
        generator = SamAutomaticMaskGenerator(stock_sam(inferencer.model).to(device), **settings)
        rgb = np.ascontiguousarray(image[..., ::-1])
        return lambda: _count(generator.generate(rgb), size)
    everything = SegmentEverything(inferencer, **settings)
    return lambda: _count(everything(image), size)


def _count(records: list[dict], size: int) -> Tensor:
    masks = [record['segmentation'] for record in records] or [np.zeros((size, size), bool)]
    return torch.from_numpy(np.sum(masks, 0, dtype=np.float32))


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Time both contenders in turn; returns the comparison under 'everything'."""
    say('everything ...')
    commands = {name: [*CONTENDER, 'everything', name, str(args.size), str(device)] for name in ('stock', 'ours')}
    return compare_all({'everything': interleave(commands, args.repeats, say)})


def contend(contender: str, size: str, place: str, output: str) -> None:
    """Be one contender: the process that :func:`run` starts."""
    device = torch.device(place)
    serve(prepare(contender, int(size), device), device, output)


__all__ = ['contend', 'prepare', 'run', 'scene', 'stock_sam', 'table']
