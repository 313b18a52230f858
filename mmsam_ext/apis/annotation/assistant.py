"""The model behind the page: masks from clicks and boxes, proposals, brush strokes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np

from mmsam_ext.structures import Prompts

from ..checks import creates_prompts
from ..encoded_image import EncodedImage
from ..errors import InferenceError
from ..exchange.labelled import Instance
from ..full_size import full_size_masks
from ..image_inputs import Source
from ..inspection import Criteria, Decision, Inspector
from ..model_loading import in_dtype, load_config
from ..prompt_seg_inferencer import PromptSegInferencer
from ..prompt_sets import PromptSet
from .first_proposals import FirstProposals

#: Encoded regions that are kept: a few MB each.
_KEPT = 8
#: A view that covers this share of the image's longer side is answered on the whole image.
_WHOLE = 0.6
_SMALLEST = 64


class View(NamedTuple):
    """A region of an image: left, top, width, height in pixels."""

    x: int
    y: int
    width: int
    height: int


class Assistant:
    """Segment what a user points at.

    What the user sees of an image is encoded once and answers all clicks in it. So a defect of a few pixels in a large
    photograph is segmented at its full resolution once it is zoomed in on.

    Args:
        model: Config for clicks and boxes.
        weights: Its checkpoint, None for the config's own.
        device: As for :class:`PromptSegInferencer`.
        first: What proposes before anything was trained (:mod:`.first_proposals`); None for no proposals then.
        dtype: Format to compute in, as `test_cfg.compute_dtype`; None for that of the weights.
    """

    def __init__(
        self,
        model: str,
        weights: str | None = None,
        device: str | None = None,
        first: FirstProposals | None = None,
        dtype: str | None = None,
    ) -> None:
        self.device, self.first, self.dtype = device, first, dtype
        self.clicks = self._inferencer(model, weights)
        self.proposer: Inspector | None = None
        self.trained: str | None = None
        self._lock = threading.RLock()
        self._encoded: OrderedDict[tuple, EncodedImage] = OrderedDict()
        self._image: tuple[str, np.ndarray] | None = None

    def _inferencer(self, config: str | Path, weights: str | Path | None) -> PromptSegInferencer:
        return PromptSegInferencer(in_dtype(load_config(config), self.dtype), weights, self.device)

    def use(self, config: str | Path, weights: str | Path) -> None:
        """Go on with the weights of a training: for proposals, and for clicks where the model takes prompts."""
        decision = Decision.load(weights)
        inferencer = self._inferencer(config, weights)
        inspector = Inspector(inferencer, Criteria.of(decision), decision.classes)
        with self._lock:
            self.proposer, self.trained = inspector, str(weights)
            if not creates_prompts(inferencer.model) and inferencer.model.slide_settings is None:
                self.clicks = inferencer
            self._encoded.clear()

    def image(self, path: str) -> np.ndarray:
        """Return an image (H, W, 3) uint8 BGR; the last one is kept.

        Raises:
            InferenceError: It cannot be read.
        """
        with self._lock:
            if self._image is None or self._image[0] != path:
                self._image = path, self.clicks.pipeline.load(Source(Path(path).name, path))['img']
            return self._image[1]

    def segment(
        self,
        path: str,
        points: Sequence[Sequence[float]] = (),
        labels: Sequence[int] = (),
        box: Sequence[float] | None = None,
        view: Sequence[float] | None = None,
    ) -> tuple[Instance | None, float]:
        """Segment an object by clicks, a box, or both.

        Args:
            path: The image.
            points: x, y of each click in pixels of the image.
            labels: 1 on the object, 0 off it.
            box: x1 y1 x2 y2, or None.
            view: left, top, width, height of what the user sees, or None for the whole image.

        Returns:
            The object (of no class yet), or None where the mask is empty; and the estimated IoU.

        Raises:
            InferenceError: A prompt is malformed or outside the image, or the image cannot be read.
        """
        if not len(points) and box is None:
            raise InferenceError('points and box are empty, expected a click or a box')
        with self._lock:
            image = self.image(path)
            region = region_of(image.shape[:2], view, points, box)
            encoded = self._encode(path, image, region)
            shift = np.array([region.x, region.y], np.float32)
            given = PromptSet.create(
                boxes=None if box is None else [(np.reshape(box, (2, 2)) - shift).ravel()],
                points=[np.array(points, np.float32) - shift] if len(points) else None,
                point_labels=[labels] if len(points) else None,
                name=Path(path).name,
                box_format='xyxy' if box is not None else None,
            )
            choice = 'ambiguous' if box is None and len(points) == 1 else None  # None: as the model chooses
            low_res, scores = encoded.decode(self.clicks.model, given, choice)
            mask = cast('np.ndarray', full_size_masks(low_res, self.clicks.chunk_bytes).masks)[0]
        if not mask.any():
            return None, float(scores[0])
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        part = mask[y : y + height, x : x + width]
        return Instance('', (x + region.x, y + region.y, width, height), part), float(scores[0])

    @property
    def proposes(self) -> bool:
        """Whether there are proposals."""
        return self.proposer is not None or self.first is not None

    def propose(self, path: str) -> list[Instance]:
        """Return the defects that the trained model finds by itself; before a training, what `first` proposes.

        Raises:
            InferenceError: Nothing was trained yet, or the image cannot be used.
        """
        with self._lock:
            if self.proposer is None and self.first is not None:
                return self.first(self.clicks, path)
            if self.proposer is None:
                raise InferenceError(
                    'there are no proposals before a model was trained on this data set; start annotate with '
                    '--everything, --boxes FILE or --text WORDS for some'
                )
            (answer,) = self.proposer(path)
        if isinstance(answer, dict):
            raise InferenceError(answer['error'])
        return [Instance(one.name, one.region.box, one.region.mask, one.score) for one in answer.defects]

    def _encode(self, path: str, image: np.ndarray, region: View) -> EncodedImage:
        key = path, region
        if key not in self._encoded:
            part = image[region.y : region.y + region.height, region.x : region.x + region.width]
            loaded = self.clicks.pipeline.load(Source(Path(path).name, array=np.ascontiguousarray(part)))
            packed = self.clicks.pipeline.pack(loaded, Prompts.empty())
            self._encoded[key] = EncodedImage.encode(self.clicks.model, packed, Path(path).name)
            while len(self._encoded) > _KEPT:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]


def region_of(
    size: tuple[int, int],
    view: Sequence[float] | None,
    points: Sequence[Sequence[float]] = (),
    box: Sequence[float] | None = None,
) -> View:
    """Return the region of an image that answers a prompt: the view, on a coarse grid so that it is soon met again.

    It is the whole image where the view shows most of it, or where a prompt lies outside of the view.
    """
    height, width = size
    whole = View(0, 0, width, height)
    if view is None:
        return whole
    left, top, wide, high = (float(value) for value in view)
    side = max(_SMALLEST, wide, high)
    if not np.isfinite([left, top, wide, high]).all() or side >= _WHOLE * max(size):
        return whole
    side = int(2 ** (np.ceil(2 * np.log2(side)) / 2))  # a few sizes only
    step = max(1, side // 4)
    x = int(np.clip((left + wide / 2 - side / 2) // step * step, 0, max(0, width - side)))
    y = int(np.clip((top + high / 2 - side / 2) // step * step, 0, max(0, height - side)))
    region = View(x, y, min(side, width - x), min(side, height - y))
    corners = [*points, *(np.reshape(box, (2, 2)).tolist() if box is not None else [])]
    inside = all(x <= px <= x + region.width - 1 and y <= py <= y + region.height - 1 for px, py in corners)
    return region if inside else whole


def stroke(
    instance: Instance | None, points: Sequence[Sequence[float]], radius: float, erase: bool, size: tuple[int, int]
) -> Instance | None:
    """Draw on a mask, or erase from it.

    Args:
        instance: The mask so far, None for an empty one.
        points: x, y along the stroke in pixels of the image.
        radius: Of the brush in pixels.
        erase: Whether to erase.
        size: (height, width) of the image.

    Returns:
        The mask after the stroke; None where nothing is left of it.

    Raises:
        InferenceError: The stroke has no point, or the radius is not between 0 and 10,000.
    """
    line = np.array(points, np.float64).reshape(-1, 2)
    if not len(line) or not np.isfinite(line).all() or not 0 < radius <= 10_000:
        raise InferenceError(
            f'stroke of {len(line)} points with radius {radius}, expected a point and 0 < radius <= 10000'
        )
    height, width = size
    low = np.floor(line.min(0) - radius).astype(int)
    high = np.ceil(line.max(0) + radius).astype(int) + 1
    if instance is not None:
        x, y, wide, tall = instance.box
        low, high = np.minimum(low, [x, y]), np.maximum(high, [x + wide, y + tall])
    low, high = np.clip(low, 0, [width, height]), np.clip(high, 0, [width, height])
    if (high <= low).any():
        return instance
    canvas = np.zeros((high - low)[::-1], np.uint8)
    if instance is not None:
        left, top = x - low[0], y - low[1]
        canvas[top : top + tall, left : left + wide] = instance.mask
    shifted = np.round(line - low).astype(np.int32)
    value, thickness = int(not erase), max(1, round(2 * radius))
    cv2.polylines(canvas, [shifted.reshape(-1, 1, 2)], False, value, thickness)
    for center in (shifted[0], shifted[-1]):
        cv2.circle(canvas, tuple(int(side) for side in center), max(0, round(radius)), value, -1)
    if not canvas.any():
        return None
    cut = Instance.of_mask(instance.name if instance is not None else '', canvas.astype(bool))
    return cut._replace(box=(cut.box[0] + int(low[0]), cut.box[1] + int(low[1]), *cut.box[2:]))
