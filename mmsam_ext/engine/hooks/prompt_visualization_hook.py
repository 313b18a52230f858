"""`PromptVisualizationHook`: pictures drawn during validation and testing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from mmengine import fileio
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmsam_ext.datasets.transforms.bit_depth import to_8_bit
from mmsam_ext.datasets.transforms.image_files import decode_image
from mmsam_ext.visualization import contact_sheet

NAME_LENGTH = 150  # file systems allow 255 bytes


@HOOKS.register_module()
class PromptVisualizationHook(SegVisualizationHook):
    """Draw every `interval`-th batch and, after a test, write an overview of the pictures as `sheet.png`.

    The hook replaces MMSeg's SegVisualizationHook in ``default_hooks.visualization`` and takes the same arguments, so
    that ``tools/test.py --show-dir`` works. Unlike that hook, it does not need an image file (it draws the output of
    the data pipeline if there is none), and pictures of samples with the same file name do not overwrite each other.

    Args:
        sheet: Largest number of pictures on the sheet, spread evenly over the test; 0 for no sheet.
        *args, **kwargs: ``draw=False, interval=50, show=False, wait_time=0., backend_args=None``.
    """

    def __init__(self, *args: Any, sheet: int = 12, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sheet = sheet
        self._start()

    def _start(self) -> None:
        self._names: set[str] = set()
        self._pictures: list[np.ndarray] = []
        self._drawn, self._stride = 0, 1

    def before_val_epoch(self, runner: Runner) -> None:
        """Start a new series of pictures."""
        self._start()

    def before_test_epoch(self, runner: Runner) -> None:
        """Start a new series of pictures."""
        self._start()

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any],
        outputs: Sequence[SegDataSample],
        mode: str = 'val',
    ) -> None:
        if not self.draw or mode == 'train' or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        for index, output in enumerate(outputs):
            picture = self._visualizer.add_datasample(
                self._unique_name(f'{mode}_{_sample_id(output)}'),
                self._image(output, data_batch['inputs'][index]),
                data_sample=output,
                show=self.show,
                wait_time=self.wait_time,
                step=runner.iter,
            )
            if picture is not None and mode == 'test':
                self._keep(picture)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the sheet if there are pictures and a folder for them."""
        folder = getattr(self._visualizer, 'image_dir', None)
        if not self._pictures or folder is None:
            return
        chosen = np.linspace(0, len(self._pictures) - 1, min(self.sheet, len(self._pictures))).round().astype(int)
        with cast('Any', self._visualizer).results.writing('sheet.png') as temporary:
            contact_sheet([self._pictures[index] for index in chosen], columns=2, path=temporary)
        print_log(f'{self._drawn} pictures and sheet.png are in {folder}', logger='current')

    def _keep(self, picture: np.ndarray) -> None:
        """Keep a picture for the sheet: first every one, then every 2nd, 4th, ..., so that memory stays bounded."""
        if self.sheet and self._drawn % self._stride == 0:
            self._pictures.append(picture)
            if len(self._pictures) >= 2 * self.sheet:
                self._pictures, self._stride = self._pictures[::2], 2 * self._stride
        self._drawn += 1

    def _unique_name(self, name: str) -> str:
        name = re.sub(r'[^\w.-]+', '_', name)
        if len(name) > NAME_LENGTH:  # the end of a path tells samples apart
            name = name[: NAME_LENGTH // 4] + '__' + name[-(NAME_LENGTH * 3 // 4) :]
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f'{name}_{number}'
        self._names.add(unique)
        return unique

    def _image(self, output: SegDataSample, network_input: Any) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB at the original size: the image file, or else the pipeline's (3, H', W') BGR."""
        path = str(output.get('img_path', ''))
        if path and (self.backend_args or Path(path).is_file()):
            image = decode_image(fileio.get(path, backend_args=self.backend_args), path)
            return cv2.cvtColor(to_8_bit(image, output.get('bit_depth', 'auto'), path), cv2.COLOR_BGR2RGB)
        image = network_input.permute(1, 2, 0).cpu().numpy()[..., ::-1]
        height, width = output.get('img_shape', image.shape)[:2]
        image = np.ascontiguousarray(image[:height, :width])  # padding lies to the right and below
        height, width = output.get('ori_shape', image.shape)[:2]
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _sample_id(output: SegDataSample) -> str:
    parts = (output.get('dataset_name'), output.get('sample_id') or Path(output.get('img_path', 'sample')).stem)
    return '_'.join(str(part) for part in parts if part)
