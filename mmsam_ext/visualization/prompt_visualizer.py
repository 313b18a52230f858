"""`PromptVisualizer`: image with prompts, prediction and ground truth, side by side."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from mmengine.dist import master_only
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor

from mmsam_ext.evaluation.functional import mask_iou
from mmsam_ext.structures import PromptGroup, PromptKind, Prompts, prompt_groups
from mmsam_ext.structures.samples import (
    predicted_classes,
    sample_key,
    sample_labels,
    sample_prompts,
    target_field,
    target_masks,
)
from mmsam_ext.utils import ResultFolder

from . import drawing

PREDICTION: drawing.Color = (30, 136, 255)
TRUTH: drawing.Color = (0, 200, 110)
BOX: drawing.Color = (255, 196, 0)
OTHER_BOX: drawing.Color = (214, 176, 84)  # of further draws
OTHER_PREDICTION: drawing.Color = (170, 210, 255)
FOREGROUND_POINT: drawing.Color = (0, 190, 60)
BACKGROUND_POINT: drawing.Color = (230, 40, 40)

MIN_HEIGHT, MAX_SIDE = 320, 960  # of a panel's picture, in pixels
MIN_WIDTH = 320  # of a panel: its caption must fit
GAP = 4


@VISUALIZERS.register_module()
class PromptVisualizer(SegLocalVisualizer):
    """Draw three panels for each prompt mode: image with prompts, prediction and ground truth, each with a caption.

    The first draw of a mode is drawn in full, further draws as thin outlines. The IoU in the caption is that of
    :class:`PromptIoUMetric`: the mean over all draws, then over targets. For a sample without `pred_instances` (from an
    ordinary MMSeg model), `pred_sem_seg` is drawn.

    Args:
        alpha: Opacity of masks, in [0, 1].
        max_draws: Maximum number of draws of a mode that are drawn; the caption says how many there are.
        modes_per_row: Number of prompt modes side by side; 2 or more make a wide picture.
        overwrite: Whether files in the folder of pictures may be replaced that no earlier run wrote.
        name, **kwargs: See SegLocalVisualizer.

    Raises:
        ValueError: `max_draws` or `modes_per_row` is less than 1.

    Example:
        >>> visualizer = dict(type='PromptVisualizer', modes_per_row=2)  # in a config
    """

    def __init__(
        self,
        name: str = 'visualizer',
        alpha: float = 0.4,
        max_draws: int = 4,
        modes_per_row: int = 1,
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, alpha=alpha, **kwargs)  # mmengine requires an argument called `name`
        if min(max_draws, modes_per_row) < 1:
            raise ValueError(
                f'PromptVisualizer: max_draws={max_draws}, modes_per_row={modes_per_row}; expected 1 or more of each'
            )
        self.max_draws = max_draws
        self.modes_per_row = modes_per_row
        self.overwrite = overwrite

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool | None = True,
    ) -> np.ndarray:
        """Draw a sample, and show it, or write it to `out_file` or, without that, to all backends.

        Args:
            name: Name of the picture.
            image: (H, W, 3) uint8 RGB, at the original size.
            data_sample: Its prompts are in pixels of the network input, its masks have the image's size.
            draw_gt: Whether to draw the ground truth.
            draw_pred: Whether to draw the prediction.
            show: Whether to open a window.
            wait_time: Seconds to keep the window open; 0 waits for a key.
            out_file: Picture file to write.
            step: Training step, for the backends.
            with_labels: Has no effect (MMSegInferencer passes it); captions name what is drawn.

        Returns:
            The picture, (H', W', 3) uint8 RGB; None on all ranks but the first.

        Raises:
            ValueError: `image` is not (H, W, 3) uint8.
            FileExistsError: The picture would replace a file that no earlier run wrote.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'{name}: the image is {image.dtype} with shape {image.shape}; expected uint8 with shape (H, W, 3)'
            )
        picture = self.compose(image, data_sample or SegDataSample(), draw_gt, draw_pred)
        self.set_image(picture)  # MMSegInferencer reads it with get_image
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            Path(out_file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(out_file, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        elif self.results is not None:
            file = f'{name}_{step}.png'  # as LocalVisBackend calls it
            self.results.check([file])
            self.add_image(name, picture, step)
            self.results.record(file)
        else:
            self.add_image(name, picture, step)
        return picture

    @cached_property
    def results(self) -> ResultFolder | None:
        """Return the folder of the pictures with the manifest of what runs wrote there; None without a local folder."""
        folder = self.image_dir
        return None if folder is None else ResultFolder(folder, self.overwrite)

    @property
    def image_dir(self) -> Path | None:
        """Return the folder in which the local backend writes pictures; None without that backend."""
        backend = self.get_backend('LocalVisBackend')
        # reading `experiment` creates the folder and completes its path, which has no public name.
        return None if backend is None else Path(backend.experiment._img_save_dir)  # noqa: SLF001

    def compose(self, image: np.ndarray, data_sample: SegDataSample, draw_gt: bool, draw_pred: bool) -> np.ndarray:
        """Return the whole picture: a title, then the panels of each prompt mode."""
        height, width = image.shape[:2]
        zoom = min(max(1.0, MIN_HEIGHT / height), MAX_SIDE / max(height, width))
        ground = drawing.resized(image, max(1, round(height * zoom)), max(1, round(width * zoom)))
        data_sample = cast('SegDataSample', data_sample.to_tensor())  # MMSegmentation's browse_dataset.py gives arrays
        sample = data_sample.to_dict()
        prompts = _image_prompts(data_sample, image)
        groups = list(prompt_groups(sample)) if draw_pred and 'pred_instances' in sample else []
        # Ignored pixels are drawn as background.
        classes = predicted_classes(sample)
        truth = target_masks(sample, num_classes=classes) if draw_gt and target_field(sample) else None

        rows = []
        # A mode without a prompt in this sample has no panels; a sample without any prompt has one row.
        for index in [None] if prompts is None or not len(prompts) else prompts.mode_ids.unique().tolist():
            mode, own_prompts = 'none', None
            if prompts is not None and index is not None:
                mode, own_prompts = prompts.modes[index], prompts[prompts.mode_ids == index]
            panels = [self._prompt_panel(ground, own_prompts, mode, zoom)]
            own = [group for group in groups if group.mode == mode]
            if own:
                panels.append(self._prediction_panel(ground, own, truth))
            elif draw_pred and 'pred_sem_seg' in sample:
                mask = sample['pred_sem_seg']['data'][0] > 0
                panels.append(self._mask_panel(ground, [mask], PREDICTION, 'prediction'))
            if truth is not None:
                targets = sorted({group.target for group in own}) or [0]
                mask = truth[targets].any(0)
                note = 'truth' if mask.any() else 'truth is empty'
                panels.append(self._mask_panel(ground, [mask], TRUTH, note))
            rows.append(_joined(panels))
        picture = _grid(rows, self.modes_per_row)
        title = f'{sample_key(sample) or "sample"}   [{", ".join(sample_labels(sample))}]'
        return np.vstack([drawing.text_bar(title, picture.shape[1], _font_size(ground), drawing.BACKGROUND), picture])

    def _prompt_panel(self, ground: np.ndarray, prompts: Prompts | None, mode: str, zoom: float) -> np.ndarray:
        """Draw the prompts of a mode, given in pixels of the image; `zoom` is the panel's size over the image's."""
        image = ground.copy()
        if prompts is None:
            return _panel(image, 'no prompt')
        draws = prompts.draw_ids.unique().tolist()
        for draw in reversed(draws[: self.max_draws]):  # the first draw comes last, on top
            self._draw_prompts(image, prompts[prompts.draw_ids == draw], zoom, first=draw == draws[0])
        note = f'prompt: {mode}'
        if len(draws) > 1:
            note += f' - {min(self.max_draws, len(draws))} of {len(draws)} draws'
            note += f' ({len(draws) - self.max_draws} left out)' if len(draws) > self.max_draws else ''
        if prompts.uses(PromptKind.MASK).any():
            note += ' + mask (not drawn)'
        return _panel(image, note)

    def _draw_prompts(self, image: np.ndarray, prompts: Prompts, zoom: float, first: bool) -> None:
        width = drawing.line_width(image)
        radius = max(3, round(max(image.shape[:2]) / 100)) if first else max(2, round(max(image.shape[:2]) / 180))
        uses_box, uses_points = prompts.uses(PromptKind.BOX).tolist(), prompts.uses(PromptKind.POINTS).tolist()
        for row in range(len(prompts)):
            if uses_box[row]:
                color = BOX if first else OTHER_BOX
                drawing.draw_box(
                    image, _zoomed(prompts.boxes[row], zoom).tolist(), color, width if first else 1, rim=first
                )
            if uses_points[row]:
                for point, label in zip(
                    _zoomed(prompts.points[row], zoom), prompts.point_labels[row].tolist(), strict=True
                ):
                    if label >= 0:
                        drawing.draw_point(image, point, FOREGROUND_POINT if label else BACKGROUND_POINT, radius)

    def _prediction_panel(self, ground: np.ndarray, groups: list[PromptGroup], truth: Tensor | None) -> np.ndarray:
        number = max(len(group.masks) for group in groups)
        masks = [
            torch.stack([group.masks[draw] for group in groups if draw < len(group.masks)]).any(0)
            for draw in range(min(number, self.max_draws))
        ]
        note = 'prediction'
        if truth is not None and truth.shape[-2:] != groups[0].masks.shape[-2:]:
            truth = None
        if truth is not None and truth[[group.target for group in groups]].any():
            scores = [mask_iou(group.masks, truth[group.target].to(group.masks.device)).mean() for group in groups]
            note += f'   IoU {100 * float(torch.stack(scores).mean()):.1f}'
            note += f' (mean of {number} draws)' if number > 1 else ''
        return self._mask_panel(ground, masks, PREDICTION, note)

    def _mask_panel(self, ground: np.ndarray, masks: list[Tensor], color: drawing.Color, note: str) -> np.ndarray:
        """Draw masks, (H, W) bool each: fill the first, and outline the others."""
        image = ground.copy()
        first, *others = [drawing.resized_mask(mask.cpu().numpy(), *image.shape[:2]) for mask in masks]
        for other in others:
            drawing.draw_contour(image, other, OTHER_PREDICTION, 1)
        drawing.draw_mask(image, first, color, self.alpha)
        return _panel(image, note, color)


def _image_prompts(data_sample: SegDataSample, image: np.ndarray) -> Prompts | None:
    """The sample's prompts in pixels of `image`, on the CPU."""
    if 'prompts' not in data_sample:
        return None
    height, width = data_sample.get('ori_shape', image.shape)[:2]
    factor_x, factor_y = data_sample.get('scale_factor', (1.0, 1.0))  # network input over original
    return (
        sample_prompts(data_sample).cpu().scaled(image.shape[1] / width / factor_x, image.shape[0] / height / factor_y)
    )


def _zoomed(coordinates: Tensor, zoom: float) -> np.ndarray:
    """Coordinates in the enlarged image; whole numbers are the centres of pixels."""
    return (coordinates.numpy() + 0.5) * zoom - 0.5


def _font_size(ground: np.ndarray) -> int:
    return int(np.clip(max(ground.shape[1], MIN_WIDTH) / 24, 13, 26))


def _panel(image: np.ndarray, note: str, swatch: drawing.Color | None = None) -> np.ndarray:
    width = max(image.shape[1], MIN_WIDTH)
    bar = drawing.text_bar(note, width, _font_size(image), swatch=swatch)
    return np.vstack([bar, drawing.framed(image, image.shape[0], width)])


def _joined(panels: list[np.ndarray], gap: int = GAP) -> np.ndarray:
    """Put pictures of equal height side by side, `gap` pixels apart."""
    space = np.full((panels[0].shape[0], gap, 3), drawing.BACKGROUND, np.uint8)
    return np.hstack([part for panel in panels for part in (space, panel)][1:])


def _grid(modes: list[np.ndarray], columns: int) -> np.ndarray:
    """Arrange the pictures of all modes in rows of `columns`; a short last row is filled with background."""
    rows = [_joined(modes[start : start + columns], 3 * GAP) for start in range(0, len(modes), columns)]
    width = max(row.shape[1] for row in rows)
    canvas = np.full((sum(row.shape[0] + GAP for row in rows), width, 3), drawing.BACKGROUND, np.uint8)
    top = 0
    for row in rows:
        canvas[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0] + GAP
    return canvas
