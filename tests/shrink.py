"""Any shipped config, made small enough to run in seconds: a tiny random model on a handful of 64 x 64 images.

Datasets of files get the layouts that :func:`write_mtd` and :func:`write_folders` make.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.config import Config

from mmsam_ext.datasets import hqseg44k
from tests.layouts import BENCHMARKS, LAYOUTS, write_celebamask_hq, write_coco, write_coco_results, write_pair

REPO = Path(__file__).resolve().parents[1]
CONFIGS = REPO / 'configs'
SIZE = 64  # pixels; the embedding is 4 x 4
CHANNELS = 32
ARCH = dict(
    img_size=SIZE, embed_dim=32, depth=2, num_heads=2, window_size=4, out_chans=CHANNELS, global_attn_indexes=(1,)
)
OTHER_ARCHS = dict(
    SAM2ImageEncoder=dict(
        embed_dim=8, num_heads=1, stages=(1, 1, 2, 1), window_spec=(8, 4, 4, 2), global_att_blocks=(3,),
        global_pos_size=(2, 2),
    ),
    TinyViTImageEncoder=dict(
        embed_dims=(8, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2), window_sizes=(7, 7, 14, 7)
    ),
)  # fmt: skip
#: Settings of components, wherever they stand.
SMALLER = dict(embed_dim=CHANNELS, transformer_dim=CHANNELS)
SAMPLES = 4
#: Serialising a dataset collects all garbage of the process, which takes longer than all else here.
UNSERIALIZED = dict(serialize_data=False)
_numbers = itertools.count()


def shrink(config: Config | Path, folder: Path, *, iterations: int = 2) -> Config:
    """A shrunk copy of a config.

    Args:
        config: A shipped config, or its path.
        folder: Where it may write: `folder` / 'work' is its work_dir, `folder` / 'data' has its images.
        iterations: Of training, with a checkpoint and a validation after every second one.
    """
    if not isinstance(config, Config):
        config = Config.fromfile(config)
    settings = config.to_dict()
    for node in list(_dicts(settings)):
        _shrink_node(node, folder / 'data')
    _shrink_model(settings['model'])
    # That hook's checkpoints stand on the file of `init_cfg`, which is not there.
    settings['custom_hooks'] = [hook for hook in settings['custom_hooks'] if hook['type'] != 'TrainableCheckpointHook']
    if 'train_cfg' in settings:
        settings['train_cfg'].update(max_iters=iterations, val_interval=2)
    settings['load_from'] = None  # the first stage of a pretraining
    settings['default_hooks']['logger']['interval'] = 1
    settings['default_hooks']['checkpoint']['interval'] = 2
    settings['work_dir'] = str(folder / 'work')
    # mmengine keeps loggers and visualizers by name for the life of the process.
    settings['experiment_name'] = settings['visualizer']['name'] = unique_name()
    return Config(settings)


def spare_formatting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave configs unformatted where the Runner logs and saves them: yapf takes longer than these runs."""
    monkeypatch.setattr(
        'mmengine.config.config.FormatCode',
        lambda text, **options: (text, True),
        raising=False,  # the onedl fork has none
    )


def unique_name() -> str:
    """A name that no other run of this process has."""
    return f'shrunk_{next(_numbers)}'


def _shrink_model(model: dict) -> None:
    if model['type'] == 'EncoderDecoder':  # MMSegmentation's own: its images are small already
        return
    model['init_cfg'] = None
    if (model.get('test_cfg') or {}).get('mode') == 'slide':
        model['test_cfg'].update(crop_size=(SIZE, SIZE), stride=(SIZE // 2, SIZE // 2))
    if model['data_preprocessor']['size'] is not None:
        model['data_preprocessor']['size'] = (SIZE, SIZE)
    backbone = model['backbone']
    if backbone['type'] == 'SAMImageEncoder':
        backbone.update(arch=ARCH, conv_stem=backbone.get('arch') == 'tiny')
        if backbone.get('out_indices'):
            backbone['out_indices'] = ARCH['global_attn_indexes']
    else:
        backbone.update(arch=OTHER_ARCHS[backbone['type']], out_channels=CHANNELS)
    for node in _dicts(model['mask_decoder']):
        if node.get('type') in ('SAMMaskDecoder', 'SAM2MaskDecoder', 'HQMaskDecoder'):
            node.update(mlp_dim=64, transformer_dim=CHANNELS)
            if node.get('stage_channels'):  # of the stem
                node['stage_channels'] = (ARCH['embed_dim'] // 4, ARCH['embed_dim'] // 2)
            if 'early_dim' in node:
                node['early_dim'] = ARCH['embed_dim']
        elif node.get('type') in (
            'VRAAdapter',
            'DeformableSamplingPlugin',
            'DynamicRouter',
            'DynamicRoutingPlugin',
            'MaskTokenPlugin',
        ):
            node['dim'] = CHANNELS
    for node in _dicts({key: model.get(key, []) for key in ('prompt_stages', 'auxiliary_heads')}):
        if node.get('type') == 'PromptLearningModule':
            node.update(dim=CHANNELS, mlp_dim=64)
        elif node.get('type') == 'PointMatchingModule':
            node.update(in_channels=CHANNELS // 8, dim=16, ffn_dim=32)
    for node in _dicts({key: model[key] for key in ('prompt_encoder', 'mask_decoder')}):
        node.update({key: value for key, value in SMALLER.items() if key in node})
    model['prompt_encoder']['embed_dim'] = CHANNELS
    for stage in model.get('prompt_stages', ()):
        if stage['type'] == 'SSMODCPromptHead':
            stage.update(input_size=None, embed_dim=CHANNELS, dim=16, d_state=2)
            if stage.get('sam_channels'):  # of the stem and the embedding
                stage['sam_channels'] = (ARCH['embed_dim'] // 4, ARCH['embed_dim'] // 2, CHANNELS)
            if stage.get('feature_encoder'):
                stage['in_channels'] = (16, 16, 16)
                stage['feature_encoder'].update(
                    model_name='efficientvit_b0', widths=(8, 8, 16, 16, 16), depths=(0, 1, 1, 1, 1)
                )
    for part in ('presence_head', 'mask_refiner'):
        if part in model:
            model[part]['embed_dim'] = CHANNELS
    if 'scene_head' in model:
        model['scene_head']['in_channels'] = CHANNELS


def _shrink_node(node: dict, data: Path) -> None:
    """Shrink a transform, dataset or dataloader in place."""
    kind = str(node.get('type', ''))
    if kind in ('Resize', 'RandomResize'):
        node['scale'] = (SIZE, SIZE)
    elif kind == 'RandomCrop':
        node['crop_size'] = (SIZE, SIZE)
    elif kind == 'RandomTile':
        node['size'] = (SIZE, SIZE)
    elif kind == 'GeneratePrompts':
        for mode in node['modes'].values():
            mode['draws'] = min(2, mode.get('draws', 1))
    elif kind.startswith('Synthetic'):
        node.update(length=SAMPLES, size=(SIZE, SIZE))
        node.pop('indices', None)
        if 'min_area' in node:
            node['min_area'] = 16  # at most 1 % of the image
        if 'photographs' in node:
            node.update(photographs=str(write_photographs(data / 'photographs')), sizes=[(SIZE, SIZE)])
    elif kind == 'MTDDataset':
        node.update(data_root=str(write_mtd(data / 'mtd')), **UNSERIALIZED)
        node.pop('indices', None)
    elif kind == 'BinaryDefectDataset':
        node.update(data_root=str(write_folders(data / 'folders')), **UNSERIALIZED)
    elif kind == 'HQSeg44KDataset':
        node['data_root'] = str(write_hqseg44k(data / 'hqseg44k'))
    elif kind == 'CelebAMaskHQDataset':
        node['data_root'] = str(write_celebamask_hq(data / 'celebamask_hq'))
        node.pop('indices', None)
    elif kind == 'CocoPromptDataset':
        root = data / Path(node['data_root']).name
        node.update(data_root=str(write_coco(root, node['ann_file'], node['data_prefix']['img_path'])), **UNSERIALIZED)
    elif kind == 'LoadPrompts':
        if node.get('result_file'):
            node['result_file'] = str(write_coco_results(data / 'results.json'))
    elif kind == 'GroundingDINOBoxes':  # needs transformers and a download
        node.clear()
        node.update(type='BoxesFromFile', defects=str(write_boxes(data / 'boxes.json')))
    elif kind == 'BoxesFromFile':
        node['defects'] = str(write_boxes(data / 'boxes.json'))
    elif kind == 'SaliencyRescorer':
        node.update(arch='resnet18', weights=str(write_resnet18(data / 'resnet18.pth')), sizes=(32, 64))
    elif kind in LAYOUTS:
        node.update(data_root=str(LAYOUTS[kind](data / kind)), **UNSERIALIZED)
    elif kind in BENCHMARKS:
        write, categories = BENCHMARKS[kind]
        node.update(data_root=str(write(data / kind)), categories=categories, **UNSERIALIZED)
    elif 'batch_size' in node:
        node.update(batch_size=2, num_workers=0, persistent_workers=False)


def _dicts(value: Any) -> Iterator[dict]:
    """All dicts in a config, outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _dicts(item)


def write_photographs(folder: Path) -> Path:
    """A folder of one photograph."""
    write_pair(folder / 'photograph.png', folder / 'masks' / 'photograph.png', 0)
    return folder


def write_mtd(folder: Path) -> Path:
    """The layout of MTD: image and mask side by side, in a folder of each class, and lists of both splits."""
    names = []
    for kind in ('Break', 'Fray', 'Uneven'):
        (folder / f'MT_{kind}' / 'Imgs').mkdir(parents=True, exist_ok=True)
    for index in range(SAMPLES):
        name = f'{("MT_Blowhole", "MT_Crack")[index % 2]}/Imgs/exp_{index}'
        write_pair(folder / f'{name}.jpg', folder / f'{name}.png', index)
        names.append(name)
    normal = [f'MT_Free/Imgs/exp_free_{index}' for index in range(2)]
    for index, name in enumerate(normal):
        write_pair(folder / f'{name}.jpg', folder / f'{name}.png', index, value=0)
    for split, listed in (('train', names), ('val', names), ('normal', normal)):
        (folder / f'{split}.txt').write_text('\n'.join(listed) + '\n')
    return folder


def write_boxes(path: Path) -> Path:
    """Boxes for the images of all layouts, by file name: a disc of the first two images, and a wrong one."""
    names = [
        '000.png',
        '001.png',
        '0000.bmp',
        '20000.png',
        '000.JPG',
        *(f'exp_{index}.jpg' for index in range(SAMPLES)),
    ]
    boxes = [([20, 10, 22, 22], 0.8), ([1, 50, 20, 15], 0.3)]
    rows = [dict(file_name=name, category_id=0, bbox=box, score=score) for name in names for box, score in boxes]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def write_resnet18(path: Path) -> Path:
    """Random weights under timm's names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(timm.create_model('resnet18').state_dict(), path)
    return path


def write_folders(folder: Path) -> Path:
    """The layout of your own images: images/ and masks/, with a sub-folder of one class, and lists of both splits."""
    names = [f'scratch/{index}' if index % 2 else f'{index}' for index in range(SAMPLES)]
    for index, name in enumerate(names):
        write_pair(folder / 'images' / f'{name}.png', folder / 'masks' / f'{name}.png', index)
    for split in ('train', 'val'):
        (folder / f'{split}.txt').write_text('\n'.join(names) + '\n')
    return folder


def write_hqseg44k(folder: Path) -> Path:
    """The layout of sam-hq's training code, with an image in each part."""
    for index, (images, masks) in enumerate([*hqseg44k.TRAIN.values(), *hqseg44k.TEST.values()]):
        write_pair(folder / images / 'one.jpg', folder / masks / 'one.png', index % SAMPLES)
    return folder
