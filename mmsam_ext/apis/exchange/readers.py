"""Read COCO, labelme and YOLO labels, and write them as a folder that can be trained on."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from mmsam_ext.datasets.binary_defect import image_files
from mmsam_ext.datasets.transforms.image_files import inspect_image_file
from mmsam_ext.structures.coco_files import read_coco
from mmsam_ext.utils.result_files import ResultFolder
from mmsam_ext.utils.text_files import read_json, read_text

from ..errors import InferenceError
from ..fitting.facts import CLASSES
from ..rle import decode_rle
from .labelled import Instance, Labelled, LabelledImage
from .outlines import fill
from .writers import mask_png


def read_labels(labels: str | Path, images: str | Path) -> Labelled:
    """Read labels in one of three formats, told apart by their files.

    Args:
        labels: A COCO file (.json), a folder of labelme files (.json), or a folder of YOLO labels (.txt) whose
            ``data.yaml`` or ``classes.txt`` is there or one folder above.
        images: The folder of the images.

    Raises:
        InferenceError: A file or an image is missing, or a label is malformed; names the file and what is wrong.
    """
    path, folder = Path(labels).expanduser(), Path(images).expanduser()
    if not folder.is_dir():
        raise InferenceError(f'images {folder}: the folder does not exist')
    files = image_files(str(folder))
    if path.is_file():
        return _coco(path, folder)
    texts = sorted(one for one in path.rglob('*.txt') if one.name != 'classes.txt') if path.is_dir() else []
    jsons = sorted(one for one in path.rglob('*.json') if one.name != CLASSES) if path.is_dir() else []
    if texts and not jsons:
        classes = _yolo_classes(path)
        return Labelled(classes, _yolo(texts, path, files, classes))
    if jsons:
        classes = tuple(dict.fromkeys(str(shape['label']) for one in jsons for shape in _shapes(one)))
        if not classes:
            raise InferenceError(f'{path}: none of {len(jsons)} labelme files has a shape')
        return Labelled(classes, _labelme(jsons, path, files))
    raise InferenceError(f'{path}: expected a COCO file, or a folder of labelme (.json) or YOLO (.txt) files')


def write_dataset(source: Labelled, folder: str | Path, overwrite: bool = False) -> int:
    """Write a folder that `fit` trains on: ``images``, ``masks`` and ``classes.json``.

    Images are copied. Returns their number.

    Raises:
        InferenceError: There is no image.
    """
    results, number = ResultFolder(folder, overwrite), 0
    results.prepare()
    for image in source.images:
        file = Path(image.path or '')
        results.write(f'images/{image.name}{file.suffix}', file.read_bytes())
        results.write(f'masks/{image.name}.png', mask_png(image, source.classes))
        number += 1
    if not number:
        raise InferenceError('none of the labels has its image in the folder of images')
    if len(source.classes) > 1:
        results.write(CLASSES, json.dumps(list(source.classes)).encode())
    return number


def _coco(path: Path, folder: Path) -> Labelled:
    try:
        content = read_coco(str(path))
    except ValueError as error:
        raise InferenceError(str(error)) from error
    categories = {one['id']: str(one['name']) for one in content['categories']}
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for annotation in content['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)

    def images() -> Iterator[LabelledImage]:
        for entry in content['images']:
            file = folder / entry['file_name']
            outside = os.path.isabs(entry['file_name']) or os.path.normpath(entry['file_name']).startswith('..')
            if outside or not file.is_file():
                raise InferenceError(f'{path}: image {entry["file_name"]} is not in {folder}')
            height, width = _checked_size(file, entry['height'], entry['width'], path)
            instances = []
            for annotation in by_image.get(entry['id'], ()):
                mask = _coco_mask(annotation, height, width, path)
                if mask.any():
                    instances.append(Instance.of_mask(categories[annotation['category_id']], mask))
            name = str(Path(entry['file_name']).with_suffix(''))
            yield LabelledImage(name, str(file), height, width, tuple(instances))

    return Labelled(tuple(dict.fromkeys(categories.values())), images())


def _coco_mask(annotation: dict[str, Any], height: int, width: int, path: Path) -> np.ndarray:
    where = f'{path}: annotation {annotation.get("id")}'
    segmentation = annotation.get('segmentation')
    if isinstance(segmentation, list) and segmentation:
        return fill([np.reshape(part, (-1, 2)) for part in segmentation], height, width)
    if isinstance(segmentation, dict):
        if list(segmentation['size']) != [height, width]:
            raise InferenceError(f'{where}: size {segmentation["size"]}, expected that of the image, {[height, width]}')
        if isinstance(segmentation['counts'], list):
            return decode_rle(segmentation)
        try:
            from pycocotools import mask as coco
        except ImportError as error:
            raise InferenceError(f'{where}: compressed RLE needs pycocotools: pip install "mmsam_ext[coco]"') from error
        return coco.decode(cast('Any', segmentation)).astype(bool)
    raise InferenceError(f'{where}: field `segmentation` is {segmentation!r}, expected polygons or RLE')


def _shapes(path: Path) -> list[dict[str, Any]]:
    try:
        content = read_json(path)
        shapes = content['shapes']
        return [dict(shape) | dict(size=(content['imageHeight'], content['imageWidth'])) for shape in shapes]
    except (ValueError, KeyError, TypeError) as error:
        raise InferenceError(f'{path}: not a labelme file ({type(error).__name__}: {error})') from error


def _labelme(paths: list[Path], root: Path, files: dict[str, str]) -> Iterator[LabelledImage]:
    for path in paths:
        name = path.relative_to(root).with_suffix('').as_posix()
        file = _image_of(name, files, path)
        content = read_json(path)
        height, width = _checked_size(Path(file), content['imageHeight'], content['imageWidth'], path)
        instances = []
        for index, shape in enumerate(content['shapes']):
            mask = _labelme_mask(shape, height, width, f'{path}: shapes[{index}]')
            if mask.any():
                instances.append(Instance.of_mask(str(shape['label']), mask))
        yield LabelledImage(name, file, height, width, tuple(instances))


def _labelme_mask(shape: dict[str, Any], height: int, width: int, where: str) -> np.ndarray:
    points, kind = np.array(shape['points'], float), shape.get('shape_type', 'polygon')
    if kind in ('polygon', 'linestrip', 'line'):
        return fill([points], height, width)
    if kind == 'rectangle':
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return fill([np.array([[left, top], [right, top], [right, bottom], [left, bottom]])], height, width)
    if kind == 'circle':
        mask = np.zeros((height, width), np.uint8)
        center, radius = (
            tuple(int(value) for value in points[0].round()),
            round(float(np.hypot(*(points[1] - points[0])))),
        )
        return cv2.circle(mask, center, radius, 1, -1).astype(bool)
    if kind == 'mask':
        png = np.frombuffer(base64.b64decode(shape['mask']), np.uint8)
        image = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        if image is None:
            raise InferenceError(f'{where}: `mask` cannot be decoded, expected a PNG file in base64')
        part = image > 0
        mask = np.zeros((height, width), bool)
        x, y = (int(value) for value in points.min(0).round())
        mask[y : y + part.shape[0], x : x + part.shape[1]] = part[: height - y, : width - x]
        return mask
    raise InferenceError(f'{where}: shape_type {kind!r}, expected polygon, rectangle, circle, line, linestrip or mask')


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())


def _yolo_classes(path: Path) -> tuple[str, ...]:
    for folder in (path, path.parent):
        if (folder / 'classes.txt').is_file():
            return _lines(folder / 'classes.txt') or ('defect',)
        if (folder / 'data.yaml').is_file():
            text = read_text(folder / 'data.yaml')
            names = re.findall(r'^\s+(\d+):\s*(.+?)\s*$', text, re.MULTILINE)
            if names:
                return tuple(name.strip('"\'') for _, name in sorted(names, key=lambda one: int(one[0])))
            listed = re.search(r'^names:\s*\[(.+)\]', text, re.MULTILINE)
            if listed:
                return tuple(name.strip().strip('"\'') for name in listed[1].split(','))
    raise InferenceError(f'{path}: neither data.yaml with `names` nor classes.txt is there or one folder above')


def _yolo(paths: list[Path], root: Path, files: dict[str, str], classes: tuple[str, ...]) -> Iterator[LabelledImage]:
    for path in paths:
        name = path.relative_to(root).with_suffix('').as_posix().removeprefix('labels/')
        file = _image_of(name, files, path)
        height, width = inspect_image_file(file)[0]
        instances = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                label, *values = line.split()
                points = np.array([float(value) for value in values]).reshape(-1, 2) * [width, height] - 0.5
                if not np.isfinite(points).all() or not 0 <= int(label) < len(classes):
                    raise ValueError(f'class {label} of {len(classes)}, or coordinates that are no numbers')
                kind = classes[int(label)]
            except (ValueError, IndexError) as error:
                raise InferenceError(
                    f'{path}, line {number}: {line[:60]!r} ({error}); expected a class and x y ...'
                ) from error
            if len(points) == 2:  # a box: centre and size
                (x, y), (wide, high) = points + 0.5, points[1] + 0.5
                x, y = x - wide / 2, y - high / 2
                points = np.array([[x, y], [x + wide - 1, y], [x + wide - 1, y + high - 1], [x, y + high - 1]])
            mask = fill([points], height, width)
            if mask.any():
                instances.append(Instance.of_mask(kind, mask))
        yield LabelledImage(name, file, int(height), int(width), tuple(instances))


def _image_of(name: str, files: dict[str, str], path: Path) -> str:
    if name not in files:
        raise InferenceError(f'{path}: the folder of images has no image {name}')
    return files[name]


def _checked_size(file: Path, height: int, width: int, path: Path) -> tuple[int, int]:
    rows, columns = inspect_image_file(str(file))[0]
    found = int(rows), int(columns)
    if found != (height, width):
        raise InferenceError(
            f'{path}: {file.name} is {height} x {width} there, but the image has {found[0]} x {found[1]}'
        )
    return found
