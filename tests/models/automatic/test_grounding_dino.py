"""Text to boxes with a tiny random GroundingDINO and a tokenizer made here; nothing is downloaded."""

from __future__ import annotations

import sys

import pytest
import torch

from mmsam_ext.models.automatic import GroundingDINOBoxes
from tests.grounding_dino import detector, tokenizer
from tests.naming import raises_naming

pytest.importorskip('transformers')


@pytest.fixture(scope='module')
def source() -> GroundingDINOBoxes:
    source = GroundingDINOBoxes(detector(), tokenizer(), box_threshold=0.0, text_threshold=0.0)
    source.image_processor.size = dict(shortest_edge=64, longest_edge=128)  # 800 takes seconds
    return source


def test_boxes_scores_and_phrases(source: GroundingDINOBoxes) -> None:
    image = torch.randint(0, 256, (3, 60, 90), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = source.find(image, ['Scratch', 'dent. tile'], 'defect', {})
    assert len(found) == 40 and found.captions.tolist() == [0] * 20 + [1] * 20
    assert (found.scores > 0).all() and (found.scores < 1).all()
    # Every token passes a threshold of 0: a phrase is all of its caption.
    assert set(found.phrases[:20]) == {'scratch.'} or set(found.phrases[:20]) == {'scratch .'}
    pixels = source.image_processor(images=image, return_tensors='pt')
    tokens = source.tokenizer('scratch.', return_tensors='pt')
    with torch.no_grad():
        outputs = source.model(**pixels, **tokens)
    centre, sides = outputs.pred_boxes[0].split(2, 1)
    expected = torch.cat([centre - sides / 2, centre + sides / 2], 1) * torch.tensor([90, 60, 90, 60])
    assert torch.allclose(found.boxes[:20], expected, atol=1e-4)
    assert torch.allclose(found.scores[:20], outputs.logits[0].sigmoid().amax(1), atol=1e-6)


def test_threshold(source: GroundingDINOBoxes) -> None:
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    scores = source.find(image, ['dent'], 'defect', {}).scores
    source.box_threshold = float(scores.median())
    try:
        assert len(source.find(image, ['dent'], 'defect', {})) == int((scores > scores.median()).sum())
    finally:
        source.box_threshold = 0.0


def test_caption_empty_or_too_long(source: GroundingDINOBoxes) -> None:
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    with raises_naming(ValueError, 'empty'):
        source.find(image, ['scratch', ' '], 'defect', {})
    with raises_naming(ValueError, '23', '16'):
        source.find(image, ['scratch dent ' * 10], 'defect', {})  # 20 words, a full stop and two ends


def test_transformers_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with raises_naming(ImportError, 'pip install', '[text]'):
        GroundingDINOBoxes()
