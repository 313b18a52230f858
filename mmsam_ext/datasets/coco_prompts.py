"""`CocoPromptDataset`: images with COCO annotations, prompted by their boxes or by a detector's."""

from __future__ import annotations

import logging
import os
from typing import Any

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmsam_ext.structures.coco_files import read_coco

from .benchmark import not_found
from .binary_defect import some
from .transforms import LoadPrompts


@DATASETS.register_module()
class CocoPromptDataset(BaseSegDataset):
    """Read the images of a COCO, LVIS-style or SGINW annotation file.

    :class:`LoadPrompts` adds the prompts, and :class:`CocoMaskAP` computes the scores.

    ::

        data/coco/annotations/instances_val2017.json   data/coco/val2017/000000000139.jpg
        data/sginw/Airplane-Parts/valid/_annotations_min1cat.coco.json, with its images beside it

    An image is found by its `file_name` or, if it has none (LVIS), by the last two parts of its `coco_url`. Samples
    have `img_id`, `ann_file` and the usable annotations. Crowds and annotations with an area below `min_area` are not
    used as prompts and are counted in the log; they still take part in the evaluation, by COCO's rules.

    Args:
        data_root: Folder of the dataset.
        ann_file: Annotation file in it.
        data_prefix: `img_path`, the folder of the images in it.
        dataset_name: Name in tables; None for the name of the folder `data_root`.
        min_area: Minimum area of an annotation in pixels.
        require_annotations: Skip images without a usable annotation, which have no true box to prompt with; they are
            counted and logged. Set it to False for a detector's boxes, because such images may have false detections.
        kwargs: See ``BaseSegDataset``.

    Raises:
        DatasetNotFoundError: The annotation file does not exist.
        FileNotFoundError: Images are missing; the message counts them and names some.
        ValueError: The annotation file is not in COCO's format, no sample is left, or :class:`LoadPrompts` has the
            result file of another dataset.
    """

    METAINFO = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 60, 60]])

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        data_prefix: dict | None = None,
        dataset_name: str | None = None,
        min_area: float = 1.0,
        require_annotations: bool = True,
        **kwargs,
    ) -> None:
        self.dataset_name = dataset_name or os.path.basename(os.path.normpath(data_root))
        self.min_area, self.require_annotations = min_area, require_annotations
        if not os.path.isfile(os.path.join(data_root, ann_file)):
            raise not_found(self.dataset_name, f'the annotation file {ann_file}', data_root, 'where it is published')
        super().__init__(data_root=data_root, ann_file=ann_file, data_prefix=data_prefix or dict(img_path=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return a dict for each image, in the order of the annotation file."""
        data = read_coco(self.ann_file)
        by_image: dict[Any, list[dict]] = {image['id']: [] for image in data['images']}
        left_out = 0
        for annotation in data['annotations']:
            if annotation.get('iscrowd') or _area(annotation) < self.min_area:
                left_out += 1
            else:
                by_image[annotation['image_id']].append(annotation)
        infos = [self._info(image, by_image[image['id']]) for image in data['images']]
        missing = [info['img_path'] for info in infos if not os.path.isfile(info['img_path'])]
        if missing:
            raise FileNotFoundError(
                f'{self.ann_file}: {len(missing)} of its {len(infos)} images are missing, such as {some(missing)}; '
                'data_prefix.img_path must be their folder'
            )
        for step in self.pipeline.transforms:
            if isinstance(step, LoadPrompts):
                step.check_dataset(self.dataset_name, by_image, [one['id'] for one in data['categories']])
        if left_out:
            self._log(
                f'{left_out} of {len(data["annotations"])} annotations are crowds or smaller than {self.min_area}'
            )
        kept = [info for info in infos if info['instances'] or not self.require_annotations]
        if len(kept) < len(infos):
            self._log(f'{len(infos) - len(kept)} of {len(infos)} images have no annotation to prompt with')
        if not kept:
            raise ValueError(f'{self.ann_file}: none of its {len(infos)} images has an annotation to prompt with')
        return kept

    def _info(self, image: dict, annotations: list[dict]) -> dict:
        """Return the dict that the pipeline receives for an image, with the parts of annotations that prompts need."""
        name = image.get('file_name') or '/'.join(image['coco_url'].split('/')[-2:])
        return dict(
            img_path=os.path.join(self.data_prefix.get('img_path') or '', name),
            sample_id=f'{self.dataset_name}/{image["id"]}',
            img_id=image['id'],
            ann_file=self.ann_file,
            dataset_name=self.dataset_name,
            defect_class='object',
            instances=[
                dict(id=one['id'], category_id=one['category_id'], bbox=[float(value) for value in one['bbox']])
                for one in annotations
            ],
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )

    def _log(self, message: str) -> None:
        print_log(f'{self.dataset_name}: {message}; left out', logger='current', level=logging.WARNING)


def _area(annotation: dict) -> float:
    """Area of an annotation in pixels, of its box where the file does not say."""
    _, _, width, height = annotation['bbox']
    return float(annotation.get('area', width * height))
