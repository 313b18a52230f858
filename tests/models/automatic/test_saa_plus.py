"""SAA+ end to end: a hand-worked case with a model that fills its boxes, and a whole dataset with boxes from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.models.automatic import BoxSource, SAAPlusSegmentor, TextBoxes
from mmsam_ext.structures import PromptBatch
from mmsam_ext.structures.samples import write_prediction
from tests.models.small import config
from tests.naming import raises_naming

ANSWERS: dict[str, list[tuple[list[float], float, str]]] = {}


@MODELS.register_module()
class ListedBoxes(BoxSource):
    """A box source that looks captions up in a table."""

    def find(self, image: Tensor, captions: list[str], kind: str, sample: Any) -> TextBoxes:
        found = [(place, *answer) for place, caption in enumerate(captions) for answer in ANSWERS.get(caption, ())]
        return TextBoxes(
            boxes=torch.tensor([box for _, box, _, _ in found]).reshape(-1, 4),
            scores=torch.tensor([score for _, _, score, _ in found]),
            phrases=tuple(phrase for _, _, _, phrase in found),
            captions=torch.tensor([place for place, *_ in found], dtype=torch.int64),
        )


class BoxFiller(SAAPlusSegmentor):
    """A SAM whose mask is its box, first pixels included and last ones not."""

    def extract_feat(self, inputs: Tensor, dtype: torch.dtype | None = None) -> Any:
        return type('Features', (), dict(embedding=torch.zeros(1, 1, 1, 1)))

    def predict_from_features(self, features, batch: PromptBatch, samples, multimask=None, keep_low_res=False):
        masks = torch.full((len(batch), *samples[0].metainfo['ori_shape']), -1.0)
        for mask, (x1, y1, x2, y2) in zip(masks, batch.boxes.round().int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        write_prediction(samples[0], masks, torch.ones(len(batch)))
        return samples


class Saliency(torch.nn.Module):
    """0.5 in the left half, 0.25 elsewhere."""

    strength = 3.0

    def forward(self, image: Tensor, objects: Tensor, number: int) -> Tensor:
        self.objects, self.number = objects, number
        map_ = torch.full(image.shape[-2:], 0.25)
        map_[:, : image.shape[-1] // 2] = 0.5
        return map_

    def rescore(self, masks: Tensor, scores: Tensor, saliency: Tensor) -> Tensor:
        from mmsam_ext.models.automatic import SaliencyRescorer

        return SaliencyRescorer.rescore(self, masks, scores, saliency)


def model(**prompts: Any) -> BoxFiller:
    fields = dict(object='tile', largest_share=0.5, most_masks=2, defects=[('scratch', 'tile')]) | prompts
    settings = config(box_source=dict(type='ListedBoxes'), anomaly_prompts=dict(tile=fields))
    settings.pop('type')
    return BoxFiller(**settings).eval()


def sample(defect_class: str = 'tile/crack') -> SegDataSample:
    meta = dict(ori_shape=(20, 40), img_shape=(20, 40), img_path='a/1.png', defect_class=defect_class)
    result = SegDataSample(metainfo=meta)
    result.original_image = PixelData(data=torch.zeros(3, 20, 40, dtype=torch.uint8))
    return result


@pytest.fixture(autouse=True)
def answers() -> None:
    """The object covers half of the image, so that a defect may cover a quarter of it: 200 of 800 pixels."""
    ANSWERS.clear()
    ANSWERS['tile'] = [([0, 0, 20, 20], 0.9, 'tile'), ([0, 0, 40, 20], 0.8, 'tile'), ([0, 0, 30, 20], 0.05, 'tile')]
    ANSWERS['defect on tile'] = [
        ([0, 0, 10, 10], 0.6, 'defect'),
        ([20, 0, 40, 20], 0.9, 'defect'),  # 400 pixels: too large
        ([5, 5, 9, 9], 0.9, 'defect on tile'),  # names the object
        ([0, 0, 4, 4], 0.1, 'defect'),  # not above the threshold
    ]
    ANSWERS['scratch'] = [([5, 0, 15, 10], 0.4, 'scratch'), ([25, 10, 35, 20], 0.3, 'scratch')]


def test_map_by_hand() -> None:
    (result,) = model().predict(torch.zeros(1, 3, 20, 40), [sample()])
    expected = torch.zeros(20, 40)
    expected[:10, :5] = 0.6 / 2
    expected[:10, 5:10] = (0.6 + 0.4) / 3
    expected[:10, 10:15] = 0.4 / 2  # the third mask is not among the best two
    assert torch.allclose(result.seg_logits.data[0], expected)
    assert result.pred_instances.mask_logits.shape == (3, 20, 40)
    assert result.pred_instances.iou_scores.tolist() == pytest.approx([0.6, 0.4, 0.3])


def test_saliency_raises_scores() -> None:
    built = model()
    built.saliency = Saliency()
    (result,) = built.predict(torch.zeros(1, 3, 20, 40), [sample()])
    factors = torch.tensor([0.5, 0.5, 0.25]).mul(3).exp()
    assert torch.allclose(result.pred_instances.iou_scores, torch.tensor([0.6, 0.4, 0.3]) * factors)
    assert len(built.saliency.objects) == 0, 'with one object its mask is not needed'
    built = model(number=3, largest_share=10.0)  # an object may cover a third of the image: none is found
    built.saliency = Saliency()
    ANSWERS['tile'] = [([0, 0, 10, 20], 0.9, 'tile'), ([20, 0, 30, 20], 0.9, 'tile')]
    built.predict(torch.zeros(1, 3, 20, 40), [sample()])
    assert built.saliency.number == 3 and built.saliency.objects.sum((1, 2)).tolist() == [200, 200]


def test_nothing_found() -> None:
    ANSWERS.clear()
    (result,) = model().predict(torch.zeros(1, 3, 20, 40), [sample()])
    assert not result.seg_logits.data.any() and not result.pred_sem_seg.data.any()
    # Without an object the largest area counts as 1: a defect may cover half of the image.
    ANSWERS['scratch'] = [([20, 0, 39, 20], 0.9, 'scratch'), ([0, 0, 21, 20], 0.9, 'scratch')]
    (result,) = model().predict(torch.zeros(1, 3, 20, 40), [sample()])
    assert result.pred_sem_seg.data.sum() == 19 * 20


def test_bad_input() -> None:
    with raises_naming(ValueError, '1.png', 'bottle'):
        model().predict(torch.zeros(1, 3, 20, 40), [sample('bottle/broken')])
    bare = sample()
    del bare.original_image
    with raises_naming(ValueError, '1.png', 'original_image'):
        model().predict(torch.zeros(1, 3, 20, 40), [bare])
    with raises_naming(ValueError, 'anomaly_prompts'):
        MODELS.build(config(type='SAAPlusSegmentor', box_source=dict(type='ListedBoxes'), anomaly_prompts={}))


def test_plain_sam_checkpoint_loads(tmp_path: Path) -> None:
    """A plain SAM checkpoint loads although it lacks the parts that SAA+ adds."""
    (tmp_path / 'boxes.json').write_text(json.dumps([dict(file_name='a.png', bbox=[1, 2, 3, 4], score=1.0)]))
    source = dict(type='BoxesFromFile', defects=str(tmp_path / 'boxes.json'))
    plain = MODELS.build(config())
    built = MODELS.build(config(type='SAAPlusSegmentor', box_source=source, anomaly_prompts={'*': dict(object='tile')}))
    built.load_state_dict(plain.state_dict())
    assert built.prompt_of(sample('anything')).object == 'tile'
    assert all(torch.equal(value, built.state_dict()[key]) for key, value in plain.state_dict().items())
