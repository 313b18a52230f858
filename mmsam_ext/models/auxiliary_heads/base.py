"""The base class of heads that only add losses."""

from __future__ import annotations

from collections.abc import Iterable

from mmengine.model import BaseModule
from torch import Tensor

from mmsam_ext.structures import MaskPrediction, PromptBatch, SAMFeatures


class PromptAuxiliaryHead(BaseModule):
    """Add losses in training, computed from the prediction of all prompts of a batch; absent at inference."""

    #: Whether a checkpoint of plain SAM may lack its parameters.
    added_to_sam = True
    #: Whether it learns from the single-mask output, which ``train_cfg.multimask=True`` does not train.
    needs_single_mask = False

    def loss(
        self, features: SAMFeatures, prediction: MaskPrediction, targets: Tensor, batch: PromptBatch
    ) -> dict[str, Tensor]:
        """Compute losses.

        Args:
            features: Embedding (B, C, h, w).
            prediction: logits (P, M, 4h, 4w), upscaled (P, C/8, 4h, 4w). Logits are -1e4 at ignored pixels.
            targets: (P, 4h, 4w) in [0, 1], area averages of the target masks, 0 at ignored pixels.
            batch: The P prompts.

        Returns:
            Scalars by name; mmengine adds up those with "loss" in their names.
        """
        raise NotImplementedError


def check_heads(heads: Iterable[PromptAuxiliaryHead], multimask: bool | str) -> None:
    """Check that auxiliary heads learn from masks that are trained.

    Args:
        heads: The heads.
        multimask: ``train_cfg.multimask`` of the segmentor.

    Raises:
        ValueError: One learns from the single-mask output, which is not trained.
    """
    for index, head in enumerate(heads):
        if head.needs_single_mask and multimask is True:
            raise ValueError(
                f'auxiliary_heads[{index}] ({type(head).__name__}) learns from the single-mask output, which '
                "train_cfg.multimask=True does not train; expected multimask False or 'both'"
            )
