"""What flows between the stages of a :class:`PromptableSegmentor`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar('T')


@dataclass
class SAMFeatures:
    """Image features of a batch.

    Attributes:
        embedding: (B, C, h, w), SAM's image embedding.
        stages: Inner feature maps of the backbone, shallow to deep, each (B, C_i, h_i, w_i); may be empty.
        image: (B, 3, H, W), the network input, for stages that read it again; None if it is not available.
        observe: Called by decoder plugins with what they did in a decoding of these features (for example a
            :class:`SamplingRecord`); None if nobody wants to know.
    """

    embedding: Tensor
    stages: tuple[Tensor, ...] = ()
    image: Tensor | None = None
    observe: Callable[[Any], None] | None = None
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, what: str, compute: Callable[[], T], *settings: Hashable, weights: nn.Module | None = None) -> T:
        """Return the result of `compute`, computed once for all prompts, decoders and blocks that need it.

        One rule decides when a stored result is used again: `what`, `settings`, the gradient mode and, if `weights` is
        given, that module and the current values of its parameters are the same. A graph therefore never misses what
        was computed without gradients, and an image that stays encoded never meets outdated weights. If PyTorch does
        not tell whether parameters have changed, the result is computed anew.

        Args:
            what: Name of the result.
            compute: Computes it from these features.
            settings: Everything else that the result depends on.
            weights: The module whose parameters it depends on.
        """
        versions: tuple[int, ...] | None = ()
        if weights is not None:
            versions = parameter_versions(weights)
        if versions is None:
            return compute()
        key = (what, settings, torch.is_grad_enabled(), weights, versions)
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]


def parameter_versions(module: nn.Module) -> tuple[int, ...] | None:
    """Return the version of each parameter, which changes with its values.

    None if there are no versions: in ``torch.compile``, and of parameters made under ``torch.inference_mode``.
    """
    if torch.compiler.is_compiling():
        return None
    parameters = tuple(module.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return None
    return tuple(parameter._version for parameter in parameters)  # noqa: SLF001 (torch has no public one)


@dataclass
class PromptEmbedding:
    """P embedded prompts with the same number K of tokens, from any images of the batch.

    Attributes:
        sparse: (P, K, C) tokens; K = 0 for prompts without points and boxes.
        dense: (P, C, h, w) embedding that is added to the image embedding; may be an expanded (not copied) view.
        image_index: (P,) the image of the batch that each prompt belongs to.
        image_pe: (1, C, h, w) the position code of the image grid.
        order: (P,) place of each prompt among all prompts of the batch; the segmentor restores their order by it.
        padding: (P, K) bool, the tokens that stand for no point (SAM's "not a point"); None if there are none. A stage
            that changes the number of tokens changes it too, or sets it to None.
        class_ids: (P,) the label of the class that each prompt asks for, 0 where none is given; None if there are none.
        dense_is_shared: Whether `dense` is the same for all of several prompts, so that what is computed from it and
            the image embedding is computed once per image.
        dense_by_image: (B, C, h, w), where each prompt's `dense` is that of its image; None if it is not.
    """

    sparse: Tensor
    dense: Tensor
    image_index: Tensor
    image_pe: Tensor
    order: Tensor
    padding: Tensor | None = None
    class_ids: Tensor | None = None
    dense_is_shared: bool = False
    dense_by_image: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image_index)

    def __getitem__(self, rows: slice) -> PromptEmbedding:
        """Return some of the prompts, as views."""
        return replace(
            self,
            sparse=self.sparse[rows],
            dense=self.dense[rows],
            image_index=self.image_index[rows],
            order=self.order[rows],
            padding=None if self.padding is None else self.padding[rows],
            class_ids=None if self.class_ids is None else self.class_ids[rows],
        )

    @property
    def shared_dense(self) -> Tensor | None:
        """What `dense` is for all prompts of an image, (1, C, h, w) or (B, C, h, w); None if prompts differ."""
        return self.dense[:1] if self.dense_is_shared else self.dense_by_image

    def with_dense(self, dense: Tensor, by_image: Tensor | None = None) -> PromptEmbedding:
        """Return a copy with another dense embedding (P, C, h, w).

        Args:
            dense: The embedding, which may differ between prompts.
            by_image: (B, C, h, w), if the embedding of each prompt is that of its image.
        """
        return replace(self, dense=dense, dense_is_shared=False, dense_by_image=by_image)


#: The masks of a decoder: the single-mask output, and those for ambiguous prompts.
SINGLE, AMBIGUOUS = slice(0, 1), slice(1, None)


@dataclass
class MaskPrediction:
    """The masks that a mask decoder predicts for P prompts.

    Attributes:
        logits: (P, M, 4h, 4w) mask logits of all mask tokens, foreground is > 0: first the single-mask output, then
            those for ambiguous prompts.
        iou: (P, M) the IoU head's estimate of each mask's IoU.
        drafts: Earlier predictions of the same prompts, first to last (self-draft decoders); supervised too.
        upscaled: (P, C/8, 4h, 4w) the decoder's upscaled image features; None unless they were requested.
        presence: (P,) logits of the presence head; None without one.
        object_logits: (P,) logits of the score that there is an object at all; None for decoders without it (SAM 2 has
            it).
    """

    logits: Tensor
    iou: Tensor
    drafts: list[MaskPrediction] = field(default_factory=list)
    upscaled: Tensor | None = None
    presence: Tensor | None = None
    object_logits: Tensor | None = None

    @classmethod
    def joined(cls, predictions: Sequence[MaskPrediction], order: Tensor) -> MaskPrediction:
        """Concatenate predictions of several groups of prompts, and sort their P prompts by `order` (P,)."""
        upscaled = [prediction.upscaled for prediction in predictions if prediction.upscaled is not None]
        objects = [prediction.object_logits for prediction in predictions if prediction.object_logits is not None]
        return cls(
            logits=torch.cat([prediction.logits for prediction in predictions])[order],
            iou=torch.cat([prediction.iou for prediction in predictions])[order],
            drafts=[cls.joined(drafts, order) for drafts in zip(*(p.drafts for p in predictions), strict=True)],
            upscaled=torch.cat(upscaled)[order] if upscaled else None,
            object_logits=torch.cat(objects)[order] if objects else None,
        )

    def float(self) -> MaskPrediction:
        """Return the prediction in fp32, with everything that belongs to it."""
        optional = {name: getattr(self, name) for name in ('upscaled', 'presence', 'object_logits')}
        return MaskPrediction(
            self.logits.float(),
            self.iou.float(),
            [one.float() for one in self.drafts],
            **{name: None if value is None else value.float() for name, value in optional.items()},
        )

    def masks(self, which: slice) -> MaskPrediction:
        """Return some of the M masks, as views, without drafts and upscaled features."""
        return MaskPrediction(self.logits[:, which], self.iou[:, which])

    def pick(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask `chosen` (P,) of each prompt: logits (P, 4h, 4w) and estimated IoU (P,)."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return self.logits[rows, chosen], self.iou[rows, chosen]
