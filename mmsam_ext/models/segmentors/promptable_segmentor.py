"""A promptable SAM as an ordinary MMSegmentation model: the order of calls, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict, ModuleList
from mmengine.structures import InstanceData, PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.checkpoints.base import load_base_state
from mmsam_ext.checkpoints.keys import adapt_state, check_state, rename_official_keys
from mmsam_ext.evaluation.functional import mask_iou
from mmsam_ext.structures import MaskPrediction, PromptKind, Prompts, SAMFeatures

from ..data_preprocessors import sample_name
from ..peft import inject_peft
from .compute_dtype import call_in, floating_dtype
from .freezing import freeze_all_but, keep_frozen_in_eval
from .prompt_targets import prompt_targets

#: Of the masks that a decoder predicts: the single-mask output, and those for ambiguous prompts.
SINGLE, AMBIGUOUS = slice(0, 1), slice(1, None)


@MODELS.register_module()
class PromptableSegmentor(BaseSegmentor):
    """Image encoder, prompt encoder, prompt stages, mask decoder with plugins, auxiliary heads, from configs.

    Every image is encoded once however many prompts it has. Prompts of a batch with the same number of tokens are
    decoded together; the order of prompts is kept.

    Args:
        backbone: Any registered backbone; its last output is the image embedding.
        prompt_encoder: :class:`SAMPromptEncoder`.
        mask_decoder: :class:`SAMMaskDecoder` or one with its signature.
        neck: Brings the backbone's outputs to (B, C, h, w) where the backbone does not end there.
        prompt_stages: :class:`PromptStage` configs, applied in this order.
        auxiliary_heads: :class:`PromptAuxiliaryHead` configs; training only.
        losses: Name -> config of a :class:`MaskLoss`; logged as ``loss_<name>``.
        peft: Rules of :func:`inject_peft`, applied to the model as built from the configs above.
        trainable: Patterns of the parameters to train; None: all; (): none. Frozen modules stay in eval mode.
        train_cfg: ``multimask``: False (default) trains the single-mask output; True those for ambiguous prompts, of
            which only the best is penalised (SAM, section 3); 'both' trains both. ``compute_dtype``: 'bfloat16' trains
            with the image encoder and the decoder computed in it, their weights and the rest in fp32: for CPUs with
            bf16 matrix units, where autocast gains nothing (on a GPU take AmpOptimWrapper).
        test_cfg: ``multimask``: False (default) predicts the single-mask output; True the mask that the IoU head
            prefers of those for ambiguous prompts; 'ambiguous' does so for prompts of one point, and the single mask
            for others; 'oracle' takes for prompts of one point the mask of highest true IoU instead, as in SAM's own
            evaluation (section 7.1): an upper bound, for testing with ground truth only.
        data_preprocessor: :class:`PromptDataPreprocessor`; by default one that pads to multiples of 16.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` loads Meta's checkpoints as they are.

    Raises:
        ValueError: a `trainable` pattern without a match, a checkpoint that does not fit, a prompt stage that changes
            what it must not, an auxiliary head whose mask is not trained, no target to learn from.
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
    ) -> None:
        preprocessor = data_preprocessor or dict(type='PromptDataPreprocessor', size_divisor=16)
        # Built here, in MMSegmentation's registry: mmengine would look it up in the default scope, which only a Runner
        # sets.
        super().__init__(data_preprocessor=MODELS.build(preprocessor), init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.prompt_encoder = MODELS.build(prompt_encoder)
        self.prompt_stages = ModuleList([MODELS.build(stage) for stage in prompt_stages])
        self.mask_decoder = MODELS.build(mask_decoder)
        self.auxiliary_heads = ModuleList([MODELS.build(head) for head in auxiliary_heads])
        self.mask_decoder.keep_upscaled = len(self.auxiliary_heads) > 0
        self.losses = ModuleDict({name: MODELS.build(loss) for name, loss in (losses or {}).items()})
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        _check_choice('train_cfg', self.train_cfg, (False, True, 'both'))
        _check_choice('test_cfg', self.test_cfg, (False, True, 'ambiguous', 'oracle'))
        self._check_heads()
        self.compute_dtype = floating_dtype(self.train_cfg.get('compute_dtype'))
        inject_peft(self, peft)
        freeze_all_but(self, trainable)

    def _check_heads(self) -> None:
        for index, head in enumerate(self.auxiliary_heads):
            if head.needs_single_mask and self.train_cfg.get('multimask') is True:
                raise ValueError(
                    f'auxiliary_heads[{index}] ({type(head).__name__}) learns from the single-mask output, which '
                    "train_cfg.multimask=True does not train; expected multimask False or 'both'"
                )

    # ---------------------------------------------------------------- the way of the data

    def extract_feat(self, inputs: Tensor) -> SAMFeatures:
        """(B, 3, H, W) -> image features with embedding (B, C, h, w). Called once for a batch."""
        dtype = self.compute_dtype if self.training else None
        outputs = call_in(self.backbone, dtype, inputs if dtype is None else inputs.to(dtype))
        outputs = self.neck(outputs) if self.with_neck else outputs
        *stages, embedding = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return SAMFeatures(embedding, tuple(stages), inputs)

    def decode(self, features: SAMFeatures, prompts: Sequence[Prompts], input_size: tuple[int, int]) -> MaskPrediction:
        """Predict the masks of all prompts of a batch, in their order.

        Args:
            features: Of the batch, embedding (B, C, h, w).
            prompts: Of each image, in pixels of the network input.
            input_size: (H, W) of the network input.

        Returns:
            logits (P, M, 4h, 4w), iou (P, M), all masks for the P prompts of all images.
        """
        groups = self.prompt_encoder(prompts, input_size, features.embedding.shape[-2:])
        dtype = self.compute_dtype if self.training else None
        predictions = []
        for group in groups:
            for index, stage in enumerate(self.prompt_stages):
                edited = stage(features, group)
                if edited.dense.shape != group.dense.shape or len(edited.sparse) != len(group.sparse):
                    raise ValueError(
                        f'prompt_stages[{index}] ({type(stage).__name__}) returned sparse {tuple(edited.sparse.shape)} '
                        f'and dense {tuple(edited.dense.shape)} for sparse {tuple(group.sparse.shape)} and dense '
                        f'{tuple(group.dense.shape)}; it may change the number of tokens only'
                    )
                group = edited
            predictions.append(call_in(self.mask_decoder, dtype, features, group, self.prompt_encoder))
        if len(groups) == 1:
            return predictions[0]
        return _restore_order(predictions, torch.cat([group.order for group in groups]).argsort())

    def encode_decode(self, inputs: Tensor, batch_data_samples: list[SegDataSample]) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H, W) logits of the union of all prompts of each image."""
        logits, _ = self.preferred(self._forward(inputs, batch_data_samples), _prompts(batch_data_samples, inputs))
        numbers = [len(prompts) for prompts in _prompts(batch_data_samples, inputs)]
        union = torch.stack([part.amax(0) for part in logits.split(numbers)])
        return F.interpolate(union[:, None], inputs.shape[-2:], mode='bilinear', align_corners=False)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> MaskPrediction:
        """Tensor mode: (B, 3, H, W) -> logits (P, M, 4h, 4w) and iou (P, M), nothing resized or selected."""
        prompts = _prompts(data_samples, inputs)
        return self.decode(self.extract_feat(inputs), prompts, inputs.shape[-2:])

    # ---------------------------------------------------------------- training

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: (B, 3, H, W).
            data_samples: With `prompts`, and `gt_masks` (T, H, W) or `gt_sem_seg` (1, H, W).

        Returns:
            ``loss_<name>`` for each of `losses`, on the prediction and, prefixed ``draft<i>.``, on each draft, and the
            losses of the auxiliary heads.
        """
        features = self.extract_feat(inputs)
        prompts = _prompts(data_samples, inputs)
        prediction = self.decode(features, prompts, inputs.shape[-2:])
        targets, ignored = prompt_targets(data_samples, prompts, prediction.logits.shape[-2:])
        losses = self.mask_losses(prediction, targets, ignored)
        for index, draft in enumerate(prediction.drafts):
            drafted = self.mask_losses(draft, targets, ignored)
            losses.update({f'draft{index}.{name}': value for name, value in drafted.items()})
        image_index = torch.cat([torch.full((len(p),), i, device=inputs.device) for i, p in enumerate(prompts)])
        for index, head in enumerate(self.auxiliary_heads):
            extra = head.loss(features, prediction, targets, image_index)
            losses.update({f'aux{index}.{name}': value for name, value in extra.items()})
        return losses

    def mask_losses(self, prediction: MaskPrediction, targets: Tensor, ignored: Tensor) -> dict[str, Tensor]:
        """The losses of a prediction, by what ``train_cfg.multimask`` trains.

        Args:
            prediction: logits (P, M, h, w), iou (P, M), all masks.
            targets: (P, h, w) in [0, 1].
            ignored: (P, h, w) bool, pixels without a label.

        Raises:
            ValueError: the model has no losses.
        """
        if not self.losses:
            raise ValueError('PromptableSegmentor: `losses` is empty, expected name -> config of a MaskLoss to train')
        parts = {False: {'': SINGLE}, True: {'': AMBIGUOUS}, 'both': {'': SINGLE, '_multi': AMBIGUOUS}}
        losses = {}
        for suffix, which in parts[self.train_cfg.get('multimask', False)].items():
            part = self._best_mask_losses(prediction.masks(which), targets, ignored)
            losses.update({name + suffix: value for name, value in part.items()})
        return losses

    def _best_mask_losses(self, prediction: MaskPrediction, targets: Tensor, ignored: Tensor) -> dict[str, Tensor]:
        """Means over prompts; of several masks only the one of least loss counts (the IoU head learns from all)."""
        # A certain "background" where the target is background costs nothing and has no gradient.
        logits = prediction.logits.float().masked_fill(ignored[:, None], -1e4)
        values = {name: loss(logits, targets, prediction.iou.float()) for name, loss in self.losses.items()}
        judging = [values[name] for name, loss in self.losses.items() if loss.judges_mask]
        best = sum(judging).argmin(1, keepdim=True) if judging else None
        return {
            f'loss_{name}': (value.gather(1, best) if self.losses[name].judges_mask else value).mean()
            for name, value in values.items()
        }

    def train(self, mode: bool = True) -> PromptableSegmentor:
        """As in any module, but frozen parts stay in eval mode."""
        super().train(mode)
        if mode:
            keep_frozen_in_eval(self)
        return self

    # ---------------------------------------------------------------- prediction

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Predict masks at the original size.

        Args:
            inputs: (B, 3, H, W).
            data_samples: With `prompts`; without any, each image gets the empty prompt.

        Returns:
            The samples with `pred_instances` (mask_logits (P, H0, W0), iou_scores, target_ids, draw_ids, mode_ids (P,))
            and the union over prompts as MMSegmentation's `seg_logits` and `pred_sem_seg` (1, H0, W0).
        """
        data_samples = data_samples or [SegDataSample(metainfo=dict(img_shape=i.shape[-2:])) for i in inputs]
        prediction = self._forward(inputs, data_samples)
        all_prompts = _prompts(data_samples, inputs)
        if self.test_cfg.get('multimask') == 'oracle':
            logits, iou = _best_by_truth(prediction, all_prompts, data_samples, inputs.shape[-2:])
        else:
            logits, iou = self.preferred(prediction, all_prompts)
        start = 0
        for sample, prompts in zip(data_samples, all_prompts, strict=True):
            part = slice(start, start := start + len(prompts))
            masks = to_original(logits[part], inputs.shape[-2:], sample.metainfo)
            sample.pred_instances = InstanceData(
                mask_logits=masks,
                iou_scores=iou[part],
                target_ids=prompts.target_ids,
                draw_ids=prompts.draw_ids,
                mode_ids=prompts.mode_ids,
            )
            union = masks.amax(0, keepdim=True)
            sample.seg_logits = PixelData(data=union)
            sample.pred_sem_seg = PixelData(data=(union > 0).long())
        return data_samples

    def preferred(self, prediction: MaskPrediction, prompts: Sequence[Prompts]) -> tuple[Tensor, Tensor]:
        """The mask that ``test_cfg.multimask`` wants, (P, h, w), and its estimated IoU, (P,)."""
        multimask = self.test_cfg.get('multimask', False)
        if multimask == 'oracle':
            raise ValueError("PromptableSegmentor: test_cfg.multimask is 'oracle', which needs the truth: use predict")
        several = prediction.masks(AMBIGUOUS).iou.argmax(1) + 1
        if multimask == 'ambiguous':
            chosen = torch.where(torch.cat([is_one_point(p) for p in prompts]), several, 0)
        else:
            chosen = several if multimask else torch.zeros_like(several)
        rows = torch.arange(len(chosen), device=chosen.device)
        return prediction.logits[rows, chosen], prediction.iou[rows, chosen]

    # ---------------------------------------------------------------- checkpoints

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *args) -> None:
        """Complete a trainable-only checkpoint with its base, rename Meta's keys, and check all of them."""
        load_base_state(self, state_dict, prefix, local_metadata, rename_official_keys)
        self.rename_state(state_dict, prefix)
        check_state(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def rename_state(self, state_dict: dict[str, Tensor], prefix: str = '') -> None:
        """Bring the keys of a plain SAM, Meta's or ours, to the names that they have here, in place."""
        rename_official_keys(state_dict, prefix)
        adapt_state(self, state_dict, prefix)


def _prompts(samples: list[SegDataSample] | None, inputs: Tensor) -> list[Prompts]:
    empty = Prompts.empty().to(inputs.device)
    return [sample.prompts if 'prompts' in sample else empty for sample in samples or [{} for _ in inputs]]


def is_one_point(prompts: Prompts) -> Tensor:
    """(P,) bool: which prompts are a single point and nothing else."""
    return (prompts.kinds == int(PromptKind.POINTS)) & ((prompts.point_labels >= 0).sum(1) == 1)


def _best_by_truth(
    prediction: MaskPrediction,
    all_prompts: Sequence[Prompts],
    data_samples: Sequence[SegDataSample],
    input_size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """The masks (P, h, w) and IoU estimates (P,) that 'oracle' wants, judged at the original size."""
    chosen, start = [], 0
    for sample, prompts in zip(data_samples, all_prompts, strict=True):
        if 'gt_masks' not in sample:
            raise ValueError(f"{sample_name(sample)}: no `gt_masks`, by which test_cfg.multimask='oracle' chooses")
        one_point = is_one_point(prompts)
        candidates = prediction.logits[start : start + len(prompts), AMBIGUOUS]  # (P, M, h, w)
        masks = to_original(candidates.flatten(0, 1), input_size, sample.metainfo) > 0
        truth = sample.gt_masks.data[prompts.target_ids].bool().to(masks.device)  # (P, H0, W0)
        best = mask_iou(masks.unflatten(0, candidates.shape[:2]), truth[:, None]).argmax(1).to(one_point.device)
        chosen.append(torch.where(one_point, best + 1, 0))
        start += len(prompts)
    chosen = torch.cat(chosen)
    rows = torch.arange(len(chosen), device=chosen.device)
    return prediction.logits[rows, chosen], prediction.iou[rows, chosen]


def _check_choice(name: str, config: dict, multimask: tuple) -> None:
    value = config.get('multimask', False)
    if value not in multimask:
        raise ValueError(f'PromptableSegmentor: {name}.multimask is {value!r}, expected one of {multimask}')


def _restore_order(predictions: list[MaskPrediction], order: Tensor) -> MaskPrediction:
    upscaled = [prediction.upscaled for prediction in predictions]
    return MaskPrediction(
        logits=torch.cat([prediction.logits for prediction in predictions])[order],
        iou=torch.cat([prediction.iou for prediction in predictions])[order],
        drafts=[_restore_order(list(drafts), order) for drafts in zip(*(p.drafts for p in predictions), strict=True)],
        upscaled=None if upscaled[0] is None else torch.cat(upscaled)[order],
    )


def to_original(logits: Tensor, input_size: tuple[int, int], meta: dict) -> Tensor:
    """(P, h, w) -> (P, H0, W0): to the padded input, padding cut off, flips undone, to the original size (as SAM
    does).
    """
    logits = F.interpolate(logits[:, None].float(), tuple(input_size), mode='bilinear', align_corners=False)
    height, width = meta.get('img_shape', input_size)[:2]
    logits = logits[..., :height, :width]
    if meta.get('flip'):
        logits = logits.flip(-1 if meta.get('flip_direction') == 'horizontal' else -2)
    original = tuple(meta.get('ori_shape', (height, width))[:2])
    if logits.shape[-2:] != original:
        logits = F.interpolate(logits, original, mode='bilinear', align_corners=False)
    return logits[:, 0]
