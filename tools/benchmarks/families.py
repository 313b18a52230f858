"""Image to masks of other SAMs against their public implementations: what ``tools/benchmark.py families`` runs.

'stock' is ``transformers`` (SAM 2) or ``segment-anything-hq`` (HQ-SAM, and MobileSAM's encoder before
``segment_anything``'s decoder). They must be installed, which no other part of this project needs. 'ours' is the model
of the same name. Both have the same random weights; an image of 1024 x 1024 pixels is encoded anew for each round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType

import torch
from analysis.family_goldens import named_weights
from mmseg.registry import MODELS
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn

from mmsam_ext.apis.model_names import named_config
from mmsam_ext.structures import PromptBatch, Prompts

from .comparison import compare_all, table
from .interleaved import CONTENDER, interleave, serve

SIZE = 1024
MODEL_NAMES = ('sam2.1_hiera_t', 'mobile_sam', 'sam_hq_vit_b')

Work = Callable[[], Tensor]


def example_boxes(number: int) -> Tensor:
    """Return random boxes (P, 4) x1 y1 x2 y2 in pixels, 100 to 500 on a side."""
    generator = torch.Generator().manual_seed(0)
    corner, side = torch.rand(2, number, 2, generator=generator)
    return torch.cat([500 * corner, 500 * corner + 100 + 400 * side], 1)


def weights_of(stock: nn.Module) -> dict[str, Tensor]:
    """Give a stock model weights that depend on their names alone, and return them."""
    shapes = {name: value.shape for name, value in stock.state_dict().items() if value.is_floating_point()}
    weights = named_weights({name: shape for name, shape in shapes.items() if not name.startswith('pixel_')})
    if (copied := 'prompt_encoder.shared_embedding.positional_embedding') in weights:  # a copy of the position code
        weights[copied] = weights['shared_image_embedding.positional_embedding']
    stock.load_state_dict(weights, strict=False)
    stock.train().eval()  # TinyViT keeps its attention biases when it enters evaluation
    return weights


def stock_sam2() -> nn.Module:
    """Return SAM 2.1 T of transformers."""
    transformers = _package('transformers')
    return transformers.Sam2Model(transformers.Sam2Config())


def stock_hq_sam() -> nn.Module:
    """Return HQ-SAM B of segment-anything-hq."""
    return _package('segment_anything_hq').sam_model_registry['vit_b']()


def stock_mobile_sam() -> nn.Module:
    """Return MobileSAM: the encoder of HQ-SAM's tiny model with SAM's decoder."""
    sam = _package('segment_anything_hq').sam_model_registry['vit_tiny']()
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    sam.mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
    return sam


def predict_sam2(stock: nn.Module, image: Tensor, boxes: Tensor) -> Tensor:
    """Return the three masks for ambiguous prompts of P boxes (P, 3, 256, 256)."""
    return stock(pixel_values=image, input_boxes=boxes[None], multimask_output=True).pred_masks[0]


def predict_hq_sam(stock: nn.Module, image: Tensor, boxes: Tensor) -> Tensor:
    """Return the single masks of P boxes (P, 1, 256, 256)."""
    embedding, early = stock.image_encoder(image)
    return stock.mask_decoder(
        **_decoder_inputs(stock, embedding, boxes), multimask_output=False, hq_token_only=False, interm_embeddings=early
    )[0]


def predict_mobile_sam(stock: nn.Module, image: Tensor, boxes: Tensor) -> Tensor:
    """Return the single masks of P boxes (P, 1, 256, 256)."""
    embedding, _ = stock.image_encoder(image)
    return stock.mask_decoder(**_decoder_inputs(stock, embedding, boxes), multimask_output=False)[0]


#: Name of a model -> its stock implementation, how it predicts, and which of our masks these are.
STOCK: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor, Tensor], Tensor], slice]] = {
    'sam2.1_hiera_t': (stock_sam2, predict_sam2, slice(1, None)),
    'mobile_sam': (stock_mobile_sam, predict_mobile_sam, slice(0, 1)),
    'sam_hq_vit_b': (stock_hq_sam, predict_hq_sam, slice(0, 1)),
}


@torch.no_grad()
def prepare(contender: str, name: str, prompts: int, device: torch.device) -> Work:
    """Return the work of a contender, 'stock' or 'ours': the masks of `prompts` boxes on one image."""
    build, predict, which = STOCK[name]
    stock = build()
    weights = weights_of(stock)
    image = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    boxes = example_boxes(prompts).to(device)
    if contender == 'stock':
        stock.to(device)
        return torch.no_grad()(partial(predict, stock, image, boxes))
    del stock  # before ours is built: its memory is not ours
    model = MODELS.build(named_config(name).model).eval()
    model.load_state_dict(weights)
    model.to(device)
    batch = PromptBatch.from_prompts([Prompts.create(boxes=boxes)], (SIZE, SIZE))
    return torch.no_grad()(lambda: model.decode(model.extract_feat(image), batch).logits[:, which])


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Time both contenders in turn; returns the comparisons by model and number of prompts."""
    if args.size != SIZE:
        sys.exit(f'benchmark: error: families: --size {args.size}, expected {SIZE}, for which the models are published')
    outcomes = {}
    for name in args.models:
        for prompts in args.prompts:
            say(f'{name}, {prompts} boxes ...')
            commands = {
                who: [*CONTENDER, 'families', who, name, str(prompts), str(device)] for who in ('stock', 'ours')
            }
            outcomes[f'{name}, {prompts} boxes'] = interleave(commands, args.repeats, say)
    return compare_all(outcomes)


def contend(contender: str, name: str, prompts: str, place: str, output: str) -> None:
    """Be one contender: the process that :func:`run` starts."""
    device = torch.device(place)
    serve(prepare(contender, name, int(prompts), device), device, output)


def _decoder_inputs(stock: nn.Module, embedding: Tensor, boxes: Tensor) -> dict[str, Tensor]:
    sparse, dense = stock.prompt_encoder(points=None, boxes=boxes, masks=None)
    return dict(
        image_embeddings=embedding,
        image_pe=stock.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        sys.exit(
            f'benchmark: error: families: the package {name} is not installed, which holds the public implementation; '
            f'run pip install --no-deps {name.replace("_", "-")} in an environment of its own ({error})'
        )


__all__ = ['contend', 'prepare', 'run', 'table']
