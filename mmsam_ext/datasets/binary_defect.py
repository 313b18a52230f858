"""`BinaryDefectDataset`: folders of images and binary masks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmengine import fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .transforms.loading import check_image_file, read_binary_mask, size_error

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
_THREADS = 4
_SHOWN = 5  # names shown in a log line


@DATASETS.register_module()
class BinaryDefectDataset(BaseSegDataset):
    """Images and masks of defects in two folders, paired by their path without suffix.

    ::

        data_root/images/scratch/0001.jpg   data_root/masks/scratch/0001.png

    The first sub-folder, if there is one, is the `defect_class` ('defect' otherwise). Every file is checked once, when
    the dataset is made: all images are there, complete, and of the size of their masks. The pipeline loads them with
    ``LoadImageFromFile``, which makes 8-bit BGR of 1 and 4 channels and 16 bits (the upper eight of them), and
    :class:`~mmsam_ext.datasets.transforms.loading.LoadBinaryMask`.

    Args:
        data_root: Folder of the dataset.
        data_prefix: `img_path` and `seg_map_path`, the folders of images and masks in it.
        ann_file: File in `data_root` with one sample a line, its path in the image folder without suffix; all images
            where empty.
        dataset_name: Name in tables; the name of `data_root` where None.
        mask_suffix: What the stem of a mask has behind that of its image, as '_mask'.
        missing_mask: 'error', 'drop' (counted and logged) or 'normal' (the image has no defect, its mask is all zeros).
        drop_empty: Drop samples whose mask file has no foreground, counted and logged, as evaluation protocols do:
            there is nothing to prompt. Reads all masks once.
        kwargs: See ``BaseSegDataset``. With `backend_args` files are not local, and are only checked when loaded.

    Raises:
        FileNotFoundError: if a folder, an image or a mask is missing, or if no pair is found.
        ValueError: if a file cannot be read, is no binary mask, or is of the wrong size.
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
        **kwargs,
    ) -> None:
        if missing_mask not in ('error', 'drop', 'normal'):
            raise ValueError(f"missing_mask is {missing_mask!r}, expected 'error', 'drop' or 'normal'")
        self.dataset_name = dataset_name or os.path.basename(os.path.normpath(data_root or 'dataset'))
        self.mask_suffix = mask_suffix
        self.missing_mask = missing_mask
        self.drop_empty = drop_empty
        if data_prefix is None:
            data_prefix = dict(img_path='images', seg_map_path='masks')
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Pair images and masks.

        Returns:
            One dict a sample, in the order of `ann_file` or of names.
        """
        image_dir, mask_dir = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        for field, folder in (('img_path', image_dir), ('seg_map_path', mask_dir)):
            if not os.path.isdir(folder):
                raise FileNotFoundError(f'{self.dataset_name}: data_prefix.{field} is {folder}, expected a folder')
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
            self._log(f'{len(lonely)} masks have no image and are not used', lonely)
        return [self._info(*pair) for pair in self._with_masks(pairs)]

    def _listed(self, images: dict[str, str]) -> list[str]:
        """Names in `ann_file`, all of which must be keys of `images`."""
        names = read_list(self.ann_file)
        missing = [name for name in names if name not in images]
        if missing:
            raise FileNotFoundError(
                f'{self.ann_file}: {len(missing)} of {len(names)} listed samples have no image in '
                f'{self.data_prefix["img_path"]}: {some(missing)}; expected a path without suffix a line'
            )
        return names

    def _with_masks(self, pairs: list[tuple[str, str, str | None]]) -> list[tuple[str, str, str | None]]:
        """`pairs` (name, image, mask or None) without those that `missing_mask` drops or forbids."""
        missing = [name for name, _, mask in pairs if mask is None]
        if missing and self.missing_mask == 'error':
            raise FileNotFoundError(
                f'{self.dataset_name}: {len(missing)} of {len(pairs)} images have no mask in '
                f'{self.data_prefix["seg_map_path"]}: {some(missing)}; expected <name>{self.mask_suffix}.<suffix> '
                "(missing_mask='drop' drops them, 'normal' takes them for images without defect)"
            )
        if missing:
            what = 'are dropped' if self.missing_mask == 'drop' else 'are taken for images without defect'
            self._log(f'{len(missing)} of {len(pairs)} images have no mask and {what}', missing)
        return [pair for pair in pairs if pair[2] is not None or self.missing_mask == 'normal']

    def _info(self, name: str, image: str, mask: str | None) -> dict:
        """What the pipeline receives of a sample."""
        return dict(
            img_path=image,
            seg_map_path=mask,
            sample_id=name,
            dataset_name=self.dataset_name,
            defect_class=name.split('/')[0] if '/' in name else 'defect',
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )

    def filter_data(self) -> list[dict]:
        """Check all files, and drop samples with an empty mask if `drop_empty`."""
        if self.backend_args is not None:
            return self.data_list
        with ThreadPoolExecutor(_THREADS) as pool:
            keep = list(pool.map(self._check_files, self.data_list))
        dropped = [info['sample_id'] for info, kept in zip(self.data_list, keep, strict=True) if not kept]
        if dropped:
            total = len(keep)
            self._log(f'{len(dropped)} of {total} samples dropped, their masks are empty (no pixel > 127)', dropped)
        if len(dropped) == len(keep):
            raise ValueError(
                f'{self.dataset_name}: no sample is left, all {len(keep)} masks are empty (drop_empty=False keeps them)'
            )
        return [info for info, kept in zip(self.data_list, keep, strict=True) if kept]

    def _check_files(self, info: dict) -> bool:
        """Whether a sample is kept; raises if one of its files is bad."""
        shape = check_image_file(info['img_path'])
        path = info['seg_map_path']
        if path is None:
            return True
        if not self.drop_empty:
            mask_shape, kept = check_image_file(path), True
        else:
            mask = read_binary_mask(fileio.get(path), path, info.get('mask_labels', False))
            mask_shape, kept = mask.shape, bool(mask.any())
        if mask_shape != shape:
            raise ValueError(size_error(path, mask_shape, info['img_path'], shape))
        return kept

    def _log(self, message: str, names: list[str]) -> None:
        print_log(f'{self.dataset_name}: {message}: {some(names)}', logger='current', level=logging.WARNING)


def read_list(path: str) -> list[str]:
    """Lines of a list of samples, without blank ones and image suffixes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it lists nothing, or something twice.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'ann_file {path}: no such file; expected one sample a line')
    lines = [line.strip() for line in Path(path).read_text(encoding='utf-8').splitlines()]
    names = [os.path.splitext(line)[0] if line.lower().endswith(SUFFIXES) else line for line in lines if line]
    if not names or len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f'{path}: {len(names)} samples, {some(twice)} more than once; expected each once, one a line')
    return names


def image_files(folder: str, without: Iterable[str] = ()) -> dict[str, str]:
    """Images below `folder`: path in it without suffix, with '/' -> path. Files `without` and hidden ones do not count.

    Raises:
        ValueError: if two files differ in their suffix only.
    """
    found: dict[str, str] = {}
    for base, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in sorted(names):
            path = os.path.join(base, name)
            stem, suffix = os.path.splitext(os.path.relpath(path, folder))
            if suffix.lower() not in SUFFIXES or name.startswith('.') or path in without:
                continue
            stem = stem.replace(os.sep, '/')
            if stem in found:
                raise ValueError(f'{found[stem]} and {path} differ in their suffix only, expected one file a name')
            found[stem] = path
    return found


def some(names: Sequence[str]) -> str:
    """The first few of `names`."""
    return ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
