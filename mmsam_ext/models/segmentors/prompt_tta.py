"""Test-time augmentation of promptable segmentors."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


@MODELS.register_module()
class PromptTTAModel(SegTTAModel):
    """Averages the mask logits and IoU scores of each prompt over views of an image.

    Views differ in size only (``TestTimeAug`` with several ``Resize`` after GeneratePrompts), since prompts are drawn
    once, in the frame of the original image, and moved by nothing but Resize.

    Raises:
        ValueError: views with different numbers of prompts.
    """

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Views of each image, predicted -> one sample an image."""
        return [self._merge(views) for views in data_samples_list]

    @staticmethod
    def _merge(views: list[SegDataSample]) -> SegDataSample:
        numbers = [len(view.pred_instances) for view in views]
        if len(set(numbers)) != 1:
            raise ValueError(
                f'{views[0].metainfo.get("img_path")}: views have {numbers} prompts, expected the same in each; '
                'put GeneratePrompts before TestTimeAug'
            )
        merged, first = views[0], views[0].pred_instances
        logits = torch.stack([view.pred_instances.mask_logits for view in views]).mean(0)  # (P, H, W)
        merged.pred_instances = InstanceData(
            mask_logits=logits,
            iou_scores=torch.stack([view.pred_instances.iou_scores for view in views]).mean(0),
            target_ids=first.target_ids,
            draw_ids=first.draw_ids,
            mode_ids=first.mode_ids,
        )
        union = logits.amax(0, keepdim=True)
        merged.seg_logits = PixelData(data=union)
        merged.pred_sem_seg = PixelData(data=(union > 0).long())
        return merged
