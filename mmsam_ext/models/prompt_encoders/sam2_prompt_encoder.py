"""SAM 2's prompt encoder."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from mmsam_ext.structures import PromptBatch, PromptKind

from .sam_prompt_encoder import SAMPromptEncoder

#: SAM 2 clamps the logits that it takes as a mask prompt to this range.
MASK_RANGE = 32.0


@MODELS.register_module()
class SAM2PromptEncoder(SAMPromptEncoder):
    """Embed prompts as SAM 2 does for images; arguments and parameters are those of :class:`SAMPromptEncoder`.

    There are two differences. A box is followed by the token that is "not a point", as points are, because SAM 2 treats
    it as two points. The logits of a mask prompt are clamped to +-32, as SAM 2 clamps those that it returns to be
    given to it again.
    """

    PREFIXES = ('prompt_encoder.', 'sam_prompt_encoder.')

    def embed_masks(self, masks: Tensor) -> Tensor:
        """Embed mask logits (P, 1, 4h, 4w) -> dense embedding (P, C, h, w)."""
        return super().embed_masks(masks.clamp(-MASK_RANGE, MASK_RANGE))

    def _takes_padding(self, batch: PromptBatch) -> Tensor:
        """Return (P,) bool: every prompt of points or a box gets the token that is "not a point"."""
        return batch.uses(PromptKind.POINTS) | batch.uses(PromptKind.BOX)
