"""An image that was encoded once, to be prompted many times."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import PromptBatch, SAMFeatures
from mmsam_ext.structures.prompts import rescale

from .errors import InferenceError, name_error
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
    def predict(
        self, model: PromptableSegmentor, given: PromptSet, multimask: bool | str | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode prompts; the image is not encoded again.

        Args:
            model: The model that encoded the image.
            given: P prompts in pixels of the original image.
            multimask: As for :meth:`PromptableSegmentor.predict`.

        Returns:
            Mask logits (P, H0, W0) at the original size, estimated IoU (P,), and logits (P, 4h, 4w).

        Raises:
            InferenceError: A prompt is malformed, outside the image, or does not fit the model; the error names the
                image.
        """
        old, new = self.meta['ori_shape'][:2], self.meta['img_shape'][:2]
        prompts = rescale(given.prompts(old[1], old[0], self.name), old, new, self.name)
        batch = PromptBatch.from_prompts([prompts.to(self.features.embedding.device)], self.input_size, [self.name])
        sample = SegDataSample(metainfo=self.meta)
        try:
            model.predict_from_features(self.features, batch, [sample], multimask, keep_low_res=True)
        except ValueError as error:
            raise InferenceError(name_error(error, self.name)) from error
        instances = sample.pred_instances
        return instances.mask_logits, instances.iou_scores, instances.low_res_logits
