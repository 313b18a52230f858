"""Test-time augmentation of promptable segmentors."""

from __future__ import annotations

import torch
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsam_ext.structures.samples import pixel_data, predictions, sample_name, write_prediction


@MODELS.register_module()
class PromptTTAModel(SegTTAModel):
    """Average the mask logits and IoU scores of each prompt over views of an image.

    Views differ in size only (``TestTimeAug`` with several ``Resize`` after GeneratePrompts), since prompts are drawn
    once, in the frame of the original image, and only Resize moves them.

    Raises:
        ValueError: Views have different numbers of prompts.
    """

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merge the predicted views of each image -> one sample per image."""
        return [self._merge(views) for views in data_samples_list]

    @staticmethod
    def _merge(views: list[SegDataSample]) -> SegDataSample:
        predicted = [predictions(view) for view in views]
        numbers = [len(one) for one in predicted]
        if len(set(numbers)) != 1:
            raise ValueError(
                f'{sample_name(views[0])}: views have {numbers} prompts, expected the same number in each; put '
                'GeneratePrompts before TestTimeAug'
            )
        merged, first = views[0], predicted[0]
        extra, labels = {}, len(pixel_data(merged, 'seg_logits'))
        if 'presence' in first:
            extra['presence'] = torch.stack([one.presence for one in predicted]).mean(0)
        write_prediction(
            merged,
            torch.stack([one.mask_logits for one in predicted]).mean(0),  # (P, H, W)
            torch.stack([one.iou_scores for one in predicted]).mean(0),
            None if labels == 1 else labels - 1,
            target_ids=first.target_ids,
            draw_ids=first.draw_ids,
            mode_ids=first.mode_ids,
            class_ids=first.class_ids,
            **extra,
        )
        return merged
