"""How a segmentor turns images into features: in which format, and from a cache or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmsam_ext.structures import SAMFeatures

from ..caching import EmbeddingCache, check_cacheable, encoder_parts
from .compute_dtype import call_in, inference_dtype


class ImageEncoding(nn.Module):
    """Encode images for a segmentor, in the format of its settings; to be inherited before a segmentor.

    Attributes:
        embedding_cache: Where features come from in training; None encodes every image anew.
    """

    embedding_cache: EmbeddingCache | None = None
    test_cfg: dict
    compute_dtype: torch.dtype | None
    backbone: nn.Module
    neck: nn.Module
    mask_decoder: nn.Module
    prompt_encoder: Any
    data_preprocessor: Any
    with_neck: bool

    def active_dtype(self, device: torch.device) -> torch.dtype | None:
        """Return the format to encode in, by `train_cfg` in training, else by `test_cfg`; None: the weights' own."""
        return self.compute_dtype if self.training else inference_dtype(self.test_cfg.get('compute_dtype'), device)

    def decoder_dtype(self, device: torch.device) -> torch.dtype | None:
        """Return the format to decode in; without training and `test_cfg.decoder_dtype` it is the weights' own."""
        return self.compute_dtype if self.training else inference_dtype(self.test_cfg.get('decoder_dtype'), device)

    def computed_parts(self, device: torch.device) -> list[tuple[nn.Module, torch.dtype | None]]:
        """Return encoder parts and decoder with the format of each; all else is fp32, position codes among them."""
        encoder = [(part, self.active_dtype(device)) for part in encoder_parts(self).values()]
        return [*encoder, (self.mask_decoder, self.decoder_dtype(device))]

    def extract_feat(self, inputs: Tensor, dtype: torch.dtype | None = None) -> SAMFeatures:
        """Encode images; called once per batch.

        Args:
            inputs: (B, 3, H, W).
            dtype: Floating-point format that backbone and neck compute in; None for :meth:`active_dtype`.

        Returns:
            Features with embedding (B, C, h, w).

        Raises:
            ValueError: The embedding has other channels than the prompt encoder expects.
        """
        dtype = dtype or self.active_dtype(inputs.device)
        outputs = call_in(self.backbone, dtype, inputs if dtype is None else inputs.to(dtype))
        outputs = call_in(self.neck, dtype, outputs) if self.with_neck else outputs
        *stages, embedding = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        expected = getattr(self.prompt_encoder, 'embed_dim', embedding.shape[1])
        if embedding.shape[1] != expected:
            last = type(self.neck if self.with_neck else self.backbone).__name__
            raise ValueError(
                f'{last} ends in {embedding.shape[1]} channels, expected {expected}, the `embed_dim` of the prompt '
                'encoder. Set `neck` of the model to one that ends in them'
            )
        return SAMFeatures(embedding, tuple(stages), inputs)

    def cache_embeddings(self, cache: EmbeddingCache | None) -> None:
        """Take features from a cache from now on; None encodes every image anew.

        Raises:
            ValueError: The encoder is not frozen, or the preprocessor pads each batch to its largest image.
        """
        if cache is not None:
            check_cacheable(self)
        self.embedding_cache = cache
        self.data_preprocessor.digest_images = cache is not None

    def encode(self, inputs: Tensor, samples: Sequence[SegDataSample], dtype: torch.dtype | None = None) -> SAMFeatures:
        """Return the features of a batch for training, from the cache if there is one.

        Args:
            inputs: (B, 3, H, W).
            samples: One data sample per image.
            dtype: As for :meth:`extract_feat`.
        """
        if self.embedding_cache is None:
            return self.extract_feat(inputs, dtype)
        return self.embedding_cache.features(self, inputs, samples, dtype)
