"""What tools/runtime/onnx_runtime.py rejects; test_export.py compares its answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.apis.test_export import runtime
from tests.naming import assert_names, raises_naming
from tests.run_tool import TOOLS


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


def test_the_runtime_without_an_export(tmp_path: Path) -> None:
    segmenter = runtime('onnx_runtime').Segmenter
    with raises_naming(FileNotFoundError, tmp_path / 'nothing', 'encoder.onnx', 'decoder.onnx'):
        segmenter(tmp_path / 'nothing')
    (tmp_path / 'encoder.onnx').write_bytes(b'')
    with raises_naming(FileNotFoundError, tmp_path, 'no decoder.onnx'):
        segmenter(tmp_path)
    command = [sys.executable, str(TOOLS / 'runtime' / 'onnx_runtime.py'), str(tmp_path), 'image.npy']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert_names(done.stderr, tmp_path, 'no decoder.onnx')


def test_the_runtime_with_files_of_others(tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime')
    onnx = pytest.importorskip('onnx')
    value = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('Identity', ['x'], ['y'])],
        'g',
        [value],
        [onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, tmp_path / 'model.onnx')
    with raises_naming(ValueError, tmp_path / 'model.onnx', 'mmsam_ext export'):
        runtime('onnx_runtime').Segmenter(tmp_path)
