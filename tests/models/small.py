"""Small SAMs with random weights: stock ``segment_anything``, ours, and samples for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import Prompts

SIZE = 128  # pixels; the embedding is 8 x 8
CHANNELS = 32
#: Window 3 on a grid of 8, so that windows are padded.
ARCH = dict(
    img_size=SIZE, embed_dim=48, depth=3, num_heads=3, window_size=3, out_chans=CHANNELS, global_attn_indexes=(1,)
)
DECODER = dict(depth=2, num_heads=4, mlp_dim=64)


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Weights under which attention is not uniform and no parameter is without effect."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if 'pos' in name or 'embed' in name or 'token.' in name:
            parameter.data = 0.5 * noise
        elif parameter.ndim > 1:
            parameter.data = 1.2 * noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = 0.1 * noise + (name.endswith('weight'))  # of norms
    for name, buffer in model.named_buffers():
        if 'gaussian' in name:
            buffer.copy_(torch.randn(buffer.shape, generator=generator))


def stock_encoder(**changes: Any) -> ImageEncoderViT:
    """``segment_anything``'s image encoder, random."""
    settings = dict(patch_size=16, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True)
    encoder = ImageEncoderViT(**{**settings, **ARCH, **changes}).eval()
    randomise(encoder)
    return encoder


def stock_sam(size: int = SIZE) -> Sam:
    """``segment_anything``'s whole model for square inputs of `size`, random."""
    sam = Sam(
        image_encoder=stock_encoder(img_size=size),
        prompt_encoder=PromptEncoder(CHANNELS, (size // 16, size // 16), (size, size), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(embedding_dim=CHANNELS, **DECODER),
            iou_head_hidden_dim=256,
        ),
    )
    randomise(sam, seed=1)
    return sam.eval()


def config(size: int = SIZE, decoder: dict | None = None, **changes: Any) -> dict:
    """Config of our segmentor with the shapes of :func:`stock_sam`."""
    return {
        **dict(
            type='PromptableSegmentor',
            data_preprocessor=dict(type='PromptDataPreprocessor', size=(size, size)),
            backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, img_size=size)),
            prompt_encoder=dict(type='SAMPromptEncoder', embed_dim=CHANNELS),
            mask_decoder=dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER, **(decoder or {})),
            losses=dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss')),
        ),
        **changes,
    }


def segmentor(seed: int = 1, **changes: Any) -> PromptableSegmentor:
    """Our segmentor, random, in eval mode; arguments as :func:`config`."""
    model = MODELS.build(config(**changes))
    randomise(model, seed)
    return model.eval()


def segmentor_of(sam: Sam, **changes: Any) -> PromptableSegmentor:
    """Our segmentor with the weights of a stock SAM."""
    model = MODELS.build(config(size=sam.image_encoder.img_size, **changes))
    model.load_state_dict(sam.state_dict())
    return model.eval()


def images(number: int = 1, height: int = SIZE, width: int = SIZE, seed: int = 0) -> Tensor:
    """(B, 3, H, W) normalised images, smooth enough to be told apart by position."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, height, width, generator=generator)


def sample(prompts: Prompts | None = None, masks: Tensor | None = None, labels: Tensor | None = None) -> SegDataSample:
    """A sample with prompts, `gt_masks` (T, H, W) and `gt_sem_seg` (H, W)."""
    result = SegDataSample(metainfo=dict(sample_id='one', img_path='folder/one.png'))
    if prompts is not None:
        result.prompts = prompts
    if masks is not None:
        result.gt_masks = PixelData(data=masks.to(torch.uint8))
    if labels is not None:
        result.gt_sem_seg = PixelData(data=labels[None].long())
    return result


def disc(size: int = SIZE, x: float = 50, y: float = 70, radius: float = 25) -> Tensor:
    """(H, W) uint8 mask of a disc."""
    grid = torch.arange(size)
    return (((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) < radius**2).to(torch.uint8)
