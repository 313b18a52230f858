"""The base class of stages that create or edit prompt embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mmengine.model import BaseModule
from mmseg.registry import MODELS

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
    #: Whether it takes the segmentor's `num_classes`, to write a prompt for each class.
    takes_num_classes = False

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        """Edit prompts: sparse (P, K, C), dense (P, C, h, w) -> sparse (P, K', C), dense (P, C, h, w)."""
        raise NotImplementedError


def build_stage(config: dict, num_classes: int | None) -> PromptStage:
    """Build a prompt stage; one that writes a prompt for each class gets the segmentor's number of classes.

    Raises:
        ValueError: The config of the stage names another number of classes.
    """
    kind = MODELS.get(config['type']) if isinstance(config['type'], str) else config['type']
    if num_classes is None or kind is None or not getattr(kind, 'takes_num_classes', False):
        return MODELS.build(config)
    if config.get('num_classes', num_classes) != num_classes:
        raise ValueError(
            f'prompt_stages: {kind.__name__} has num_classes={config["num_classes"]}, but the segmentor has '
            f'{num_classes}; leave it out, and the stage takes that of the segmentor'
        )
    return MODELS.build(dict(config, num_classes=num_classes))


def apply_stages(stages: Iterable[PromptStage], features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
    """Apply prompt stages in their order to a group of prompts.

    Args:
        stages: The stages.
        features: Features of the batch.
        prompts: sparse (P, K, C), dense (P, C, h, w).

    Raises:
        ValueError: A stage changed the number of prompts or the shape of the dense embedding; the error names it.
    """
    for index, stage in enumerate(stages):
        edited = stage(features, prompts)
        if edited.dense.shape != prompts.dense.shape or len(edited.sparse) != len(prompts.sparse):
            raise ValueError(
                f'prompt_stages[{index}] ({type(stage).__name__}) returned sparse {tuple(edited.sparse.shape)} '
                f'and dense {tuple(edited.dense.shape)} for sparse {tuple(prompts.sparse.shape)} and dense '
                f'{tuple(prompts.dense.shape)}; it may change the number of tokens only'
            )
        if edited.dense is not prompts.dense:  # also of a stage that forgot to say so
            by_image = edited.dense_by_image
            kept = by_image if by_image is not prompts.dense_by_image else None
            edited = replace(edited, dense_is_shared=False, dense_by_image=kept)
        prompts = edited
    return prompts
