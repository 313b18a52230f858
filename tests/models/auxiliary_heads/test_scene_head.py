"""The dense tasks of pretraining, against brute force."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData

from mmsam_ext.models.auxiliary_heads.scene_head import SceneHead, part_edges, same_part
from mmsam_ext.structures import Prompts
from tests.models.small import CHANNELS, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import OPERATION, assert_close


def labels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 3, (2, 4, 6), generator=generator)


def test_edges_against_brute_force():
    maps = labels()
    edges = part_edges(maps)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(6)).tolist():
        around = [(y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)]
        inside = [(j, i) for j, i in around if 0 <= j < 4 and 0 <= i < 6]
        assert edges[b, y, x] == any(maps[b, j, i] != maps[b, y, x] for j, i in inside)


def test_same_part_against_brute_force():
    maps = labels()
    chance = same_part(maps, 2)
    patches = [[maps[b, y : y + 2, x : x + 2].flatten() for y in (0, 2) for x in (0, 2, 4)] for b in range(2)]
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(6), torch.arange(6)).tolist():
        pairs = [float(one == other) for one in patches[b][i] for other in patches[b][j]]
        assert_close(chance[b, i, j], sum(pairs) / 16)


def test_no_loss_where_all_is_known():
    """An embedding that holds the image, its edges and its parts as they are: the tasks are linear in it."""
    maps = torch.zeros(1, 4, 6, dtype=torch.long)
    maps[:, :, 4:] = 1
    inputs = torch.randn(1, 3, 4, 6)
    head = SceneHead(in_channels=4 + 3 + 1, key_channels=1, patch_size=2)
    edges = F.pixel_unshuffle((part_edges(maps)[:, None].float() - 0.5) * 60, 2)
    side = torch.tensor([-30.0, -30, 60]).expand(1, 1, 2, 3)  # mean 0
    embedding = torch.cat([edges, F.avg_pool2d(inputs, 2), side], 1)
    with torch.no_grad():
        for layer, part in ((head.edges, slice(0, 4)), (head.pixels, slice(4, 7)), (head.keys, slice(7, 8))):
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[:, part, 0, 0] = torch.eye(part.stop - part.start)
    for name, value in head.loss(embedding, inputs, maps).items():
        assert_close(value, 0.0, OPERATION, scale=1.0, name=name)
    wrong = head.loss(embedding.flip(-1), inputs, maps)
    assert all(value > 0.1 for value in wrong.values())


def interactive(**changes):
    return segmentor(type='InteractiveSegmentor', scene_head=dict(type='SceneHead', in_channels=CHANNELS), **changes)


def boxed():
    return sample(Prompts.create(boxes=[[25, 45, 75, 95]]), disc()[None])


def test_trains_the_encoder_and_is_left_out_elsewhere():
    model, item = interactive(), boxed()
    item.gt_part_map = PixelData(data=disc()[None])
    losses = model.loss(images(), [item])
    sum(value for name, value in losses.items() if name.startswith('scene.')).backward()
    assert model.backbone.patch_embed.proj.weight.grad.abs().sum() > 0
    assert model.mask_decoder.iou_token.weight.grad is None
    segmentor(seed=5).load_state_dict(model.state_dict())  # a model without the head takes the checkpoint


def test_a_dataset_without_parts():
    with raises_naming(ValueError, 'folder/one.png', 'gt_part_map', 'scene_head'):
        interactive().loss(images(), [boxed()])
