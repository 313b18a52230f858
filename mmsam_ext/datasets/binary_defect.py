"""`BinaryDefectDataset`: folders of images and binary masks."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mmengine import fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmsam_ext.structures.samples import IGNORE_LABEL
from mmsam_ext.utils import printable, read_text

from .class_labels import FOLDERS, Classes, ClassLabels
from .file_checks import FileCheck, bit_depth_message, bit_depth_of, foreground_message
from .transforms.class_masks import read_sample_mask
from .transforms.image_files import check_image_file, inspect_image_file
from .transforms.loading import size_error
from .transforms.mask_values import Values, check_values

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
_THREADS = 4
_SHOWN = 5  # names shown in a log line


@DATASETS.register_module()
class BinaryDefectDataset(BaseSegDataset):
    """Load images and masks of defects from two folders, paired by their path without suffix.

    ::

        data_root/images/scratch/0001.jpg   data_root/masks/scratch/0001.png

    The first sub-folder, if there is one, is the `defect_class` ('defect' otherwise). Every file is decoded once when
    the dataset is built: all images must exist, be undamaged and have the size of their masks. The pipeline loads them
    with :class:`~mmsam_ext.datasets.transforms.load_image.LoadImageFromFile`, which makes 8-bit BGR of them, and
    :class:`~mmsam_ext.datasets.transforms.loading.LoadBinaryMask`. How many bits of 16-bit files are in use is decided
    for all images together and written to the log. Masks of which more than 75 % is foreground on average are logged
    as a warning, since they are probably inverted.

    Args:
        data_root: Folder of the dataset.
        data_prefix: `img_path` and `seg_map_path`, the folders of images and masks in it.
        ann_file: File in `data_root` with one sample a line: its path in the image folder, without suffix. If empty,
            all images are loaded.
        dataset_name: Name in tables; None for the name of `data_root`.
        mask_suffix: What follows the stem of the image in the stem of its mask, such as '_mask'.
        missing_mask: 'error', 'drop' (counted and logged) or 'normal' (the image has no defect, its mask is all zeros).
        drop_empty: Drop samples whose mask has no foreground, because there is nothing to prompt, as evaluation
            protocols do. They are counted and logged. All masks are read once for this.
        foreground: Mask value or values that mark the defect; all others are background. None: 1 in masks of 0 and 1,
            values above 127 in masks of 0 to 255.
        ignore: Mask value or values whose pixels are ignored, such as MMSegmentation's 255; None for no value.
        classes: Makes a set of several classes: 'folders' (each first sub-folder of the images is a class), a list of
            such folders, or name -> value or values in masks that hold numbers of classes (255 is ignored unless
            `ignore` says otherwise). Labels follow this order, from 1; set `num_classes` of the model. None: one class.
        kwargs: See ``BaseSegDataset``. With `backend_args`, files are not local and are only checked when loaded.

    Raises:
        FileNotFoundError: A folder, an image or a mask is missing, or no pair is found.
        ValueError: A file cannot be read, is not a binary mask, or has the wrong size, or `classes` does not fit.

    Example:
        >>> dataset = BinaryDefectDataset(data_root='data/industrial')
        >>> dataset.get_data_info(0)['sample_id']
        'scratch/0001'
    """

    METAINFO = dict(classes=('background', 'defect'), palette=[[0, 0, 0], [255, 60, 60]])

    def __init__(
        self,
        data_root: str | None = None,
        data_prefix: dict | None = None,
        ann_file: str = '',
        dataset_name: str | None = None,
        mask_suffix: str = '',
        missing_mask: str = 'error',
        drop_empty: bool = True,
        foreground: Values = None,
        ignore: Values = None,
        classes: Classes = None,
        **kwargs,
    ) -> None:
        check_values(foreground, ignore)
        if missing_mask not in ('error', 'drop', 'normal'):
            raise ValueError(f"missing_mask is {missing_mask!r}, expected 'error', 'drop' or 'normal'")
        self.dataset_name = dataset_name or os.path.basename(os.path.normpath(data_root or 'dataset'))
        self.mask_suffix = mask_suffix
        self.missing_mask = missing_mask
        self.drop_empty = drop_empty
        self.foreground, self.ignore = foreground, ignore
        if data_prefix is None:
            data_prefix = dict(img_path='images', seg_map_path='masks')
        lazy_init = kwargs.pop('lazy_init', False)
        # Lazily, since the names of class folders are known only when the paths are.
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, lazy_init=True, **kwargs)
        self.classes = None
        if classes is not None:
            folders = self.class_folders() if classes == FOLDERS else ()
            self.classes = ClassLabels.of(classes, folders, self.dataset_name)
            self.METAINFO = self.classes.meta()  # MMSegmentation's tools read it
            self._metainfo.update(self.METAINFO)
        if not lazy_init:
            self.full_init()

    def class_folders(self) -> list[str]:
        """Return the first sub-folders of the images, sorted."""
        return sorted({name.split('/')[0] for name in image_files(self.data_prefix['img_path']) if '/' in name})

    def load_data_list(self) -> list[dict]:
        """Pair images and masks.

        Returns:
            A dict for each sample, in the order of `ann_file`, or sorted by name.
        """
        image_dir, mask_dir = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        for field, folder in (('img_path', image_dir), ('seg_map_path', mask_dir)):
            if not os.path.isdir(folder):
                raise FileNotFoundError(f'{self.dataset_name}: folder {folder} (data_prefix.{field}) does not exist')
        masks = image_files(mask_dir)
        if self.mask_suffix:
            ends = len(self.mask_suffix)
            masks = {name[:-ends]: path for name, path in masks.items() if name.endswith(self.mask_suffix)}
        images = image_files(image_dir, without=set(masks.values()))
        names = self._listed(images) if self.ann_file else sorted(images)
        pairs = [(name, images[name], masks.get(name)) for name in names]
        if not any(mask for _, _, mask in pairs):
            raise FileNotFoundError(
                f'{self.dataset_name}: no pair of image and mask found among {len(images)} images in {image_dir} and '
                f'{len(masks)} masks in {mask_dir}; expected <name>.<suffix> and <name>{self.mask_suffix}.<suffix>, '
                f'suffixes {" ".join(SUFFIXES)}'
            )
        lonely = sorted(set(masks) - set(images))
        if lonely:
            self._log(f'{len(lonely)} masks have no image and are ignored', lonely)
        return [self._info(*pair) for pair in self._with_masks(pairs)]

    def _listed(self, images: dict[str, str]) -> list[str]:
        """Return the names in `ann_file`, all of which must be keys of `images`."""
        names = read_list(self.ann_file)
        missing = [name for name in names if name not in images]
        if missing:
            raise FileNotFoundError(
                f'{self.ann_file}: {len(missing)} of {len(names)} listed samples have no image in '
                f'{self.data_prefix["img_path"]}: {some(missing)}; expected one path without suffix a line'
            )
        return names

    def _with_masks(self, pairs: list[tuple[str, str, str | None]]) -> list[tuple[str, str, str | None]]:
        """Return `pairs` (name, image, mask or None) without those that `missing_mask` drops."""
        missing = [name for name, _, mask in pairs if mask is None]
        if missing and self.missing_mask == 'error':
            raise FileNotFoundError(
                f'{self.dataset_name}: {len(missing)} of {len(pairs)} images have no mask in '
                f'{self.data_prefix["seg_map_path"]}: {some(missing)}; expected <name>{self.mask_suffix}.<suffix> '
                "(missing_mask='drop' drops these images, 'normal' treats them as images without a defect)"
            )
        if missing:
            what = 'are dropped' if self.missing_mask == 'drop' else 'are treated as images without a defect'
            self._log(f'{len(missing)} of {len(pairs)} images have no mask and {what}', missing)
        return [pair for pair in pairs if pair[2] is not None or self.missing_mask == 'normal']

    def _info(self, name: str, image: str, mask: str | None) -> dict:
        """Return the dict that the pipeline receives for a sample."""
        read = dict(mask_foreground=self.foreground, mask_ignore=self.ignore)
        defect_class = name.split('/')[0] if '/' in name else 'defect'
        return dict(
            **({} if self.classes is None else self.classes.info(defect_class)),
            **{key: values for key, values in read.items() if values is not None},
            img_path=image,
            seg_map_path=mask,
            sample_id=name,
            dataset_name=self.dataset_name,
            defect_class=defect_class,
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )

    def filter_data(self) -> list[dict]:
        """Check all files, and drop samples with an empty mask if `drop_empty` is set."""
        if self.backend_args is not None:
            return self.data_list
        with ThreadPoolExecutor(_THREADS) as pool:
            checks = list(pool.map(self._check_files, self.data_list))
        for message in (bit_depth_message(checks), foreground_message(checks)):
            if message:
                print_log(f'{self.dataset_name}: {message}', logger='current', level=logging.WARNING)
        self._set_bit_depth(bit_depth_of(checks), checks)
        self._log_missing_classes(checks)
        dropped = [info['sample_id'] for info, check in zip(self.data_list, checks, strict=True) if not check.keep]
        if dropped:
            total = len(checks)
            self._log(f'{len(dropped)} of {total} samples are dropped because their masks have no foreground', dropped)
        if len(dropped) == len(checks):
            raise ValueError(
                f'{self.dataset_name}: no sample is left, because all {len(checks)} masks are empty. Set '
                'drop_empty=False to keep them'
            )
        return [info for info, check in zip(self.data_list, checks, strict=True) if check.keep]

    def _set_bit_depth(self, depth: int | None, checks: Sequence[FileCheck]) -> None:
        """Store the number of bits in use, also in the samples whose images have 16 bits a channel."""
        self.bit_depth = depth
        for info, check in zip(self.data_list, checks, strict=True):
            if check.largest is not None:
                info['bit_depth'] = depth

    def _check_files(self, info: dict) -> FileCheck:
        """Check the files of a sample; raise an error if one of them is damaged."""
        shape, largest = inspect_image_file(info['img_path'])
        path = info['seg_map_path']
        if path is None:
            return FileCheck(True, largest)
        if self.drop_empty or self.classes is not None:
            mask = self._read_mask(info)
            foreground = (mask > 0) & (mask != IGNORE_LABEL)
            keep = bool(foreground.any()) or not self.drop_empty
            labels = frozenset(np.unique(mask[foreground]).tolist())
            check, mask_shape = FileCheck(keep, largest, float(foreground.mean()), labels), mask.shape
        else:
            check, mask_shape = FileCheck(True, largest), check_image_file(path)
        if mask_shape != shape:
            raise ValueError(size_error(path, mask_shape, info['img_path'], shape))
        return check

    def _read_mask(self, info: dict) -> np.ndarray:
        """Read the mask of a sample, (H, W) uint8, as the pipeline loads it."""
        return read_sample_mask(fileio.get(info['seg_map_path']), info)

    def has_defect(self, index: int) -> bool:
        """Return whether the mask of a sample has foreground."""
        info = self.get_data_info(index)
        if info['seg_map_path'] is None:
            return False
        mask = self._read_mask(info)
        return bool(((mask > 0) & (mask != IGNORE_LABEL)).any())

    def _log_missing_classes(self, checks: Sequence[FileCheck]) -> None:
        if self.classes is None:
            return
        missing = self.classes.without_samples({label for check in checks for label in check.labels})
        if missing:
            self._log(f'{len(missing)} of {len(self.classes.names)} classes have no sample', missing)

    def all_images(self) -> dict[str, str]:
        """Return the path of every image of the folder by its name, labelled or not."""
        return image_files(self.data_prefix['img_path'])

    def read_mask(self, info: dict) -> np.ndarray:
        """Return the mask of a sample of :meth:`get_data_info` as the pipeline loads it, (H, W) uint8."""
        return self._read_mask(info)

    def _log(self, message: str, names: list[str]) -> None:
        print_log(f'{self.dataset_name}: {message}: {some(names)}', logger='current', level=logging.WARNING)


def read_list(path: str) -> list[str]:
    r"""Read a list of samples: skip blank lines, remove image suffixes, and turn backslashes into '/'.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file lists nothing, lists a sample twice, or has another encoding than UTF-8 or UTF-16 with a
            byte-order mark; the message names the file and the line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'ann_file {path} does not exist; expected a file with one sample a line')
    lines = [line.strip().replace('\\', '/') for line in read_text(path).split('\n')]
    names = [os.path.splitext(line)[0] if line.lower().endswith(SUFFIXES) else line for line in lines if line]
    if not names:
        raise ValueError(f'{path}: the file lists no samples; expected one sample a line')
    twice = sorted(name for name, number in Counter(names).items() if number > 1)
    if twice:
        raise ValueError(f'{path}: samples listed more than once: {some(twice)}; list each sample once')
    return names


def image_files(folder: str, without: Iterable[str] = ()) -> dict[str, str]:
    """Return the images below `folder`, except hidden ones and the files `without`.

    Returns:
        A dict from the path in the folder (without suffix, with '/') to the full path.

    Raises:
        ValueError: Two files differ only in their suffix, or a name is that of a pipe or a device, which may never end.
    """
    found: dict[str, str] = {}
    for base, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(base)
        folders[:] = sorted(name for name in folders if not name.startswith('.') and not _leads_up(base, name, here))
        for name in sorted(names):
            path = os.path.join(base, name)
            stem, suffix = os.path.splitext(os.path.relpath(path, folder))
            if suffix.lower() not in SUFFIXES or name.startswith('.') or path in without:
                continue
            if os.path.exists(path) and not os.path.isfile(path):
                raise ValueError(f'{path}: a pipe, a socket or a device; expected an image file')
            stem = stem.replace(os.sep, '/')
            if stem in found:
                raise ValueError(
                    f'{found[stem]} and {path} differ only in their suffix; expected one file for each name'
                )
            found[stem] = path
    return found


def _leads_up(base: str, name: str, here: str) -> bool:
    """Whether a folder in `base`, whose real path is `here`, is a link to a folder above: its files come again."""
    path = os.path.join(base, name)
    return os.path.islink(path) and os.path.commonpath([here, real := os.path.realpath(path)]) == real


def some(names: Sequence[str]) -> str:
    """Return the first few of `names`, for a message."""
    return printable(', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else ''))
