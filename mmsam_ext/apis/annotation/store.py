"""What was labelled, on the disk: a folder that `fit` trains on, and the defects one by one for later changes."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmsam_ext.datasets.binary_defect import image_files
from mmsam_ext.datasets.transforms.image_files import inspect_image_file
from mmsam_ext.datasets.transforms.mask_files import read_mask_values
from mmsam_ext.engine.hooks.atomic_checkpoint_hook import remove_partial_files, write_atomically
from mmsam_ext.engine.work_dir_lock import WorkDirLock

from ..errors import InferenceError
from ..exchange.labelled import Instance, instances_of
from ..fitting.facts import CLASSES, read_classes
from ..rle import decode_rle, encode_rle

#: Folder in the data set with a file for each image, and the trainings.
STATE = '.annotate'
LONGEST_NAME = 100


class ConflictError(ValueError):
    """Report that an image was changed in the meantime, for example in another tab."""


class Store:
    """The labels of a folder of images.

    ::

        DATASET/images/NAME.jpg   DATASET/masks/NAME.png   DATASET/classes.json   DATASET/.annotate/NAME.json

    Masks hold the numbers of classes, from 1. Every file is written under another name and renamed, so that a full disk
    or a kill leaves the one before. Images are copied when they are labelled.

    Args:
        images: Folder of the images, with sub-folders.
        dataset: Folder to write to.
        classes: Names of classes for a new data set.

    Raises:
        InferenceError: There is no image, or another process labels in `dataset`.
    """

    def __init__(self, images: str | Path, dataset: str | Path, classes: Sequence[str] = ('defect',)) -> None:
        self.images_dir, self.root = Path(images).expanduser(), Path(dataset).expanduser()
        if not self.images_dir.is_dir():
            raise InferenceError(f'{self.images_dir}: the folder does not exist; expected a folder of images')
        self.files = dict(sorted(image_files(str(self.images_dir)).items()))
        if not self.files:
            raise InferenceError(f'{self.images_dir}: the folder has no images')
        for name in ('images', 'masks', STATE):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._process = WorkDirLock(str(self.root / STATE))
        try:
            self._process.acquire()
        except RuntimeError as error:
            raise InferenceError(f'{self.root}: another process labels in this folder ({error})') from error
        remove_partial_files(str(self.root / STATE))
        self.lock = threading.RLock()
        if not (self.root / CLASSES).is_file():
            self._write_classes([check_class(name) for name in dict.fromkeys(classes)])
        self.classes = list(read_classes(self.root))
        self._sizes: dict[str, tuple[int, int]] = {}
        self._renamed: dict[str, str] = {}  # since the start
        self._records = {name: self._read(name) for name in self.files}

    def close(self) -> None:
        """Let another process label in the folder."""
        self._process.release()

    def overview(self) -> list[dict[str, Any]]:
        """Return `name`, `status` ('new', 'defect' or 'normal') and `version` of each image."""
        with self.lock:
            return [dict(name=name, status=self._status(name), version=self.version(name)) for name in self.files]

    def version(self, name: str) -> int:
        """Return how often the labels of an image were saved."""
        return int(self._records[name].get('version', 0))

    def size(self, name: str) -> tuple[int, int]:
        """Return (height, width) of an image.

        Raises:
            InferenceError: There is no such image, or it cannot be read.
        """
        if name not in self.files:
            raise InferenceError(f'there is no image {name!r} in {self.images_dir}')
        if name not in self._sizes:
            try:
                height, width = inspect_image_file(self.files[name])[0]
            except ValueError as error:
                raise InferenceError(str(error)) from error
            self._sizes[name] = int(height), int(width)
        return self._sizes[name]

    def instances(self, name: str) -> list[Instance]:
        """Return the defects of an image."""
        self.size(name)
        with self.lock:
            return [
                Instance(one['class'], tuple(one['box']), decode_rle(one['rle']))
                for one in self._records[name].get('instances', ())
            ]

    def save(self, name: str, version: int, instances: Sequence[Instance]) -> int:
        """Save the defects of an image; none of them means that it has no defect.

        Args:
            name: The image.
            version: The one that the defects were made from.
            instances: In the image, of known classes.

        Returns:
            The new version.

        Raises:
            ConflictError: The image was saved in the meantime.
            InferenceError: A defect does not fit, or the data set has another image of this name.
            OSError: A file cannot be written; what was saved before stays.
        """
        height, width = self.size(name)
        with self.lock:
            if version != self.version(name):
                raise ConflictError(
                    f'{name}: its labels were changed in another tab or window (version {self.version(name)}, yours is '
                    f'{version}); load the image again'
                )
            instances = [one._replace(name=self._current_name(one.name)) for one in instances]
            labels = np.zeros((height, width), np.uint8)
            for index, one in enumerate(instances):
                x, y, wide, high = one.box
                inside = 0 <= x and 0 <= y and x + wide <= width and y + high <= height
                if one.mask.shape != (high, wide) or not inside or not one.mask.any():
                    raise InferenceError(
                        f'{name}: instances[{index}] has the box {one.box} and a mask of shape {one.mask.shape}, '
                        f'expected a mask of the size of its box with at least one pixel, inside {width} x {height}'
                    )
                if one.name not in self.classes:
                    raise InferenceError(f'{name}: instances[{index}] has the class {one.name!r}, which does not exist')
                labels[y : y + high, x : x + wide][one.mask] = self.classes.index(one.name) + 1
            record = dict(
                version=version + 1,
                instances=[{'class': one.name, 'box': list(one.box), 'rle': encode_rle(one.mask)} for one in instances],
            )
            self._copy_image(name)
            mask = cv2.imencode('.png', labels)[1].tobytes()
            write_atomically(mask, self.root / 'masks' / f'{name}.png')
            write_atomically(json.dumps(record).encode(), self._path(name))
            self._records[name] = record
            return version + 1

    def add_class(self, name: str) -> None:
        """Add a class at the end.

        Raises:
            InferenceError: The name is empty, too long or taken, or there are 254 classes.
        """
        with self.lock:
            if name in self.classes or len(self.classes) >= 254:
                raise InferenceError(f'class {name!r} exists already, or there are 254 classes; expected a new name')
            self._write_classes([*self.classes, check_class(name)])

    def rename_class(self, old: str, new: str) -> None:
        """Rename a class in all labels; the numbers in masks stay.

        Raises:
            InferenceError: There is no class `old`, or `new` is empty, too long or taken.
        """
        with self.lock:
            if old not in self.classes or new in self.classes:
                raise InferenceError(f'class {old!r} cannot become {new!r}; the classes are {", ".join(self.classes)}')
            check_class(new)
            # The labels first: a kill in between leaves names that `_read` brings up to date by this note.
            self._renamed[old] = new
            names = [new if name == old else name for name in self.classes]
            write_atomically(json.dumps([old, new]).encode(), self.root / STATE / 'rename.json')
            self._write_classes(names)
            self._rename_in_records(old, new)

    def _current_name(self, name: str) -> str:
        """Return the name of a class now: another tab may still show one that was renamed in the meantime."""
        seen: set[str] = set()
        while name not in self.classes and name in self._renamed and name not in seen:
            seen.add(name)
            name = self._renamed[name]
        return name

    def _rename_in_records(self, old: str, new: str) -> None:
        for name, record in self._records.items():
            if any(one['class'] == old for one in record.get('instances', ())):
                for one in record['instances']:
                    one['class'] = new if one['class'] == old else one['class']
                write_atomically(json.dumps(record).encode(), self._path(name))
        (self.root / STATE / 'rename.json').unlink(missing_ok=True)

    def _status(self, name: str) -> str:
        record = self._records[name]
        if 'version' not in record:
            return 'new'
        return 'defect' if record['instances'] else 'normal'

    def _copy_image(self, name: str) -> None:
        source = Path(self.files[name])
        target = self.root / 'images' / f'{name}{source.suffix}'
        if target.is_file():
            if not filecmp.cmp(source, target, shallow=False):
                raise InferenceError(f'{target}: is there already and differs from {source}; choose another --out')
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f'.{target.name}.partial')
        try:
            shutil.copyfile(source, partial)
            partial.replace(target)
        except OSError:  # on a full disk, what was written of it must not take the last space
            partial.unlink(missing_ok=True)
            raise

    def _write_classes(self, names: list[str]) -> None:
        write_atomically(json.dumps(names).encode(), self.root / CLASSES)
        self.classes = names

    def _path(self, name: str) -> Path:
        return self.root / STATE / 'labels' / f'{name}.json'

    def _read(self, name: str) -> dict[str, Any]:
        """Return the record of an image; of one that was labelled elsewhere, its mask is taken apart."""
        path = self._path(name)
        if not path.is_file():
            return self._adopted(name)
        try:
            record = json.loads(path.read_text())
        except ValueError as error:
            raise InferenceError(f'{path}: cannot be read ({error}); restore the file, or remove it') from error
        note = self.root / STATE / 'rename.json'
        if note.is_file():  # killed while a class was renamed
            old, new = json.loads(note.read_text())
            for one in record['instances']:
                one['class'] = new if one['class'] == old and old not in self.classes else one['class']
        return record

    def _adopted(self, name: str) -> dict[str, Any]:
        """Return the record of an image whose mask another tool wrote, {} without a mask.

        Raises:
            InferenceError: The mask has another size than the image, or values that are not numbers of classes.
        """
        path = self.root / 'masks' / f'{name}.png'
        if not path.is_file():
            return {}
        try:
            labels = read_mask_values(path.read_bytes(), str(path), by_number=True)
        except ValueError as error:
            raise InferenceError(str(error)) from error
        if labels.shape != self.size(name):
            raise InferenceError(f'{path}: {labels.shape} (height, width), but its image has {self.size(name)}')
        if labels.max() > len(self.classes):
            raise InferenceError(
                f'{path}: value {labels.max()}, expected the numbers of the classes, 0 to {len(self.classes)}; choose '
                'another --out, or bring the masks into this form with import-labels'
            )
        found = instances_of(labels.astype(np.uint8), tuple(self.classes))
        listed = [{'class': one.name, 'box': list(one.box), 'rle': encode_rle(one.mask)} for one in found]
        return dict(version=0, instances=listed)


def check_class(name: str) -> str:
    """Return the name of a class.

    Raises:
        InferenceError: It is empty, longer than 100 characters, or has a line break.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or re.search(r'[\r\n\t]', name):
        raise InferenceError(f'class {name!r}: expected a name of 1 to {LONGEST_NAME} characters in one line')
    return name.strip()
