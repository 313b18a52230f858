"""The base class of stages that create or edit prompt embeddings."""

from __future__ import annotations

from mmengine.model import BaseModule

from mmsam_ext.structures import PromptEmbedding, SAMFeatures


class PromptStage(BaseModule):
    """Base class of modules between the prompt encoder and the mask decoder.

    A stage is called once for each group of prompts with the same number of tokens. A head creates a prompt from the
    image, an adapter edits what the user gave. A stage may change the number of tokens K and the dense embedding, but
    never P, C, h or w (the segmentor checks this), and it starts as an identity.
    """

    #: A checkpoint of plain SAM may lack its parameters.
    added_to_sam = True
    #: Whether it makes a prompt from the image alone, so that a user does not need to give one. Adapters do not.
    creates_prompt = False

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        """Edit prompts: sparse (P, K, C), dense (P, C, h, w) -> sparse (P, K', C), dense (P, C, h, w)."""
        raise NotImplementedError
