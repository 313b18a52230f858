"""A tiny random GroundingDINO and a tokenizer made here; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

WORDS = {'[PAD]': 0, '[UNK]': 100, '[CLS]': 101, '[SEP]': 102, '.': 1012, 'scratch': 5, 'dent': 6, 'tile': 7}


def tokenizer():
    """Words, with BERT's numbers of special tokens, on which GroundingDINO relies."""
    transformers = pytest.importorskip('transformers')
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel(WORDS, unk_token='[UNK]'))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(('[SEP]', 102), ('[CLS]', 101))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token='[UNK]', pad_token='[PAD]', cls_token='[CLS]', sep_token='[SEP]'
    )


def detector():
    transformers = pytest.importorskip('transformers')
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
    return transformers.GroundingDinoForObjectDetection(config)


def save(folder: Path) -> Path:
    """Write both into a folder, as they are downloaded from a hub."""
    detector().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
