"""Pipelines whose images are known in advance: what an embedding cache can be used with."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, cast

from mmcv.transforms import BaseTransform

from .transforms.enumerated_variants import EnumeratedVariants

#: Transforms that return the same image whenever they get the same one, and those whose few outcomes are enumerated.
FIXED = frozenset(
    {
        'CLAHE',
        'AdjustGamma',
        'CropTile',
        'EnumeratedVariants',
        'GeneratePrompts',
        'KeepOriginalImage',
        'LoadAnnotations',
        'LoadBinaryMask',
        'LoadFaceParts',
        'LoadImageFromFile',
        'LoadImageFromNDArray',
        'LoadNucleiMask',
        'LoadObjectMask',
        'LoadPrompts',
        'Normalize',
        'PackPromptInputs',
        'PackSegInputs',
        'Pad',
        'PerturbPrompts',
        'RGB2Gray',
        'RandomFlip',
        'Rerange',
        'Resize',
        'ResizeShortestEdge',
        'ResizeToMultiple',
    }
)


def check_fixed_images(dataset: Any, fixed: Sequence[str] = ()) -> None:
    """Check that every transform of a dataset returns one of a few images that are known in advance.

    Args:
        dataset: A dataset, or a wrapper of others (``ConcatDataset``, ``PromptMixDataset``, ...).
        fixed: Names of further transforms that always return the same image for the same one.

    Raises:
        ValueError: A transform changes images at random, or is unknown; the error names it and its dataset.
    """
    for owner, transform in _transforms(dataset):
        name = type(transform).__name__
        if name not in FIXED and name not in fixed:
            raise ValueError(
                f'embedding cache: the training pipeline of {type(owner).__name__} has {name}, which is not known to '
                f'return the same image each time, so that stored embeddings would never be found again. Leave {name} '
                'out; or put it into EnumeratedVariants(number=..., transforms=[...]), which draws from a fixed number '
                'of its outcomes; or, if it never changes an image at random, name it in '
                f'default_hooks.embedding_cache.fixed=["{name}"]'
            )


def with_each_image(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield copies of a dataset's config in which every random choice among images is replaced by one outcome.

    ``RandomFlip`` becomes each of its flips and none, and ``EnumeratedVariants`` each of its variants. All copies
    together return every image that a training will see.

    Args:
        dataset: Config of a dataset, or of a wrapper of others.
    """
    steps = [(place, outcomes) for place, step in _steps(dataset, ()) if (outcomes := _outcomes(step))]
    for chosen in itertools.product(*(outcomes for _, outcomes in steps)):
        result = copy.deepcopy(dataset)
        removed = []
        for (place, _), outcome in zip(steps, chosen, strict=True):
            *path, index = place
            pipeline = result
            for key in path:
                pipeline = pipeline[key]
            if outcome is None:
                removed.append((pipeline, index))
            else:
                pipeline[index] = outcome
        for pipeline, index in sorted(removed, key=lambda item: -item[1]):
            del pipeline[index]
        yield result


def _outcomes(step: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Return what a step of a pipeline may be replaced by; None stands for leaving it out."""
    name = _name(step)
    if name == 'EnumeratedVariants':
        number = EnumeratedVariants.check_number(step.get('number', EnumeratedVariants.NUMBER))
        return [{**step, 'variant': variant} for variant in range(number)]
    if name != 'RandomFlip':
        return []
    prob, direction = cast('Any', step.get('prob')), step.get('direction', 'horizontal')
    directions = [direction] if isinstance(direction, str) else list(direction)
    shares = list(prob) if isinstance(prob, (list, tuple)) else [prob / len(directions)] * len(directions)
    flips = [
        {**step, 'prob': 1.0, 'direction': one} for one, share in zip(directions, shares, strict=True) if share > 0
    ]
    return [*([None] if sum(shares) < 1 else []), *flips]


def _steps(config: Any, place: tuple) -> Iterator[tuple[tuple, dict[str, Any]]]:
    """Yield the steps of all pipelines in a config, each with the keys that lead to it."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == 'pipeline' and isinstance(value, (list, tuple)):
                yield from (((*place, key, index), step) for index, step in enumerate(value))
            elif isinstance(value, (dict, list, tuple)):
                yield from _steps(value, (*place, key))
    elif isinstance(config, (list, tuple)):
        for index, value in enumerate(config):
            yield from _steps(value, (*place, index))


def _transforms(dataset: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (dataset, transform) for all transforms of a dataset and of those that it wraps."""
    pipeline = getattr(dataset, 'pipeline', None)
    for transform in getattr(pipeline, 'transforms', pipeline) or ():
        inner = getattr(transform, 'transform', None)  # of a step that only calls another, as in PromptMixDataset
        yield dataset, inner if isinstance(inner, BaseTransform) else transform
    for name in ('dataset', 'datasets'):
        wrapped = getattr(dataset, name, None)
        for one in wrapped if isinstance(wrapped, (list, tuple)) else [wrapped]:
            if one is not None:
                yield from _transforms(one)


def _name(step: dict[str, Any]) -> str:
    kind = step.get('type', '')
    return kind.rsplit('.')[-1] if isinstance(kind, str) else kind.__name__
