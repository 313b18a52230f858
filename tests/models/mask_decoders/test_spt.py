"""Self-draft tuning and the VRA-Adapter, against their equations and the counts of the paper."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmsam_ext.models.layers.dot_product_attention import dot_product_attention
from mmsam_ext.models.mask_decoders import SelfDraftDecoder, VRAAdapter
from mmsam_ext.models.mask_decoders.plugins import visual_relation
from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, DECODER, SIZE, config, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, OPERATION, assert_close, assert_differs

PLAIN = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER)
VRA = dict(type='VRAAdapter', dim=CHANNELS)
LORA = [
    dict(type='LoRA', modules=r'^backbone\..*\.qkv$', num_slices=3, slices=(0, 2)),
    dict(type='LoRA', modules=r'^mask_decoder\..*\.(q|v)_proj$'),
]


def self_draft(plain, num_drafts=1, plugins=(), **changes):
    """A self-draft model with the weights of a plain one."""
    settings = config()
    settings['mask_decoder'] = dict(
        type='SelfDraftDecoder', decoder=PLAIN | dict(plugins=list(plugins)), num_drafts=num_drafts, **changes
    )
    model = MODELS.build(settings).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    return model


@torch.no_grad()
@pytest.mark.parametrize('sigmoid', [False, True])
@pytest.mark.parametrize('num_drafts', [1, 2])
def test_zero_shot_draft_is_sam_and_refined_is_sam_prompted_with_it(num_drafts, sigmoid):
    plain = segmentor()
    model = self_draft(plain, num_drafts, sigmoid=sigmoid)
    boxes = [[20, 30, 90, 100], [5, 5, 50, 60]]
    features, prompts = plain.extract_feat(images(3)), [Prompts.create(boxes=boxes) for _ in range(3)]
    result = model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    expected = plain.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    for draft in result.drafts:  # of each, SAM prompted with the one before
        assert_close(draft.logits, expected.logits, LAYER)
        masks = expected.logits[:, :1].sigmoid() if sigmoid else expected.logits[:, :1]
        with_mask = [Prompts.create(boxes=boxes, masks=masks[2 * image : 2 * image + 2]) for image in range(3)]
        before, expected = expected, plain.decode(features, PromptBatch.from_prompts(with_mask, (SIZE, SIZE)))
        assert_differs(expected.logits, before.logits)
    assert_close(result.logits, expected.logits, LAYER)


@torch.no_grad()
@pytest.mark.parametrize('drafts', [0, 1, 2])
def test_number_of_drafts_and_the_order_of_mixed_prompts(drafts):
    plain = segmentor()
    model = self_draft(plain, drafts)
    prompts = mixed()
    features = plain.extract_feat(images(len(prompts)))
    result = model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    assert len(result.drafts) == drafts
    first = result.drafts[0] if drafts else result
    assert_close(first.logits, plain.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, LAYER)


def test_losses_on_draft_and_refined_and_detach():
    target = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    target[:, 30:90, 30:90] = 1
    data = sample(Prompts.create(boxes=[[30, 30, 89, 89]]), masks=target)
    for detach in (True, False):
        model = self_draft(segmentor(), detach=detach)
        losses = model.loss(images(), [copy.deepcopy(data)])
        assert {name for name in losses if name.startswith('draft0.')} == {
            f'draft0.{name}' for name in losses if not name.startswith('draft0.')
        }
        sum(value for name, value in losses.items() if not name.startswith('draft0.')).backward()
        gradient = model.mask_decoder.drafts[0].mask_tokens.weight.grad
        assert (gradient is None or not gradient.any()) == detach


def numpy_relation(embedding: np.ndarray, alpha: float, renormalize: str) -> np.ndarray:
    tokens = embedding.reshape(len(embedding), -1).T.astype(np.float64)
    number = len(tokens)
    relation = np.zeros((number, number))
    for i in range(number):
        others = [j for j in range(number) if j != i]
        cosines = [tokens[i] @ tokens[j] / np.linalg.norm(tokens[i]) / np.linalg.norm(tokens[j]) for j in others]
        weights = np.exp(cosines) / np.exp(cosines).sum()
        relation[i, others] = weights
    relation[relation <= alpha / number] = 0
    if renormalize == 'row':
        relation = relation / relation.sum(1, keepdims=True)
    if renormalize == 'column':
        relation = relation / relation.sum(0, keepdims=True)
    return relation


@pytest.mark.parametrize('renormalize', ['none', 'row', 'column'])
@pytest.mark.parametrize('alpha', [0.0, 0.9])
def test_relation_against_numpy(alpha, renormalize):
    embedding = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(3))
    expected = numpy_relation(embedding.numpy(), alpha, renormalize)
    assert (expected == 0).sum() > 12 or alpha == 0  # the threshold cuts something
    assert_close(visual_relation(embedding, alpha, renormalize).numpy(), expected, OPERATION)


@torch.no_grad()
@pytest.mark.parametrize('options', [{}, dict(alpha=0.9, renormalize='column')], ids=str)
def test_vra_is_equation_11_on_the_chosen_blocks_and_an_identity_at_first(options):
    plain = segmentor()
    model = self_draft(plain, 0, [VRA | dict(blocks=1, **options)])
    features = plain.extract_feat(images(2))
    prompts = [Prompts.create(boxes=[[20, 30, 90, 100]] * n) for n in (2, 1)]
    before = plain.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits
    assert torch.equal(model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, before)

    adapter = model.mask_decoder.refine.plugins[0]
    assert list(adapter.beta) == ['1']
    adapter.beta['1'].normal_()
    assert_differs(model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, before)
    keys = torch.randn(3, 64, CHANNELS)
    context = type('Context', (), dict(features=features, image_index=torch.tensor([0, 0, 1])))
    _, after = adapter.after_block(1, keys, keys, context)
    for row, image in enumerate((0, 0, 1)):
        relation = visual_relation(features.embedding[image], **options)
        assert_close(after[row], keys[row] + adapter.beta['1'] * (relation @ keys[row]), LAYER)
        if options:
            assert_differs(relation, visual_relation(features.embedding[image]))
    assert adapter.after_block(0, keys, keys, context)[1] is keys


def test_the_relation_is_computed_once_an_image(monkeypatch):
    from mmsam_ext.models.mask_decoders.plugins import visual_relation_adapter as module

    calls = []
    stock = module.visual_relation
    monkeypatch.setattr(module, 'visual_relation', lambda *args: calls.append(1) or stock(*args))
    model = self_draft(segmentor(), 2, [VRA])
    features = model.extract_feat(images(2))
    prompts = [Prompts.create(boxes=[[20, 30, 90, 100]] * 7) for _ in range(2)]
    model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    assert len(calls) == 2  # three decoders, two blocks, fourteen prompts


class CudaAutocast(TorchFunctionMode):
    """What autocast casts to bf16 and fp32 on a GPU; on a CPU it leaves norms in bf16, and copies promote."""

    LOWER = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, F.linear, F.conv2d}
    LOWER |= {F.conv_transpose2d, torch.conv_transpose2d, F.scaled_dot_product_attention}
    FP32 = {F.layer_norm, F.softmax, torch.softmax, torch.Tensor.softmax}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        dtype = torch.bfloat16 if function in self.LOWER else torch.float32 if function in self.FP32 else None
        kwargs = kwargs or {}
        if dtype is not None:
            args = [self.cast(value, dtype) for value in args]
            kwargs = {key: self.cast(value, dtype) for key, value in kwargs.items()}
        if function is F.scaled_dot_product_attention:  # a CPU whose AVX-512 is hidden has no kernel for bf16
            return dot_product_attention(*args, **kwargs)
        return function(*args, **kwargs)

    @staticmethod
    def cast(value, dtype):
        return value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value


def test_training_under_the_autocast_of_a_gpu():
    """Training works under autocast on a GPU, where norms return fp32 and products bf16."""
    model = self_draft(segmentor(), 1, [VRA]).train()
    target = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    target[:, 30:90, 30:90] = 1
    with CudaAutocast():
        losses = model.loss(images(), [sample(Prompts.create(boxes=[[30, 30, 89, 89]]), masks=target)])
    sum(losses.values()).backward()
    for decoder in (model.mask_decoder.drafts[0], model.mask_decoder.refine):
        assert decoder.plugins[0].beta['0'].grad.any()


@pytest.mark.parametrize('prompts', [1, 8])
@pytest.mark.parametrize('form', ['fp32', 'bf16', 'autocast'])
def test_one_relation_matrix_an_image_is_kept_for_the_backward_pass(form, prompts):
    """The relation matrix is computed once per image for all decoders, blocks, prompts and dtypes."""
    dtype = torch.bfloat16 if form == 'bf16' else torch.float32
    adapters = [VRAAdapter(CHANNELS).to(dtype) for _ in range(2)]
    features = SAMFeatures(torch.randn(2, CHANNELS, 8, 8))
    index = torch.arange(2).repeat_interleave(prompts)
    context = type('Context', (), dict(features=features, image_index=index))
    saved = {}

    def pack(tensor):
        if tensor.shape[-2:] == (64, 64):  # N = 64
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    keys = torch.randn(2 * prompts, 64, CHANNELS, dtype=dtype, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast('cpu', torch.bfloat16, enabled=form == 'autocast'),
    ):
        after = keys
        for adapter in adapters:
            for block in (0, 1):
                after = adapter.after_block(block, after, after, context)[1]
    assert len(saved) == 2 and all(tensor.numel() == 64 * 64 for tensor in saved.values())
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32 if form == 'fp32' else torch.bfloat16}


class NewMatrices(TorchDispatchMode):
    """Count the (N, N) results that allocate memory."""

    def __init__(self):
        super().__init__()
        self.storages = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if torch.is_tensor(result) and result.shape[-2:] == (64, 64):
            storage = result.untyped_storage()
            if all(storage.data_ptr() != other.data_ptr() for other in self.storages):
                self.storages.append(storage)
        return result


@pytest.mark.parametrize('options', [{}, dict(alpha=0.9, renormalize='column')], ids=str)
def test_the_relation_is_made_in_place(options):
    with NewMatrices() as made:
        visual_relation(torch.randn(5, 8, 8), **options)
    assert len(made.storages) == 1


def test_the_kept_fraction_is_logged_once(monkeypatch):
    from mmsam_ext.models.mask_decoders.plugins import visual_relation_adapter as module

    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, logger, level: lines.append((text, level)))
    keys = torch.randn(1, 64, CHANNELS)
    for adapter in (VRAAdapter(CHANNELS), VRAAdapter(CHANNELS, alpha=0.9)):
        for _ in range(3):
            features = SAMFeatures(torch.randn(1, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0)))
            context = type('Context', (), dict(features=features, image_index=torch.tensor([0])))
            adapter.after_block(0, keys, keys, context)
    kept = (visual_relation(features.embedding[0], 0.9) > 0).float().mean()
    ((text, level),) = lines
    assert level == logging.INFO and f'{kept:.1%} of the relations are greater than alpha / N (alpha=0.9' in text


@pytest.mark.parametrize(
    ('arguments', 'names'),
    [
        (dict(blocks=[1, 2]), ('blocks', '(1, 2)', '0 to 1')),
        (dict(dim=7), ('VRAAdapter', 'dim', '7', CHANNELS)),
    ],
)
def test_vra_that_does_not_fit_the_decoder(arguments, names):
    with raises_naming(ValueError, *names):
        MODELS.build(PLAIN | dict(plugins=[VRA | arguments]))


@pytest.mark.parametrize(
    ('arguments', 'names'),
    [
        (dict(alpha=-0.1), ('alpha', '-0.1')),
        (dict(alpha=1.1), ('alpha', '1.1')),
        (dict(blocks=-1), ('blocks', '(-1,)')),
        (dict(renormalize='rows'), ('renormalize', 'rows')),
        (dict(blocks=()), ('blocks', '()')),
    ],
)
def test_arguments_of_vra(arguments, names):
    with raises_naming(ValueError, *names):
        VRAAdapter(**arguments)


def test_argument_of_the_decoder():
    with raises_naming(ValueError, 'num_drafts', '3'):
        SelfDraftDecoder(PLAIN, num_drafts=3)


@pytest.mark.parametrize(
    ('drafts', 'vra', 'total', 'trainable'),
    [(0, False, 94_077_488, 342_016), (1, False, 98_182_932, 389_120), (0, True, 94_078_000, 342_528)]
    + [(1, True, 98_183_956, 390_144)],
)
def test_counts_of_table_3(drafts, vra, total, trainable):
    plugins = [dict(type='VRAAdapter')] if vra else []
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='PromptableSegmentor',
                backbone=dict(type='SAMImageEncoder', arch='base'),
                prompt_encoder=dict(type='SAMPromptEncoder'),
                mask_decoder=dict(
                    type='SelfDraftDecoder', decoder=dict(type='SAMMaskDecoder', plugins=plugins), num_drafts=drafts
                ),
                peft=LORA,
                trainable=['lora_', *([r'\.beta\.'] if vra else [])],
            )
        )
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


@pytest.mark.parametrize('renormalize', ['none', 'row', 'column'])
def test_gradients_through_the_relation_equal_finite_differences(renormalize):
    embedding = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    alpha = 0.9

    def value(changed, detach=False):
        return (visual_relation(changed, alpha, renormalize, detach) * weights).sum()

    detached, plain = visual_relation(embedding, alpha, renormalize), embedding.clone().requires_grad_()
    assert torch.equal(visual_relation(plain, alpha, renormalize, detach=False).detach(), detached)
    assert not visual_relation(plain, alpha, renormalize).requires_grad
    value(plain).backward()
    step = 1e-2
    for place in ((0, 0, 0), (1, 1, 2), (2, 0, 1)):
        moved = [embedding.clone(), embedding.clone()]
        moved[0][place] += step
        moved[1][place] -= step
        slope = (value(moved[0]) - value(moved[1])) / (2 * step)
        assert float(plain.grad[place]) == pytest.approx(float(slope), abs=2e-3), place


def test_the_relation_trains_the_encoder_only_when_it_is_not_detached():
    gradients = {}
    for detach in (True, False):
        model = self_draft(segmentor(), plugins=[VRA | dict(detach=detach)])
        for name, parameter in model.named_parameters():
            if '.beta.' in name:
                torch.nn.init.constant_(parameter, 0.5)
        target = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
        target[:, 30:90, 30:90] = 1
        losses = model.loss(images(), [sample(Prompts.create(boxes=[[30, 30, 89, 89]]), masks=target)])
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        gradients[detach] = model.backbone.patch_embed.proj.weight.grad
    assert_differs(gradients[True], gradients[False])
