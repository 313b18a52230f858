"""PMM: the paper's size, alignment and loss against brute force and hand-worked shapes, and nothing at inference."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import convert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from mmsam_ext.models.auxiliary_heads import PointMatchingModule
from mmsam_ext.models.auxiliary_heads.point_matching_module import cyclic_distance
from mmsam_ext.models.losses import without_ignored
from mmsam_ext.structures import MaskPrediction, Prompts
from tests.models.small import CHANNELS, DECODER, config, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, MODEL, assert_close, assert_differs

PMM = dict(type='PointMatchingModule', in_channels=CHANNELS // 8, num_points=16, dim=16, ffn_dim=32)
PLM = dict(type='PromptLearningModule', dim=CHANNELS, num_heads=4, mlp_dim=64)
MAP = 40  # side of the maps of logits in tests without a model


def box_mask(x: int, y: int, side: int = 12) -> torch.Tensor:
    mask = torch.zeros(MAP, MAP)
    mask[y : y + side + 1, x : x + side + 1] = 1
    return mask


def prediction_of(*masks: torch.Tensor, channels: int = 4) -> MaskPrediction:
    """A decoder's output whose first mask is the given one and whose second one is empty."""
    logits = torch.stack(masks) * 2 - 1
    upscaled = torch.randn(len(masks), channels, MAP, MAP, generator=torch.Generator().manual_seed(0))
    return MaskPrediction(
        torch.stack([logits, -torch.ones_like(logits)], 1), torch.zeros(len(masks), 2), upscaled=upscaled
    )


def still(**options) -> PointMatchingModule:
    """Return a module that moves no point."""
    head = PointMatchingModule(4, **{**dict(num_points=48, dim=16, ffn_dim=32), **options})
    torch.nn.init.zeros_(head.offset[-1].weight)
    torch.nn.init.zeros_(head.offset[-1].bias)
    return head


def loss_of(head: PointMatchingModule, prediction: MaskPrediction, *targets: torch.Tensor) -> dict[str, float]:
    losses = head.loss(None, prediction, torch.stack(targets))
    return {name: float(value.detach()) for name, value in losses.items()}


def test_size_of_the_paper():
    assert sum(p.numel() for p in PointMatchingModule().parameters()) == 1_188_418
    assert sum(p.numel() for p in PointMatchingModule(num_points=20).parameters()) == 1_188_418
    assert not list(PointMatchingModule().buffers())


# ---------------------------------------------------------------- alignment


def test_cyclic_distance_against_brute_force():
    generator = np.random.default_rng(0)
    points, truth = generator.normal(0, 2, (2, 3, 7, 2))
    expected = []
    for one, other in zip(points, truth, strict=True):
        by_shift = []
        for shift in range(7):
            difference = abs(one - np.roll(other, -shift, axis=0))
            by_shift.append(np.where(difference < 1, difference**2 / 2, difference - 0.5).mean())
        expected.append(min(by_shift))
    assert_close(cyclic_distance(torch.tensor(points), torch.tensor(truth)).numpy(), expected, LAYER)


def test_a_shifted_start_and_a_reversed_direction_cost_nothing():
    from mmsam_ext.models.layers.contours import Contour, find_contours

    pixels = find_contours(disc(100).numpy())[0].pixels
    turned = [Contour(np.roll(line, 17, axis=0), False) for line in (pixels, pixels[::-1])]
    number = len(pixels) // 2  # a whole number of pixels apart only on a square, hence the tolerance below
    truth = torch.tensor(Contour(pixels, False).even_points(number))
    for line in turned:
        points = torch.tensor(line.even_points(number))
        assert_differs(points, truth)
        assert cyclic_distance(points[None], truth[None]).item() < 0.1
    square = find_contours(box_mask(5, 5).numpy())[0].pixels  # 48 pixels
    there = torch.tensor(Contour(square, False).even_points(48))
    for line in (np.roll(square, 17, axis=0), np.roll(square, 17, axis=0)[::-1]):
        assert cyclic_distance(torch.tensor(Contour(line, False).even_points(48))[None], there[None]).item() == 0


# ---------------------------------------------------------------- the loss


def test_loss_of_a_moved_square_by_hand():
    """Two pixels to the right: |2| - 0.5 along x and 0 along y for each of the points, 0.75 on average."""
    result = loss_of(still(), prediction_of(box_mask(5, 5), box_mask(9, 9)), box_mask(7, 5), box_mask(9, 9))
    assert result == dict(loss_pmm=0.75 / 2, skipped_contours=0, interpolated_contours=0)
    result = loss_of(still(loss_weight=4.0), prediction_of(box_mask(5, 5)), box_mask(7, 5))
    assert result['loss_pmm'] == 3.0


def test_features_are_sampled_where_the_points_are(monkeypatch):
    """On a map that holds its own coordinates, in both options and in the right prompt."""
    two = box_mask(2, 3, 9) + box_mask(20, 25, 10)
    prediction = prediction_of(box_mask(5, 5), two)
    y, x = torch.meshgrid(torch.arange(MAP), torch.arange(MAP), indexing='ij')
    prediction.upscaled = torch.stack([torch.stack([x, y, 0 * x, 0 * x + row]) for row in range(2)]).float()
    head, seen, stock = still(parts='all'), [], F.batch_norm
    monkeypatch.setattr(
        F, 'batch_norm', lambda nodes, *args, **options: seen.append(nodes) or stock(nodes, *args, **options)
    )
    matches = head.match(prediction.logits[:, 0] > 0, torch.stack([box_mask(5, 5), two]) > 0.5)
    head.refine(prediction.upscaled, matches)
    sampled = seen[0].transpose(1, 2)
    assert matches.rows.tolist() == [0, 1, 1] and matches.slots.tolist() == [0, 0, 1]
    assert_close(sampled[..., :2], matches.points, MODEL)
    assert sampled[..., 3].unique().tolist() == [0.0, 1.0] and (sampled[0, :, 3] == 0).all()
    assert_close((sampled[..., 4:] + 1) / 2 * (MAP - 1), matches.points, MODEL)


def test_largest_part_or_all():
    hole = box_mask(4, 4, 20) - box_mask(10, 10, 6)
    predicted, true = hole + box_mask(30, 30, 5), box_mask(5, 4, 20) - box_mask(10, 10, 6) + box_mask(30, 32, 5)
    one_right, two_down = 0.25, 0.75  # smooth L1 over x and y
    alone = loss_of(still(num_points=40), prediction_of(predicted), true)['loss_pmm']
    assert_close(torch.tensor(alone), one_right)
    every = loss_of(still(num_points=40, parts='all'), prediction_of(predicted), true)
    assert_close(torch.tensor(every['loss_pmm']), (one_right + two_down) / 3)  # the hole fits
    assert every['skipped_contours'] == 0
    lonely = loss_of(still(parts='all'), prediction_of(box_mask(4, 4) + box_mask(30, 30, 5)), box_mask(4, 4))
    assert lonely['skipped_contours'] == 1 and lonely['loss_pmm'] == 0


NOTHING, EVERYTHING = torch.zeros(MAP, MAP), torch.ones(MAP, MAP)
DOT = box_mask(9, 9, 1)  # 4 pixels


@pytest.mark.parametrize('parts', ['largest', 'all'])
@pytest.mark.parametrize(
    ('predicted', 'true'),
    [(NOTHING, box_mask(5, 5)), (EVERYTHING, box_mask(5, 5)), (DOT, box_mask(5, 5))]
    + [(box_mask(5, 5), NOTHING), (box_mask(5, 5), EVERYTHING), (box_mask(5, 5), DOT)],
    ids=['no prediction', 'all predicted', 'a dot predicted', 'no target', 'target everywhere', 'target a dot'],
)
def test_degenerate_boundaries_are_skipped_and_counted(predicted, true, parts):
    head = still(parts=parts)
    result = loss_of(head, prediction_of(predicted, box_mask(5, 5)), true, box_mask(7, 5))
    assert result['skipped_contours'] == 1 and result['loss_pmm'] == 0.75  # of the other prompt alone
    prediction = prediction_of(predicted)
    prediction.upscaled.requires_grad_()
    losses = head.loss(None, prediction, true[None])
    assert losses['loss_pmm'] == 0
    losses['loss_pmm'].backward()  # a gradient for all, even if zero: DDP waits for it
    assert all(p.grad is not None for p in [*head.parameters(), prediction.upscaled])


def test_fewer_boundary_pixels_than_points():
    """If the boundary has fewer pixels than points, points are interpolated, and this is counted in the log."""
    result = loss_of(still(num_points=64), prediction_of(box_mask(5, 5, 4)), box_mask(7, 5, 4))
    assert result['interpolated_contours'] == 1
    assert_close(torch.tensor(result['loss_pmm']), 0.75)


def test_learns_to_move_points_by_their_features():
    """Features that tell which side a point is on: the loss of a square that is too large goes down."""
    torch.manual_seed(0)
    predicted, true = box_mask(8, 8, 20), box_mask(11, 11, 14)
    prediction = prediction_of(predicted)
    head = PointMatchingModule(4, dim=32, ffn_dim=64)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    values = []
    for _ in range(60):
        loss = head.loss(None, prediction, true[None])['loss_pmm']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[0] > 0.8 and values[-1] < 0.1


def test_sync_bn_leaves_it_alone():
    """The Runner's conversion finds nothing: a rank that skips all of its boundaries must not be waited for."""
    head = PointMatchingModule(4)
    assert not [layer for layer in head.modules() if isinstance(layer, torch.nn.modules.batchnorm._NormBase)]
    before = [type(layer) for layer in head.modules()]
    assert [type(layer) for layer in convert_sync_batchnorm(head).modules()] == before


def test_nodes_are_normalised_over_boundaries_and_points():
    head, prediction = still(), prediction_of(box_mask(5, 5), box_mask(9, 9))
    seen = []
    head.embed.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    truth = torch.stack([box_mask(7, 5), box_mask(9, 9)])
    head.loss(None, prediction, truth)
    (nodes,) = seen  # (R, N, C + 2)
    assert_close(nodes.mean((0, 1)), torch.zeros(6), LAYER, scale=1.0)
    assert_close(nodes.var((0, 1), unbiased=False), torch.ones(6), MODEL)
    assert nodes.mean(1).abs().max() > 0.01  # not each boundary by itself


# ---------------------------------------------------------------- in the model


def batch(number: int = 2) -> list:
    # Two points each: among the tokens of a single point there is one to attend to, so its query has no gradient.
    points = Prompts.create(points=[[[50, 70], [60, 80]], [[52, 60], [40, 72]]], point_labels=[[1, 1], [1, 1]])
    return [sample(copy.deepcopy(points), disc()[None]) for _ in range(number)]


def plm_and_pmm(**changes):
    """SAM frozen, with PLM and PMM, and masks that have a boundary."""
    model = segmentor(prompt_stages=[PLM], auxiliary_heads=[PMM], **changes)
    with torch.no_grad():  # random logits are anything; a disc of the image's middle is one region
        model.mask_decoder.output_upscaling[3].bias.zero_()
    return model


def test_gradients_reach_plm_through_the_sampled_features():
    model = plm_and_pmm(trainable=[r'^prompt_stages\.', r'^auxiliary_heads\.']).train()
    # Two points a prompt: the softmax of a token that is alone is 1 whatever its query, which then learns nothing.
    points = Prompts.create(points=[[[50, 70], [60, 40]], [[52, 60], [80, 64]]], point_labels=[[1, 1], [1, 0]])
    losses = model.loss(images(2), [sample(copy.deepcopy(points), disc()[None]) for _ in range(2)])
    assert losses['aux0.skipped_contours'] < 4 and losses['aux0.loss_pmm'] > 0
    losses['aux0.loss_pmm'].backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split('.')[0] for name in trained} == {'prompt_stages', 'auxiliary_heads'}
    gradients = {name: float(parameter.grad.abs().max()) for name, parameter in trained.items()}
    rounding = MODEL * torch.finfo(torch.float32).eps * max(gradients.values())
    for name, largest in gradients.items():
        if 'k_proj.bias' in name:  # the same for all keys, which a softmax does not see
            assert largest < rounding, name
        else:
            assert largest > rounding or '.blocks.' in name, name  # a unit of the head may be dead
    assert all(p.grad is None for name, p in model.named_parameters() if name not in trained)


def test_absent_at_inference():
    model, without = plm_and_pmm(), segmentor(prompt_stages=[PLM])
    without.load_state_dict({k: v for k, v in model.state_dict().items() if 'auxiliary' not in k})
    model.auxiliary_heads[0].forward = model.auxiliary_heads[0].loss = None  # whoever calls it, fails
    first, second = (m.eval().predict(images(2), batch()) for m in (model, without))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.pred_instances.mask_logits, other.pred_instances.mask_logits)


def test_a_trained_checkpoint_loads_where_there_is_no_pmm():
    trained, plain = plm_and_pmm(), segmentor(prompt_stages=[PLM])
    plain.load_state_dict(trained.state_dict())
    assert torch.equal(plain.prompt_stages[0].output.weight, trained.prompt_stages[0].output.weight)


def test_self_draft_decoders_give_the_refined_map():
    settings = config(auxiliary_heads=[PMM])
    decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER)
    settings['mask_decoder'] = dict(type='SelfDraftDecoder', decoder=decoder)
    assert torch.isfinite(MODELS.build(settings).loss(images(2), batch())['aux0.loss_pmm'])


def test_bf16_autocast():
    with torch.autocast('cpu', torch.bfloat16):
        losses = plm_and_pmm().loss(images(2), batch())
    assert torch.isfinite(losses['aux0.loss_pmm']) and losses['aux0.loss_pmm'].dtype == torch.float32


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(parts='biggest'), ('parts', 'biggest')),
        (dict(num_points=2), ('num_points', '2', '3')),
        (dict(max_border=0), ('max_border', '0')),
    ],
)
def test_bad_options(options, names):
    with raises_naming(ValueError, *names):
        PointMatchingModule(**options)


def test_channels_that_do_not_fit():
    with raises_naming(ValueError, '4 channels', 'in_channels=32'):
        loss_of(PointMatchingModule(), prediction_of(box_mask(5, 5)), box_mask(5, 5))


def test_error_where_its_mask_is_not_trained():
    with raises_naming(ValueError, 'auxiliary_heads[0]', 'PointMatchingModule'):
        segmentor(auxiliary_heads=[PMM], train_cfg=dict(multimask=True))
    segmentor(auxiliary_heads=[PMM], train_cfg=dict(multimask='both'))


def test_ignored_pixels_do_not_count() -> None:
    """A square of 12 x 12, of which the rightmost columns and all beyond are ignored, predicted in three ways there.

    By hand: what is left of both squares is the same, so a head that moves no point has a loss of 0, whatever is
    predicted in the ignored pixels; before, the boundary of the longer prediction was 6 pixels off on one side.
    """
    head = still()
    ignored = torch.zeros(1, MAP, MAP, dtype=torch.bool)
    ignored[:, :, 18:] = True
    target = box_mask(10, 10) * ~ignored[0]
    longer, whole = box_mask(10, 10), box_mask(10, 10)
    longer[10:23, 18:29] = 1
    for predicted in (target, whole, longer):
        prediction = prediction_of(predicted)
        hidden = replace(prediction, logits=without_ignored(prediction.logits, ignored))
        assert loss_of(head, hidden, target)['loss_pmm'] == pytest.approx(0, abs=1e-6)
    assert loss_of(head, prediction_of(longer), target)['loss_pmm'] > 1
    nothing = torch.zeros_like(ignored)
    prediction = prediction_of(longer)
    assert torch.equal(without_ignored(prediction.logits, nothing), prediction.logits)


def test_the_segmentor_hides_ignored_pixels_from_heads() -> None:
    """Heads see a certain background there, and the logits as they are elsewhere and where nothing is ignored."""
    model = segmentor(auxiliary_heads=[PMM]).train()
    seen: list[torch.Tensor] = []
    stock = model.auxiliary_heads[0].loss
    model.auxiliary_heads[0].loss = lambda features, prediction, *rest: (
        seen.append(prediction.logits.detach()),
        stock(features, prediction, *rest),
    )[1]
    mask = disc()[None]
    one = sample(Prompts.create(boxes=[[25, 45, 75, 95]]), mask)
    one.gt_sem_seg = PixelData(data=mask.long())
    model.loss(images(1), [one])
    one.gt_sem_seg.data[:, :64] = 255
    model.loss(images(1), [one])
    plain, hidden = seen
    assert (hidden[:, :, :16] == -1e4).all() and torch.equal(hidden[:, :, 16:], plain[:, :, 16:])
    assert (plain > -1e3).all()
