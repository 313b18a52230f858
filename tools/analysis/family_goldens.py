"""Make the golden values of the tests: what public implementations predict, with weights made from their names.

    python tools/analysis/family_goldens.py FAMILY [FAMILY ...] --out FOLDER

Needs the packages that each family names below, which no test needs. A file FOLDER/FAMILY.npz holds the names and
shapes of the weights and the predictions. The weights themselves are not in it: :func:`named_weights` makes them again
from their names.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIZE = 128  # pixels
CHANNELS = 32
#: Sizes (H, W) that SAM 2's masks are kept of, beside SIZE x SIZE.
SIZES = ((96, 160), (192, 192))
#: Prompts of one image: x y of points with their labels, a box; absent ones are None.
PROMPTS: dict[str, dict[str, Any]] = {
    'box': dict(box=[10, 20, 90, 70]),
    'point': dict(points=[[40, 50]], labels=[1]),
    'points': dict(points=[[40, 50], [100, 30], [64, 64]], labels=[1, 0, 1]),
    'box and points': dict(box=[10, 20, 90, 70], points=[[40, 50], [100, 30]], labels=[1, 0]),
    'box and mask': dict(box=[10, 20, 90, 70], mask=True),
}


def named_weights(shapes: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """Return weights that depend on their names and shapes alone, the same on every machine.

    They are of a size that leaves no attention uniform and no parameter without effect.
    """
    weights = {}
    for name, shape in shapes.items():
        shape = tuple(shape)
        noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if name.endswith('running_var'):
            value = 1 + 0.2 * np.abs(noise)
        elif any(part in name for part in ('pos', 'embed', 'token.', 'gaussian')) and len(shape) < 4:
            value = 0.5 * noise
        elif len(shape) > 1:
            value = 1.2 * noise / np.sqrt(np.prod(shape[1:]))
        else:
            value = 0.1 * noise + name.endswith('weight')  # of norms
        weights[name] = torch.from_numpy(np.asarray(value)).float()
    return weights


def image(number: int = 1, height: int = SIZE, width: int = SIZE) -> Tensor:
    """Return (B, 3, H, W), as it enters an image encoder."""
    return torch.from_numpy(np.random.default_rng(7).standard_normal((number, 3, height, width))).float()


def mask_prompt(height: int, width: int) -> Tensor:
    """Return (1, 1, height, width) mask logits."""
    return torch.from_numpy(np.random.default_rng(9).standard_normal((1, 1, height, width))).float()


def sampled(logits: Tensor) -> np.ndarray:
    """Return every third pixel of the logits (..., H, W): enough to compare, and small files."""
    return logits[..., ::3, ::3].numpy()


def fill(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Give a model the weights of :func:`named_weights`, and return the shapes of its state dict by name."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items() if value.is_floating_point()}
    model.load_state_dict(named_weights(shapes), strict=False)
    return shapes


@torch.no_grad()
def hq_sam() -> tuple[dict, dict[str, np.ndarray]]:
    """HQ-SAM: package ``segment-anything-hq``."""
    from segment_anything_hq.modeling import ImageEncoderViT, MaskDecoderHQ, PromptEncoder, TwoWayTransformer

    grid = SIZE // 16
    model = nn.Module()
    model.image_encoder = ImageEncoderViT(
        img_size=SIZE, patch_size=16, embed_dim=48, depth=3, num_heads=3, window_size=3, out_chans=CHANNELS,
        global_attn_indexes=(1,), qkv_bias=True, use_rel_pos=True, norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
    model.prompt_encoder = PromptEncoder(CHANNELS, (grid, grid), (SIZE, SIZE), 16)
    model.mask_decoder = MaskDecoderHQ(
        transformer_dim=CHANNELS,
        transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=64, num_heads=4),
        vit_dim=48,
    )
    shapes = fill(model.eval())
    embedding, early = model.image_encoder(image())
    outputs = {}
    for name, prompt in PROMPTS.items():
        points, box, mask = _tensors(prompt, SIZE, SIZE)
        sparse, dense = model.prompt_encoder(points, box, mask)
        for multimask in (False, True):
            for only in (False, True):
                logits, iou = model.mask_decoder(
                    image_embeddings=embedding,
                    image_pe=model.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=multimask,
                    hq_token_only=only,
                    interm_embeddings=early,
                )
                key = f'{name}{", multimask" * multimask}{", hq only" * only}'
                outputs[key], outputs[f'{key}, iou'] = sampled(logits[0]), iou[0].numpy()
    return shapes, outputs


def _tensors(
    prompt: dict, height: int, width: int
) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
    points = box = mask = None
    if 'points' in prompt:
        points = torch.tensor(prompt['points'])[None].float(), torch.tensor(prompt['labels'])[None]
    if 'box' in prompt:
        box = torch.tensor(prompt['box'])[None].float()
    if 'mask' in prompt:
        mask = mask_prompt(height // 4, width // 4)
    return points, box, mask


SAM_VISION = dict(
    hidden_size=48, num_hidden_layers=3, num_attention_heads=3, window_size=3, global_attn_indexes=[1], mlp_dim=192,
    output_channels=CHANNELS, image_size=SIZE, num_pos_feats=CHANNELS // 2,
)  # fmt: skip
DECODER = dict(hidden_size=CHANNELS, mlp_dim=64, num_attention_heads=4)
ENCODED = dict(hidden_size=CHANNELS, image_size=SIZE)


def sam_hf() -> tuple[dict, dict[str, np.ndarray]]:
    """SAM of Hugging Face: package ``transformers``."""
    from transformers import SamConfig, SamModel

    config = SamConfig(vision_config=SAM_VISION, prompt_encoder_config=ENCODED, mask_decoder_config=DECODER)
    return _hugging_face(SamModel(config))


def sam_hq_hf() -> tuple[dict, dict[str, np.ndarray]]:
    """HQ-SAM of Hugging Face: package ``transformers``."""
    from transformers import SamHQConfig, SamHQModel

    decoder = dict(DECODER, vit_dim=48)
    config = SamHQConfig(vision_config=SAM_VISION, prompt_encoder_config=ENCODED, mask_decoder_config=decoder)
    return _hugging_face(SamHQModel(config))


def sam2_hf() -> tuple[dict, dict[str, np.ndarray]]:
    """SAM 2 of Hugging Face: package ``transformers``."""
    from transformers import Sam2Config, Sam2Model

    widths = [16, 32, 64, 128]
    trunk = dict(
        model_type='sam2_hiera_det_model', hidden_size=16, num_attention_heads=1, blocks_per_stage=[1, 2, 3, 1],
        embed_dim_per_stage=widths, num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[8, 4, 6, 3],
        global_attention_blocks=[4], window_positional_embedding_background_size=[3, 3], image_size=[SIZE, SIZE],
    )  # fmt: skip
    vision = dict(
        backbone_config=trunk,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[SIZE // stride] * 2 for stride in (4, 8, 16)],
        fpn_hidden_size=CHANNELS,
    )
    config = Sam2Config(vision_config=vision, prompt_encoder_config=ENCODED, mask_decoder_config=DECODER)
    model = Sam2Model(config)
    shapes, outputs = _hugging_face(model)
    for height, width in SIZES:
        resize_sam2(model, height, width)
        found = _predictions(model, height, width)
        outputs |= {f'{key}, {height} x {width}': value for key, value in found.items() if 'points' not in key}
    return shapes, outputs


def resize_sam2(model: nn.Module, height: int, width: int) -> None:
    """Make a Sam2Model of transformers, which knows one square size, take images of H x W pixels."""
    encoder = model.prompt_encoder
    model.backbone_feature_sizes = [(height // stride, width // stride) for stride in (4, 8, 16)]
    encoder.image_embedding_size = height // 16, width // 16
    encoder.mask_input_size = height // 4, width // 4
    embed = type(encoder.shared_embedding).forward
    encoder.shared_embedding.forward = lambda coords, shape: embed(encoder.shared_embedding, coords, (height, width))


def _hugging_face(model: nn.Module) -> tuple[dict, dict[str, np.ndarray]]:
    """Return the weights of the file that a model writes, and its predictions."""
    from safetensors import safe_open

    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(f'{folder}/model.safetensors', framework='pt') as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    shapes.pop('prompt_encoder.shared_embedding.positional_embedding', None)  # a copy
    weights = named_weights(shapes)
    code = weights['shared_image_embedding.positional_embedding']
    model.load_state_dict({**weights, 'prompt_encoder.shared_embedding.positional_embedding': code})
    return shapes, _predictions(model.eval(), SIZE, SIZE)


@torch.no_grad()
def _predictions(model: nn.Module, height: int, width: int) -> dict[str, np.ndarray]:
    """Return what a model of transformers predicts for each prompt on an image of H x W pixels."""
    outputs = {}
    for name, prompt in PROMPTS.items():
        points, box, mask = _tensors(prompt, height, width)
        given: dict[str, Any] = dict(pixel_values=image(1, height, width))
        if points is not None:
            given |= dict(input_points=points[0][None], input_labels=points[1][None])
        if box is not None:
            given |= dict(input_boxes=box[None])
        if mask is not None:
            given |= dict(input_masks=mask)
        for multimask in (False, True):
            result = model(**given, multimask_output=multimask)
            key = f'{name}{", multimask" * multimask}'
            outputs[key], outputs[f'{key}, iou'] = sampled(result.pred_masks[0, 0]), result.iou_scores[0, 0].numpy()
            if hasattr(result, 'object_score_logits'):
                outputs[f'{name}, object'] = result.object_score_logits[0, 0].numpy()
    return outputs


@torch.no_grad()
def mobile_sam() -> tuple[dict, dict[str, np.ndarray]]:
    """MobileSAM's encoder as HQ-SAM's tiny model has it (64 x 64 tokens): package ``segment-anything-hq``."""
    from segment_anything_hq.modeling import TinyViT

    model = nn.Module()
    model.image_encoder = TinyViT(
        img_size=1024, embed_dims=[8, 16, 20, 320], depths=[1, 1, 2, 1], num_heads=[2, 2, 2, 4],
        window_sizes=[7, 7, 14, 7], drop_path_rate=0.0,
    )  # fmt: skip
    shapes = fill(model.eval())
    model.train().eval()  # it keeps its attention biases
    embedding, (early,) = model.image_encoder(image(1, 1024, 1024))
    return shapes, dict(embedding=embedding[0, ::16, ::5, ::5].numpy(), early=early[0, ::5, ::5, ::4].numpy())


FAMILIES: dict[str, Callable[[], tuple[dict, dict[str, np.ndarray]]]] = dict(
    hq_sam=hq_sam, sam_hf=sam_hf, sam_hq_hf=sam_hq_hf, sam2_hf=sam2_hf, mobile_sam=mobile_sam
)


def main() -> None:
    """Write the files of the families that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('families', nargs='+', choices=FAMILIES, metavar='FAMILY', help=', '.join(FAMILIES))
    parser.add_argument('--out', required=True, type=Path, metavar='FOLDER')
    parser.add_argument('--overwrite', action='store_true', help='replace files that exist')
    args = parser.parse_args()
    existing = [str(path) for family in args.families if (path := args.out / f'{family}.npz').exists()]
    if existing and not args.overwrite:
        parser.error(f'{", ".join(existing)}: exists already; give another folder, or --overwrite to replace it')
    args.out.mkdir(parents=True, exist_ok=True)
    for family in args.families:
        shapes, outputs = FAMILIES[family]()
        path = args.out / f'{family}.npz'
        np.savez_compressed(path, shapes=json.dumps(shapes), **outputs)
        print(f'{path}: {len(shapes)} weights, {len(outputs)} predictions, {path.stat().st_size} bytes')


if __name__ == '__main__':
    main()
