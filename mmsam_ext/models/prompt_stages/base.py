"""The base class of stages that create or edit prompt embeddings."""

from __future__ import annotations

from mmengine.model import BaseModule

from mmsam_ext.structures import PromptEmbedding, SAMFeatures


class PromptStage(BaseModule):
    """Works between the prompt encoder and the mask decoder, once for each group of prompts with as many tokens.

    A head creates a prompt from the image, an adapter edits what the user gave. It may change the number of tokens K
    and the dense embedding, never P, C, h or w (the segmentor checks), and starts as an identity.
    """

    #: Missing from a checkpoint of plain SAM without an error.
    added_to_sam = True
    #: Whether it makes a prompt from the image alone, so that a user need not give one. Adapters do not.
    creates_prompt = False

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        """Sparse (P, K, C), dense (P, C, h, w) -> sparse (P, K', C), dense (P, C, h, w)."""
        raise NotImplementedError
