"""Prompts from outside: a detector's result file, or the annotations themselves."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures import PromptKind, Prompts
from mmsam_ext.structures.prompt_files import PromptFile, PromptTable
from mmsam_ext.structures.samples import sample_key

from . import geometry_probe

_SHOWN = 5  # images named in a message


@TRANSFORMS.register_module()
class LoadPrompts(BaseTransform):
    """Prompt each image with the boxes and points of a file, whose scores and categories travel along.

    Put it where GeneratePrompts would be: before Resize. Prompts come from `result_file`, in COCO's result format as
    any detector writes it, or a JSON or CSV list by file name (:class:`PromptFile`); or, without one, from the boxes of
    the sample's annotations (`instances` of :class:`CocoPromptDataset`) with a score of 1. A box ends at x + w and
    y + h. Boxes are clipped to the image; those outside of it, and those without an area, are left out and counted in
    the log.

    Required keys: img, img_path, and img_id or a path that ends as the file's names do; without `result_file`
    instances.

    Added keys: prompts, in the order of descending scores (of annotations in their order), one set for each mode and
    draw; prompt_info: `scores`, `category_ids` and `annotation_ids` of each (-1 for a prompt that does not
    come from an annotation).

    Args:
        result_file: Path, in which '{dataset_name}' stands for the sample's; None: the annotations' own boxes.
        max_per_image: Keep the highest scores; None: all.
        min_score: Keep prompts with at least this score.
        modes: Names of prompt modes, each with all prompts, to be perturbed differently by :class:`PerturbPrompts`.
        draws: Sets of prompts of each mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not in the format, or a sample lacks what is required.
    """

    def __init__(
        self,
        result_file: str | None = None,
        max_per_image: int | None = None,
        min_score: float = 0.0,
        modes: Sequence[str] = ('box',),
        draws: int = 1,
    ) -> None:
        if draws < 1 or not modes or (max_per_image is not None and max_per_image < 1):
            raise ValueError(
                f'LoadPrompts: draws={draws}, modes={list(modes)}, max_per_image={max_per_image}, expected 1 or '
                'more of each'
            )
        self.result_file, self.max_per_image, self.min_score = result_file, max_per_image, min_score
        self.modes, self.draws = tuple(modes), draws
        self._files: dict[str, PromptFile] = {}
        if result_file is not None and '{dataset_name}' not in result_file:
            self._file(result_file, '')

    def check_dataset(self, dataset_name: str, image_ids: Collection[int], category_ids: Collection[int]) -> None:
        """Compare the result file with a dataset, before anything is predicted.

        Raises:
            ValueError: none of the images in the file is in the dataset, or it has categories that the dataset lacks.
        """
        if self.result_file is None:
            return
        file = self._file(self.result_file, dataset_name)
        unknown = sorted(image for image in file.images - set(image_ids) if isinstance(image, int))
        if len(unknown) == len(file.images):
            raise ValueError(
                f'{file.path}: none of its {len(unknown)} images (such as {unknown[:_SHOWN]}) is among the '
                f'{len(image_ids)} of {dataset_name}; are these the results of another dataset?'
            )
        if unknown:
            print_log(
                f'{file.path}: {len(unknown)} of {len(file.images)} images, such as {unknown[:_SHOWN]}, are not in '
                f'{dataset_name}; their boxes are not used',
                logger='current',
                level=logging.WARNING,
            )
        categories = sorted(set(file.table.category_ids.tolist()) - set(category_ids))
        if categories:
            raise ValueError(
                f'{file.path}: category ids {categories[:_SHOWN]} are unknown, {dataset_name} has '
                f'{sorted(category_ids)}; the detector must number categories as the annotation file does'
            )

    def transform(self, results: dict) -> dict:
        """Add `prompts` and `prompt_info` to `results`."""
        name = sample_key(results)
        table = self._inside(self._table(results, name), results['img'].shape[:2], name)
        # (modes, draws, P) -> one dimension
        shape = (len(self.modes), self.draws, len(table))
        mode_ids, draw_ids, rows = (ids.ravel() for ids in np.indices(shape))
        table = table[rows]
        results['prompts'] = Prompts.create(
            boxes=table.boxes,
            points=table.points,
            point_labels=table.point_labels,
            kinds=table.kinds,
            draw_ids=draw_ids,
            mode_ids=mode_ids,
            modes=self.modes,
            sample=name,
        )
        results['prompt_info'] = dict(
            scores=table.scores, category_ids=table.category_ids, annotation_ids=table.annotation_ids
        )
        results['seg_fields'] = []  # the ground truth stays at the original size
        geometry_probe.plant(results)
        return results

    def _file(self, result_file: str, dataset_name: str) -> PromptFile:
        path = result_file.format(dataset_name=dataset_name)
        if path not in self._files:
            self._files[path] = PromptFile(path)
        return self._files[path]

    def _table(self, results: dict, name: str) -> PromptTable:
        if self.result_file is None:
            if 'instances' not in results:
                raise ValueError(
                    f'{name}: no `instances`; LoadPrompts needs samples of CocoPromptDataset, or a result_file'
                )
            return PromptTable.create(results['instances'])
        file = self._file(self.result_file, results.get('dataset_name', ''))
        table = file.of_image(results.get('img_id'), results.get('img_path', ''))
        table = table[table.scores >= self.min_score]
        return table[np.argsort(-table.scores, kind='stable')[: self.max_per_image]]

    @staticmethod
    def _inside(table: PromptTable, size: tuple[int, int], name: str) -> PromptTable:
        """Prompts whose boxes, clipped to an image of `size` (H, W), have an area."""
        height, width = size
        boxes = table.boxes.clip(0, [width, height] * 2)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1) | (table.kinds & int(PromptKind.BOX) == 0)
        if not kept.all():
            print_log(
                f'{name}: {np.count_nonzero(~kept)} of {len(kept)} boxes have no area within the image of {width} x '
                f'{height} (width x height) pixels, as {table.boxes[~kept][0].tolist()} (x1 y1 x2 y2); left out',
                logger='current',
                level=logging.WARNING,
            )
        table.boxes[:] = boxes
        return table[kept]
