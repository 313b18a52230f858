"""Text to boxes with a tiny random GroundingDINO and a tokenizer made here; nothing is downloaded."""

from __future__ import annotations

import sys

import pytest
import torch

from mmsam_ext.models.automatic import GroundingDINOBoxes

transformers = pytest.importorskip('transformers')

WORDS = {'[PAD]': 0, '[UNK]': 100, '[CLS]': 101, '[SEP]': 102, '.': 1012, 'scratch': 5, 'dent': 6, 'tile': 7}


def tokenizer():
    """Words, with BERT's numbers of special tokens, on which GroundingDINO relies."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel(WORDS, unk_token='[UNK]'))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(('[SEP]', 102), ('[CLS]', 101))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token='[UNK]', pad_token='[PAD]', cls_token='[CLS]', sep_token='[SEP]'
    )


@pytest.fixture(scope='module')
def source() -> GroundingDINOBoxes:
    torch.manual_seed(0)
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_indices=[2, 3, 4]
        ),
        text_config=transformers.BertConfig(
            vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
        num_queries=20, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_feature_levels=3, max_text_len=16,
    )  # fmt: skip
    model = transformers.GroundingDinoForObjectDetection(config)
    source = GroundingDINOBoxes(model, tokenizer(), box_threshold=0.0, text_threshold=0.0)
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
    with pytest.raises(ValueError, match='empty'):
        source.find(image, ['scratch', ' '], 'defect', {})
    with pytest.raises(ValueError, match='23 tokens.*16'):
        source.find(image, ['scratch dent ' * 10], 'defect', {})  # 20 words, a full stop and two ends


def test_transformers_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r'pip install .*\[text\]'):
        GroundingDINOBoxes()
