"""What a folder of labelled images is like: sizes, defects, classes, and which images are for validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmsam_ext.datasets import BinaryDefectDataset
from mmsam_ext.datasets.transforms.image_files import inspect_image_file
from mmsam_ext.datasets.transforms.mask_files import read_mask_values
from mmsam_ext.utils.text_files import read_json

#: File of a dataset with the names of its classes; masks then hold their numbers, from 1.
CLASSES = 'classes.json'
#: One image in this number is for validation.
_VALIDATION = 5


class ImageFacts(NamedTuple):
    """One labelled image.

    Attributes:
        name: Its path in the folder of images, without suffix.
        size: (height, width).
        thickness: That of each of its defects, in pixels.
        labels: The numbers of the classes of its defects, from 1, if there are several classes.
    """

    name: str
    size: tuple[int, int]
    thickness: tuple[float, ...]
    labels: tuple[int, ...] = ()

    @property
    def defective(self) -> bool:
        """Whether it has a defect."""
        return bool(self.thickness)


class FolderFacts(NamedTuple):
    """A folder of labelled images.

    Attributes:
        root: The folder.
        images: Those with a mask, sorted by name.
        unlabelled: Number of images without a mask, which are left out.
        classes: Names of the classes of defects that are labelled somewhere.
        train: Names to train on.
        val: Names to validate on, and to choose thresholds on.
        numbers: The number of each class in the masks; () where masks have no numbers of classes.
    """

    root: Path
    images: tuple[ImageFacts, ...]
    unlabelled: int
    classes: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]
    numbers: tuple[int, ...] = ()

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the model tells apart; None for one class."""
        return len(self.classes) if len(self.classes) > 1 else None

    @property
    def class_option(self) -> list[str] | dict[str, int] | None:
        """The option `classes` of BinaryDefectDataset."""
        if self.num_classes is None:
            return None
        return dict(zip(self.classes, self.numbers, strict=True)) if self.numbers else list(self.classes)

    @property
    def foreground(self) -> list[int] | None:
        """Values of the masks that are defects, as BinaryDefectDataset takes them."""
        return list(self.numbers) or None

    @property
    def normals(self) -> int:
        """Number of images without a defect."""
        return sum(not one.defective for one in self.images)

    def images_of(self, label: int) -> int:
        """Return the number of images with a defect of a class."""
        return sum(label in one.labels for one in self.images)


def read_folder(folder: str | Path) -> FolderFacts:
    """Read all masks of a folder, and split it.

    Several classes are those of ``classes.json``, whose numbers are in the masks, or, without that file, the first
    sub-folders of the images that hold defects (``images/scratch/001.png``), if there are two or more and all defects
    are in such folders.

    The split is ``train.txt`` and ``val.txt`` if both exist; otherwise one image in five is for validation, chosen by
    the hash of its name, among images with and without a defect alike.

    Raises:
        FileNotFoundError: ``images`` or ``masks`` is missing, or there is no pair.
        ValueError: A file is damaged or has the wrong size, classes are malformed, or fewer than two images have a
            defect; the message says what to do.
    """
    root = Path(folder).expanduser()
    classes = read_classes(root)
    foreground = list(range(1, len(classes) + 1)) if (root / CLASSES).is_file() else None
    dataset = BinaryDefectDataset(
        data_root=str(root), missing_mask='drop', drop_empty=False, foreground=foreground, serialize_data=False
    )
    by_folder = False
    if not (root / CLASSES).is_file():
        folders = sorted({dataset.get_data_info(i)['sample_id'] for i in range(len(dataset)) if dataset.has_defect(i)})
        names = list(dict.fromkeys(name.split('/')[0] if '/' in name else '' for name in folders))
        by_folder = len(names) > 1 and '' not in names
        classes = tuple(names) if by_folder else classes
    images = [_image_facts(dataset, index, classes, by_folder) for index in range(len(dataset))]
    numbers = tuple(foreground or ())
    if len(numbers) > 1:  # a class without a label cannot be learned
        numbers = tuple(sorted({label for one in images for label in one.labels}))
        classes = tuple(classes[number - 1] for number in numbers)
        places = {number: place for place, number in enumerate(numbers, 1)} if len(numbers) > 1 else {}
        images = [
            one._replace(labels=tuple(places[label] for label in one.labels if label in places)) for one in images
        ]
    defective = sum(one.defective for one in images)
    if defective < 2:
        raise ValueError(
            f'{root}: {defective} of {len(images)} labelled images have a defect, expected at least 2, one to train on '
            'and one to validate on. Label more, for example with `python -m mmsam_ext annotate`'
        )
    listed = [root / 'train.txt', root / 'val.txt']
    if all(path.is_file() for path in listed):
        train, val = (_listed(path, images) for path in listed)
    else:
        train, val = split(images)
    found = len(dataset.all_images())
    return FolderFacts(root, tuple(images), found - len(images), classes, train, val, numbers)


def read_classes(root: Path) -> tuple[str, ...]:
    """Return the names in the file of classes, ('defect',) without one.

    Raises:
        ValueError: It is not a list of different names.
    """
    path = root / CLASSES
    if not path.is_file():
        return ('defect',)
    try:
        names = read_json(path)
    except ValueError as error:
        raise ValueError(f'{path}: cannot be read ({error}); expected a list of names') from error
    good = isinstance(names, list) and names and all(isinstance(name, str) and name.strip() for name in names)
    if not good or len(set(names)) < len(names) or len(names) > 254:
        raise ValueError(f'{path}: {names!r}, expected a list of 1 to 254 different names')
    return tuple(names)


def split(images: Sequence[ImageFacts]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names to train and to validate on; both have at least one image with a defect.

    One image in five of each kind is for validation. The kinds are images without a defect, and those with a defect by
    the rarest of their classes.
    """
    chosen: set[str] = set()
    number_of = Counter(label for one in images for label in one.labels)

    def kind(one: ImageFacts) -> tuple[bool, int]:
        return not one.defective, min(one.labels, key=lambda label: (number_of[label], label), default=0)

    for each in sorted({kind(one) for one in images}):
        names = sorted((one.name for one in images if kind(one) == each), key=_hash)
        number = round(len(names) / _VALIDATION)
        chosen.update(names[: max(number, 1) if len(names) > 1 else 0])
    if not chosen.intersection(one.name for one in images if one.defective):  # a single image of each class
        chosen.add(min((one.name for one in images if one.defective), key=_hash))
    names = [one.name for one in images]
    return tuple(name for name in names if name not in chosen), tuple(name for name in names if name in chosen)


def _listed(path: Path, images: Sequence[ImageFacts]) -> tuple[str, ...]:
    from mmsam_ext.datasets.binary_defect import read_list

    names, known = read_list(str(path)), {one.name: one for one in images}
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f'{path}: {len(missing)} of {len(names)} samples have no image with a mask: {missing[:5]}')
    if not any(known[name].defective for name in names):
        raise ValueError(f'{path}: none of its {len(names)} images has a defect, expected at least one')
    return tuple(names)


def _image_facts(dataset: BinaryDefectDataset, index: int, classes: Sequence[str], by_folder: bool) -> ImageFacts:
    info = dataset.get_data_info(index)
    mask = (dataset.read_mask(info) == 1).astype(np.uint8)
    number, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    sides = np.maximum(stats[1:number, cv2.CC_STAT_WIDTH], stats[1:number, cv2.CC_STAT_HEIGHT])
    size = inspect_image_file(info['img_path'])[0]
    thickness = stats[1:number, cv2.CC_STAT_AREA] / sides
    labels: tuple[int, ...] = ()
    if by_folder and len(thickness):
        labels = (classes.index(info['sample_id'].split('/')[0]) + 1,)
    elif len(classes) > 1 and len(thickness):
        values = read_mask_values(Path(info['seg_map_path']).read_bytes(), info['seg_map_path'], by_number=True)
        labels = tuple(sorted({int(one) for one in np.unique(values) if 1 <= one <= len(classes)}))
    size_of_image = int(size[0]), int(size[1])
    return ImageFacts(info['sample_id'], size_of_image, tuple(float(one) for one in thickness), labels)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors='replace')).hexdigest()
