"""Exported files run without PyTorch and give PyTorch's masks; they need the extra `export`."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmsam_ext.apis import InferenceError, PromptSegInferencer
from mmsam_ext.apis.exporting import export_model
from mmsam_ext.apis.exporting.graphs import DecoderGraph, EncoderGraph, WholeGraph, prepared
from mmsam_ext.apis.exporting.onnx_files import encoder_example, run_onnx, to_fp16, to_int8
from mmsam_ext.apis.image_inputs import Source
from mmsam_ext.apis.inspection.decision import Decision
from mmsam_ext.apis.inspection.inspector import whole_image_logits
from mmsam_ext.checkpoints.base import file_hash
from mmsam_ext.cli import export as command
from tests.models.small import config
from tests.naming import assert_names, raises_naming
from tests.shrink import OTHER_ARCHS

REPO = Path(__file__).resolve().parents[2]
SIZE = 64
VARIANTS = {
    'sam': {},
    'spt': dict(
        mask_decoder=dict(
            _delete_=True,
            type='SelfDraftDecoder',
            decoder=dict(
                type='SAMMaskDecoder', mlp_dim=64, transformer_dim=32, plugins=[dict(type='VRAAdapter', dim=32)]
            ),
        ),
        peft=dict(encoder=dict(type='LoRA', modules=r'^backbone\..*\.qkv$', rank=2, num_slices=3, slices=(0, 2))),
    ),
    'ods': dict(
        prompt_stages=[
            dict(
                type='SSMODCPromptHead',
                feature_encoder=dict(
                    type='mmpretrain.TIMMBackbone', model_name='efficientvit_b0', features_only=True,
                    out_indices=(1, 2, 3), pretrained=False, widths=(8, 8, 16, 16, 16), depths=(0, 1, 1, 1, 1),
                ),
                in_channels=(16, 16, 16), embed_dim=32, dim=16, d_state=2,
            )
        ],
    ),
    'hq': dict(
        backbone=dict(out_indices=(1,)),
        mask_decoder=dict(_delete_=True, type='HQMaskDecoder', early_dim=48, mlp_dim=64, transformer_dim=32),
    ),
    'sam2': dict(
        backbone=dict(
            _delete_=True, type='SAM2ImageEncoder', arch=OTHER_ARCHS['SAM2ImageEncoder'], out_channels=32
        ),
        prompt_encoder=dict(type='SAM2PromptEncoder'),
        mask_decoder=dict(type='SAM2MaskDecoder'),
    ),
    'mobile': dict(
        backbone=dict(
            _delete_=True, type='TinyViTImageEncoder', arch=OTHER_ARCHS['TinyViTImageEncoder'], out_channels=32
        )
    ),
    'unstable': dict(test_cfg=dict(multimask='stable')),
    'rounds': dict(test_cfg=dict(multimask='ambiguous', rounds=3)),
    'preferred': dict(test_cfg=dict(multimask=True)),
    'two rounds': dict(test_cfg=dict(rounds=2)),
    'classes': dict(num_classes=3, prompt_stages=[dict(type='ClassEmbedding', dim=32)]),
    'stable': dict(
        mask_decoder=dict(
            plugins=[dict(type='DeformableSamplingPlugin', dim=32, router=dict(type='DynamicRouter', dim=32))]
        )
    ),
}  # fmt: skip


def files(folder: Path, name: str) -> tuple[str, str]:
    """Config and checkpoint of a small model whose new parts are not at their initial values."""
    init_default_scope('mmseg')
    settings = Config(dict(model=config()))
    settings.merge_from_dict(
        dict(model={**copy.deepcopy(VARIANTS[name]), 'data_preprocessor': dict(size=(SIZE, SIZE), size_divisor=None)})
    )
    torch.manual_seed(0)
    model = MODELS.build(settings.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    (folder / f'{name}.py').write_text(settings.pretty_text)
    torch.save(model.state_dict(), folder / f'{name}.pth')
    return str(folder / f'{name}.py'), str(folder / f'{name}.pth')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['spt', 'stable'])
def test_onnx_runs_without_torch_and_agrees(name: str, tmp_path: Path) -> None:
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    model, weights = files(tmp_path, name)
    done = export_model(model, weights, tmp_path / 'out')
    assert done['files'] == ['encoder.onnx', 'decoder.onnx'] and done['iou'] > 0.999
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8), (7, 7), 2)
    np.save(tmp_path / 'image.npy', image[..., ::-1])
    program = f"""
import sys, numpy as np
sys.path.insert(0, {str(REPO / 'tools/runtime')!r})
from onnx_runtime import Segmenter
segmenter = Segmenter({str(tmp_path / 'out')!r})
segmenter.set_image(np.ascontiguousarray(np.load({str(tmp_path / 'image.npy')!r})))
box, _ = segmenter.predict(box=[10, 5, 70, 40])
both, _ = segmenter.predict(box=[10, 5, 70, 40], points=[[30, 20], [5, 5]], labels=[1, 0])
points, score = segmenter.predict(points=[[30, 20], [60, 30]], labels=[1, 1])
assert 'torch' not in sys.modules
np.savez({str(tmp_path / 'found.npz')!r}, box=box, points=points, score=score, both=both)
"""
    subprocess.run([sys.executable, '-c', program], check=True, capture_output=True, text=True)
    found = np.load(tmp_path / 'found.npz')
    inferencer = PromptSegInferencer(model, weights, 'cpu')
    inferencer.set_image(image)
    boxes, points, labels = [[10, 5, 70, 40]], [[[30, 20], [60, 30]]], [[1, 1]]
    given = dict(
        box=dict(boxes=boxes),
        points=dict(points=points, point_labels=labels),
        both=dict(boxes=boxes, points=[[[30, 20], [5, 5]]], point_labels=[[1, 0]]),
    )
    for key, prompts in given.items():
        masks, scores, _ = inferencer.predict(
            **prompts, multimask=False, box_format='xyxy' if 'boxes' in prompts else None
        )
        union = (masks[0] | (found[key] > 0)).sum()
        assert found[key].shape == (50, 90) and (masks[0] & (found[key] > 0)).sum() >= 0.99 * union
    assert float(found['score']) == pytest.approx(
        float(inferencer.predict(**given['points'], multimask=False)[1][0]), abs=1e-3
    )


@pytest.mark.parametrize('name', ['hq', 'sam2', 'mobile', 'unstable', 'rounds', 'preferred'])
def test_other_families(name: str, tmp_path: Path) -> None:
    """A decoder that reads inner features takes them from the encoder; SAM 2's boxes get a third token."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    model, weights = files(tmp_path, name)
    done = export_model(model, weights, tmp_path / 'out')
    assert done['iou'] > 0.999
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8), (7, 7), 2)
    segmenter = runtime('onnx_runtime').Segmenter(tmp_path / 'out')
    segmenter.set_image(np.ascontiguousarray(image[..., ::-1]))
    inferencer = PromptSegInferencer(model, weights, 'cpu')
    inferencer.set_image(image)
    points = [[30.0, 20], [60, 30]]
    for given, ours in (
        (dict(box=[10, 5, 70, 40]), dict(boxes=[[10, 5, 70, 40]], box_format='xyxy')),
        (dict(points=points, labels=[1, 0]), dict(points=[points], point_labels=[[1, 0]])),
        (dict(points=points[:1], labels=[1]), dict(points=[points[:1]], point_labels=[[1]])),
    ):
        logits, score = segmenter.predict(**given)
        choice = dict(unstable='stable', rounds='ambiguous', preferred=True).get(name, False)
        (wanted,), (expected,), _ = inferencer.predict(**ours, multimask=choice, return_logits=True)
        assert np.abs(logits - wanted).max() < 1e-3 * np.abs(wanted).max()
        assert score == pytest.approx(float(expected), abs=1e-4)
    if name in ('hq', 'sam2'):
        with raises_naming(InferenceError, dict(hq='HQMaskDecoder', sam2='SAM2MaskDecoder')[name], 'x-anylabeling'):
            export_model(model, weights, tmp_path / 'tool', kind='x-anylabeling')


def runtime(name: str) -> ModuleType:
    """A module of tools/runtime."""
    spec = importlib.util.spec_from_file_location(name, REPO / 'tools/runtime' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_model_without_prompts_is_one_graph(tmp_path: Path) -> None:
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    model, weights = files(tmp_path, 'ods')
    with raises_naming(InferenceError, 'SSMODCPromptHead', 'one-graph'):
        export_model(model, weights, tmp_path / 'out')
    done = export_model(model, weights, tmp_path / 'out', one_graph=True)
    assert done['files'] == ['model.onnx'] and done['iou'] > 0.999
    graph = prepared(PromptSegInferencer(model, weights, 'cpu').model)
    inputs = dict(**encoder_example((SIZE, SIZE)).inputs, orig_im_size=torch.tensor([50.0, 90.0]))
    found = run_onnx(tmp_path / 'out/model.onnx', inputs)[0]
    with torch.no_grad():
        wanted = WholeGraph(graph, (SIZE, SIZE), False)(*inputs.values())[0].numpy()
    assert found.shape == (1, 1, 50, 90) and np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()


@pytest.mark.parametrize('name', ['classes', 'sam2', 'two rounds'])
def test_one_graph_answers_as_inspect_does(name: str, tmp_path: Path) -> None:
    """A map for each class of the whole image; the runtime decides and names the class of each pixel."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    model, weights = files(tmp_path, name)
    if name == 'classes':
        with raises_naming(InferenceError, '3 classes', 'one-graph'):
            export_model(model, weights, tmp_path / 'out')
    number = 3 if name == 'classes' else 1
    names = tuple('abc'[:number])
    save_decision(weights, names)
    export_model(model, weights, tmp_path / 'out', one_graph=True)
    segmenter = runtime('onnx_runtime').Segmenter(tmp_path / 'out')
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8), (7, 7), 2)
    rgb = np.ascontiguousarray(image[..., ::-1])
    wanted, _ = whole_image_logits(PromptSegInferencer(model, weights, 'cpu'), Source('a', array=image))
    segmenter.set_image(rgb)
    logits, iou = segmenter.segment()
    assert logits.shape == wanted.shape == (number, 50, 90) and iou.shape == (number,)
    assert np.abs(logits - wanted).max() < 1e-3 * np.abs(wanted).max()
    if number > 1:
        assert np.abs(wanted[0] - wanted[1]).max() > 0.02 * np.abs(wanted).max(), 'the classes differ'
    middle = float(np.median(logits.max(0)))
    segmenter.info |= dict(pixel_threshold=middle, threshold=float(logits.max()))
    defective, probability, labels = segmenter.inspect(rgb)
    assert defective and 0 < probability <= 1 and segmenter.info['classes'] == list(names)
    assert 0.4 < (labels > 0).mean() < 0.6 and (labels[labels > 0] == logits.argmax(0)[labels > 0] + 1).all()
    with raises_naming(ValueError, 'segment', 'one-graph'):
        segmenter.predict(box=[1, 2, 30, 40])


def save_decision(weights: str, classes: tuple[str, ...]) -> None:
    """Thresholds of weights, as `fit` writes them."""
    scores = dict(names=('x', 'y', 'z', 'w'), scores=(-2.0, -1.0, 0.5, 3.0), defective=(False, False, True, True))
    Decision(file_hash(weights), 'config.py', classes, 0.0, **scores).save(weights)


def test_smaller_files_and_their_metadata(tmp_path: Path) -> None:
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    model, weights = files(tmp_path, 'sam')
    export_model(model, weights, tmp_path / 'out')
    source = tmp_path / 'out/encoder.onnx'
    to_fp16(source, tmp_path / 'fp16.onnx')
    to_int8(source, tmp_path / 'int8.onnx')
    inputs = encoder_example((SIZE, SIZE)).inputs
    exact = run_onnx(source, inputs)[0]
    for name, least, largest in (('fp16', 0.999, 0.8), ('int8', 0.9, 0.9)):
        path = tmp_path / f'{name}.onnx'
        assert path.stat().st_size < largest * source.stat().st_size
        assert np.corrcoef(exact.ravel(), run_onnx(path, inputs)[0].ravel())[0, 1] > least
    file = onnx.load(str(tmp_path / 'out/decoder.onnx'))
    info = json.loads({one.key: one.value for one in file.metadata_props}['mmsam_ext'])
    assert info['input_size'] == [SIZE, SIZE] and info['classes'] == ['defect'] and info['channels'] == 'RGB'


def test_the_rules_of_x_anylabeling(tmp_path: Path) -> None:
    """Read the yaml and run the pair as that tool does, whatever the size of the model's input.

    Its rules: images are fitted into 684 x 1024 and clicks scaled to this frame, a point of label -1 follows every
    prompt, the mask input is 256 x 256. The embedding and the mask are those of the model on the shrunk image.
    """
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    model, weights = files(tmp_path, 'sam')
    done = export_model(model, weights, tmp_path / 'out', kind='x-anylabeling')
    assert done['files'] == ['encoder.onnx', 'decoder.onnx', 'model.yaml']
    lines = (tmp_path / 'out/model.yaml').read_text().splitlines()
    settings = dict(line.split(': ', 1) for line in lines)
    assert settings['type'] == 'segment_anything' and {'name', 'display_name'} <= settings.keys()
    assert (settings['input_size'], settings['max_width'], settings['max_height']) == ('1024', '1024', '682')
    encoder, decoder = (
        onnxruntime.InferenceSession(str(tmp_path / 'out' / settings[f'{part}_model_path']))
        for part in ('encoder', 'decoder')
    )
    size = (684, 1024)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    (embedding,) = encoder.run(None, {encoder.get_inputs()[0].name: image})
    points = np.array([[[300.0, 200.0], [700.0, 500.0], [0.0, 0.0]]], np.float32)
    given = dict(
        point_labels=np.array([[1, 0, -1]], np.float32), mask_input=np.zeros((1, 1, 256, 256), np.float32),
        has_mask_input=np.zeros(1, np.float32), orig_im_size=np.array(size, np.float32),
    )  # fmt: skip
    masks, iou, low = decoder.run(None, dict(image_embeddings=embedding, point_coords=points, **given))
    assert masks.shape == (1, 1, *size) and iou.shape == (1, 1) and low.shape == (1, 1, SIZE // 4, SIZE // 4)
    # 1024 / 64 = 16: the means of 16 x 16 pixels, of which 42 rows are whole.
    shrunk = torch.from_numpy(image[: 42 * 16].reshape(42, 16, 64, 16, 3).mean((1, 3)))
    graph = prepared(PromptSegInferencer(model, weights, 'cpu').model)
    with torch.no_grad():
        expected = EncoderGraph(graph, (SIZE, SIZE))(shrunk)[0]
        inner = torch.from_numpy((points + 0.5) / 16 - 0.5)
        others = [torch.from_numpy(value) for value in given.values()]
        wanted = DecoderGraph(graph, (SIZE, SIZE), True)(expected, inner, *others)[0].numpy()
    assert np.abs(embedding - expected.numpy()).max() < 1e-3 * expected.abs().max()
    assert np.abs(masks - wanted).max() < 1e-2 * np.abs(wanted).max()


@pytest.mark.slow
def test_torch_export(tmp_path: Path) -> None:
    model, weights = files(tmp_path, 'sam')
    done = export_model(model, weights, tmp_path / 'out', kind='torch-export')
    assert done['files'] == ['encoder.pt2', 'decoder.pt2'] and done['iou'] > 0.999
    extra = {'mmsam_ext.json': ''}
    torch.export.load(str(tmp_path / 'out/decoder.pt2'), extra_files=extra)
    assert json.loads(extra['mmsam_ext.json'])['input_size'] == [SIZE, SIZE]


def test_peft_is_merged(tmp_path: Path) -> None:
    model, weights = files(tmp_path, 'spt')
    merged = prepared(PromptSegInferencer(model, weights, 'cpu').model)
    assert not any('lora_' in name for name, _ in merged.named_parameters())


def test_exports_that_a_model_cannot_have(tmp_path: Path, capsys, monkeypatch) -> None:
    model, weights = files(tmp_path, 'sam')
    with raises_naming(InferenceError, 'int8', 'torch-export'):
        export_model(model, weights, tmp_path / 'out', kind='torch-export', precision='int8')
    text = (
        Path(model)
        .read_text()
        .replace('model = dict(', "model = dict(test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)),", 1)
    )
    (tmp_path / 'tiles.py').write_text(text)
    with raises_naming(InferenceError, 'tiles'):
        export_model(str(tmp_path / 'tiles.py'), weights, tmp_path / 'out')

    def broken(*args: object, **kwargs: object) -> None:
        raise IndexError('tuple index out of range')

    monkeypatch.setattr('mmsam_ext.apis.exporting.export.write_onnx', broken)
    with raises_naming(InferenceError, 'encoder', 'SAMMaskDecoder', 'tuple index'):
        export_model(model, weights, tmp_path / 'out')
    for arguments, named in ((['--format', 'onnx'], '--weights'), (['--format', 'coco'], 'coco')):
        with pytest.raises(SystemExit):
            command.parse([*arguments, '--out', 'x'])
        assert_names(capsys.readouterr().err, named)
    assert command.main(['--format', 'coco', str(tmp_path), '--out', str(tmp_path / 'x')]) == 2
    assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').glob('*.onnx'))
