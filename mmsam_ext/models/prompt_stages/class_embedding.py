"""`ClassEmbedding`: tell the mask decoder which class of defects a prompt asks for."""

from __future__ import annotations

from dataclasses import replace

from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import PromptEmbedding, SAMFeatures

from .base import PromptStage


@MODELS.register_module()
class ClassEmbedding(PromptStage):
    """Add a vector of the class to the tokens and to the dense embedding of a prompt that names a class.

    A box around the whole image asks for all defects. With one such prompt for each class, the vectors are what tells
    them apart. Prompts without a class, such as a user's clicks, stay as they are. All vectors are zero at the start,
    so the module begins as an identity.

    Args:
        dim: C, channels of the tokens and of the image embedding.
        num_classes: K; taken from the segmentor's `num_classes` if it is left out.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: In `forward`, a label is beyond K.

    Example::

        model = dict(num_classes=3, prompt_stages=[dict(type='ClassEmbedding', dim=128)])
    """

    takes_num_classes = True

    def __init__(self, dim: int = 256, num_classes: int = 1, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_classes = num_classes
        self.tokens = nn.Embedding(num_classes + 1, dim, padding_idx=0)  # row 0: a prompt without a class
        self.dense = nn.Embedding(num_classes + 1, dim, padding_idx=0)
        nn.init.zeros_(self.tokens.weight)
        nn.init.zeros_(self.dense.weight)

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        """Mark prompts: sparse (P, K, C), dense (P, C, h, w) -> the same shapes."""
        labels = prompts.image_index.new_zeros(len(prompts)) if prompts.class_ids is None else prompts.class_ids
        if len(labels) and int(labels.max()) > self.num_classes:
            raise ValueError(
                f'ClassEmbedding: a prompt has the class {int(labels.max())}, expected at most {self.num_classes}, the '
                'number of classes of the model'
            )
        offset: Tensor = self.tokens(labels)[:, None]  # (P, 1, C)
        if prompts.padding is not None:  # SAM's "not a point" stays as it is
            offset = offset.masked_fill(prompts.padding[..., None], 0.0)
        dense = prompts.dense + self.dense(labels)[..., None, None]
        return replace(prompts.with_dense(dense), sparse=prompts.sparse + offset)
