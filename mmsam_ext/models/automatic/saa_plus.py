"""`SAAPlusSegmentor`: a promptable segmentor that finds anomalies by itself, from words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures
from mmsam_ext.structures.prompts import rescale
from mmsam_ext.structures.samples import pixel_data, predictions, sample_labels, sample_name, write_prediction

from ..segmentors import PromptableSegmentor
from .anomaly_prompt import AnomalyPrompt
from .fusion import fuse_masks
from .text_boxes import TextBoxes

#: Name of the prompts of categories that are not listed.
ANY = '*'


@MODELS.register_module()
class SAAPlusSegmentor(PromptableSegmentor):
    """Segment anomalies without training, by SAA+'s steps, with any promptable model of this package.

    1. Boxes of the object, and of defects, by text; 2. boxes that are too large, or whose phrase names the object, are
    dropped; 3. the model segments each box (single mask); 4. scores rise with the saliency of their mask; 5. the best
    masks are fused into an anomaly map. Any config of a promptable segmentor becomes one by this type and the arguments
    below; checkpoints load as they do there. The official code gives SAM the image as BGR:
    ``data_preprocessor=dict(bgr_to_rgb=False)``.

    Paper: SAA+ (arXiv:2305.10724); in SPT (arXiv:2411.17217) Table 7.

    Args:
        box_source: Config of a :class:`BoxSource`.
        anomaly_prompts: Category -> fields of :class:`AnomalyPrompt`. A sample's category is its `defect_class` up to
            the first '/', or its `dataset_name`; '*' stands for all others.
        saliency: Config of :class:`SaliencyRescorer`; None: scores stay as they are.
        box_threshold: Boxes with a lower score are dropped.
        kwargs: See :class:`PromptableSegmentor`.

    Raises:
        ValueError: no prompts; while predicting, a sample without its original image (KeepOriginalImage), or of a
            category that has no prompts.
    """

    def __init__(
        self,
        *args,
        box_source: dict,
        anomaly_prompts: Mapping[str, Mapping[str, Any]],
        saliency: dict | None = None,
        box_threshold: float = 0.1,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not anomaly_prompts:
            raise ValueError("SAAPlusSegmentor: anomaly_prompts is empty, expected category -> dict(object='...')")
        self.box_source = MODELS.build(box_source)
        self.saliency = None if saliency is None else MODELS.build(saliency)
        self.anomaly_prompts = {name: AnomalyPrompt(**fields) for name, fields in anomaly_prompts.items()}
        self.box_threshold = box_threshold

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None, multimask: bool | str | None = None
    ) -> list[SegDataSample]:
        """Predict an anomaly map of each image.

        Args:
            inputs: (B, 3, H, W).
            data_samples: With `original_image` (3, H0, W0) uint8 RGB.
            multimask: See :class:`PromptableSegmentor`.

        Returns:
            The samples with `seg_logits` (1, H0, W0), the anomaly map, `pred_sem_seg`, where it is above 0, and
            `pred_instances`: the masks of defects, `iou_scores` being their scores by text and saliency.
        """
        samples = data_samples or []
        height, width = inputs.shape[-2:]
        for image, sample in zip(inputs, samples, strict=True):
            self._predict(self.extract_feat(image[None]), (height, width), sample, multimask)
        return samples

    def prompt_of(self, sample: SegDataSample) -> AnomalyPrompt:
        """Return the prompts of a sample's category.

        Raises:
            ValueError: there are none; names the sample, its category and those that have some.
        """
        dataset, defect_class = sample_labels(sample)
        for name in (defect_class.split('/')[0], dataset, ANY):
            if name in self.anomaly_prompts:
                return self.anomaly_prompts[name]
        raise ValueError(
            f'{sample_name(sample)}: no prompts for its category {defect_class.split("/")[0]!r} or dataset '
            f"{dataset!r}; anomaly_prompts has {sorted(self.anomaly_prompts)} (add it, or '{ANY}' for all others)"
        )

    def find_boxes(self, image: Tensor, sample: SegDataSample) -> tuple[TextBoxes, TextBoxes]:
        """Find the boxes of objects and of defects in an image (3, H0, W0) uint8 RGB, filtered by the prompts."""
        prompt, size = self.prompt_of(sample), (image.shape[-2], image.shape[-1])
        objects = self.box_source.find(image, [prompt.object], 'object', sample)
        objects = objects[self._fitting(objects, size, 1 / prompt.number)]
        largest = float(objects.areas(size).max()) if len(objects) else 1.0
        captions = prompt.captions
        defects = self.box_source.find(image, [caption for caption, _ in captions], 'defect', sample)
        keep = self._fitting(defects, size, largest * prompt.largest_share)
        filters = [captions[place][1] if place >= 0 else captions[0][1] for place in defects.captions.tolist()]
        names = [phrase in words for phrase, words in zip(filters, defects.phrases, strict=True)]
        return objects, defects[keep & ~torch.tensor(names, dtype=torch.bool)]

    def _fitting(self, boxes: TextBoxes, size: tuple[int, int], largest: float) -> Tensor:
        """(N,) bool: boxes of a high enough score whose share of the image is between 0 and `largest`."""
        areas = boxes.areas(size)
        return (boxes.scores > self.box_threshold) & (areas > 0) & (areas < largest)

    def _predict(
        self,
        features: SAMFeatures,
        input_size: tuple[int, int],
        sample: SegDataSample,
        multimask: bool | str | None,
    ) -> None:
        if 'original_image' not in sample:
            raise ValueError(
                f'{sample_name(sample)}: no `original_image`; put KeepOriginalImage behind LoadImageFromFile'
            )
        image = pixel_data(sample, 'original_image')
        objects, defects = self.find_boxes(image, sample)
        several = self.saliency is not None and self.prompt_of(sample).number > 1
        boxes = torch.cat([defects.boxes, objects.boxes if several else objects.boxes[:0]])
        logits = self._segment(features, input_size, sample, boxes, multimask)  # (N, H0, W0)
        masks, number = logits > 0, len(defects)
        scores = defects.scores.to(masks.device)
        if self.saliency is not None and number:
            map_ = self.saliency(image, masks[number:], self.prompt_of(sample).number).to(masks.device)
            scores = self.saliency.rescore(masks[:number], scores, map_)
        anomaly = fuse_masks(masks[:number], scores, self.prompt_of(sample).most_masks)
        ids = torch.zeros(max(1, number), dtype=torch.int64, device=masks.device)
        if not number:  # metrics expect a mask: one of nothing
            logits, scores = logits.new_full((1, *anomaly.shape), -1), scores.new_zeros(1)
        write_prediction(
            sample, logits[: max(1, number)], scores, target_ids=ids, draw_ids=ids.clone(), mode_ids=ids.clone()
        )
        sample.seg_logits = PixelData(data=anomaly[None])
        sample.pred_sem_seg = PixelData(data=(anomaly[None] > 0).long())
        sample.prompts = self._prompts(defects.boxes, sample) if number else Prompts.empty()

    def _segment(
        self,
        features: SAMFeatures,
        input_size: tuple[int, int],
        sample: SegDataSample,
        boxes: Tensor,
        multimask: bool | str | None,
    ) -> Tensor:
        """Mask logits (N, H0, W0) of boxes (N, 4) in pixels of the original image."""
        if not len(boxes):
            return features.embedding.new_zeros(0, *sample.metainfo['ori_shape'][:2])
        prompts = self._prompts(boxes, sample).to(features.embedding.device)
        batch = PromptBatch.from_prompts([prompts], input_size, [sample_name(sample)])
        answer = SegDataSample(metainfo=sample.metainfo)
        self.predict_from_features(features, batch, [answer], multimask)
        return predictions(answer).mask_logits

    @staticmethod
    def _prompts(boxes: Tensor, sample: SegDataSample) -> Prompts:
        """Boxes (N, 4) of the original image as prompts in pixels of the network input."""
        meta, name = sample.metainfo, sample_name(sample)
        prompts = Prompts.create(boxes=boxes.cpu(), modes=('text',), sample=name)
        return rescale(prompts, meta['ori_shape'][:2], meta['img_shape'][:2], name)
