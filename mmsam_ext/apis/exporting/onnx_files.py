"""Write ONNX files, shrink them, and compare them with PyTorch."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InferenceError

OPSET = 17
#: The first output of an encoder, which its decoder takes under the same name; others are numbered.
EMBEDDING, STAGE = 'image_embeddings', 'stage_{}'
OUTPUTS = ('masks', 'iou_predictions', 'low_res_masks')
INSTALL = 'pip install "mmsam_ext[export]"'


class Example(NamedTuple):
    """Inputs for tracing and comparison, by name, and the dimensions of each that vary."""

    inputs: dict[str, Tensor]
    dynamic: dict[str, dict[int, str]]
    outputs: tuple[str, ...]


def encoder_example(size: tuple[int, int], image: np.ndarray | None = None, stages: int = 0) -> Example:
    """Return inputs of an encoder; `image` (h, w, 3) RGB, random by default; `stages` further outputs."""
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3))
    tensor = torch.from_numpy(np.ascontiguousarray(image)).float()
    outputs = (EMBEDDING, *(STAGE.format(index) for index in range(stages)))
    return Example({'input_image': tensor}, {'input_image': {0: 'height', 1: 'width'}}, outputs)


def decoder_example(
    embedding: Tensor, size: tuple[int, int], stages: Sequence[Tensor] = (), pad_boxes: bool = False
) -> Example:
    """Return inputs of a decoder: a box over most of the network input, with a point of label -1 if `pad_boxes`."""
    height, width = size
    corners = [[0.2 * width, 0.2 * height], [0.8 * width, 0.8 * height]]
    coords, labels = torch.tensor([corners]).round(), torch.tensor([[2.0, 3.0]])
    if pad_boxes:
        coords, labels = torch.cat([coords, coords.new_zeros(1, 1, 2)], 1), torch.tensor([[2.0, 3.0, -1.0]])
    inputs = dict(
        image_embeddings=embedding,
        point_coords=coords,
        point_labels=labels,
        mask_input=torch.zeros(1, 1, 4 * embedding.shape[2], 4 * embedding.shape[3]),
        has_mask_input=torch.zeros(1),
        orig_im_size=torch.tensor([float(height), float(width)]),
        **{STAGE.format(index): stage for index, stage in enumerate(stages)},
    )
    dynamic = dict(
        point_coords={1: 'points'}, point_labels={1: 'points'}, mask_input={2: 'mask_height', 3: 'mask_width'}
    )
    return Example(inputs, dynamic, OUTPUTS)


def dynamic_shapes(example: Example) -> tuple:
    """Return the dimensions that vary as torch.export takes them: the stages are the last argument, as a tuple."""
    shapes = {
        name: dict.fromkeys(example.dynamic.get(name, ()), torch.export.Dim.AUTO) or None for name in example.inputs
    }
    stages = tuple(shapes.pop(name) for name in list(shapes) if name.startswith(STAGE.format('')))
    return (*shapes.values(), stages) if stages else tuple(shapes.values())


def require(*modules: str) -> None:
    """Check that packages of the extra `export` are installed.

    Raises:
        InferenceError: One is missing; the message says how to install it.
    """
    import importlib.util

    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InferenceError(f'export to ONNX needs {", ".join(missing)}: {INSTALL}')


def write_onnx(graph: nn.Module, example: Example, path: Path, metadata: dict[str, Any], dynamo: bool = False) -> None:
    """Export a module and store `metadata` as JSON in its property 'mmsam_ext'.

    Args:
        graph: The module.
        example: Inputs to trace it with.
        path: The file to write.
        metadata: Plain values.
        dynamo: Use torch.export instead of tracing.
    """
    require('onnx')
    import onnx  # pyright: ignore[reportMissingImports] (optional)

    # torch has none
    torch.onnx.register_custom_op_symbolic(  # pyright: ignore[reportPrivateImportUsage] (documented)
        'aten::fill_diagonal', _fill_diagonal, OPSET
    )
    options: dict[str, Any] = dict(dynamo=False, dynamic_axes=example.dynamic, opset_version=OPSET)
    if dynamo:
        require('onnxscript')
        options = dict(dynamo=True, dynamic_shapes=dynamic_shapes(example), opset_version=18, external_data=False)
    with torch.no_grad():
        torch.onnx.export(
            graph, tuple(example.inputs.values()), str(path), input_names=list(example.inputs),
            output_names=list(example.outputs), **options,
        )  # fmt: skip
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {'mmsam_ext': json.dumps(metadata)})
    onnx.save(model, str(path))


def _fill_diagonal(graph: Any, matrix: Any, value: Any, wrap: Any) -> Any:
    """Write ``fill_diagonal_`` as ONNX operators."""
    # Of numbers, as onnxruntime has no EyeLike of booleans.
    diagonal = graph.op('Cast', graph.op('EyeLike', matrix, dtype_i=1), to_i=9)
    return graph.op('Where', diagonal, graph.op('CastLike', value, matrix), matrix)


def to_fp16(source: Path, target: Path) -> None:
    """Write a file with half the size: weights and computation in fp16, inputs and outputs in fp32."""
    require('onnx', 'onnxruntime')
    import onnx  # pyright: ignore[reportMissingImports] (optional)
    from onnxruntime.transformers.float16 import convert_float_to_float16  # pyright: ignore[reportMissingImports]

    onnx.save(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True), str(target))


def to_int8(source: Path, target: Path) -> None:
    """Write a file with a quarter of the size: weights of matrix products in int8, by channel."""
    require('onnx', 'onnxruntime')
    from onnxruntime.quantization import QuantType, quantize_dynamic  # pyright: ignore[reportMissingImports] (optional)

    quantize_dynamic(
        str(source), str(target), op_types_to_quantize=['MatMul', 'Gemm'], per_channel=True, weight_type=QuantType.QInt8
    )


def run_onnx(path: Path, inputs: dict[str, Tensor]) -> list[np.ndarray]:
    """Run a file in onnxruntime on the CPU."""
    require('onnxruntime')
    import onnxruntime  # pyright: ignore[reportMissingImports] (optional)

    session = cast('Any', onnxruntime).InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = {one.name for one in session.get_inputs()}
    return session.run(None, {name: value.numpy() for name, value in inputs.items() if name in names})


def seconds_of(run: Any, repeats: int = 3) -> float:
    """Return the shortest time of a call in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of the foreground of two maps of logits; 1 where both have none."""
    one, other = first > 0, second > 0
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def names(values: Sequence[str]) -> str:
    """Return names for a message."""
    return ', '.join(values)
