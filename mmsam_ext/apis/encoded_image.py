"""An image that was encoded once, to be prompted many times."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmsam_ext.datasets.transforms.pack_prompt_inputs import rescale
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.models.segmentors.promptable_segmentor import to_original
from mmsam_ext.structures import SAMFeatures

from .errors import InferenceError, name_error
from .prompt_sets import PromptSet


class EncodedImage(NamedTuple):
    """Features of one image, and where it came from.

    Attributes:
        name: In error messages.
        features: embedding (1, C, h, w).
        input_size: (H, W) of the padded network input.
        meta: Metainfo of its sample; `ori_shape` and `img_shape` (height, width) before and after the pipeline.
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
    def predict(self, model: PromptableSegmentor, given: PromptSet) -> tuple[Tensor, Tensor, Tensor]:
        """Decode prompts, by the steps of ``PromptableSegmentor.predict`` but the encoder's.

        Returns:
            Mask logits (P, H0, W0) at the original size, estimated IoU (P,), and logits (P, 4h, 4w).

        Raises:
            InferenceError: a prompt that is malformed, outside the image, or does not fit the model; names the image.
        """
        old, new = self.meta['ori_shape'][:2], self.meta['img_shape'][:2]
        prompts = rescale(given.prompts(old[1], old[0], self.name), old, new, self.name)
        asked = [prompts.to(self.features.embedding.device)]
        try:
            prediction = model.decode(self.features, asked, self.input_size)
        except ValueError as error:
            raise InferenceError(name_error(error, self.name)) from error
        low_res, scores = model.preferred(prediction, asked)
        return to_original(low_res, self.input_size, self.meta), scores, low_res
