"""A batch with prompts of every kind, and stock SAM's answer to one of them."""

from __future__ import annotations

import torch
from segment_anything.modeling import PromptEncoder

from mmsam_ext.structures import PromptKind, Prompts

NONE, POINTS, BOX, MASK = PromptKind.NONE, PromptKind.POINTS, PromptKind.BOX, PromptKind.MASK


def mixed() -> list[Prompts]:
    """Two images, 4 + 3 prompts: every kind, one to three points, padding in between."""
    torch.manual_seed(0)
    first = Prompts.create(
        points=torch.rand(4, 3, 2) * 100,
        point_labels=[[1, 0, 1], [1, -1, -1], [-1, 0, -1], [1, 1, -1]],
        boxes=[[1, 2, 30, 40], [5, 5, 60, 70], [0, 0, 127, 127], [9.5, 8, 100, 20]],
        kinds=[POINTS, BOX, POINTS | BOX, NONE],
    )
    second = Prompts.create(
        points=torch.rand(3, 1, 2) * 100,
        point_labels=[[1], [0], [1]],
        boxes=[[3, 4, 50, 60]] * 3,
        masks=torch.randn(3, 1, 32, 32),
        kinds=[POINTS | BOX | MASK, MASK, POINTS],
    )
    return [first, second]


def stock_call(stock: PromptEncoder, prompts: Prompts, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What stock gives for one prompt, padding points left out."""
    kind, real = int(prompts.kinds[row]), prompts.point_labels[row] >= 0
    points = (prompts.points[row, real][None], prompts.point_labels[row, real][None]) if kind & POINTS else None
    boxes = prompts.boxes[row : row + 1] if kind & BOX else None
    masks = prompts.masks[row : row + 1] if kind & MASK else None
    return stock(points, boxes, masks)
