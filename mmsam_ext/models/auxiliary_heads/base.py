"""The base class of heads that only add losses."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from mmsam_ext.structures import MaskPrediction, SAMFeatures


class PromptAuxiliaryHead(BaseModule):
    """Adds losses in training and is absent at inference. Sees the prediction of all prompts of a batch."""

    #: Missing from a checkpoint of plain SAM without an error.
    added_to_sam = True
    #: Learns from the single-mask output, which ``train_cfg.multimask=True`` does not train.
    needs_single_mask = False

    def loss(
        self, features: SAMFeatures, prediction: MaskPrediction, targets: Tensor, image_index: Tensor
    ) -> dict[str, Tensor]:
        """Compute losses.

        Args:
            features: Embedding (B, C, h, w).
            prediction: logits (P, M, 4h, 4w), upscaled (P, C/8, 4h, 4w).
            targets: (P, 4h, 4w) in [0, 1], area averages of the target masks.
            image_index: (P,) the image of each prompt.

        Returns:
            Scalars by name; names with "loss" in them are added up by mmengine.
        """
        raise NotImplementedError
