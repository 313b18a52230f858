"""`ProceduralDataset`: base of the datasets whose samples are computed instead of read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from mmseg.datasets import BaseSegDataset

#: Transforms that read what a procedural sample has already.
LOADERS = ('LoadImageFromFile', 'LoadAnnotations', 'LoadBinaryMask')
#: Classes and colours of the datasets of general objects.
OBJECTS = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 90, 60]])


class ProceduralDataset(BaseSegDataset):
    """Compute samples that depend only on (seed, index): they are the same in any worker, process and order.

    The pipeline starts with a loaded sample. Transforms that load files (``LoadImageFromFile`` and the like) are left
    out of it, so that it may be shared with datasets of files and with MMSegmentation's inferencer. A sample has `img`
    (H, W, 3) uint8 BGR, `gt_seg_map` (H, W) uint8, `seg_fields`, `img_shape`, `ori_shape`, and the names `img_path`
    (virtual, no such file), `sample_id`, `dataset_name`, `defect_class`.

    Args:
        length: Number of samples; it costs no memory.
        seed: Different seeds give different samples.
        size: Height and width of the images in pixels.
        pipeline: As in ``BaseSegDataset``.
        indices: Use only these samples; a number N uses the first N, a negative number -N the last N.
        metainfo: As in ``BaseSegDataset``.
        filter_cfg: Accepted for compatibility; nothing is filtered.
        test_mode: As in ``BaseSegDataset``.
        lazy_init: As in ``BaseSegDataset``.

    Raises:
        ValueError: `length` is less than 1, or `size` is less than 32 pixels.
    """

    NAME = 'procedural'
    #: A sample is known by its index.
    data_list: Sequence[int]

    def __init__(
        self,
        length: int,
        seed: int = 0,
        size: Sequence[int] = (256, 256),
        pipeline: Sequence[dict | Callable] = (),
        indices: int | Sequence[int] | None = None,
        metainfo: dict | None = None,
        filter_cfg: dict | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        if length < 1:
            raise ValueError(f'{type(self).__name__}: length is {length}, expected 1 or more')
        if len(size) != 2 or min(size) < 32:
            raise ValueError(f'{type(self).__name__}: size is {size}, expected (height, width) of 32 or more pixels')
        self.length = length
        self.seed = seed
        self.size = (int(size[0]), int(size[1]))
        # A range needs no shared memory, hence serialize_data=False.
        steps = [step for step in pipeline if not _loads_files(step)]
        super().__init__(
            pipeline=steps,
            indices=indices,
            metainfo=metainfo,
            filter_cfg=filter_cfg,
            test_mode=test_mode,
            lazy_init=lazy_init,
            serialize_data=False,
        )

    def load_data_list(self) -> range:
        """Return the indices of all samples."""
        return range(self.length)

    def get_data_info(self, idx: int) -> dict:
        """Return the names of a sample without rendering it, which is fast."""
        self.full_init()
        index = self.data_list[idx]
        return dict(
            img_path=f'{self.NAME}/{self.seed}/{index:06d}.png',
            sample_id=f'{self.seed}/{index:06d}',
            dataset_name=self.NAME,
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=['gt_seg_map'],
            sample_idx=idx % len(self.data_list),
        )

    def load_sample(self, idx: int) -> dict:
        """Render a sample, image and targets, as the pipeline receives it."""
        results = self.get_data_info(idx)
        results.update(self.render(np.random.default_rng([self.seed, self.data_list[idx]])))
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def prepare_data(self, idx: int) -> dict | None:
        """Render a sample and run the pipeline on it."""
        return self.pipeline(self.load_sample(idx))

    @abstractmethod
    def render(self, rng: np.random.Generator) -> dict:
        """Render a sample from `rng`: at least `img`, `gt_seg_map` and `defect_class`."""


def _loads_files(step: dict | Callable) -> bool:
    """Return whether a step of a pipeline is one of `LOADERS`, with or without a scope such as 'mmseg.'."""
    return isinstance(step, dict) and str(step.get('type')).rsplit('.')[-1] in LOADERS


def check_min_area(name: str, min_area: int, size: tuple[int, int]) -> None:
    """Check the smallest area of a target.

    Args:
        name: Name of the dataset's class, for the message.
        min_area: Smallest target in pixels.
        size: Height and width of the images in pixels.

    Raises:
        ValueError: It is less than a pixel, or more than 1 % of the image.
    """
    if not 1 <= min_area <= size[0] * size[1] // 100:
        raise ValueError(f'{name}: min_area is {min_area}, expected 1 to 1 % of {size} pixels')
