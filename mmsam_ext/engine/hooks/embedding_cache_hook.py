"""Train on stored embeddings of a frozen image encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmsam_ext.datasets.fixed_images import check_fixed_images
from mmsam_ext.models.caching import (
    DiskStore,
    EmbeddingCache,
    MemoryStore,
    check_cacheable,
    encoder_parts,
    fingerprint,
)
from mmsam_ext.models.segmentors import PromptableSegmentor


@HOOKS.register_module()
class EmbeddingCacheHook(Hook):
    """Encode each image of a training once: a frozen encoder computes the same embedding in every epoch.

    Embeddings are found by the hash of encoder, image and settings (:class:`EmbeddingCache`); losses are the same as
    without the cache. Ranks, runs and configs may share a folder. ``python -m mmsam_ext precompute CONFIG`` fills it
    before the training.

    Args:
        path: Folder of the cache. None keeps embeddings in the memory of each process.
        max_gib: GiB that all entries may take together. An embedding of 256 x 64 x 64 takes 4 MiB in fp32 and 2 MiB in
            bf16; each flip of an image has an entry of its own.
        dtype: Floating-point format to store; None for the one that is computed, with which losses stay the same bit
            for bit. 'bfloat16' halves fp32 entries.
        fixed: Names of transforms of the user that always return the same image for the same one.

    Raises:
        ValueError: Before training: the encoder is not frozen, the pipeline changes images at random (the error names
            the transform), or an argument is out of its range.

    Example:
        >>> default_hooks = dict(embedding_cache=dict(type='EmbeddingCacheHook', path='data/embeddings'))
    """

    def __init__(
        self,
        path: str | os.PathLike | None = None,
        max_gib: float = 50.0,
        dtype: str | None = None,
        fixed: Sequence[str] = (),
    ) -> None:
        if not max_gib > 0:
            raise ValueError(f'EmbeddingCacheHook: max_gib={max_gib}, expected more than 0')
        self.path, self.max_gib, self.dtype, self.fixed = path, max_gib, dtype, tuple(fixed)

    def open(self, model: nn.Module, strict: bool = False) -> EmbeddingCache:
        """Return the cache for a model.

        Args:
            model: A segmentor whose encoder is frozen.
            strict: As for :class:`EmbeddingCache`.

        Raises:
            ValueError: The model cannot be used with a cache.
        """
        if not isinstance(model, PromptableSegmentor):
            raise ValueError(
                f'EmbeddingCacheHook: the model is a {type(model).__name__}, expected a PromptableSegmentor'
            )
        check_cacheable(model)
        encoder, limit = fingerprint(encoder_parts(model)), int(self.max_gib * 2**30)
        store = MemoryStore(limit) if self.path is None else DiskStore(self.path, encoder, limit)
        return EmbeddingCache(store, encoder, self.dtype, strict)

    def before_train(self, runner: Runner) -> None:
        """Check model and pipeline, and open the cache."""
        model = _unwrapped(runner.model)
        cache = self.open(model)
        check_fixed_images(runner.train_dataloader.dataset, self.fixed)
        model.cache_embeddings(cache)

    def after_train(self, runner: Runner) -> None:
        """Log how many images were found, and leave the model without a cache."""
        model = _unwrapped(runner.model)
        cache = model.embedding_cache
        print_log(
            f'embedding cache: {cache.hits} of {cache.hits + cache.misses} images were found, the others encoded; '
            f'{cache.store}',
            'current',
        )
        model.cache_embeddings(None)


def _unwrapped(model: Any) -> Any:
    return model.module if is_model_wrapper(model) else model
