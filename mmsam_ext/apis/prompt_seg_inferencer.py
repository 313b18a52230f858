"""`PromptSegInferencer`: images and prompts in, masks out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from rich.console import Console
from rich.progress import track

from mmsam_ext.structures import Prompts
from mmsam_ext.visualization import PromptVisualizer

from .encoded_image import EncodedImage
from .errors import InferenceError
from .failures import failure, report
from .image_inputs import Source, list_sources
from .inference_pipeline import InferencePipeline
from .model_loading import load_config, load_model
from .predictions import prediction, to_numpy
from .prompt_sets import PromptSet, prompt_sets
from .result_writer import ResultWriter


class _Item(NamedTuple):
    """An image on its way through the model: `index` among all sources, `image` (H, W, 3) uint8 BGR."""

    index: int
    source: Source
    prompts: PromptSet
    image: np.ndarray
    packed: dict[str, Any]


class PromptSegInferencer:
    """Segments images by prompts, in the manner of MMSegmentation's ``MMSegInferencer``.

    Example::

        inferencer = PromptSegInferencer('sam_tiny_synthetic')
        result = inferencer('part.png', boxes=[[30, 20, 200, 90]], out_dir='outputs')
        masks, scores = result['predictions'][0]['masks'], result['predictions'][0]['scores']

        inferencer.set_image('part.png')  # encode once, prompt many times
        masks, scores, low_res = inferencer.predict(points=[[100, 60]], point_labels=[1])

    Coordinates are pixels (x, y) of the original image; (0, 0) is the centre of its first pixel. Arrays are uint8 BGR,
    as cv2 and mmcv read them. Images are resized as in the config's test pipeline, and masks are those of
    ``tools/test.py``.

    Args:
        model: Name of a config of this project, path of a config file, or a Config.
        weights: Path or URL of a checkpoint, 'mmsam_ext://NAME', or None for the one that ``model.init_cfg`` names. A
            config inside a checkpoint is never executed.
        device: As for :class:`torch.device`; None: a GPU if there is one.
        untrained: Take weights that lack parts which the config adds to SAM and which training brings.

    Raises:
        InferenceError: a model name, config, checkpoint or device that cannot be used.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | None = None,
        untrained: bool = False,
    ) -> None:
        self.config = load_config(model)
        self.model = load_model(self.config, weights, device, untrained)
        self.pipeline = InferencePipeline(self.config, self.model.data_preprocessor)
        self.visualizer = PromptVisualizer()
        self.encoded: EncodedImage | None = None

    # ---------------------------------------------------------------- images and folders

    def __call__(
        self,
        inputs: str | os.PathLike | np.ndarray | Sequence,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        multimask: bool | str | None = None,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        show_progress: bool = True,
        return_vis: bool = False,
        return_logits: bool = False,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Segment images.

        Each of `boxes`, `points`, `point_labels` and `masks` is one set for all images (an array, or numbers in lists)
        or a list of arrays (or None), one per image. Row i of all that are given together makes prompt i.

        Args:
            inputs: A path, a folder, an array (H, W, 3) BGR, or a list of these.
            boxes: (P, 4) or (4,) x1 y1 x2 y2.
            points: (P, N, 2), or (N, 2) for one prompt of N points. Fill up with points of label -1.
            point_labels: (P, N) or (N,), 1 on the object, 0 off it.
            masks: (P, 4h, 4w) logits, as :meth:`predict` returns them.
            multimask: None: as the model's ``test_cfg.multimask`` (its 'oracle', which needs the truth, is taken as
                'ambiguous'); False: the single-mask output; True: the best of the masks for ambiguous prompts;
                'ambiguous': those for prompts of one point only.
            batch_size: Images encoded together.
            out_dir: Where to write masks, overlays and scores; see :class:`ResultWriter`.
            show_progress: Show a progress bar on stderr for more than one image.
            return_vis: Return the overlays, too.
            return_logits: Add `logits` (P, H, W) to predictions, foreground > 0.
            overwrite: Whether results may replace files in `out_dir` that no earlier run wrote.

        Returns:
            - `predictions`: for each image that could be used: `path` (str, or None for an array), `name`, `prompts`
              (P descriptions), `masks` (P, H, W) bool, `scores` (P,) estimated IoU, `union` (H, W) bool.
            - `visualization`: (H', W', 3) uint8 RGB of each prediction, empty unless `return_vis`.
            - `failed`: for each image that could not be used, or whose files could not be written: `path`, `name` and
              `error` (the reason). They are logged together at the end.

            All of it stays in memory; see :meth:`iterate` for many images.

        Raises:
            InferenceError: no prompt (unless a prompt stage of the model makes one), points without labels, malformed
                prompts, or no image that can be used.
        """
        sources = list_sources(inputs)
        results: Any = self.iterate(
            sources, boxes, points, point_labels, masks, multimask, batch_size, out_dir, return_vis, return_logits,
            overwrite,
        )  # fmt: skip
        if show_progress and len(sources) > 1:
            results = track(results, 'Segmenting', total=len(sources), console=Console(stderr=True))
        predictions, visualization, failed = [], [], []
        for result in results:
            if 'error' in result:
                failed.append(result)
                continue
            if return_vis:
                visualization.append(result.pop('overlay'))
            predictions.append(result)
        return dict(predictions=predictions, visualization=visualization, failed=failed)

    def iterate(
        self,
        inputs: str | os.PathLike | np.ndarray | Sequence,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        multimask: bool | str | None = None,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        return_vis: bool = False,
        return_logits: bool = False,
        overwrite: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Segment images one by one, and keep no result: for folders whose masks do not fit into memory.

        Arguments are checked at once, images when their turn comes.

        Args:
            inputs: See :meth:`__call__`, as for all other arguments.
            boxes: See :meth:`__call__`.
            points: See :meth:`__call__`.
            point_labels: See :meth:`__call__`.
            masks: See :meth:`__call__`.
            multimask: See :meth:`__call__`.
            batch_size: See :meth:`__call__`.
            out_dir: See :meth:`__call__`.
            return_vis: See :meth:`__call__`.
            return_logits: See :meth:`__call__`.
            overwrite: See :meth:`__call__`.

        Yields:
            Of each image its prediction, with `overlay` (H', W', 3) uint8 RGB where `return_vis`; or `path`, `name` and
            `error` (the reason) where it could not be used. Images of one batch that could not be read come first.

        Raises:
            InferenceError: as for calling the inferencer; that no image could be used is known at the end.
        """
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise InferenceError(f'batch_size is {batch_size!r}, expected a whole number, 1 or more')
        multimask = self._choice(multimask)
        sources = list_sources(inputs)
        sets = prompt_sets(len(sources), boxes, points, point_labels, masks)
        for source, prompts in zip(sources, sets, strict=True):
            self._check_given(prompts, source.name)
        numbers = [prompts.number for prompts in sets]
        writer = None if out_dir is None else ResultWriter(out_dir, sources, numbers, overwrite)
        jobs = list(zip(range(len(sources)), sources, sets, strict=True))
        batches = (jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size))
        return self._iterate(batches, multimask, writer, return_vis, return_logits)

    def _iterate(
        self,
        batches: Iterator[list[tuple[int, Source, PromptSet]]],
        multimask: bool | str | None,
        writer: ResultWriter | None,
        return_vis: bool,
        return_logits: bool,
    ) -> Iterator[dict[str, Any]]:
        reasons, done = [], 0
        for jobs in batches:
            failed: list[dict[str, Any]] = []
            items = list(self._load(jobs, failed))
            for item, sample in self._segment(items, multimask, failed):
                try:
                    result = prediction(item.source, item.prompts, sample, return_logits)
                    overlay = self._overlay(item, sample) if return_vis or writer is not None else None
                    if writer is not None:
                        writer.write(item.index, result, overlay)
                except Exception as error:  # one image must not take the others along
                    failed.append(failure(item.source, error))
                    continue
                done += 1
                yield result | (dict(overlay=overlay) if return_vis else {})
            for lost in failed:
                reasons.append(lost['error'])
                if writer is not None:
                    writer.write_failure(lost)
                yield lost
        report(reasons, done)

    def _load(self, jobs: list[tuple[int, Source, PromptSet]], failed: list[dict[str, Any]]) -> Iterator[_Item]:
        """Read and pack images; those that cannot be used go to `failed`."""
        for index, source, prompts in jobs:
            try:
                results = self.pipeline.load(source)
                height, width = results['img'].shape[:2]
                packed = self.pipeline.pack(results, prompts.prompts(width, height, source.name))
            except Exception as error:
                failed.append(failure(source, error))
                continue
            yield _Item(index, source, prompts, results['img'], packed)

    def _segment(
        self, items: list[_Item], multimask: bool | str | None, failed: list[dict[str, Any]]
    ) -> Iterator[tuple[_Item, SegDataSample]]:
        """The predicted sample of each image; those that do not fit the model go to `failed`."""
        if not items:
            return
        try:
            data = self.model.data_preprocessor(pseudo_collate([item.packed for item in items]), False)
            samples = self.model.predict(data['inputs'], data['data_samples'], multimask)
        except Exception as error:
            if len(items) == 1:
                failed.append(failure(items[0].source, error))
                return
            for item in items:  # which of them it was is known when each goes by itself
                yield from self._segment([item], multimask, failed)
            return
        yield from zip(items, samples, strict=True)

    def _overlay(self, item: _Item, sample: SegDataSample) -> np.ndarray:
        """(H', W', 3) uint8 RGB: image and prompts beside the prediction."""
        number = len(sample.prompts)
        folder = Path(item.source.path).resolve().parent.name if item.source.path else 'array'
        titled = sample.clone()  # the picture's title shows these two
        titled.set_metainfo(dict(dataset_name=folder, defect_class=f'{number} prompt' + 's' * (number > 1)))
        image = cv2.cvtColor(item.image, cv2.COLOR_BGR2RGB)
        return self.visualizer.compose(image, titled, draw_gt=False, draw_pred=True)

    # ---------------------------------------------------------------- one image, many prompts

    def set_image(self, image: str | os.PathLike | np.ndarray) -> None:
        """Encode an image, for :meth:`predict` to be called any number of times.

        Args:
            image: A path or an array (H, W, 3) uint8 BGR (unlike SamPredictor's RGB).

        Raises:
            InferenceError: The input is not an image.
        """
        self.reset_image()
        sources = list_sources(image)
        if len(sources) != 1:
            raise InferenceError(f'set_image: {len(sources)} images, expected one')
        packed = self.pipeline.pack(self.pipeline.load(sources[0]), Prompts.empty())
        self.encoded = EncodedImage.encode(self.model, packed, sources[0].name)

    def reset_image(self) -> None:
        """Forget the image of :meth:`set_image`."""
        self.encoded = None

    def predict(
        self,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        multimask: bool | str | None = None,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Segment the image of :meth:`set_image`; it is not encoded again.

        Args:
            boxes: See :meth:`__call__`, for one image.
            points: See :meth:`__call__`, for one image.
            point_labels: See :meth:`__call__`, for one image.
            masks: See :meth:`__call__`, for one image.
            multimask: See :meth:`__call__`.
            return_logits: Return logits (foreground > 0) in place of masks.

        Returns:
            Masks (P, H, W) bool (or logits, float) at the original size, estimated IoU (P,), and logits (P, 4h, 4w) at
            the model's own size, which may be the mask prompts of a further call.

        Raises:
            InferenceError: no image was set, no prompt given, or a prompt that is malformed or outside the image.
        """
        encoded = self.encoded  # another thread may set another image meanwhile
        if encoded is None:
            raise InferenceError('no image is set; call set_image first')
        given = PromptSet.create(boxes, points, point_labels, masks, name=encoded.name)
        self._check_given(given, encoded.name)
        logits, scores, low_res = encoded.predict(self.model, given, self._choice(multimask))
        return to_numpy(logits if return_logits else logits > 0), to_numpy(scores), to_numpy(low_res)

    # ---------------------------------------------------------------- both

    def _check_given(self, prompts: PromptSet, name: str) -> None:
        creates = any(getattr(stage, 'creates_prompt', False) for stage in self.model.prompt_stages)
        if not prompts and not creates:
            raise InferenceError(f'{name}: no prompt given; give boxes, points with point_labels, or masks')

    def _choice(self, multimask: bool | str | None) -> bool | str | None:
        """Check `multimask`, and replace the model's 'oracle', which needs ground truth, by 'ambiguous'."""
        if multimask not in (None, False, True, 'ambiguous'):
            raise InferenceError(f"multimask is {multimask!r}, expected None, False, True or 'ambiguous'")
        if multimask is None and self.model.test_cfg.get('multimask') == 'oracle':
            return 'ambiguous'
        return multimask
