"""The command convert spt-official, on state dicts made as the authors' code makes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmsam_ext.cli import spt_official as tool
from mmsam_ext.structures import PromptBatch, Prompts
from tests.models.small import CHANNELS, DECODER, SIZE, config, images, stock_sam
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close

RANK = 8
#: One of each kind of parameter.
ONE_EACH = [
    'image_encoder.blocks.1.attn.qkv.lora_A',
    'image_encoder.blocks.2.attn.qkv.lora_B',
    'draft_decoder.transformer.layers.1.self_attn.q_proj.lora_A',
    'mask_decoder.transformer.final_attn_token_to_image.v_proj.lora_B',
    'mask_decoder.transformer.layers.1.lora_sim_scale',
    'draft_decoder.transformer.layers.0.lora_sim_scale',
]
IOU, QKV = 'mask_decoder.iou_token.weight', 'image_encoder.blocks.0.attn.qkv.lora_A'


def authors(whole: bool = False, merged: bool = False) -> dict[str, Tensor]:
    """A state dict with the authors' names: what is trained alone, or all; in all, LoRA may be merged in, too."""
    generator = torch.Generator().manual_seed(0)
    sam = stock_sam().state_dict()
    sam |= {f'draft_{key[5:]}': value for key, value in sam.items() if key.startswith('mask_decoder.')}
    state = dict(sam) if whole else {}
    for key, value in sam.items():
        slices = 2 if key.endswith('qkv.weight') else 1
        if key.endswith(('qkv.weight', 'q_proj.weight', 'v_proj.weight')):
            width = len(value) // 3 if slices == 2 else len(value)
            a = torch.randn(RANK * slices, value.shape[1], generator=generator) / value.shape[1] ** 0.5
            b = torch.randn(width * slices, RANK, generator=generator)
            name = key.removesuffix('weight')
            state |= {f'{name}lora_A': a, f'{name}lora_B': b}
            if merged:
                delta = torch.zeros_like(value)
                for part, place in enumerate((0, 2) if slices == 2 else (0,)):
                    rows = slice(place * width, (place + 1) * width)
                    delta[rows] = b[part * width : (part + 1) * width] @ a[part * RANK : (part + 1) * RANK] / RANK
                state[key] = value + delta
    for decoder in ('mask_decoder', 'draft_decoder'):
        for layer in (0, 1):
            scale = 0.5 * torch.randn(CHANNELS, generator=generator)
            state[f'{decoder}.transformer.layers.{layer}.lora_sim_scale'] = scale
    return state


def ours() -> torch.nn.Module:
    decoder = dict(
        type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER, plugins=[dict(type='VRAAdapter', dim=CHANNELS)]
    )
    rules = [
        dict(type='LoRA', modules=r'qkv$', num_slices=3, slices=(0, 2)),
        dict(type='LoRA', modules=r'mask_decoder.*\.(q|v)_proj$'),
    ]
    return MODELS.build(config(mask_decoder=dict(type='SelfDraftDecoder', decoder=decoder), peft=rules)).eval()


@torch.no_grad()
@pytest.mark.parametrize('form', [dict(), dict(whole=True), dict(whole=True, merged=True)], ids=str)
def test_every_form_of_their_files(form: dict, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Saved whole in evaluation mode, their weights hold LoRA merged in: it must not be added twice."""
    torch.save(authors(**form), tmp_path / 'theirs.pth')
    torch.save(stock_sam().state_dict(), tmp_path / 'sam.pth')
    tool.main([str(tmp_path / name) for name in ('theirs.pth', 'sam.pth', 'ours.pth')])
    assert '66 of them' in capsys.readouterr().out
    model = ours()
    model.load_state_dict(torch.load(tmp_path / 'ours.pth')['state_dict'])  # checks every key
    theirs = authors(whole=True, merged=True)

    # Their computation, on stock parts with LoRA merged: `mask_decoder` drafts, `draft_decoder` refines.
    encoder, drafting, refining = stock_sam().image_encoder, stock_sam().mask_decoder, stock_sam().mask_decoder
    prefixes = {'image_encoder.': encoder, 'mask_decoder.': drafting, 'draft_decoder.': refining}
    for prefix, module in prefixes.items():
        part = {key.removeprefix(prefix): value for key, value in theirs.items() if key.startswith(prefix)}
        scales = [part.get(f'transformer.layers.{layer}.lora_sim_scale') for layer in (0, 1)]
        module.load_state_dict({key: value for key, value in part.items() if 'lora' not in key})
        if prefix != 'image_encoder.':
            for layer, scale in zip(module.transformer.layers, scales, strict=True):
                layer.register_forward_hook(
                    lambda _, args, out, scale=scale: (out[0], out[1] + relation @ out[1] * scale)
                )
    embedding = encoder(images())
    tokens = torch.nn.functional.normalize(embedding[0].flatten(1).T, dim=1)
    relation = (tokens @ tokens.T - 1e16 * torch.eye(len(tokens))).softmax(1)
    stock = stock_sam().prompt_encoder
    box = torch.tensor([[20.0, 30, 90, 100]])
    sparse, dense = stock(None, box, None)
    draft, _ = drafting(embedding, stock.get_dense_pe(), sparse, dense, False)
    _, dense = stock(None, None, draft)
    refined, _ = refining(embedding, stock.get_dense_pe(), sparse, dense, False)

    result = model.decode(
        model.extract_feat(images()), PromptBatch.from_prompts([Prompts.create(boxes=box)], (SIZE, SIZE))
    )
    assert_close(result.drafts[0].logits[:, :1], draft, MODEL)
    assert_close(result.logits[:, :1], refined, MODEL)


def drop(state: dict[str, Tensor], part: str) -> None:
    for key in [key for key in state if part in key]:
        del state[key]


@pytest.mark.parametrize(
    ('edit', 'names'),
    [
        (
            lambda state: drop(state, 'lora_sim_scale'),
            ('lora_sim_scale', '4'),
        ),
        (lambda state: drop(state, 'draft_decoder'), ('draft_decoder', 'lora_A')),
        *[(lambda state, key=key: drop(state, key), (key, '1')) for key in ONE_EACH],
        (lambda state: state.update(optimizer=torch.ones(1)), ('optimizer',)),
        (lambda state: state.update({'mask_decoder.hf.weight': torch.ones(1)}), ('mask_decoder.hf.weight',)),
        (lambda state: state.update({IOU: torch.ones(1, CHANNELS)}), (IOU,)),
        (lambda state: state.update({IOU: torch.ones(1, 7)}), (IOU, 'SAM')),
        (lambda state: state.update({QKV: torch.ones(16, 7)}), ('backbone.blocks.0.attn.qkv.lora_a', '(16, 7)')),
    ],
)
def test_other_files(edit, names: tuple[str, ...], tmp_path: Path) -> None:
    state = authors()
    edit(state)
    torch.save(state, tmp_path / 'theirs.pth')
    torch.save(stock_sam().state_dict(), tmp_path / 'sam.pth')
    with raises_naming(SystemExit, 'spt-official', 'theirs.pth', *names):
        tool.main([str(tmp_path / name) for name in ('theirs.pth', 'sam.pth', 'ours.pth')])
    assert not (tmp_path / 'ours.pth').exists()


def test_other_base(tmp_path: Path) -> None:
    torch.save(authors(), tmp_path / 'theirs.pth')
    with raises_naming(SystemExit, 'theirs.pth', 'image_encoder.pos_embed'):
        tool.main([str(tmp_path / 'theirs.pth')] * 2 + [str(tmp_path / 'ours.pth')])
    with raises_naming(SystemExit, 'none.pth'):
        tool.main([str(tmp_path / 'theirs.pth'), str(tmp_path / 'none.pth'), str(tmp_path / 'ours.pth')])
