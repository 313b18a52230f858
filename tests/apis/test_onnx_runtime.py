"""What tools/runtime/onnx_runtime.py rejects; test_export.py compares its answers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.apis.test_export import runtime
from tests.naming import raises_naming


@pytest.mark.parametrize(
    ('given', 'names'),
    [
        (dict(points=[[10, 10]]), ('1 points', 'labels []')),
        (dict(points=[[10, 10]], labels=[2]), ('labels [2]', '0 or 1')),
        (dict(points=[10, 10], labels=[1, 1]), ('[10, 10]', 'x y')),
        (dict(box=[1, 2, 3]), ('[1, 2, 3]', 'x1 y1 x2 y2')),
        (dict(box=[40, 40, 10, 10]), ('[40, 40, 10, 10]', 'x1 <= x2')),
        (dict(box=[10, 10, 500, 40]), ('500', '90 x 50')),
        (dict(box=[float('nan')] * 4), ('nan', '90 x 50')),
        (dict(mask=np.zeros((20, 20))), ('(20, 20)', '[16, 16]')),
        (None, ('set_image',)),
    ],
)
def test_the_runtime_takes_no_wrong_prompts(given: dict | None, names: tuple) -> None:
    """The graphs take most of them and answer with masks of something else."""
    segmenter = object.__new__(runtime('onnx_runtime').Segmenter)
    segmenter.sessions, segmenter.size = {}, None if given is None else (50, 90)
    segmenter.encoded = dict(image_embeddings=np.zeros((1, 8, 4, 4)))
    with raises_naming(ValueError, *names):
        segmenter.predict(**given) if given is not None else segmenter.segment()
