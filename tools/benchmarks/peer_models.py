"""The work of each contender of ``tools/benchmark.py peers``, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .core import STOCK_ARCHS

#: Rows, columns and depth of the product of matrices that stands for the machine's limit: an MLP of ViT-B.
PRODUCT = (4096, 3072, 768)
#: Vision encoders as Hugging Face's config describes them.
HF_VISION = {
    'base': dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, global_attn_indexes=[2, 5, 8, 11]),
    'large': dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, global_attn_indexes=[5, 11, 17, 23]),
    'huge': dict(hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31]),
}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
LORA_RANK = 8


@dataclass
class PeerCase:
    """The work of one process.

    Attributes:
        contender: A key of :data:`CONTENDERS`.
        task: 'inference' (image and boxes -> masks at the input's size) or 'training' (LoRA on every fused qkv of the
            image encoder and all of the decoder: forward, loss and backward).
        prompts: Boxes on the image.
        arch: 'base', 'large' or 'huge'.
        size: Side of the square image, a multiple of 16.
        dtype: 'fp32' or 'bf16'.
        device: As torch names it.
    """

    contender: str
    task: str
    prompts: int
    arch: str
    size: int
    dtype: str
    device: str


def inputs(case: PeerCase) -> tuple[Tensor, Tensor, Tensor]:
    """Return the image (1, 3, size, size), boxes (P, 4) and target masks (P, size / 4, size / 4)."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, case.size, case.size, generator=generator, device='cpu')
    corners = torch.rand(case.prompts, 2, 2, generator=generator, device='cpu').sort(1).values * (case.size - 1)
    low, high = corners[:, 0, :, None], corners[:, 1, :, None]  # (P, 2, 1), x and y
    grid = torch.arange(case.size // 4, device='cpu') * 4.0
    inside = (grid >= low) & (grid <= high)  # (P, 2, size / 4)
    targets = (inside[:, 1, :, None] & inside[:, 0, None]).float()
    return image.to(case.device), corners.flatten(1).to(case.device), targets.to(case.device)


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits and targets, both (P, h, w)."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets)


def ours(case: PeerCase) -> Callable[[], Tensor]:
    """Return this package's work."""
    import mmsam_ext  # noqa: F401  (before mmseg)

    # isort: split
    from mmseg.structures import SegDataSample

    from mmsam_ext.models.segmentors import PromptableSegmentor
    from mmsam_ext.models.segmentors.compute_dtype import store_in
    from mmsam_ext.structures import Prompts

    image, boxes, targets = inputs(case)
    training = case.task == 'training'
    lora = dict(type='LoRA', modules=r'^backbone\..*\.qkv$', rank=LORA_RANK)
    model = PromptableSegmentor(
        backbone=dict(type='SAMImageEncoder', arch=case.arch),
        prompt_encoder=dict(type='SAMPromptEncoder'),
        mask_decoder=dict(type='SAMMaskDecoder'),
        peft=dict(encoder=lora) if training else (),
        trainable=[r'\.lora_[ab]$', r'^mask_decoder\.(?!iou_prediction_head)'] if training else None,
        train_cfg=dict(compute_dtype='bfloat16' if case.dtype == 'bf16' else None),
        test_cfg=dict(compute_dtype=case.dtype, decoder_dtype=case.dtype),  # as the peers: all of it
    ).to(case.device)
    meta = dict(img_shape=(case.size, case.size), ori_shape=(case.size, case.size))

    def sample() -> SegDataSample:
        made = SegDataSample(metainfo=meta)
        made.prompts = Prompts.create(boxes=boxes)
        return made

    if training:
        model.train()

        def step() -> Tensor:
            model.zero_grad()
            loss = mask_loss(model._forward(image, [sample()]).logits[:, 0], targets)  # noqa: SLF001 (the tensor mode)
            loss.backward()
            return loss.detach()

        return step
    model.eval()
    store_in(model.computed_parts(torch.device(case.device)))
    return lambda: model.predict(image, [sample()])[0].pred_instances.mask_logits


def segment_anything(case: PeerCase) -> Callable[[], Tensor]:
    """Return the work of Meta's package; bf16 by autocast."""
    from segment_anything import sam_model_registry

    image, boxes, _ = inputs(case)
    sam = sam_model_registry[STOCK_ARCHS[case.arch]]()
    size, grid = (case.size, case.size), case.size // 16
    if case.size != sam.image_encoder.img_size:  # it takes only the size that it is built for
        width = sam.image_encoder.pos_embed.shape[-1]
        sam.image_encoder.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        sam.prompt_encoder.input_image_size, sam.prompt_encoder.image_embedding_size = size, (grid, grid)
    sam = sam.to(case.device).eval().requires_grad_(False)

    kind = torch.device(case.device).type
    mixed = torch.autocast(kind, torch.bfloat16) if case.dtype == 'bf16' else nullcontext()

    @torch.no_grad()
    def predict() -> Tensor:
        with mixed:
            sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
            embedding = sam.image_encoder(image)
            masks, _ = sam.mask_decoder(embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, False)
            return sam.postprocess_masks(masks, size, size)[:, 0]

    return predict


def huggingface(case: PeerCase) -> Callable[[], Tensor]:
    """Return the work of transformers' SamModel; bf16 as a whole, LoRA by peft."""
    from transformers import SamConfig, SamModel, SamVisionConfig

    image, boxes, targets = inputs(case)
    vision = SamVisionConfig(image_size=case.size, **HF_VISION[case.arch])
    prompt = dict(image_size=case.size)
    model: nn.Module = SamModel(SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt))
    if case.task == 'training':
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=LORA_RANK, target_modules=r'vision_encoder.*\.qkv'))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_('lora_' in name or ('mask_decoder' in name and 'iou_prediction_head' not in name))
    dtype = DTYPES[case.dtype]
    model, given = model.to(case.device, dtype), dict(pixel_values=image.to(dtype), input_boxes=boxes[None].to(dtype))

    def logits() -> Tensor:
        return model(**given, multimask_output=False).pred_masks[0, :, 0]  # (P, size / 4, size / 4)

    if case.task == 'training':
        model.train()

        def step() -> Tensor:
            model.zero_grad()
            loss = mask_loss(logits(), targets)
            loss.backward()
            return loss.detach()

        return step
    model.eval()

    @torch.no_grad()
    def predict() -> Tensor:
        size = (case.size, case.size)
        return F.interpolate(logits()[:, None].float(), size, mode='bilinear', align_corners=False)[:, 0]

    return predict


def product(case: PeerCase) -> Callable[[], Tensor]:
    """Return one product of matrices, which no model can be faster than."""
    rows, columns, depth = PRODUCT
    left = torch.randn(rows, depth, device=case.device, dtype=DTYPES[case.dtype])
    right = torch.randn(depth, columns, device=case.device, dtype=DTYPES[case.dtype])
    return lambda: torch.mm(left, right)


CONTENDERS: dict[str, Callable[[PeerCase], Callable[[], Tensor]]] = {
    'ours': ours,
    'segment_anything': segment_anything,
    'huggingface': huggingface,
    'product': product,
}
#: What the processes of each task are; segment_anything has no LoRA.
TASKS = {
    'inference': ('ours', 'segment_anything', 'huggingface', 'product'),
    'training': ('ours', 'huggingface', 'product'),
}
