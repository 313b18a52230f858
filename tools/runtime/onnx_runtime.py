"""Segment and inspect images with exported files: onnxruntime and numpy are all it needs. Copy it into your program.

from onnx_runtime import Segmenter
segmenter = Segmenter('exported/')          # the folder that `python -m mmsam_ext export --format onnx` wrote
segmenter.set_image(image)                  # (H, W, 3) uint8 RGB
logits, iou = segmenter.predict(box=[40, 52, 130, 201])          # or points=[[80, 90]], labels=[1]
logits, iou = segmenter.segment()                                # without a prompt, a map for each class
defective, probability, labels = segmenter.inspect(image)        # likewise, with the stored thresholds

python onnx_runtime.py exported/ image.npy
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def resize_weights(old: int, new: int) -> np.ndarray:
    """Return (new, old) weights of bilinear interpolation along one axis, antialiased where it shrinks, as Pillow's."""
    scale = old / new
    support = max(scale, 1.0)
    centers = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old)[None] + 0.5 - centers[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) to (height, width, 3) float32; whole numbers as images have them."""
    rows, columns = resize_weights(image.shape[0], height), resize_weights(image.shape[1], width)
    across = np.rint(np.einsum('wx,hxc->hwc', columns, image.astype(np.float32), optimize=True))  # Pillow rounds here
    return np.clip(np.rint(np.einsum('hy,ywc->hwc', rows, across, optimize=True)), 0, 255)


class Segmenter:
    """The files of an export, ready to run.

    Args:
        folder: With encoder.onnx and decoder.onnx, or model.onnx.
        providers: Of onnxruntime.

    Raises:
        FileNotFoundError: The folder lacks one of these files.
        ValueError: A file was not exported by mmsam_ext.
    """

    def __init__(self, folder: str | Path, providers: Sequence[str] = ('CPUExecutionProvider',)) -> None:
        folder = Path(folder)
        names = ['model'] if (folder / 'model.onnx').is_file() else ['encoder', 'decoder']
        missing = [f'{name}.onnx' for name in names if not (folder / f'{name}.onnx').is_file()]
        if missing:
            raise FileNotFoundError(
                f'{folder}: no {" and no ".join(missing)}, expected the folder that `python -m mmsam_ext export '
                '--format onnx` wrote'
            )
        import onnxruntime

        self.sessions = {
            name: onnxruntime.InferenceSession(str(folder / f'{name}.onnx'), providers=list(providers))
            for name in names
        }
        properties = self.sessions[names[-1]].get_modelmeta().custom_metadata_map
        if 'mmsam_ext' not in properties:
            raise ValueError(f'{folder / names[-1]}.onnx: not a file of `python -m mmsam_ext export --format onnx`')
        self.info = json.loads(properties['mmsam_ext'])
        self.encoded = self.size = self.pixels = None

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image (H, W, 3) uint8 RGB, for any number of prompts."""
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f'image: {image.dtype} of shape {image.shape}, expected uint8 (H, W, 3) RGB')
        self.size = image.shape[:2]
        height, width = self.info['input_size']
        if self.info['keep_ratio']:
            scale = max(height, width) / max(self.size)
            height, width = (int(side * scale + 0.5) for side in self.size)
        self.scale = np.array([width / self.size[1], height / self.size[0]], np.float32)
        self.pixels = resize(image, height, width)
        if 'encoder' in self.sessions:
            session = self.sessions['encoder']
            names = [one.name for one in session.get_outputs()]
            self.encoded = dict(zip(names, session.run(None, {'input_image': self.pixels}), strict=True))

    def predict(
        self,
        box: Sequence[float] | None = None,
        points: Sequence[Sequence[float]] = (),
        labels: Sequence[int] = (),
        mask: np.ndarray | None = None,
    ) -> tuple[np.ndarray, float]:
        """Segment the image of :meth:`set_image`.

        Args:
            box: x1 y1 x2 y2 in pixels of the image.
            points: x y of each point.
            labels: 1 on the object, 0 off it, of each point.
            mask: Logits of an earlier prediction at low resolution.

        Returns:
            Logits (H, W), foreground above 0, and the estimated IoU.

        Raises:
            ValueError: There is no image, or a prompt is malformed or outside of it.
        """
        if 'model' in self.sessions:
            raise ValueError('model.onnx takes no prompts: use segment() or inspect(), or export without --one-graph')
        self._check(box, points, labels, mask)
        coords = [list(point) for point in points] + ([list(box[:2]), list(box[2:])] if box is not None else [[0, 0]])
        codes = list(labels) + ([2, 3] if box is not None else [-1])
        if box is not None and self.info.get('pad_boxes'):  # SAM 2 has a third token for a box
            coords, codes = [*coords, [0, 0]], [*codes, -1]
        grid = self._mask_size()
        inputs = {
            **self.encoded,
            'point_coords': (np.array([coords], np.float32) * self.scale).astype(np.float32),
            'point_labels': np.array([codes], np.float32),
            'mask_input': np.zeros((1, 1, *grid), np.float32) if mask is None else mask.reshape(1, 1, *mask.shape[-2:]),
            'has_mask_input': np.array([mask is not None], np.float32),
            'orig_im_size': np.array(self.size, np.float32),
        }
        used = {one.name for one in self.sessions['decoder'].get_inputs()}
        found = self.sessions['decoder'].run(None, {name: value for name, value in inputs.items() if name in used})
        return found[0][0, 0], float(found[1][0, 0])

    def _mask_size(self) -> list[int]:
        return [4 * side for side in self.encoded['image_embeddings'].shape[2:]]

    def _check(self, box: Sequence | None, points: Sequence, labels: Sequence, mask: np.ndarray | None) -> None:
        if self.size is None:
            raise ValueError('no image is set: call set_image first')
        if len(points) != len(labels) or not set(labels) <= {0, 1}:
            raise ValueError(
                f'{len(points)} points with the labels {list(labels)}, expected a label of 0 or 1 for each'
            )
        if any(np.shape(point) != (2,) for point in points) or (box is not None and np.shape(box) != (4,)):
            raise ValueError(f'points {points} and box {box}, expected a list of x y, and x1 y1 x2 y2')
        for x, y in [*points, *([] if box is None else [box[:2], box[2:]])]:
            if not (-0.5 <= x <= self.size[1] and -0.5 <= y <= self.size[0]):
                raise ValueError(f'x y of {x}, {y}: outside the image of {self.size[1]} x {self.size[0]} pixels')
        if box is not None and (box[2] < box[0] or box[3] < box[1]):
            raise ValueError(f'box {list(box)}, expected x1 y1 x2 y2 with x1 <= x2 and y1 <= y2')
        if mask is not None and list(mask.shape[-2:]) != self._mask_size():
            raise ValueError(f'mask of shape {mask.shape}, expected {self._mask_size()}, that of low-resolution logits')

    def segment(self) -> tuple[np.ndarray, np.ndarray]:
        """Segment the image of :meth:`set_image` without a prompt, by a box around all of it where one is needed.

        Returns:
            Logits (K, H, W), foreground above 0, and the estimated IoU (K,), of each class of ``info['classes']``.
        """
        if self.size is None:
            raise ValueError('no image is set: call set_image first')
        if 'model' in self.sessions:
            given = {'input_image': self.pixels, 'orig_im_size': np.array(self.size, np.float32)}
            used = {one.name for one in self.sessions['model'].get_inputs()}
            masks, iou, _ = self.sessions['model'].run(None, {name: given[name] for name in given if name in used})
            return masks[0], iou[0]
        height, width = self.size
        logits, iou = self.predict(box=[0, 0, width - 1, height - 1])
        return logits[None], np.array([iou], np.float32)

    def inspect(self, image: np.ndarray) -> tuple[bool, float, np.ndarray]:
        """Decide whether an image has a defect, by the thresholds that `fit` chose.

        Returns:
            Whether it has one, the probability of it, and a label map (H, W) uint8 of the pixels above the pixel
            threshold: 0 for no defect, else the place of its class in ``info['classes']``, counted from 1.
        """
        if 'threshold' not in self.info:
            raise ValueError('the exported weights came without thresholds; export the best.pth of `fit`')
        self.set_image(image)
        logits, _ = self.segment()
        slope, offset = self.info['platt'] or (1.0, 0.0)
        peak = float(logits.max())
        value = min(max(slope * peak + offset, -500.0), 500.0)
        low = min(self.info['pixel_threshold'], self.info['threshold'])
        labels = np.where(logits.max(0) >= low, logits.argmax(0) + 1, 0).astype(np.uint8)
        return peak >= self.info['threshold'], 1 / (1 + math.exp(-value)), labels


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit('usage: python onnx_runtime.py FOLDER_OF_THE_EXPORT IMAGE.npy')
    try:
        defective, probability, labels = Segmenter(sys.argv[1]).inspect(np.load(sys.argv[2]))
    except (OSError, ValueError, EOFError) as error:
        sys.exit(str(error))
    print(f'{"defect" if defective else "no defect"}, score {probability:.3f}, {np.count_nonzero(labels)} pixels')
