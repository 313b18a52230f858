"""PLM: the paper's size, an exact identity at first, then what PyTorch's own attention computes prompt by prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mmsam_ext.models.prompt_stages import PromptLearningModule
from mmsam_ext.structures import PromptBatch, PromptEmbedding, Prompts, SAMFeatures
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, SIZE, images, randomise, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close, assert_differs

PLM = dict(type='PromptLearningModule', dim=CHANNELS, num_heads=4, mlp_dim=64)


def with_plm(plain, trained: bool = False):
    """A model with the weights of a plain one, and a PLM at its start or with random weights."""
    model = segmentor(prompt_stages=[PLM])
    stage = PromptLearningModule(CHANNELS, 4, 64)
    if trained:
        randomise(stage, seed=3)
    model.load_state_dict(plain.state_dict() | {f'prompt_stages.0.{k}': v for k, v in stage.state_dict().items()})
    return model


def test_size_of_the_paper():
    module = PromptLearningModule()
    assert sum(p.numel() for p in module.parameters()) == 1_644_544
    assert sum(p.numel() for p in module.output.parameters()) == 65_792  # the rest is the block of 1,578,752


@torch.no_grad()
def test_untrained_leaves_sams_logits_bit_for_bit():
    plain = segmentor()
    model = with_plm(plain)
    prompts, features = mixed(), plain.extract_feat(images(2))
    before, after = (m.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))) for m in (plain, model))
    assert torch.equal(before.logits, after.logits) and torch.equal(before.iou, after.iou)
    assert not torch.equal(
        with_plm(plain, trained=True).decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits,
        before.logits,
    )


def attention_of(module) -> nn.MultiheadAttention:
    """PyTorch's attention with the weights of ours."""
    result = nn.MultiheadAttention(CHANNELS, 4, batch_first=True)
    parts = (module.q_proj, module.k_proj, module.v_proj)
    result.in_proj_weight.data = torch.cat([part.weight for part in parts])
    result.in_proj_bias.data = torch.cat([part.bias for part in parts])
    result.out_proj.load_state_dict(module.out_proj.state_dict())
    return result.eval()


def one_by_one(plm: PromptLearningModule, features: SAMFeatures, prompts: PromptEmbedding) -> torch.Tensor:
    """The paper's equation for each prompt alone, its padding cut out: (P, K, C)."""
    to_self, to_image = attention_of(plm.self_attention), attention_of(plm.image_attention)
    result = prompts.sparse.clone()
    for row, image in enumerate(prompts.image_index):
        real = ~prompts.padding[row]
        x = prompts.sparse[row : row + 1, real]
        x = plm.norm1(x + to_self(x, x, x)[0])
        values = features.embedding[image].flatten(1).T[None]
        keys = values + prompts.image_pe.flatten(2).transpose(1, 2)
        x = plm.norm2(x + to_image(x, keys, values)[0])
        x = plm.norm3(x + plm.mlp(x))
        result[row, real] += plm.output(x)[0]
    return result


@torch.no_grad()
def test_each_prompt_as_by_pytorchs_attention_whatever_its_kind_image_and_number_of_tokens():
    model = with_plm(segmentor(), trained=True)
    plm, features = model.prompt_stages[0], model.extract_feat(images(2))
    groups = model.prompt_encoder(PromptBatch.from_prompts(mixed(), (SIZE, SIZE)), (8, 8))
    assert sorted(group.sparse.shape[1] for group in groups) == [0, 2, 3, 4]
    assert any(group.padding.any() for group in groups)
    several = [Prompts.create(boxes=torch.rand(n, 2, 2).sort(1).values.flatten(1) * 100) for n in (3, 2)]
    for group in groups + model.prompt_encoder(PromptBatch.from_prompts(several, (SIZE, SIZE)), (8, 8)):
        after = plm(features, group).sparse
        assert_close(after, one_by_one(plm, features, group), LAYER)
        assert torch.equal(after[group.padding], group.sparse[group.padding])  # "not a point" stays
        if group.sparse.numel():
            moved = (after - group.sparse).abs().amax(2)[~group.padding]
            assert moved.min() > 1e-3


@torch.no_grad()
def test_padding_has_no_influence():
    """What stands at padding tokens does not matter, nor do padded points in a prompt."""
    model = with_plm(segmentor(), trained=True)
    plm, features = model.prompt_stages[0], model.extract_feat(images())
    (group,) = model.prompt_encoder(
        PromptBatch.from_prompts([Prompts.create(points=[[[5, 9]]], point_labels=[[1]])], (SIZE, SIZE)), (8, 8)
    )
    assert group.padding.tolist() == [[False, True]]
    other = replace(group, sparse=torch.where(group.padding[..., None], 7.0, group.sparse))
    assert torch.equal(plm(features, group).sparse[:, 0], plm(features, other).sparse[:, 0])
    padded = Prompts.create(points=[[[5, 9], [3, 3]]], point_labels=[[1, -1]])
    short = Prompts.create(points=[[[5, 9]]], point_labels=[[1]])
    first, second = (
        model.decode(features, PromptBatch.from_prompts([p], (SIZE, SIZE))).logits for p in (padded, short)
    )
    assert torch.equal(first, second)


@torch.no_grad()
def test_the_empty_prompt_and_a_mask_alone_pass_through():
    model = with_plm(segmentor(), trained=True)
    plain = segmentor()
    features = model.extract_feat(images())
    for prompts in (Prompts.empty(2), Prompts.create(masks=torch.randn(1, 1, 32, 32))):
        (group,) = model.prompt_encoder(PromptBatch.from_prompts([prompts], (SIZE, SIZE)), (8, 8))
        assert model.prompt_stages[0](features, group) is group
        before, after = (
            m.decode(features, PromptBatch.from_prompts([prompts], (SIZE, SIZE))).logits for m in (plain, model)
        )
        assert torch.equal(before, after)


def test_image_keys_are_projected_once_and_gradients_are_not_lost(monkeypatch):
    model = with_plm(segmentor(), trained=True)
    plm, calls = model.prompt_stages[0], []
    stock = plm.image_attention.project
    monkeypatch.setattr(plm.image_attention, 'project', lambda *args: calls.append(1) or stock(*args))
    features = model.extract_feat(images(2))
    with torch.no_grad():
        model.decode(features, PromptBatch.from_prompts(mixed(), (SIZE, SIZE)))
    assert len(calls) == 1  # for three groups with tokens and seven prompts
    model.decode(features, PromptBatch.from_prompts(mixed(), (SIZE, SIZE))).logits.sum().backward()
    assert len(calls) == 2
    for name, parameter in plm.named_parameters():  # a bias of keys is the same for all of them: softmax is blind to it
        assert 'k_proj.bias' in name or parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_image_keys_of_changed_weights():
    """Features that are encoded once see a PLM that was trained on, or loaded, in between."""
    model = with_plm(segmentor(), trained=True)
    prompts = [Prompts.create(boxes=[[10, 20, 60, 70]])]
    features = model.extract_feat(images())
    before = model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits
    model.prompt_stages[0].image_attention.v_proj.weight.mul_(-1)
    again = model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits
    fresh = model.decode(model.extract_feat(images()), PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits
    assert torch.equal(again, fresh)
    assert_differs(again, before)
    with torch.inference_mode():  # parameters without versions
        made = with_plm(segmentor(), trained=True)
        assert torch.equal(
            made.decode(made.extract_feat(images()), PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, before
        )


@pytest.mark.parametrize('prompts', [Prompts.empty(2), Prompts.create(masks=torch.zeros(1, 1, 32, 32))])
def test_prompts_without_tokens_give_every_parameter_a_gradient(prompts):
    """Of zero: DDP waits for it. The dense prompt stays one for all, so that decoders may share."""
    model = with_plm(segmentor(), trained=True)
    (group,) = model.prompt_encoder(PromptBatch.from_prompts([prompts], (SIZE, SIZE)), (8, 8))
    after = model.prompt_stages[0](model.extract_feat(images()), group)
    assert after.dense is group.dense
    logits = model.decode(model.extract_feat(images()), PromptBatch.from_prompts([prompts], (SIZE, SIZE))).logits
    assert torch.equal(
        logits,
        segmentor().decode(model.extract_feat(images()), PromptBatch.from_prompts([prompts], (SIZE, SIZE))).logits,
    )
    logits.sum().backward()
    for name, parameter in model.prompt_stages[0].named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


@torch.no_grad()
def test_prompts_of_one_image_are_in_their_order():
    from mmsam_ext.models.prompt_stages.prompt_learning_module import _slots

    slot, most = _slots(torch.zeros(3, dtype=torch.long), 1)
    assert slot.tolist() == [0, 1, 2] and most == 3
    slot, most = _slots(torch.tensor([1, 0, 1, 1]), 3)
    assert slot.tolist() == [0, 0, 1, 2] and most == 3


@pytest.mark.parametrize('grad', [False, True])
def test_compiles_as_one_graph(grad):
    model = with_plm(segmentor(), trained=True)
    (group,) = model.prompt_encoder(
        PromptBatch.from_prompts([Prompts.create(boxes=[[1, 2, 30, 40]])], (SIZE, SIZE)), (8, 8)
    )
    embedding = model.extract_feat(images()).embedding

    def move(embedding, sparse):
        return model.prompt_stages[0](SAMFeatures(embedding), replace(group, sparse=sparse)).sparse

    with torch.set_grad_enabled(grad):
        moved = torch.compile(move, backend='eager', fullgraph=True)(embedding, group.sparse)
        assert_close(moved, move(embedding, group.sparse), LAYER)


def test_trains_from_the_identity_with_sam_frozen():
    model = segmentor(prompt_stages=[PLM], trainable=[r'^prompt_stages\.'])
    nn.init.zeros_(model.prompt_stages[0].output.weight)
    nn.init.zeros_(model.prompt_stages[0].output.bias)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    target = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    target[:, 20:70, 30:90] = 1
    data = sample(Prompts.create(points=[[[40, 50]]], point_labels=[[1]]), target)
    frozen = {name: value.clone() for name, value in model.state_dict().items() if 'prompt_stages' not in name}
    values = []
    for _ in range(4):
        loss = sum(model.loss(images(), [data]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] - 0.01
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in frozen.items())


def test_bf16_autocast():
    model = with_plm(segmentor(), trained=True)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        logits = model.decode(model.extract_feat(images(2)), PromptBatch.from_prompts(mixed(), (SIZE, SIZE))).logits
    assert torch.isfinite(logits).all()


def test_bad_input():
    with raises_naming(ValueError, 'dim', '30', 'num_heads', '8'):
        PromptLearningModule(dim=30)
    model = segmentor()
    features = model.extract_feat(images())
    (group,) = model.prompt_encoder(
        PromptBatch.from_prompts([Prompts.create(boxes=[[1, 2, 30, 40]])], (SIZE, SIZE)), (8, 8)
    )
    with raises_naming(ValueError, '32 channels', 'dim=256'):
        PromptLearningModule()(features, group)
    longer = replace(group, sparse=torch.cat([group.sparse] * 2, 1))
    with raises_naming(ValueError, '(1, 2)', '(1, 4)'):
        PromptLearningModule(CHANNELS)(features, longer)
    moved = PromptLearningModule(CHANNELS)(features, replace(longer, padding=None))
    assert torch.equal(moved.sparse, longer.sparse)
    with raises_naming(ValueError, 'point_labels', '[1, 2]'):
        Prompts.create(points=[[[1, 2], [3, 4]]], point_labels=[[1, 2]])
