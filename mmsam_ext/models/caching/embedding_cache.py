"""Encode each image of a training once, where the image encoder is frozen."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmsam_ext.structures import SAMFeatures
from mmsam_ext.structures.features import parameter_versions
from mmsam_ext.structures.samples import sample_name

from .fingerprint import encoder_parts
from .stores import Entry, Store

if TYPE_CHECKING:
    from ..segmentors.image_encoding import ImageEncoding

#: Changes whenever entries of earlier versions must not be used any more.
FORMAT = 1


class EmbeddingCache:
    """Look up the features of images in a store, and encode those that are missing.

    An entry is found by the hash of everything that the features depend on: classes, settings and weights of the
    encoder; pixels and shape of the image as the data pipeline returns it, and so its exact geometry; normalisation and
    padding; the dtype that is computed in; and the versions of PyTorch and of this
    format. It holds all outputs of the encoder, the
    inner stages too, in their dtype and memory layout. Images are encoded one at a time, so that training is the same
    bit for bit whether an entry was there or not; against training without a cache this holds for batches of one image,
    and up to rounding for larger ones.

    Args:
        store: Where entries are kept.
        encoder: Fingerprint of the encoder.
        dtype: Floating-point format to store; None for the one that is computed. 'bfloat16' halves fp32 entries, and
            losses then differ by its rounding.
        strict: Raise an error when an entry cannot be written; otherwise this is logged once, and training continues.

    Attributes:
        hits: Number of images that were found.
        misses: Number of images that were encoded.
    """

    def __init__(self, store: Store, encoder: str, dtype: str | None = None, strict: bool = False) -> None:
        stored = None if dtype is None else getattr(torch, dtype, None)
        if dtype is not None and not (isinstance(stored, torch.dtype) and stored.is_floating_point):
            raise ValueError(f'embedding cache: dtype is {dtype!r}, expected a floating-point dtype such as bfloat16')
        self.store, self.encoder, self.dtype, self.strict = store, encoder, stored, strict
        self.hits = self.misses = 0
        self._stopped = False
        self._versions: tuple[int, ...] | None = None

    def __deepcopy__(self, memo: dict) -> EmbeddingCache:
        return self  # a copy of the model shares the cache

    def features(
        self, model: ImageEncoding, inputs: Tensor, samples: Sequence[SegDataSample], dtype: torch.dtype | None
    ) -> SAMFeatures:
        """Return the features of a batch, of which only images that are not stored are encoded.

        Args:
            model: The segmentor; its encoder is frozen.
            inputs: (B, 3, H, W), the network input.
            samples: One data sample per image, with the digest that the data preprocessor adds.
            dtype: As for :meth:`PromptableSegmentor.extract_feat`.

        Raises:
            RuntimeError: The encoder's weights changed since the cache was opened.
            OSError: With `strict`, an entry cannot be written.
        """
        self._check_unchanged(model)
        dtype = dtype or model.active_dtype(inputs.device)
        keys = self._keys(model, inputs, samples, dtype)
        stored = {key: self.store.get(key) for key in dict.fromkeys(keys)}
        entries: dict[str, Entry] = {key: entry for key, entry in stored.items() if entry is not None}
        missing = [key for key in stored if key not in entries]
        self.misses += len(missing)
        self.hits += len(keys) - len(missing)
        for key in missing:  # one at a time: its batch would decide how an embedding is rounded
            row = keys.index(key)
            with torch.no_grad():
                features = model.extract_feat(inputs[row : row + 1], dtype)
            outputs = (*features.stages, features.embedding)
            entries[key] = dict(_packed(index, output[0], self.dtype) for index, output in enumerate(outputs))
            self._store(key, entries[key])
        found = [entries[key] for key in keys]
        *stages, embedding = (
            _unpacked(name, torch.stack([entry[name] for entry in found]).to(inputs.device, non_blocking=True))
            for name in sorted(found[0], key=_place)
        )
        return SAMFeatures(embedding, tuple(stages), inputs)

    def _check_unchanged(self, model: nn.Module) -> None:
        versions = sum((parameter_versions(part) or () for part in encoder_parts(model).values()), ())
        if self._versions is None:
            self._versions = versions
        if versions != self._versions:
            raise RuntimeError(
                'embedding cache: the weights of the image encoder changed during training, so that stored embeddings '
                'no longer belong to it; turn the cache off (default_hooks.embedding_cache=None), or freeze the encoder'
            )

    def _keys(
        self, model: ImageEncoding, inputs: Tensor, samples: Sequence[SegDataSample], dtype: torch.dtype | None
    ) -> list[str]:
        device = inputs.device.type
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        settings: dict[str, Any] = dict(
            format=FORMAT,
            torch=torch.__version__,
            encoder=self.encoder,
            normalisation=model.data_preprocessor.normalisation(),
            size=list(inputs.shape[-2:]),
            dtypes=[str(item) for item in (inputs.dtype, dtype, autocast, self.dtype)],
        )
        common = json.dumps(settings, sort_keys=True)
        return [hashlib.sha256(f'{common} {_digest(sample)}'.encode()).hexdigest() for sample in samples]

    def _store(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        if self._stopped:
            return
        try:
            problem = '' if self.store.put(key, tensors) else 'it is full, and all of its entries are in use'
        except OSError as error:
            if self.strict:
                raise
            problem = f'an entry cannot be written ({error})'
        if problem and self.strict:
            raise OSError(f'embedding cache {self.store}: {problem}; give it more room (max_gib)')
        if problem:
            self._stopped = True
            print_log(
                f'embedding cache {self.store}: {problem}. Training continues; images that are not stored are encoded '
                'each time. Give the cache more room (max_gib), another path, or dtype="bfloat16"',
                'current',
                logging.WARNING,
            )


def check_cacheable(model: nn.Module) -> None:
    """Check that the features of an image depend on the image alone.

    Raises:
        ValueError: Parameters of the encoder are trained (by `peft` or `trainable`), or the preprocessor pads each
            batch to its largest image.
    """
    trained = [
        f'{part}.{name}'
        for part, module in encoder_parts(model).items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    if trained:
        raise ValueError(
            f'embedding cache: {len(trained)} parameters of the image encoder are trained ({", ".join(trained[:3])}'
            f'{", ..." if len(trained) > 3 else ""}), by model.peft or model.trainable, so that embeddings change with '
            'every step; expected a frozen encoder. Turn the cache off (default_hooks.embedding_cache=None)'
        )
    preprocessor = model.data_preprocessor
    if not hasattr(preprocessor, 'normalisation') or preprocessor.size is None:
        raise ValueError(
            f'embedding cache: model.data_preprocessor is {type(preprocessor).__name__} with '
            f'size={getattr(preprocessor, "size", None)}, expected a PromptDataPreprocessor with size=(height, width): '
            'else an image is padded to the largest of its batch, and its embedding depends on the batch'
        )


def _digest(sample: SegDataSample) -> str:
    if 'image_digest' not in sample:
        raise ValueError(
            f'{sample_name(sample)}: no `image_digest` in its metainfo, which the embedding cache needs; the data '
            'preprocessor adds it, so call it before loss()'
        )
    return sample.get('image_digest')


def _packed(place: int, output: Tensor, dtype: torch.dtype | None) -> tuple[str, Tensor]:
    """Name one output of the encoder for one image, and bring it to the CPU as it lies in memory.

    Args:
        place: Number of the output.
        output: (C, h, w), or of any other shape.
        dtype: Floating-point format to store; None for its own.

    Returns:
        A name such as '0.hwc.float32' (number, memory layout, dtype), and (h, w, C) if that is how the output lies in
        memory, else the output's own shape.
    """
    moved = output.permute(1, 2, 0) if output.ndim == 3 else output
    last = not output.is_contiguous() and moved.is_contiguous()
    kept = (moved if last else output).detach().to('cpu', dtype or output.dtype, copy=True).contiguous()
    return f'{place}.{"hwc" if last else "chw"}.{str(output.dtype).removeprefix("torch.")}', kept


def _unpacked(name: str, stored: Tensor) -> Tensor:
    """Return the output (B, C, h, w) that :func:`_packed` named, from a batch of stored tensors."""
    _, layout, dtype = name.split('.')
    tensor = stored.to(getattr(torch, dtype))
    return tensor.permute(0, 3, 1, 2) if layout == 'hwc' else tensor


def _place(name: str) -> int:
    return int(name.split('.')[0])
