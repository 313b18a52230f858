"""What flows between the stages of a :class:`PromptableSegmentor`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class SAMFeatures:
    """Image features of a batch.

    Attributes:
        embedding: (B, C, h, w), what SAM calls the image embedding.
        stages: Inner feature maps of the backbone, shallow to deep, each (B, C_i, h_i, w_i); may be empty.
        image: (B, 3, H, W), the network input, for stages that look at it anew; None where it is not at hand.
        shared: What is computed from these features once, whatever the number of prompts, decoders and blocks that use
            it.
    """

    embedding: Tensor
    stages: tuple[Tensor, ...] = ()
    image: Tensor | None = None
    shared: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """`compute`'s result, computed at the first call with this key."""
        if key not in self.shared:
            self.shared[key] = compute()
        return self.shared[key]


@dataclass
class PromptEmbedding:
    """P embedded prompts with the same number K of tokens, from any images of the batch.

    Attributes:
        sparse: (P, K, C) tokens; K = 0 for prompts without points and boxes.
        dense: (P, C, h, w) embedding added to the image embedding; may be an expanded (not copied) view.
        image_index: (P,) the image of the batch each prompt belongs to.
        image_pe: (1, C, h, w) the position code of the image grid.
        order: (P,) place of each prompt among all prompts of the batch, by which the segmentor restores their order.
        padding: (P, K) bool, the tokens that stand for no point (SAM's "not a point"); None: none of them. A stage that
            changes the number of tokens changes it too, or sets it to None.
    """

    sparse: Tensor
    dense: Tensor
    image_index: Tensor
    image_pe: Tensor
    order: Tensor
    padding: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image_index)

    def __getitem__(self, rows: slice | Tensor) -> PromptEmbedding:
        """Some of the prompts, as a view where `rows` is a slice."""
        return PromptEmbedding(
            self.sparse[rows],
            self.dense[rows],
            self.image_index[rows],
            self.image_pe,
            self.order[rows],
            None if self.padding is None else self.padding[rows],
        )


@dataclass
class MaskPrediction:
    """What a mask decoder predicts for P prompts.

    Attributes:
        logits: (P, M, 4h, 4w) mask logits of all mask tokens, foreground is > 0: first the single-mask output, then
            those for ambiguous prompts.
        iou: (P, M) the IoU head's estimate of each mask's IoU.
        drafts: Earlier predictions of the same prompts, first to last (self-draft decoders); supervised too.
        upscaled: (P, C/8, 4h, 4w) the decoder's upscaled image features, for auxiliary heads; None where not asked for.
    """

    logits: Tensor
    iou: Tensor
    drafts: list[MaskPrediction] = field(default_factory=list)
    upscaled: Tensor | None = None

    def masks(self, which: slice) -> MaskPrediction:
        """Some of the M masks, as views; drafts and upscaled features stay behind."""
        return MaskPrediction(self.logits[:, which], self.iou[:, which])
