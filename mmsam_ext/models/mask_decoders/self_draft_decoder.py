"""Self-draft tuning: draft a mask, then refine it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mmengine.model import BaseModule, ModuleList
from mmseg.registry import MODELS
from torch import Tensor

from mmsam_ext.structures import MaskPrediction, PromptEmbedding, SAMFeatures

if TYPE_CHECKING:
    from ..prompt_encoders import SAMPromptEncoder


@MODELS.register_module()
class SelfDraftDecoder(BaseModule):
    """Draft a coarse mask with one decoder, embed it as a mask prompt, and refine it with another decoder.

    The draft decoders are copies of SAM's decoder: a plain ``mask_decoder`` of a checkpoint is loaded into all of
    them. The sparse prompt embedding is reused; the dense one is replaced by the embedding of the draft (equations 4 to
    6). Without training this is the paper's zero-shot self-draft tuning.

    Paper: SPT, section 3.2.

    Args:
        decoder: Config of a decoder, :class:`SAMMaskDecoder` with or without plugins. All decoders are built from it.
        num_drafts: 0 (plain SAM), 1 (the paper's choice) or 2 (Table 4).
        detach: Keep the loss of the refining decoder from reaching the draft decoders.
        sigmoid: Feed the prompt encoder sigmoid probabilities instead of logits.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: `num_drafts` is not 0, 1 or 2.
    """

    def __init__(
        self,
        decoder: dict,
        num_drafts: int = 1,
        detach: bool = True,
        sigmoid: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_drafts not in (0, 1, 2):
            raise ValueError(f'SelfDraftDecoder: num_drafts={num_drafts}, expected 0, 1 or 2')
        self.drafts = ModuleList([MODELS.build(decoder) for _ in range(num_drafts)])
        self.refine = MODELS.build(decoder)
        self.detach, self.sigmoid = detach, sigmoid

    def forward(
        self,
        features: SAMFeatures,
        prompts: PromptEmbedding,
        prompt_encoder: SAMPromptEncoder,
        need_upscaled: bool = False,
    ) -> MaskPrediction:
        """Draft and refine the masks of P prompts.

        Args:
            features: Embedding (B, C, h, w).
            prompts: sparse (P, K, C), dense (P, C, h, w).
            prompt_encoder: Embeds the drafts as mask prompts.
            need_upscaled: Return the upscaled image features of the refining decoder, too.

        Returns:
            The refined logits (P, M, 4h, 4w) and iou (P, M), with the earlier predictions in `drafts`.
        """
        drafts = []
        for decoder in self.drafts:
            draft = decoder(features, prompts, prompt_encoder)
            drafts.append(draft)
            mask = draft.logits[:, :1]  # the single-mask output
            mask = mask.detach() if self.detach else mask
            # Equations 4 to 6
            prompts = prompts.with_dense(prompt_encoder.embed_masks(mask.sigmoid() if self.sigmoid else mask))
        refined = self.refine(features, prompts, prompt_encoder, need_upscaled)
        return replace(refined, drafts=drafts)

    def adapt_state(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Copy the weights of a plain decoder in `state_dict` to all decoders that have none of their own, in place."""
        plain = [key for key in state_dict if key.startswith(prefix)]
        for key in plain:
            name = key[len(prefix) :]
            if not name.startswith(('drafts.', 'refine.')):
                value = state_dict.pop(key)
                for owner in ('refine', *(f'drafts.{index}' for index in range(len(self.drafts)))):
                    state_dict.setdefault(f'{prefix}{owner}.{name}', value)
