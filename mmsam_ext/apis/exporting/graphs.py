"""Parts of a model as modules of plain tensors, which exporters can trace."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsam_ext.models.layers import FusedAttention
from mmsam_ext.models.mask_decoders.stable_choice import stable_choice
from mmsam_ext.models.peft import merge_peft
from mmsam_ext.models.prompt_encoders import SAM2PromptEncoder
from mmsam_ext.models.prompt_stages import apply_stages
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import MaskPrediction, PromptEmbedding, SAMFeatures

from ..checks import creates_prompts
from ..errors import InferenceError

PAD = -1


class _FoldedAttention(FusedAttention):
    """The formulation of the attention without loops and buffers; equal up to rounding."""

    def _masked(self, q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        return self._folded(q, k, v, rel_h, rel_w)


def prepared(model: PromptableSegmentor) -> PromptableSegmentor:
    """Return a copy of a model on the CPU with PEFT merged, whose attention can be traced."""
    model = cast('PromptableSegmentor', copy.deepcopy(model).cpu().float().eval())
    if any('lora_' in name or 'magnitude' in name for name, _ in model.named_parameters()):
        merge_peft(model)
    for module in model.modules():
        if type(module) is FusedAttention:
            module.__class__ = _FoldedAttention
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def check_one_class(model: PromptableSegmentor) -> None:
    """Check that a model has one kind of foreground.

    Raises:
        InferenceError: It tells several classes apart.
    """
    if (model.num_classes or 1) > 1:
        raise InferenceError(
            f"the model tells {model.num_classes} classes apart, which the inputs of Meta's decoder cannot ask for; "
            'export it with --format onnx as one graph (--one-graph), which segments all of them'
        )


def check_splittable(model: PromptableSegmentor) -> None:
    """Check that a decoder works from what the image encoder returns.

    Raises:
        InferenceError: The model reads the image again; the message says which part.
    """
    for stage in model.prompt_stages:
        if getattr(stage, 'creates_prompt', False):
            raise InferenceError(
                f'{type(stage).__name__} makes its prompt from the image, so encoder and decoder cannot be two files; '
                'export it as one graph (--one-graph)'
            )


def check_inputs_of_meta(model: PromptableSegmentor) -> None:
    """Check that a decoder needs no other inputs than Meta's, which is all that a tool for SAM gives it.

    Raises:
        InferenceError: It reads inner features of the encoder, or its boxes have a third token.
    """
    if getattr(model.backbone, 'out_indices', ()):
        raise InferenceError(
            f'{type(model.mask_decoder).__name__} reads inner features of the encoder '
            f"(out_indices={model.backbone.out_indices}), which Meta's decoder inputs do not have, so x-anylabeling "
            'cannot run it; export it with --format onnx and run it with tools/runtime/onnx_runtime.py'
        )


def pads_boxes(model: PromptableSegmentor) -> bool:
    """Return whether the corners of a box are followed by a point with the label -1, as in SAM 2."""
    return isinstance(model.prompt_encoder, SAM2PromptEncoder)


class EncoderGraph(nn.Module):
    """Image encoder with normalisation and padding inside.

    Args:
        model: A :func:`prepared` model.
        size: (H, W) of the network input.
        frame: Longer side of the images that a program passes, where it is not that of the network input: the graph
            shrinks them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: PromptableSegmentor, size: tuple[int, int], frame: int | None = None) -> None:
        super().__init__()
        self.model, self.size, self.frame = model, size, frame
        preprocessor = cast('Any', model.data_preprocessor)
        self.register_buffer('mean', preprocessor.mean.view(1, 3, 1, 1).float())
        self.register_buffer('std', preprocessor.std.view(1, 3, 1, 1).float())

    def forward(self, input_image: Tensor) -> tuple[Tensor, ...]:
        """Encode an image (h, w, 3), RGB from 0 to 255, at most as large as the network input.

        Returns:
            The embedding (1, C, H/16, W/16), and the inner features that the decoder reads: none for SAM.
        """
        image = (input_image.permute(2, 0, 1)[None] - self.mean) / self.std
        if self.frame is not None:
            image = resized(image, max(self.size) / self.frame)
        image = F.pad(image, (0, self.size[1] - image.shape[3], 0, self.size[0] - image.shape[2]))
        features = self.model.extract_feat(image)
        return features.embedding, *features.stages


class DecoderGraph(nn.Module):
    """Prompt encoder, prompt stages and mask decoder with the inputs and outputs of Meta's ONNX decoder.

    Unlike Meta's, `mask_input` may have any size, so that tools that always pass 256 x 256 can use models of other
    sizes. Decoders that read inner features of the image encoder (HQ-SAM, SAM 2) have them as further inputs.

    Args:
        model: A :func:`prepared` model.
        size: (H, W) of the network input.
        keep_ratio: Whether images were resized to the network input by their longer side and padded, as in SAM; else
            both sides were resized.
        frame: See :class:`EncoderGraph`; points are given in this frame, too.
    """

    def __init__(
        self, model: PromptableSegmentor, size: tuple[int, int], keep_ratio: bool, frame: int | None = None
    ) -> None:
        super().__init__()
        self.model, self.size, self.keep_ratio = model, size, keep_ratio
        self.scale = 1.0 if frame is None else max(size) / frame
        self.choice = model.test_cfg.get('multimask', False)
        self.rounds = model.test_cfg.get('rounds', 1)

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
        *stages: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode one prompt.

        Args:
            image_embeddings: (1, C, h, w).
            point_coords: (1, N, 2) x, y in pixels of the network input; the corners of a box are two points.
            point_labels: (1, N): 1 foreground, 0 background, 2 and 3 corners of a box, -1 for no point, which is
                appended where there is no box, and in SAM 2 always.
            mask_input: (1, 1, any, any) logits.
            has_mask_input: (1,), 1 or 0.
            orig_im_size: (2,) height and width of the image.
            stages: Further outputs of the encoder, each (1, C_i, h_i, w_i).

        Returns:
            masks (1, 1, height, width) logits, iou_predictions (1, 1), low_res_masks (1, 1, 4h, 4w).
        """
        features = SAMFeatures(image_embeddings, stages)
        prediction = self.predict(features, point_coords, point_labels, mask_input, has_mask_input)
        one_point = is_one_point(point_labels, has_mask_input)
        for _ in range(self.rounds - 1):  # as decode_rounds; a mask that was given stays
            last = prediction.logits[torch.arange(1), preferred(prediction.iou) * one_point][:, None]
            given = F.interpolate(mask_input, last.shape[-2:], mode='bilinear', align_corners=False)
            fed = has_mask_input * given + (1 - has_mask_input) * last
            prediction = self.predict(features, point_coords, point_labels, fed, torch.ones_like(has_mask_input))
        if self.choice == 'stable':
            best = stable_choice(prediction.logits, prediction.iou)
        elif self.choice:
            best = preferred(prediction.iou) * (one_point if self.choice is not True else 1)
        else:
            best = torch.zeros(1, dtype=torch.long)
        low_res = prediction.logits[torch.arange(1), best][:, None]
        iou = prediction.iou[torch.arange(1), best][:, None]
        return to_image(low_res, self.size, orig_im_size, self.keep_ratio), iou, low_res

    def predict(
        self, features: SAMFeatures, coords: Tensor, labels: Tensor, mask_input: Tensor, has_mask_input: Tensor
    ) -> MaskPrediction:
        """Return all masks of the prompt."""
        encoder = self.model.prompt_encoder
        codes = labels.long()  # (1, N)
        if self.scale != 1:
            coords = (coords + 0.5) * self.scale - 0.5
        sparse = point_tokens(encoder, coords, codes, self.size)
        height, width = features.embedding.shape[-2:]
        mask_input = F.interpolate(mask_input, (4 * height, 4 * width), mode='bilinear', align_corners=False)
        none = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense = has_mask_input * encoder.embed_masks(mask_input) + (1 - has_mask_input) * none
        first = torch.zeros(1, dtype=torch.long)
        image_pe = encoder.pe_layer((height, width))[None]
        prompts = PromptEmbedding(sparse, dense, first, image_pe, first, padding=codes == PAD)
        prompts = apply_stages(self.model.prompt_stages, features, prompts)
        return self.model.mask_decoder(features, prompts, encoder)


def is_one_point(labels: Tensor, has_mask_input: Tensor) -> Tensor:
    """Return (1,) int64, 1 for a prompt of one point and nothing else, see `point_labels` of :class:`DecoderGraph`."""
    points = ((labels == 0) | (labels == 1)).sum(1)
    others = ((labels == 2) | (labels == 3)).sum(1) + (has_mask_input > 0).sum()
    return ((points == 1) & (others == 0)).long()


def preferred(iou: Tensor) -> Tensor:
    """Return (1,), the place of the mask for ambiguous prompts with the best estimate; iou (1, M), the single first."""
    return iou[:, 1:].argmax(1) + 1


def point_tokens(encoder: Any, coords: Tensor, codes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the tokens (1, N, C) of points.

    Args:
        encoder: The prompt encoder of SAM or SAM 2.
        coords: (1, N, 2) x, y in pixels of the network input.
        codes: (1, N) as `point_labels` of :class:`DecoderGraph`.
        size: (H, W) of the network input.
    """
    table = torch.cat([encoder.not_a_point_embed.weight, *(one.weight for one in encoder.point_embeddings)])
    scale = coords.new_tensor([size[1], size[0]])
    position = encoder.pe_layer._pe_encoding((coords + 0.5) / scale)  # noqa: SLF001 (as Meta's own export does)
    return position * (codes != PAD)[..., None] + table[codes + 1]


class WholeGraph(nn.Module):
    """A model in one graph, image in, masks out: one mask for each class.

    Models whose prompt stages make no prompts get a box around the whole image, as `inspect` gives them.

    Args:
        model: A :func:`prepared` model.
        size: (H, W) of the network input.
        keep_ratio: See :class:`DecoderGraph`.
    """

    def __init__(self, model: PromptableSegmentor, size: tuple[int, int], keep_ratio: bool) -> None:
        super().__init__()
        self.encoder, self.keep_ratio = EncoderGraph(model, size), keep_ratio

    def forward(self, input_image: Tensor, orig_im_size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Segment an image (h, w, 3), RGB from 0 to 255, resized to the network input.

        Args:
            input_image: (h, w, 3).
            orig_im_size: (2,) height and width of the image before it was resized.

        Returns:
            masks (1, K, height, width) logits, iou_predictions (1, K), low_res_masks (1, K, 4h, 4w) of K classes.
        """
        part, model, size = self.encoder, self.encoder.model, self.encoder.size
        image = (input_image.permute(2, 0, 1)[None] - part.mean) / part.std
        image = F.pad(image, (0, size[1] - image.shape[3], 0, size[0] - image.shape[2]))
        features = model.extract_feat(image)
        height, width = features.embedding.shape[-2:]
        encoder, classes = model.prompt_encoder, model.num_classes or 1
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(classes, -1, height, width)
        sparse, padding = self._tokens(dense, input_image, orig_im_size)
        rows = torch.arange(classes)
        prompts = PromptEmbedding(
            sparse, dense, torch.zeros(classes, dtype=torch.long), encoder.pe_layer((height, width))[None], rows,
            padding=padding, class_ids=None if model.num_classes is None else rows + 1,
        )  # fmt: skip
        prediction = model.mask_decoder(features, apply_stages(model.prompt_stages, features, prompts), encoder)
        if not creates_prompts(model):  # the box is a prompt
            for _ in range(model.test_cfg.get('rounds', 1) - 1):
                prompts = replace(prompts, dense=encoder.embed_masks(prediction.logits[:, :1]))
                stages = apply_stages(model.prompt_stages, features, prompts)
                prediction = model.mask_decoder(features, stages, encoder)
        low_res = prediction.logits[:, :1].transpose(0, 1)
        iou = prediction.iou[:, :1].transpose(0, 1)
        return to_image(low_res, size, orig_im_size, self.keep_ratio), iou, low_res

    def _tokens(self, dense: Tensor, input_image: Tensor, orig_im_size: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the tokens (K, N, C) of each class and which are padding (K, N): none, or a box around the image."""
        model, classes = self.encoder.model, len(dense)
        if creates_prompts(model):
            return dense.new_zeros(classes, 0, dense.shape[1]), None
        height, width = input_image.shape[:2]  # the last pixel of the image, moved as prompts are
        last = torch.stack(
            [(orig_im_size[1] - 1) * width / orig_im_size[1], (orig_im_size[0] - 1) * height / orig_im_size[0]]
        )
        points, codes = [torch.zeros_like(last), last], [2, 3]
        if pads_boxes(model):
            points, codes = [*points, torch.zeros_like(last)], [*codes, PAD]
        labels = torch.tensor([codes])
        tokens = point_tokens(model.prompt_encoder, torch.stack(points)[None], labels, self.encoder.size)
        return tokens.expand(classes, -1, -1), (labels == PAD).expand(classes, -1)


def resized(image: Tensor, scale: float) -> Tensor:
    """Resize an image (1, 3, h, w): averages over whole pixels first, as bilinear sampling alone would skip some."""
    factor = int(1 / scale)
    if factor > 1:
        image, scale = F.avg_pool2d(image, factor), scale * factor
    return image if scale == 1 else F.interpolate(image, scale_factor=scale, mode='bilinear', align_corners=False)


def to_image(low_res: Tensor, size: tuple[int, int], orig_im_size: Tensor, keep_ratio: bool) -> Tensor:
    """Resize (1, 1, 4h, 4w) logits to the network input, cut off its padding, and resize to the image."""
    masks = F.interpolate(low_res, size, mode='bilinear', align_corners=False)
    if keep_ratio:
        sides = orig_im_size.float()
        inner = torch.floor(sides * (max(size) / sides.max()) + 0.5).long()
        masks = masks[..., : inner[0], : inner[1]]
    sides = orig_im_size.long()
    size_of_image: Any = (sides[0], sides[1])  # tensors, so that a trace keeps them as inputs
    return F.interpolate(masks, size=size_of_image, mode='bilinear', align_corners=False)
