"""Files that transformers writes for SAM load without it."""

from __future__ import annotations

from analysis.family_goldens import PROMPTS, image

from tests.models.families.golden import at_golden, golden, predict
from tests.models.small import segmentor
from tests.numeric import MODEL, assert_close


def test_masks_of_sam_are_those_of_transformers() -> None:
    """Its decoder's norms add 1e-6 to the variance, Meta's 1e-5: the logits differ by 1e-4 at most."""
    weights, expected = golden('sam_hf')
    model = segmentor()
    model.load_state_dict(dict(weights), strict=True)
    for name in PROMPTS:
        got = predict(model, image(), name)
        assert_close(at_golden(got.logits[0, :1]), expected[name], MODEL, name=name)
        assert_close(at_golden(got.logits[0, 1:]), expected[f'{name}, multimask'], MODEL, name=name)
        assert_close(got.iou[0, 1:], expected[f'{name}, multimask, iou'], MODEL)
