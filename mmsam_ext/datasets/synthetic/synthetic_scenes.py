"""`SyntheticScenesDataset`: procedural scenes with photographic content, for a small SAM's pretraining."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmseg.registry import DATASETS

from .camera import photograph
from .objects import light_scene
from .photographs import Photographs
from .procedural import OBJECTS, ProceduralDataset
from .scenes import crowd_scene, defects_scene, objects_scene, plain_scene, zones_scene
from .synthetic_objects import target_mask
from .textures import degrade

#: Kind of scene -> function and chance; 'plain' ones are those of `SyntheticObjectsDataset`, degraded as there.
SCENES = dict(
    plain=(plain_scene, 0.25),
    objects=(objects_scene, 0.25),
    crowd=(crowd_scene, 0.1),
    defects=(defects_scene, 0.25),
    zones=(zones_scene, 0.15),
)


@DATASETS.register_module()
class SyntheticScenesDataset(ProceduralDataset):
    """Objects, crowds of like objects, defects or zones, closer to photographs than `SyntheticObjectsDataset`.

    Fills and backgrounds are crops of photographs (where a folder is given), industrial surfaces and textures; shapes
    include thin, hollow, perforated, branching and letter-like ones; contrast goes down to a few grey levels; and the
    result is photographed: uneven light, blur, a tone curve, sensor noise, JPEG. Deterministic by (seed, index) and
    the folder's content.

    A sample has the fields of :class:`SyntheticObjectsDataset`: `gt_masks` (T, H, W) uint8 {0, 1} in random order,
    `gt_seg_map` their union with all that is not a target, `part_map` (H, W) uint8; `defect_class` is the kind of
    scene. Put no geometric transform between this dataset and the prompts.

    Args:
        photographs: Folder of photographs (`tools/fetch_photographs.py`), or None for procedural content alone.
        sizes: Image sizes (height, width) to draw from; None: `size` alone. Samples with the same ``index // block``
            have the same size, so that a batch of `block` consecutive samples can be stacked without padding.
        block: See `sizes`; the batch size of a sampler that does not shuffle.
        enlarged: Share of blocks, 0 to 1, whose scenes are drawn at the smallest of `sizes` and then enlarged to the
            size of the block, as photographs of less resolution are when a model resizes its input.
        shares: How often each kind of scene is drawn, relative to the others; None for those of :data:`SCENES`.
        max_targets: T is at most this; which ones is drawn at random. T is 1 or more.
        min_area: Smallest target in pixels.
        length, seed, size, pipeline, kwargs: See :class:`ProceduralDataset`.

    Raises:
        ValueError: if an argument is out of range.
        FileNotFoundError: if the folder `photographs` holds no image.

    Example:
        >>> dataset = SyntheticScenesDataset(length=10, seed=1)
        >>> sorted(dataset.load_sample(0))[:3]
        ['dataset_name', 'defect_class', 'gt_masks']
    """

    METAINFO = OBJECTS
    NAME = 'synthetic_scenes'

    def __init__(
        self,
        length: int,
        seed: int = 0,
        size: Sequence[int] = (256, 256),
        pipeline: Sequence[dict | Callable] = (),
        photographs: str | Path | None = None,
        sizes: Sequence[Sequence[int]] | None = None,
        block: int = 1,
        enlarged: float = 0.0,
        shares: Mapping[str, float] | None = None,
        max_targets: int = 8,
        min_area: int = 40,
        **kwargs,
    ) -> None:
        super().__init__(length, seed=seed, size=size, pipeline=pipeline, **kwargs)
        for name, value in dict(max_targets=max_targets, min_area=min_area, block=block).items():
            if value < 1:
                raise ValueError(f'SyntheticScenesDataset: {name} is {value}, expected 1 or more')
        self.sizes = [self.size] if sizes is None else [(int(height), int(width)) for height, width in sizes]
        smallest = min((min(pair) for pair in self.sizes), default=0)
        if smallest < 32 or min_area > smallest**2 // 100:
            raise ValueError(
                f'SyntheticScenesDataset: sizes={sizes}, min_area={min_area}, expected sizes of 32 or more pixels and '
                'a min_area of at most 1 % of the smallest image'
            )
        if not 0 <= enlarged <= 1:
            raise ValueError(f'SyntheticScenesDataset: enlarged is {enlarged}, expected 0 to 1')
        self.block, self.max_targets, self.min_area, self.enlarged = block, max_targets, min_area, enlarged
        self.photographs = None if photographs is None else Photographs(photographs)
        given = {kind: share for kind, (_, share) in SCENES.items()} if shares is None else dict(shares)
        if not set(given) <= set(SCENES) or min(given.values(), default=0) < 0 or not any(given.values()):
            raise ValueError(
                f'SyntheticScenesDataset: shares={given}, expected a share of 0 or more for each of '
                f'{", ".join(SCENES)}, and one above 0'
            )
        self.shares = {kind: given.get(kind, 0.0) for kind in SCENES}  # in an order that a config file cannot change

    def load_sample(self, idx: int) -> dict:
        """Render a sample at the size of its block."""
        results = self.get_data_info(idx)
        index = self.data_list[idx]
        of_block = np.random.default_rng([self.seed, index // self.block, 1])
        size = self.sizes[int(of_block.integers(len(self.sizes)))]
        drawn = size
        if self.enlarged and of_block.random() < self.enlarged:
            drawn = min(self.sizes, key=lambda pair: pair[0] * pair[1])
        scene = self.render(np.random.default_rng([self.seed, index]), drawn)
        results.update(scene if drawn == size else enlarge(scene, size))
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def render(self, rng: np.random.Generator, size: tuple[int, int] | None = None) -> dict:
        """Draw a scene.

        Args:
            rng: All randomness.
            size: Height and width in pixels; the first of `sizes` where None.

        Returns:
            `img` (H, W, 3) uint8 BGR, `gt_seg_map` (H, W) uint8 {0, 1}, `gt_masks` (T, H, W) uint8 {0, 1},
            `part_map` (H, W) uint8 and `defect_class`, a key of :data:`SCENES`.
        """
        size = size or self.sizes[0]
        kinds = list(self.shares)
        chances = np.array(list(self.shares.values()))
        kind = kinds[int(rng.choice(len(kinds), p=chances / chances.sum()))]
        draw = SCENES[kind][0]
        while True:  # all targets tiny or hidden is rare; the next draw of the same generator is as good
            image, labels, targets = draw(rng, size, self.photographs)
            areas = np.bincount(labels.ravel(), minlength=256)
            # A target that fills nearly everything leaves no background to tell it from.
            limits = (self.min_area, 0.9 * labels.size)
            sums = [sum(int(areas[label]) for label in target) for target in targets]
            targets = [target for target, area in zip(targets, sums, strict=True) if limits[0] <= area <= limits[1]]
            if targets:
                break
        chosen = rng.permutation(len(targets))[: self.max_targets]
        plain = kind == 'plain'
        if not plain and rng.random() < 0.15:  # as in a negative, X-ray or back-lit image
            image = cv2.bitwise_not(np.clip(image, 0, 255).astype(np.uint8)).astype(np.float32)
        return dict(
            img=degrade(rng, light_scene(rng, image)) if plain else photograph(rng, image),
            gt_seg_map=(labels > 0).astype(np.uint8),
            gt_masks=np.stack([target_mask(labels, targets[row]) for row in chosen]),
            part_map=labels,
            defect_class=kind,
        )


def enlarge(scene: dict, size: tuple[int, int]) -> dict:
    """Resize a scene of :meth:`SyntheticScenesDataset.render` to `size` (height, width), labels without blending."""
    height, width = size
    rows = (np.arange(height) + 0.5) * scene['part_map'].shape[0] / height
    columns = (np.arange(width) + 0.5) * scene['part_map'].shape[1] / width
    nearest = (..., rows.astype(int)[:, None], columns.astype(int))
    labels = {key: scene[key][nearest] for key in ('gt_seg_map', 'gt_masks', 'part_map')}
    return dict(scene, img=cv2.resize(scene['img'], (width, height), interpolation=cv2.INTER_LINEAR), **labels)
