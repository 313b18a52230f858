"""Labelled images, whichever format they come from or go to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmsam_ext.datasets.binary_defect import image_files
from mmsam_ext.datasets.transforms.image_files import inspect_image_file
from mmsam_ext.datasets.transforms.mask_files import read_mask_values

from ..errors import InferenceError
from ..fitting.facts import CLASSES, read_classes
from ..inspection.records import FILE, read_records
from ..rle import decode_rle


class Instance(NamedTuple):
    """One defect: name of its class, x, y, width, height of its box, its mask (height, width) bool, its score."""

    name: str
    box: tuple[int, int, int, int]
    mask: np.ndarray
    score: float | None = None

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.mask.sum())

    @classmethod
    def of_mask(cls, name: str, mask: np.ndarray, score: float | None = None) -> Instance:
        """Cut a mask (H, W) bool of a whole image, which must not be empty, to its box."""
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        return cls(name, (x, y, width, height), mask[y : y + height, x : x + width].astype(bool), score)


class LabelledImage(NamedTuple):
    """An image: path below its folder without suffix, file or None, height, width, and its defects."""

    name: str
    path: str | None
    height: int
    width: int
    instances: tuple[Instance, ...]

    def labels(self, classes: tuple[str, ...]) -> np.ndarray:
        """Return (H, W) uint8 of the numbers of classes, from 1; later defects lie above earlier ones."""
        labels = np.zeros((self.height, self.width), np.uint8)
        for one in self.instances:
            x, y, width, height = one.box
            labels[y : y + height, x : x + width][one.mask] = classes.index(one.name) + 1
        return labels


class Labelled(NamedTuple):
    """Names of classes, and images that are read one by one."""

    classes: tuple[str, ...]
    images: Iterator[LabelledImage]


def read_source(source: str | Path) -> Labelled:
    """Read the results of `inspect`, or a labelled folder (``images``, ``masks``, perhaps ``classes.json``).

    Raises:
        InferenceError: It is neither.
    """
    path = Path(source).expanduser()
    if path.name == FILE or (path / FILE).is_file():
        run, _ = read_records(path)
        return Labelled(tuple(run['classes']), _inspected(path))
    if (path / 'images').is_dir() and (path / 'masks').is_dir():
        classes = read_classes(path)
        return Labelled(classes, _folder(path, classes, (path / CLASSES).is_file()))
    raise InferenceError(
        f'{path}: neither results of `inspect` ({FILE}) nor a labelled folder (images/ and masks/); expected one of '
        'the two'
    )


def _inspected(path: Path) -> Iterator[LabelledImage]:
    for record in read_records(path)[1]:
        if 'error' in record:
            continue
        instances = tuple(
            Instance(one['class'], tuple(one['box']), decode_rle(one['rle']), one['score']) for one in record['defects']
        )
        file = record['path'] or record['image']
        yield LabelledImage(Path(file).stem, record['path'], record['height'], record['width'], instances)


def _folder(root: Path, classes: tuple[str, ...], numbered: bool) -> Iterator[LabelledImage]:
    masks = image_files(str(root / 'masks'))
    for name, path in sorted(image_files(str(root / 'images')).items()):
        if name not in masks:
            continue
        values = read_mask_values(Path(masks[name]).read_bytes(), masks[name], by_number=numbered)
        height, width = inspect_image_file(path)[0]
        labels = values if numbered else (values > (0 if values.max() <= 1 else 127)).astype(np.uint8)
        if labels.shape != (height, width):
            raise InferenceError(f'{masks[name]}: {labels.shape}, expected the size of its image, {(height, width)}')
        if labels.max() > len(classes):
            raise InferenceError(
                f'{masks[name]}: value {labels.max()}, expected 0 to {len(classes)}, as {CLASSES} says'
            )
        yield LabelledImage(name, path, height, width, tuple(instances_of(labels, classes)))


def instances_of(labels: np.ndarray, classes: tuple[str, ...]) -> Iterator[Instance]:
    """Yield each connected region of each class."""
    for label, name in enumerate(classes, 1):
        number, parts, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        for index in range(1, number):
            x, y, width, height = (int(value) for value in stats[index, :4])
            yield Instance(name, (x, y, width, height), parts[y : y + height, x : x + width] == index)
