"""Export a trained model: encoder and decoder, or one graph, with what a program needs to use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.utils.result_files import ResultFolder

from ..errors import InferenceError
from ..inspection.decision import Decision, decision_path
from ..prompt_seg_inferencer import PromptSegInferencer
from .graphs import (
    DecoderGraph,
    EncoderGraph,
    WholeGraph,
    check_inputs_of_meta,
    check_one_class,
    check_splittable,
    pads_boxes,
    prepared,
)
from .onnx_files import (
    OUTPUTS,
    Example,
    decoder_example,
    dynamic_shapes,
    encoder_example,
    mask_iou,
    run_onnx,
    seconds_of,
    to_fp16,
    to_int8,
    write_onnx,
)

ENCODER, DECODER, WHOLE = 'encoder', 'decoder', 'model'
#: X-AnyLabeling and AnyLabeling fit every image into this (height, width) and scale points to its longer side, whatever
#: `input_size` is in the yaml (read in X-AnyLabeling's `sam_onnx.py`, commit 87da3399 of August 2026).
TOOL_INPUT = (684, 1024)
TOOL_SIDE = max(TOOL_INPUT)
PRECISIONS = ('fp32', 'fp16', 'int8')


def export_model(
    model: str,
    weights: str | None,
    out: str | Path,
    kind: str = 'onnx',
    precision: str = 'fp32',
    one_graph: bool = False,
    dynamo: bool = False,
    overwrite: bool = False,
    untrained: bool = False,
) -> dict[str, Any]:
    """Write the files of a model, and compare them with PyTorch.

    Args:
        model: Name or path of a config.
        weights: Checkpoint; None for the config's own.
        out: Folder to write to.
        kind: 'onnx', 'x-anylabeling' (ONNX and the yaml of that tool) or 'torch-export'.
        precision: 'fp32', 'fp16' or 'int8', of ONNX files.
        one_graph: Write a single graph from image to masks, one mask for each class. Models that need a prompt get a
            box around the whole image.
        dynamo: Export ONNX by torch.export instead of tracing.
        overwrite: Whether files of the user may be replaced.
        untrained: Take weights that lack parts which training brings.

    Returns:
        `files` (names), `iou` of the masks with those of PyTorch, `speed` (PyTorch's time over that of the files).

    Raises:
        InferenceError: The model cannot be exported like this (the message says why), or a package is missing.
    """
    if kind != 'onnx' and precision != 'fp32' and kind != 'x-anylabeling':
        raise InferenceError(f'--precision {precision}: only ONNX files have it, expected fp32 with --format {kind}')
    inferencer = PromptSegInferencer(model, weights, 'cpu', untrained)
    size = input_size(inferencer)
    keep_ratio = kind == 'x-anylabeling' or keeps_ratio(inferencer)
    graph = prepared(inferencer.model)
    if one_graph and kind == 'x-anylabeling':
        raise InferenceError('x-anylabeling needs an encoder and a decoder; leave out --one-graph')
    if not one_graph:
        check_one_class(graph)
        check_splittable(graph)
    if kind == 'x-anylabeling':
        check_inputs_of_meta(graph)
        if size[0] != size[1]:
            raise InferenceError(f'the network input is {size} (height, width); x-anylabeling needs a square one')
    frame = TOOL_SIDE if kind == 'x-anylabeling' and max(size) != TOOL_SIDE else None
    metadata = describe(inferencer, weights, model, size if frame is None else (frame, frame), keep_ratio)
    metadata['pad_boxes'] = pads_boxes(graph)
    results = ResultFolder(out, overwrite)
    parts = _parts(graph, size, keep_ratio, one_graph, frame)
    suffix = '.pt2' if kind == 'torch-export' else '.onnx'
    results.prepare([f'{name}{suffix}' for name in parts])
    worst, torch_time, file_time = 1.0, 0.0, 0.0
    for name, (part, example) in parts.items():
        with results.writing(f'{name}{suffix}') as path, _explained(name, graph):
            if kind == 'torch-export':
                _write_torch(part, example, path, metadata)
                answers = list(_tuple(torch.export.load(str(path)).module()(*example.inputs.values())))
                answers = [one.detach().numpy() for one in answers]
            else:
                write_onnx(part, example, path, metadata, dynamo)
                _shrink(path, precision)
                answers = run_onnx(path, example.inputs)
            if name != ENCODER:
                wanted = _tuple(part(*example.inputs.values()))[0].detach().numpy()
                worst = min(worst, mask_iou(answers[0], wanted))
            if kind != 'torch-export':
                session_time = _onnx_seconds(path, example)
                file_time += session_time
                torch_time += seconds_of(lambda part=part, example=example: part(*example.inputs.values()))
    files = [f'{name}{suffix}' for name in parts]
    if kind == 'x-anylabeling':
        text = tool_yaml(metadata['name'])
        results.write('model.yaml', text.encode())
        files.append('model.yaml')
    return dict(files=files, iou=worst, speed=torch_time / file_time if file_time else None)


@contextmanager
def _explained(name: str, model: nn.Module) -> Iterator[None]:
    """Turn errors of tracing into one that says what cannot be exported.

    Raises:
        InferenceError: In place of an error of the model or of the exporter.
    """
    try:
        yield
    except (InferenceError, OSError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [''])[0][:300]
        raise InferenceError(
            f'{name} of {type(model.backbone).__name__} and {type(model.mask_decoder).__name__} cannot be exported '
            f'({type(error).__name__}: {first})'
        ) from error


def _parts(
    graph: PromptableSegmentor, size: tuple[int, int], keep_ratio: bool, one_graph: bool, frame: int | None
) -> dict[str, tuple[nn.Module, Example]]:
    with torch.no_grad():
        if one_graph:
            first = encoder_example(size)
            inputs = {**first.inputs, 'orig_im_size': torch.tensor([float(size[0]), float(size[1])])}
            return {WHOLE: (WholeGraph(graph, size, keep_ratio), Example(inputs, first.dynamic, OUTPUTS))}
        given = size if frame is None else TOOL_INPUT
        encoder, decoder = EncoderGraph(graph, size, frame), DecoderGraph(graph, size, keep_ratio, frame)
        embedding, *stages = encoder(*encoder_example(given).inputs.values())
        prompts = decoder_example(embedding, given, stages, pads_boxes(graph))
        return {ENCODER: (encoder, encoder_example(given, stages=len(stages))), DECODER: (decoder, prompts)}


def input_size(inferencer: PromptSegInferencer) -> tuple[int, int]:
    """Return (H, W) of the network input.

    Raises:
        InferenceError: It is not fixed, or the model works on tiles.
    """
    size = getattr(inferencer.model.data_preprocessor, 'size', None)
    if inferencer.model.slide_settings is not None or size is None:
        raise InferenceError(
            'the model works on tiles, or on inputs of any size, but an exported graph has one size; set '
            '`input_size` in the config, and leave out test_cfg.mode="slide"'
        )
    return int(size[0]), int(size[1])


def keeps_ratio(inferencer: PromptSegInferencer) -> bool:
    """Return whether the model's pipeline resizes images by their longer side."""
    return any(bool(getattr(step, 'keep_ratio', False)) for step in inferencer.pipeline.steps.transforms)


def describe(
    inferencer: PromptSegInferencer, weights: str | None, model: str, size: tuple[int, int], keep_ratio: bool
) -> dict[str, Any]:
    """Return what is stored in the files: preprocessing, classes and, where they are known, thresholds."""
    stem = Path(model).stem
    metadata: dict[str, Any] = dict(
        name=stem if stem != 'config' else Path(weights or model).resolve().parent.name,
        input_size=list(size),
        keep_ratio=keep_ratio,
        channels='RGB',
        resize='bilinear, antialiased',
        classes=class_names(inferencer.model),
    )
    if weights is not None and decision_path(weights).is_file():
        decision = Decision.load(weights)
        metadata.update(
            classes=list(decision.classes), pixel_threshold=decision.pixel_threshold, threshold=decision.threshold(),
            platt=None if decision.platt is None else list(decision.platt),
        )  # fmt: skip
    return metadata


def class_names(model: PromptableSegmentor) -> list[str]:
    """Return the names of the classes of defects: those of the training data, or 'class 1' and so on."""
    number = model.num_classes or 1
    meta: Any = getattr(model, 'dataset_meta', None)
    known = [str(name) for name in (meta or {}).get('classes') or ()][1:]
    if number == 1:
        return ['defect']
    return known if len(known) == number else [f'class {label}' for label in range(1, number + 1)]


def tool_yaml(name: str) -> str:
    """Return the yaml by which X-AnyLabeling and AnyLabeling load the pair."""
    return (
        f'type: segment_anything\nname: {json.dumps(name)}\ndisplay_name: {json.dumps(name)}\n'
        f'encoder_model_path: {ENCODER}.onnx\ndecoder_model_path: {DECODER}.onnx\n'
        f'input_size: {TOOL_SIDE}\nmax_width: {TOOL_SIDE}\nmax_height: 682\n'
    )


def _shrink(path: Path, precision: str) -> None:
    if precision == 'fp32':
        return
    (to_fp16 if precision == 'fp16' else to_int8)(path, path)


def _write_torch(part: nn.Module, example: Example, path: Path, metadata: dict[str, Any]) -> None:
    with torch.no_grad():
        inputs = tuple(example.inputs.values())
        program = torch.export.export(part, inputs, dynamic_shapes=dynamic_shapes(example))
    torch.export.save(program, str(path), extra_files={'mmsam_ext.json': json.dumps(metadata)})


def _onnx_seconds(path: Path, example: Example) -> float:
    import onnxruntime  # pyright: ignore[reportMissingImports] (optional)

    session = cast('Any', onnxruntime).InferenceSession(str(path), providers=['CPUExecutionProvider'])
    used = {one.name for one in session.get_inputs()}
    inputs: dict[str, np.ndarray] = {name: value.numpy() for name, value in example.inputs.items() if name in used}
    return seconds_of(lambda: session.run(None, inputs))


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
