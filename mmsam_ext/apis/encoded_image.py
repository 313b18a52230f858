"""An image that was encoded once, to be prompted many times."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures
from mmsam_ext.structures.prompts import rescale

from .errors import InferenceError, name_error
from .full_size import LowResMasks
from .prompt_formats import fit_masks
from .prompt_sets import PromptSet


class EncodedImage(NamedTuple):
    """Hold the features of one image, and where they came from.

    Attributes:
        name: Name of the image in error messages.
        features: Features with embedding (1, C, h, w).
        input_size: (H, W) of the padded network input.
        meta: Metainfo of the image's sample; `ori_shape` and `img_shape` are (height, width) before and after the
            pipeline.
    """

    name: str
    features: SAMFeatures
    input_size: tuple[int, int]
    meta: dict[str, Any]

    @classmethod
    @torch.no_grad()
    def encode(cls, model: PromptableSegmentor, packed: dict[str, Any], name: str) -> EncodedImage:
        """Preprocess and encode a packed image (`inputs` (3, h, w) uint8 and `data_samples`)."""
        data = model.data_preprocessor(pseudo_collate([packed]), False)
        features = model.extract_feat(data['inputs'])
        return cls(name, features, tuple(data['inputs'].shape[-2:]), data['data_samples'][0].metainfo)

    @torch.no_grad()
    def decode(
        self, model: PromptableSegmentor, given: PromptSet, multimask: bool | str | None = None
    ) -> tuple[LowResMasks, Tensor]:
        """Decode prompts; the image is not encoded again.

        Args:
            model: The model that encoded the image.
            given: P prompts in pixels of the original image.
            multimask: As for :meth:`PromptableSegmentor.predict`.

        Returns:
            The masks as the decoder makes them, logits (P, 4h, 4w), and estimated IoU (P,).

        Raises:
            InferenceError: A prompt is malformed, outside the image, or does not fit the model; the error names the
                image.
        """
        old, new = self.meta['ori_shape'][:2], self.meta['img_shape'][:2]
        prompts = rescale(given.prompts(old[1], old[0], self.name), old, new, self.name)
        prompts = with_fitted_masks(prompts, self.features, self.input_size, self.meta)
        batch = PromptBatch.from_prompts([prompts.to(self.features.embedding.device)], self.input_size, [self.name])
        try:
            logits, scores = model.predict_low_res(self.features, batch, [SegDataSample(metainfo=self.meta)], multimask)
        except ValueError as error:
            raise InferenceError(name_error(error, self.name)) from error
        return LowResMasks(logits, self.input_size, self.meta, model.one_step_resize), scores

    def as_prompts(self, logits: Tensor) -> Tensor:
        """Bring predicted logits (P, h, w) to the size of mask prompts, (P, 4h, 4w); those of a refiner are larger."""
        size = tuple(4 * side for side in self.features.embedding.shape[-2:])
        if logits.shape[-2:] == size:
            return logits
        return F.interpolate(logits[:, None], size, mode='area')[:, 0]


def with_fitted_masks(
    prompts: Prompts, features: SAMFeatures, input_size: tuple[int, int], meta: dict[str, Any]
) -> Prompts:
    """Return prompts whose masks of the image's size are brought to the decoder's; see :func:`fit_masks`."""
    if not prompts.masks.numel():
        return prompts
    height, width = features.embedding.shape[-2:]
    fitted = fit_masks(prompts.masks, (4 * height, 4 * width), input_size, meta)
    return prompts if fitted is prompts.masks else prompts.with_masks(fitted)
