"""Self-draft tuning: draft a mask, then refine it (SPT, section 3.2)."""

from __future__ import annotations

from dataclasses import replace

from mmengine.model import BaseModule, ModuleList
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import MaskPrediction, PromptEmbedding, SAMFeatures


@MODELS.register_module()
class SelfDraftDecoder(BaseModule):
    """Draft decoders draw a coarse mask; its logits go to the prompt encoder as a mask prompt; SAM's own decoder
    refines.

    The draft decoders are copies of SAM's decoder: where a checkpoint holds a plain ``mask_decoder``, it is loaded into
    all of them. The sparse prompt embedding is reused, the dense one is replaced by the draft's mask embedding
    (equations 4 to 6). Without training this is zero-shot SDT.

    Args:
        decoder: Config of a decoder, :class:`SAMMaskDecoder` with or without plugins; each decoder has its own.
        num_drafts: 0 (plain SAM), 1 (paper) or 2 (Table 4).
        detach: Whether the refining decoder's loss stays out of the drafting ones.
        sigmoid: Give the prompt encoder probabilities for logits.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: another number of drafts.
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

    @property
    def keep_upscaled(self) -> bool:
        """Whether the refined prediction carries the upscaled features."""
        return self.refine.keep_upscaled

    @keep_upscaled.setter
    def keep_upscaled(self, value: bool) -> None:
        self.refine.keep_upscaled = value

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding, prompt_encoder: nn.Module) -> MaskPrediction:
        """Sparse (P, K, C), dense (P, C, h, w) -> the refined logits (P, M, 4h, 4w) and iou (P, M), with `drafts`."""
        drafts = []
        for decoder in self.drafts:
            draft = decoder(features, prompts, prompt_encoder)
            drafts.append(draft)
            mask = draft.logits[:, :1]  # the single-mask output
            mask = mask.detach() if self.detach else mask
            dense = prompt_encoder.embed_masks(mask.sigmoid() if self.sigmoid else mask)
            prompts = replace(prompts, dense=dense)
        refined = self.refine(features, prompts, prompt_encoder)
        return replace(refined, drafts=drafts)

    def adapt_state(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Give the weights of a plain decoder to all decoders, in place, where they have none of their own."""
        plain = [key for key in state_dict if key.startswith(prefix)]
        for key in plain:
            name = key[len(prefix) :]
            if not name.startswith(('drafts.', 'refine.')):
                value = state_dict.pop(key)
                for owner in ('refine', *(f'drafts.{index}' for index in range(len(self.drafts)))):
                    state_dict.setdefault(f'{prefix}{owner}.{name}', value)
