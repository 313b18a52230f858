"""tools/benchmark.py families, as far as it goes without the public implementations."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from benchmarks import families

from tests.naming import assert_names


@pytest.mark.parametrize(
    ('name', 'package'), [('sam2.1_hiera_t', 'transformers'), ('mobile_sam', 'segment-anything-hq')]
)
def test_a_missing_package_is_named(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(wanted: str) -> None:
        raise ImportError(f'No module named {wanted!r}')

    monkeypatch.setattr(families, 'import_module', missing)
    with pytest.raises(SystemExit) as stopped:
        families.prepare('ours', name, 1, torch.device('cpu'))
    assert_names(str(stopped.value), 'families', package)


def test_another_size_is_an_error() -> None:
    with pytest.raises(SystemExit) as stopped:
        families.run(Namespace(size=512), torch.device('cpu'), print)
    assert_names(str(stopped.value), '--size 512', '1024')


def test_boxes_lie_in_the_image() -> None:
    boxes = families.example_boxes(20)
    assert boxes.shape == (20, 4) and (boxes[:, :2] < boxes[:, 2:]).all()
    assert boxes.min() >= 0 and boxes.max() <= families.SIZE
    assert set(families.STOCK) == set(families.MODEL_NAMES)
