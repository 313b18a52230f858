"""`PromptSegInferencer`: images and prompts in, masks out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from mmengine.config import Config
from rich.console import Console
from rich.progress import track

from mmsam_ext.checkpoints.base import base_file
from mmsam_ext.structures import Prompts
from mmsam_ext.visualization import PromptVisualizer

from .checks import check_given, multimask_choice, positive
from .encoded_image import EncodedImage
from .errors import InferenceError
from .failures import failure, report
from .full_size import PLAIN, MaskRules, full_size_masks
from .image_inputs import Source, list_sources
from .inference_pipeline import InferencePipeline
from .model_loading import load_config, load_model
from .outside_prompts import outside_prompts
from .prompt_formats import notice_ambiguous_boxes
from .prompt_sets import PromptSet, prompt_sets
from .result_writer import ResultWriter
from .score_origin import same_weights, score_origin
from .segmented import Item, Segmented, nothing_segmented, segment_each
from .tiled_image import TiledImage, encode_image


class PromptSegInferencer:
    """Segments images by prompts, in the manner of MMSegmentation's ``MMSegInferencer``.

    Example::

        inferencer = PromptSegInferencer('sam_tiny')
        result = inferencer('part.png', boxes=[[30, 20, 200, 90]], out_dir='outputs')
        masks, scores = result['predictions'][0]['masks'], result['predictions'][0]['scores']

        inferencer.set_image('part.png')  # encode once, prompt many times
        masks, scores, low_res = inferencer.predict(points=[[100, 60]], point_labels=[1])

    Coordinates are pixels (x, y) of the original image; (0, 0) is the centre of its first pixel. Arrays are uint8 BGR,
    as cv2 and mmcv read them. Images are resized as in the config's test pipeline, and masks are those of
    ``tools/test.py``.

    Args:
        model: Name of a config, or of a published model ('sam2.1_hiera_s'), path of a config file, or a Config.
        weights: Path or URL of a checkpoint, 'mmsam_ext://NAME', or None for the one that ``model.init_cfg`` names.
        device: As for :class:`torch.device`; None: a GPU if there is one.
        untrained: Take weights that lack parts which training brings.
        chunk_mb: Megabytes for masks on the way to full size, beside those that are returned (at least one mask).
        rules: Threshold of masks, and least area of their regions.

    Raises:
        InferenceError: a model name, config, checkpoint or device that cannot be used.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | None = None,
        untrained: bool = False,
        chunk_mb: int = 128,
        rules: MaskRules = PLAIN,
    ) -> None:
        self.chunk_bytes = positive('chunk_mb', chunk_mb) * 2**20
        self.rules = rules
        self._noticed_boxes = False
        self.config = load_config(model)
        self.model = load_model(self.config, weights, device, untrained)
        base = base_file(self.model)
        self.score_from = score_origin(self.model, weights is not None and not same_weights(weights, base))
        loaded = cast('Any', self.model)  # `dataset_meta` is set when it is loaded
        self.pipeline = InferencePipeline(self.config, loaded.data_preprocessor, loaded.dataset_meta)
        self.encoded: EncodedImage | TiledImage | None = None

    @cached_property
    def visualizer(self) -> PromptVisualizer:
        """What draws overlays; made for the first of them, because it imports matplotlib."""
        return PromptVisualizer()

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
        box_format: str | None = None,
        mask_format: str | None = None,
        rle: bool = False,
        prompts: str | os.PathLike | Sequence[PromptSet] | None = None,
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
                'ambiguous': those for prompts of one point only; 'stable': where the single-mask output is not stable.
            batch_size: Images encoded together.
            out_dir: Where to write masks, overlays and scores; see :class:`ResultWriter`.
            show_progress: Show a progress bar on stderr for more than one image.
            return_vis: Return the overlays, too.
            return_logits: Add `logits` (P, H, W) to predictions, foreground > 0.
            overwrite: Whether results may replace files in `out_dir` that no earlier run wrote.
            box_format: 'xyxy'; 'xywh' (corner, width, height); 'normalized' (x1 y1 x2 y2 as shares of width and
                height); None for 'xyxy', with an error where the boxes look like another format.
            mask_format: 'logits'; 'binary' (0 and 1, or 0 and 255) or 'probability', which may have the size of the
                image, too; None for 'logits', with an error where the masks look like another format.
            rle: Return run lengths (:func:`encode_rle`) in `rles` instead of `masks`, for many prompts on large images:
                memory does not grow with their product.
            prompts: In place of `boxes` and so on: a file of prompts by file name (JSON, CSV or COCO annotations, see
                :class:`PromptFile`), or one set for each image, as :func:`text_prompts` finds them.

        Returns:
            - `predictions`: for each image that could be used: `path` (str, or None for an array), `name`, `prompts`
              (P descriptions), `masks` (P, H, W) bool (or `rles`, P run lengths), `scores` (P,) estimated IoU, `union`
              (H, W) bool.
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
            overwrite, box_format, mask_format, rle, prompts,
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
        box_format: str | None = None,
        mask_format: str | None = None,
        rle: bool = False,
        prompts: str | os.PathLike | Sequence[PromptSet] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Segment images one by one, and keep no result: for folders whose masks do not fit into memory.

        Arguments are those of :meth:`__call__`. They are checked at once, images when their turn comes.

        Yields:
            Of each image its prediction, with `overlay` (H', W', 3) uint8 RGB where `return_vis`; or `path`, `name` and
            `error` (the reason) where it could not be used. Images of one batch that could not be read come first.

        Raises:
            InferenceError: as for calling the inferencer; that no image could be used is known at the end.
        """
        positive('batch_size', batch_size)
        multimask = multimask_choice(self.model, multimask)
        sources = list_sources(inputs)
        if prompts is not None:
            sets = outside_prompts(prompts, sources, boxes, points, masks)
        else:
            sets = prompt_sets(len(sources), boxes, points, point_labels, masks, box_format, mask_format)
        sets = [given.by_class(self.model.num_classes) for given in sets]
        for source, given in zip(sources, sets, strict=True):
            check_given(self.model, given, source.name)
        numbers = [prompts.number for prompts in sets]
        writer = None if out_dir is None else ResultWriter(out_dir, sources, numbers, overwrite, self.score_from)
        jobs = list(zip(range(len(sources)), sources, sets, strict=True))
        batches = (jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size))
        return self._iterate(batches, multimask, writer, return_vis, return_logits, rle)

    def _iterate(
        self,
        batches: Iterator[list[tuple[int, Source, PromptSet]]],
        multimask: bool | str | None,
        writer: ResultWriter | None,
        return_vis: bool,
        return_logits: bool,
        rle: bool,
    ) -> Iterator[dict[str, Any]]:
        reasons, done = [], 0
        for jobs in batches:
            failed: list[dict[str, Any]] = []
            items = list(self._load(jobs, failed))
            for item, segmented in self._segment(items, multimask, failed):
                try:
                    result = segmented.prediction(self.chunk_bytes, return_logits, rle, self.rules)
                    result |= dict(path=item.source.path, name=item.source.name, prompts=item.prompts.describe())
                    overlay: Any = None
                    if return_vis or writer is not None:
                        overlay = segmented.overlay(self.visualizer, item.image, result['union'], item.source.folder)
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

    def _load(self, jobs: list[tuple[int, Source, PromptSet]], failed: list[dict[str, Any]]) -> Iterator[Item]:
        """Read and pack images; those that cannot be used go to `failed`."""
        for index, source, prompts in jobs:
            try:
                results = self.pipeline.load(source)
                height, width = results['img'].shape[:2]
                prompts = prompts.fitted(width, height, source.name)
                packed = self.pipeline.pack(results, self._in_pixels(prompts, width, height, source.name))
            except Exception as error:
                failed.append(failure(source, error))
                continue
            yield Item(index, source, prompts, results['img'], packed)

    def _segment(
        self, items: list[Item], multimask: bool | str | None, failed: list[dict[str, Any]]
    ) -> Iterator[tuple[Item, Segmented]]:
        """Segment loaded images in their order; those that do not fit the model go to `failed`."""
        prompted = [item.packed for item in items if item.prompts.number]
        answers = iter(segment_each(self.model, prompted, multimask))
        for item in items:
            answer = next(answers) if item.prompts.number else nothing_segmented(item.packed)
            if isinstance(answer, Exception):
                failed.append(failure(item.source, answer))
            else:
                yield item, answer

    def _in_pixels(self, prompts: PromptSet, width: int, height: int, name: str) -> Prompts:
        """The prompts in pixels of the image; boxes whose format was not stated and is not clear are logged once."""
        if not prompts.number:
            return Prompts.empty()
        checked = prompts.prompts(width, height, name)
        if prompts.boxes is not None and prompts.box_format is None and not self._noticed_boxes:
            self._noticed_boxes = notice_ambiguous_boxes(prompts.boxes, width, height, name)
        return checked

    def set_image(self, image: str | os.PathLike | np.ndarray) -> None:
        """Encode an image, for :meth:`predict` to be called any number of times.

        All threads that share an inferencer share this image. Threads with an image each call the inferencer, or take
        ``copy.copy(inferencer)``, which shares the model.

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
        self.encoded = encode_image(self.model, packed, sources[0].name)

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
        box_format: str | None = None,
        mask_format: str | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Segment the image of :meth:`set_image`; it is not encoded again.

        Args:
            boxes: See :meth:`__call__`, for one image.
            points: See :meth:`__call__`, for one image.
            point_labels: See :meth:`__call__`, for one image.
            masks: See :meth:`__call__`, for one image.
            multimask: See :meth:`__call__`.
            box_format: See :meth:`__call__`.
            mask_format: See :meth:`__call__`.
            return_logits: Return logits (foreground > 0) in place of masks.

        Returns:
            Masks (P, H, W) bool (or logits, float) at the original size, estimated IoU (P,), and logits (P, 4h, 4w) at
            the model's own size, which may be the mask prompts of a further call.

        Raises:
            InferenceError: no image was set, no prompt given, or a prompt that is malformed or outside the image.
        """
        if (encoded := self.encoded) is None:  # kept, as another thread may set another image meanwhile
            raise InferenceError('no image is set; call set_image first')
        given = PromptSet.create(boxes, points, point_labels, masks, encoded.name, box_format, mask_format)
        given = given.by_class(self.model.num_classes)
        check_given(self.model, given, encoded.name)
        width, height = encoded.meta['ori_shape'][1::-1]
        self._in_pixels(given, width, height, encoded.name)
        low_res, scores = encoded.decode(self.model, given, multimask_choice(self.model, multimask))
        limit = self.chunk_bytes
        result: Any = (
            low_res.full_logits(limit) if return_logits else full_size_masks(low_res, limit, rules=self.rules).masks
        )
        small = encoded.as_prompts(cast('Any', low_res.logits))
        return result, scores.float().cpu().numpy(), small.float().cpu().numpy()
