"""Write labelled images as COCO, labelme, YOLO, CSV or masks."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmsam_ext.utils import printable
from mmsam_ext.utils.result_files import ResultFolder

from ..fitting.facts import CLASSES
from .labelled import Labelled, LabelledImage
from .outlines import image_rle, polygons, with_bridges


def write_coco(source: Labelled, results: ResultFolder) -> int:
    """Write ``annotations.json``: RLE at the size of the image, with holes. Returns the number of images."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(source.images, 1):
        file = printable(Path(image.path).name if image.path else image.name)
        images.append(dict(id=number, file_name=file, height=image.height, width=image.width))
        for one in image.instances:
            entry: dict[str, Any] = dict(
                id=len(annotations) + 1, image_id=number, category_id=source.classes.index(one.name) + 1, iscrowd=0,
                bbox=list(one.box), area=one.area, segmentation=image_rle(one.mask, one.box, image.height, image.width),
            )  # fmt: skip
            annotations.append(entry if one.score is None else entry | dict(score=one.score))
    categories = [dict(id=index, name=name) for index, name in enumerate(source.classes, 1)]
    text = json.dumps(dict(images=images, annotations=annotations, categories=categories))
    results.write('annotations.json', text.encode())
    return len(images)


def write_labelme(source: Labelled, results: ResultFolder) -> int:
    """Write a JSON for each image: polygons, and shapes of type 'mask' where there are holes."""
    number = 0
    for image in source.images:
        shapes = [shape for one in image.instances for shape in _labelme_shapes(one.name, one.box, one.mask)]
        content = dict(
            version='5.4.1', flags={}, shapes=shapes, imagePath=Path(image.path or image.name).name, imageData=None,
            imageHeight=image.height, imageWidth=image.width,
        )  # fmt: skip
        results.write(f'{image.name}.json', json.dumps(content).encode())
        number += 1
    return number


def _labelme_shapes(name: str, box: tuple[int, int, int, int], mask: np.ndarray) -> list[dict[str, Any]]:
    x, y, width, height = box
    base = dict(label=name, group_id=None, description='', flags={})
    parts = polygons(mask)
    if any(holes or len(outline) < 3 for outline, holes in parts):
        png = base64.b64encode(cv2.imencode('.png', mask.astype(np.uint8))[1].tobytes()).decode()
        corners = [[x, y], [x + width - 1, y + height - 1]]
        return [base | dict(shape_type='mask', points=corners, mask=png)]
    return [
        base | dict(shape_type='polygon', points=(outline + [x, y]).astype(float).tolist(), mask=None)
        for outline, _ in parts
    ]


def write_yolo(source: Labelled, results: ResultFolder) -> int:
    """Write ``labels/NAME.txt`` for each image (an empty one without a defect) and ``data.yaml``."""
    number = 0
    for image in source.images:
        size = np.array([image.width, image.height])
        lines = []
        for one in image.instances:
            for outline, holes in polygons(one.mask):
                points = (with_bridges(outline, holes) + one.box[:2] + 0.5) / size
                if len(points) < 3:  # of one or two pixels
                    points = np.concatenate([points, points, points])[:3]
                values = ' '.join(f'{value:.6f}' for value in points.ravel())
                lines.append(f'{source.classes.index(one.name)} {values}\n')
        results.write(f'labels/{image.name}.txt', ''.join(lines).encode())
        number += 1
    names = ''.join(f'  {index}: {json.dumps(name)}\n' for index, name in enumerate(source.classes))
    results.write('data.yaml', f'path: .\ntrain: images\nval: images\nnames:\n{names}'.encode())
    return number


def write_csv(source: Labelled, results: ResultFolder) -> int:
    """Write ``defects.csv``: a row for each defect."""
    text, number = io.StringIO(newline=''), 0
    rows = csv.writer(text)
    rows.writerow(['image', 'class', 'score', 'x', 'y', 'width', 'height', 'area_px'])
    for image in source.images:
        number += 1
        for one in image.instances:
            score = '' if one.score is None else one.score
            rows.writerow([printable(image.path or image.name), one.name, score, *one.box, one.area])
    results.write('defects.csv', text.getvalue().encode())
    return number


def write_masks(source: Labelled, results: ResultFolder) -> int:
    """Write ``masks/NAME.png`` for each image: 0 and 255 for one class, otherwise numbers and ``classes.json``."""
    number, several = 0, len(source.classes) > 1
    for image in source.images:
        results.write(f'masks/{image.name}.png', mask_png(image, source.classes))
        number += 1
    if several:
        results.write(CLASSES, json.dumps(source.classes).encode())
    return number


def mask_png(image: LabelledImage, classes: tuple[str, ...]) -> bytes:
    """Return the mask of an image as a PNG file."""
    labels = image.labels(classes)
    return cv2.imencode('.png', labels if len(classes) > 1 else labels * 255)[1].tobytes()


WRITERS = dict(coco=write_coco, labelme=write_labelme, yolo=write_yolo, csv=write_csv, masks=write_masks)
