"""The public implementations that ``tools/benchmark.py families`` compares with, with random weights.

Their packages are in an environment of their own; see :mod:`benchmarks.families`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from analysis.family_goldens import named_weights
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn

#: What transformers' default config of SAM 2.1, which is T, is changed to.
HIERA = {
    't': {},
    's': dict(blocks_per_stage=[1, 2, 11, 2], global_attention_blocks=[7, 10, 13]),
    'b+': dict(
        hidden_size=112, num_attention_heads=2, blocks_per_stage=[2, 3, 16, 3], global_attention_blocks=[12, 16, 20],
        embed_dim_per_stage=[112, 224, 448, 896], num_attention_heads_per_stage=[2, 4, 8, 16],
        window_positional_embedding_background_size=[14, 14],
    ),
    'l': dict(
        hidden_size=144, num_attention_heads=2, blocks_per_stage=[2, 6, 36, 4], global_attention_blocks=[23, 33, 43],
        embed_dim_per_stage=[144, 288, 576, 1152], num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
    ),
}  # fmt: skip
#: A copy that transformers' models hold of another weight -> the weight.
COPIES = {'prompt_encoder.shared_embedding.positional_embedding': 'shared_image_embedding.positional_embedding'}


def build(name: str) -> nn.Module:
    """Return the public implementation of a named model, in evaluation."""
    if name.startswith('sam2.1_hiera_'):
        from transformers import Sam2Config, Sam2Model

        trunk = dict(model_type='sam2_hiera_det_model', **HIERA[name.removeprefix('sam2.1_hiera_')])
        vision: dict = dict(backbone_config=trunk)
        if 'embed_dim_per_stage' in trunk:
            vision['backbone_channel_list'] = trunk['embed_dim_per_stage'][::-1]
        return Sam2Model(Sam2Config(vision_config=vision)).eval()
    from segment_anything_hq import sam_model_registry

    if name.startswith('sam_hq_vit_'):
        return sam_model_registry[f'vit_{name.removeprefix("sam_hq_vit_")}']().eval()
    sam = sam_model_registry['vit_tiny']()  # its encoder is MobileSAM's
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    sam.mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
    return sam.eval()


def random_weights(name: str) -> dict[str, Tensor]:
    """Return the weights of a model as its public implementation names them; they depend on their names alone."""
    shapes = {key: value.shape for key, value in build(name).state_dict().items() if value.is_floating_point()}
    weights = named_weights({key: shape for key, shape in shapes.items() if not key.startswith('pixel_')})
    return weights | {copy: weights[source] for copy, source in COPIES.items() if copy in weights}


@torch.no_grad()
def stock(name: str, weights: dict[str, Tensor], image: Tensor, boxes: Tensor, dtype: torch.dtype | None) -> Callable:
    """Return the work of a public implementation.

    Args:
        name: Of the model.
        weights: As :func:`random_weights`.
        image: (1, 3, H, W).
        boxes: (P, 4) x1 y1 x2 y2.
        dtype: bf16 for transformers' models as a whole and for the others by autocast, as their authors do; None for
            fp32.

    Returns:
        A function that returns the logits (P, M, H/4, W/4) of the three masks for ambiguous prompts (SAM 2.1), or of
        the single mask.
    """
    model = build(name)
    model.load_state_dict(weights, strict=False)
    model.train().eval()  # TinyViT keeps its attention biases when it enters evaluation
    model.to(image.device)
    if name.startswith('sam2.1_hiera_'):
        pixels = image.to(dtype or image.dtype)
        model.to(pixels.dtype)
        return torch.no_grad()(
            lambda: model(pixel_values=pixels, input_boxes=boxes[None], multimask_output=True).pred_masks[0]
        )
    hq = name.startswith('sam_hq_')

    @torch.no_grad()
    def predict() -> Tensor:
        with torch.autocast(image.device.type, dtype) if dtype else nullcontext():
            embedding, early = model.image_encoder(image)
            sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
            return model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
                **(dict(hq_token_only=False, interm_embeddings=early) if hq else {}),
            )[0]

    return predict
