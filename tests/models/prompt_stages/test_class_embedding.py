from __future__ import annotations

import torch

from mmsam_ext.models.prompt_stages import ClassEmbedding
from mmsam_ext.structures import PromptEmbedding, SAMFeatures
from tests.naming import raises_naming


def prompts(labels: list[int]) -> PromptEmbedding:
    number, index = len(labels), torch.zeros(len(labels), dtype=torch.long)
    return PromptEmbedding(
        sparse=torch.ones(number, 2, 4), dense=torch.ones(number, 4, 3, 5), image_index=index,
        image_pe=torch.zeros(1, 4, 3, 5), order=index, padding=torch.tensor([[False, True]]).expand(number, 2),
        class_ids=torch.tensor(labels), dense_is_shared=True,
    )  # fmt: skip


def test_vectors_of_the_classes_are_added() -> None:
    """By hand: class k adds k to tokens and 10 k to the dense embedding; class 0 and padding stay."""
    stage, features = ClassEmbedding(dim=4, num_classes=2), SAMFeatures(torch.zeros(1, 4, 3, 5))
    given = prompts([0, 2, 1])
    same = stage(features, given)
    assert torch.equal(same.sparse, given.sparse) and torch.equal(same.dense, given.dense)
    with torch.no_grad():
        stage.tokens.weight[:] = torch.tensor([0.0, 1, 2])[:, None]
        stage.dense.weight[:] = torch.tensor([0.0, 10, 20])[:, None]
    marked = stage(features, given)
    assert marked.sparse[:, 0, 0].tolist() == [1, 3, 2] and marked.sparse[:, 1].eq(1).all()
    assert marked.dense[:, 0, 1, 1].tolist() == [1, 21, 11]
    assert marked.shared_dense is None  # prompts of an image differ now
    marked.sparse.sum().backward()
    assert stage.tokens.weight.grad.abs().sum(1).gt(0).tolist() == [False, True, True]


def test_a_class_that_does_not_exist() -> None:
    with raises_naming(ValueError, 'ClassEmbedding', '3', '2'):
        ClassEmbedding(dim=4, num_classes=2)(SAMFeatures(torch.zeros(1, 4, 3, 5)), prompts([1, 3]))
