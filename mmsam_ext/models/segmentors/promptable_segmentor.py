"""A promptable SAM as an ordinary MMSegmentation model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict, ModuleList
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.checkpoints.keys import forgive_missing
from mmsam_ext.structures import MaskPrediction, PromptBatch, SAMFeatures
from mmsam_ext.structures.samples import check_num_classes, write_prediction

from ..auxiliary_heads import check_heads
from ..caching import encoder_parts
from ..losses import losses_of_masks
from ..peft import inject_peft
from ..prompt_stages import apply_stages, build_stage
from .checkpointed import CheckpointedMixin
from .compiling import compile_parts
from .compute_dtype import INFERENCE_DTYPES, call_in, floating_dtype
from .freezing import freeze_all_but
from .image_encoding import ImageEncoding
from .losses_of_parts import losses_of_parts
from .mask_selection import (
    TEST_CHOICES,
    TEST_SETTINGS,
    TRAIN_CHOICES,
    TRAIN_SETTINGS,
    check_choice,
    check_settings,
    empty_absent,
    select_by_config,
    select_masks,
    united_logits,
)
from .original_size import to_original
from .prompt_targets import prompt_targets
from .rounds import decode_rounds, number_of_rounds
from .sliding import TILE_SETTINGS, SlideSettings, predict_tiles


@MODELS.register_module()
class PromptableSegmentor(CheckpointedMixin, ImageEncoding, BaseSegmentor):
    """Segment what prompts ask for, with every part of the model built from a config.

    The parts are an image encoder, a prompt encoder, prompt stages, a mask decoder with plugins, and auxiliary heads.
    Every image is encoded once, however many prompts it has. Prompts of a batch with the same number of tokens are
    decoded together; predictions come back in the order of the prompts.

    Args:
        backbone: Any registered backbone; its last output is the image embedding.
        prompt_encoder: Config of a :class:`SAMPromptEncoder`.
        mask_decoder: Config of a :class:`SAMMaskDecoder` or a module with its signature.
        neck: Brings the backbone's outputs to (B, C, h, w) if the backbone does not end there.
        prompt_stages: Configs of :class:`PromptStage`, applied in this order.
        auxiliary_heads: Configs of :class:`PromptAuxiliaryHead`; used in training only.
        num_classes: K, number of classes without the background: prompts then carry a class, an image without prompts
            gets one for each class, and predictions are label maps of K + 1 labels. Prompt stages that write prompts
            get the number, too. None: one class, the foreground.
        presence_head: Config of a :class:`PresenceHead`, which scores whether what a prompt asks for is in the image.
        mask_refiner: Config of a :class:`PointRefiner`, which corrects masks at the resolution of the network input.
        losses: Name -> config of a :class:`MaskLoss`; logged as ``loss_<name>``.
        peft: Rules of :func:`inject_peft`, applied to the model as built from the configs above.
        trainable: Patterns of the parameters to train; None trains all, () none. Frozen modules stay in eval mode.
        train_cfg: ``multimask``: False (default) trains the single-mask output; True trains the masks for ambiguous
            prompts, of which only the best is penalised (SAM, section 3); 'both' trains both. ``compute_dtype``:
            'bfloat16' trains with the image encoder and the decoder computed in bf16, while their weights and the rest
            stay in fp32: for CPUs with bf16 matrix units, where autocast gains nothing (on a GPU use AmpOptimWrapper).
        test_cfg: ``multimask``: False (default) predicts the single-mask output; True the mask for ambiguous prompts
            that the IoU head prefers; 'ambiguous' does so for prompts of one point, and predicts the single-mask output
            for others; 'stable' does so where the single-mask output is not stable (SAM 2's rule, for prompts of all
            kinds); 'oracle' predicts the mask with the highest true IoU for prompts of one point, as in SAM's own
            evaluation (section 7.1): an upper bound, for testing with ground truth only. ``untrained``: True predicts
            even if the checkpoint has no weights for parts that this config adds to SAM.
            ``rounds``: how often the decoder runs, 1 by default: after the first round every prompt gets its last mask
            as a mask prompt, too (see :func:`decode_rounds`). For weights that were trained with mask prompts.
            ``presence_threshold``: masks with a lower probability of the presence head are emptied; None for none.
            ``compute_dtype``: 'bf16', 'fp16' or 'auto' (bf16 where the processor has units for it) predicts with the
            image encoder computed in that format. ``decoder_dtype``: the same for the decoder, which is faster with
            many prompts, and less exact; logits and scores are fp32 in any case.
            ``mode='slide'``, with ``crop_size`` and ``stride``, predicts on overlapping tiles of large images, see
            :class:`~mmsam_ext.models.segmentors.sliding.SlideSettings`. ``one_step_resize``: True resizes logits to the
            original size at once, as the code of SPT's authors does; SAM does so by way of the network input's size.
        data_preprocessor: Config of a :class:`PromptDataPreprocessor`; by default one that pads to multiples of 16.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` loads Meta's checkpoints as they are.
        pretrained: None, which MMSegmentation's tools set.
        torch_compile: Compile encoder and decoder at their first call: True, or arguments of ``torch.compile``.

    Raises:
        ValueError: A name in `train_cfg` or `test_cfg` is unknown, a `trainable` pattern matches nothing, a checkpoint
            does not fit, a prompt stage changes what it must not, an auxiliary head learns from a mask that is not
            trained, or there is no target to learn from.
    """

    def __init__(
        self,
        backbone: dict,
        prompt_encoder: dict,
        mask_decoder: dict,
        neck: dict | None = None,
        prompt_stages: Sequence[dict] = (),
        auxiliary_heads: Sequence[dict] = (),
        losses: dict[str, dict] | None = None,
        peft: Sequence[dict] | dict[str, dict | None] = (),
        trainable: Sequence[str] | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
        pretrained: None = None,
        num_classes: int | None = None,
        presence_head: dict | None = None,
        mask_refiner: dict | None = None,
        torch_compile: bool | dict = False,
    ) -> None:
        if pretrained is not None:
            raise ValueError(f'{type(self).__name__}: pretrained={pretrained!r}, expected None; use init_cfg')
        preprocessor = data_preprocessor or dict(type='PromptDataPreprocessor', size_divisor=16)
        # Built here: mmengine would look it up in the default scope, which only a Runner sets.
        super().__init__(data_preprocessor=MODELS.build(preprocessor), init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.prompt_encoder = MODELS.build(prompt_encoder)
        self.num_classes = check_num_classes(type(self).__name__, num_classes)
        self.prompt_stages: Any = ModuleList([build_stage(stage, num_classes) for stage in prompt_stages])
        self.mask_decoder = MODELS.build(mask_decoder)
        self.auxiliary_heads: Any = ModuleList([MODELS.build(head) for head in auxiliary_heads])
        self.presence_head = None if presence_head is None else MODELS.build(presence_head)
        self.mask_refiner = None if mask_refiner is None else MODELS.build(mask_refiner)
        self.losses = ModuleDict({name: MODELS.build(loss) for name, loss in (losses or {}).items()})
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        check_settings('train_cfg', self.train_cfg, TRAIN_SETTINGS)
        check_settings('test_cfg', self.test_cfg, (*TEST_SETTINGS, *TILE_SETTINGS))
        check_choice('train_cfg.multimask', self.train_cfg.get('multimask', False), TRAIN_CHOICES)
        check_choice('test_cfg.multimask', self.test_cfg.get('multimask', False), TEST_CHOICES)
        for name in ('compute_dtype', 'decoder_dtype'):
            check_choice(f'test_cfg.{name}', self.test_cfg.get(name), (None, *INFERENCE_DTYPES))
        number_of_rounds(self.test_cfg)
        self.slide_settings = SlideSettings.from_config(self.test_cfg)
        self.one_step_resize = self.test_cfg.get('one_step_resize', False)
        check_choice('test_cfg.one_step_resize', self.one_step_resize, (False, True))
        check_heads(self.auxiliary_heads, self.train_cfg.get('multimask', False))
        self.compute_dtype = floating_dtype(self.train_cfg.get('compute_dtype'))
        self.register_load_state_dict_post_hook(forgive_missing)
        inject_peft(self, peft)
        freeze_all_but(self, trainable)
        compile_parts([*encoder_parts(self).values(), self.mask_decoder], torch_compile, self.compute_dtype)

    # ---------------------------------------------------------------- encode and decode

    def decode(
        self,
        features: SAMFeatures,
        batch: PromptBatch,
        need_upscaled: bool = False,
        dtype: torch.dtype | None = None,
    ) -> MaskPrediction:
        """Predict all masks of all prompts of a batch, in the order of the prompts.

        Args:
            features: Features of the batch, embedding (B, C, h, w).
            batch: P prompts, in pixels of the network input.
            need_upscaled: Return the decoder's upscaled image features, too.
            dtype: Floating-point format that the mask decoder computes in; None for :meth:`decoder_dtype`.

        Returns:
            logits (P, M, 4h, 4w), iou (P, M), nothing resized or selected; fp32 in evaluation.
        """
        dtype = dtype or self.decoder_dtype(features.embedding.device)
        groups = self.prompt_encoder(batch, features.embedding.shape[-2:])
        predictions = []
        for group in groups:
            arguments = features, apply_stages(self.prompt_stages, features, group), self.prompt_encoder, need_upscaled
            one = call_in(self.mask_decoder, dtype, *arguments)
            predictions.append(one if dtype is None or self.training else one.float())
        prediction = predictions[0]
        if len(groups) > 1:
            prediction = MaskPrediction.joined(predictions, torch.cat([group.order for group in groups]).argsort())
        if self.presence_head is not None:
            prediction.presence = self.presence_head(features, batch.image_index, prediction)
        return prediction

    def prompt_batch(self, samples: list[SegDataSample] | None, inputs: Tensor) -> PromptBatch:
        """Return the prompts of a batch (B, 3, H, W); with classes, an image without any gets one for each class."""
        batch = PromptBatch.from_samples(samples, inputs)
        return batch if self.num_classes is None else batch.by_class(self.num_classes)

    def encode_decode(self, inputs: Tensor, batch_data_samples: list[SegDataSample]) -> Tensor:
        """Return (B, 1, H, W) logits of the union of all prompts of each image, or (B, K + 1, H, W) with K classes."""
        batch = self.prompt_batch(batch_data_samples, inputs)
        prediction = decode_rounds(self, self.extract_feat(inputs), batch)
        logits, _ = select_masks(prediction, batch, self.test_cfg.get('multimask', False))
        union = united_logits(logits, batch, self.num_classes)
        return F.interpolate(union, inputs.shape[-2:], mode='bilinear', align_corners=False)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> MaskPrediction:
        """Run the tensor mode: (B, 3, H, W) -> logits (P, M, 4h, 4w) and iou (P, M), nothing resized or selected."""
        return self.decode(self.extract_feat(inputs), self.prompt_batch(data_samples, inputs))

    # ---------------------------------------------------------------- training

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            inputs: (B, 3, H, W).
            data_samples: With `prompts`, and `gt_masks` (T, H, W) or `gt_sem_seg` (1, H, W).

        Returns:
            ``loss_<name>`` for each of `losses`, on the prediction and, prefixed ``draft<i>.``, on each draft, those of
            the auxiliary heads, prefixed ``aux<i>.``, ``loss_presence`` and ``loss_refine``.
        """
        batch = self.prompt_batch(data_samples, inputs)
        features = self.encode(inputs, data_samples)
        prediction = self.decode(features, batch, need_upscaled=len(self.auxiliary_heads) > 0)
        targets, ignored = prompt_targets(data_samples, batch, prediction.logits.shape[-2:], self.num_classes or 1)
        losses = self.mask_losses(prediction, targets, ignored)
        for index, draft in enumerate(prediction.drafts):
            drafted = self.mask_losses(draft, targets, ignored)
            losses.update({f'draft{index}.{name}': value for name, value in drafted.items()})
        return losses | losses_of_parts(self, features, batch, prediction, targets, ignored, data_samples)

    def mask_losses(self, prediction: MaskPrediction, targets: Tensor, ignored: Tensor) -> dict[str, Tensor]:
        """Compute the losses of the masks that ``train_cfg.multimask`` trains; see :func:`losses_of_masks`."""
        return losses_of_masks(self.losses, prediction, targets, ignored, self.train_cfg.get('multimask', False))

    # ---------------------------------------------------------------- prediction

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None, multimask: bool | str | None = None
    ) -> list[SegDataSample]:
        """Predict masks at the original size: encode the images, then :meth:`predict_from_features`.

        Args:
            inputs: (B, 3, H, W).
            data_samples: With `prompts`; an image without any gets the empty prompt.
            multimask: As in `test_cfg`, for this call only; None for the value of `test_cfg`.

        Returns:
            The samples, completed as :meth:`predict_from_features` says.
        """
        self.check_trained()
        samples = data_samples or [SegDataSample(metainfo=dict(img_shape=i.shape[-2:])) for i in inputs]
        batch = self.prompt_batch(samples, inputs)
        if self.slide_settings is not None:
            choice = self.test_cfg.get('multimask', False) if multimask is None else multimask
            return predict_tiles(self, inputs, batch, samples, self.slide_settings, choice)
        return self.predict_from_features(self.extract_feat(inputs), batch, samples, multimask)

    @torch.no_grad()
    def predict_from_features(
        self,
        features: SAMFeatures,
        batch: PromptBatch,
        samples: list[SegDataSample],
        multimask: bool | str | None = None,
        keep_low_res: bool = False,
    ) -> list[SegDataSample]:
        """Predict masks at the original size for images that are encoded already.

        Args:
            features: Features of B images, embedding (B, C, h, w).
            batch: Their P prompts.
            samples: One data sample per image, whose metainfo holds its sizes (see :func:`to_original`).
            multimask: As in `test_cfg`, for this call only; None for the value of `test_cfg`.
            keep_low_res: Add `low_res_logits` (P, 4h, 4w), the selected masks as the decoder predicts them.

        Returns:
            The samples, each with `pred_instances` (mask_logits (P, H0, W0), iou_scores, target_ids, draw_ids,
            mode_ids, class_ids (P,)) and MMSegmentation's fields, see :func:`write_prediction`.
        """
        logits, iou, presence = self.select_low_res(features, batch, samples, multimask)
        fields = {name: getattr(batch, name) for name in ('target_ids', 'draw_ids', 'mode_ids', 'class_ids')}
        if presence is not None:
            fields['presence'] = presence
        if keep_low_res:
            fields['low_res_logits'] = logits
        parts = {name: batch.split(value) for name, value in fields.items()}
        images = zip(samples, batch.split(logits), batch.split(iou), strict=True)
        for image, (sample, low_res, scores) in enumerate(images):
            masks = to_original(low_res, batch.input_size, sample.metainfo, self.one_step_resize)
            write_prediction(
                sample, masks, scores, self.num_classes, **{name: values[image] for name, values in parts.items()}
            )
        return samples

    @torch.no_grad()
    def predict_low_res(
        self,
        features: SAMFeatures,
        batch: PromptBatch,
        samples: list[SegDataSample],
        multimask: bool | str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the selected masks as the decoder makes them, for callers that resize them a few at a time.

        Args:
            features: Features of B images, embedding (B, C, h, w).
            batch: Their P prompts.
            samples: One data sample per image; read for 'oracle' only.
            multimask: As in `test_cfg`, for this call only; None for the value of `test_cfg`.

        Returns:
            Logits (P, 4h, 4w), or (P, H, W) with a mask refiner, and estimated IoU (P,).
        """
        return self.select_low_res(features, batch, samples, multimask)[:2]

    def select_low_res(
        self, features: SAMFeatures, batch: PromptBatch, samples: list[SegDataSample], multimask: bool | str | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Predict as :meth:`predict_low_res`, and return presence (P,), as logits, too; None without a head."""
        self.check_trained()
        choice = self.test_cfg.get('multimask', False) if multimask is None else multimask
        prediction = decode_rounds(self, features, batch)
        logits, iou = select_by_config(prediction, batch, samples, choice, self.one_step_resize)
        if self.mask_refiner is not None:
            logits = self.mask_refiner(features, batch.image_index, logits, batch.input_size)
        logits = empty_absent(logits, prediction.presence, self.test_cfg.get('presence_threshold'))
        return logits, iou, prediction.presence
