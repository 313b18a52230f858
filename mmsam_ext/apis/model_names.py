"""Models by a short name, without a config file: `sam_vit_b`, `sam_hq_vit_l`, `sam2.1_hiera_s`, `mobile_sam`, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmsam_ext.config_files import packaged_config

if TYPE_CHECKING:
    from mmengine.config import Config

#: Side of the network input in pixels.
SIZE = 1024


@dataclass(frozen=True)
class NamedModel:
    """A published SAM.

    Attributes:
        base: The config of its parts, below ``configs/_base_/models``.
        changes: Changes to it, by dotted key.
        keep_ratio: Whether the longest side of an image is resized to the network input and the rest is padded, as for
            the first SAM, or the image is stretched to it, as for SAM 2.
        size: Side of the network input in pixels.
        weights: The weights that come with this package, None for models whose file must be given.
        prediction: Settings of ``model.test_cfg`` for these weights, which others may not have been trained for.
        file: The name of its published file.
    """

    base: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    keep_ratio: bool = True
    size: int = SIZE
    weights: str | None = None
    prediction: Mapping[str, Any] = field(default_factory=dict)
    file: str = ''


def _hq(arch: str, stage: int, width: int) -> NamedModel:
    changes = {
        'model.backbone.arch': arch,
        'model.backbone.out_indices': (stage,),
        'model.mask_decoder.early_dim': width,
    }
    return NamedModel('hq_sam_vitl', changes, file=f'sam_hq_vit_{arch[0]}.pth')


def _hiera(arch: str) -> NamedModel:
    return NamedModel('sam2_hiera_l', {'model.backbone.arch': arch}, keep_ratio=False, file=f'sam2.1_hiera_{arch}.pt')


NAMED_MODELS: dict[str, NamedModel] = {
    'sam_vit_b': NamedModel('sam_vitb', file='sam_vit_b_01ec64.pth'),
    'sam_vit_l': NamedModel('sam_vitl', file='sam_vit_l_0b3195.pth'),
    'sam_vit_h': NamedModel('sam_vith', file='sam_vit_h_4b8939.pth'),
    'sam_hq_vit_b': _hq('base', 2, 768),
    'sam_hq_vit_l': _hq('large', 5, 1024),
    'sam_hq_vit_h': _hq('huge', 7, 1280),
    'sam_hq_vit_tiny': NamedModel(
        'mobile_sam',
        {
            'model.backbone.out_indices': (2,),
            'model.mask_decoder': dict(_delete_=True, type='HQMaskDecoder', early_dim=160),
        },
        file='sam_hq_vit_tiny.pth',
    ),
    'sam2.1_hiera_t': _hiera('tiny'),
    'sam2.1_hiera_s': _hiera('small'),
    'sam2.1_hiera_b+': _hiera('base_plus'),
    'sam2.1_hiera_l': _hiera('large'),
    'mobile_sam': NamedModel('mobile_sam', file='mobile_sam.pt'),
    'sam_tiny': NamedModel(
        'sam_tiny',
        keep_ratio=False,
        size=384,
        weights='mmsam_ext://sam_tiny',
        prediction=dict(multimask='stable'),
    ),
}


def named_config(name: str) -> Config:
    """Return the config of a model of :data:`NAMED_MODELS`: its parts and the pipeline for images of any size."""
    from mmengine.config import Config  # imports PyTorch, which the names above do not need

    model = NAMED_MODELS[name]
    config = Config.fromfile(str(packaged_config(f'_base_/models/{model.base}.py')))
    config.merge_from_dict(dict(model.changes))
    if model.weights is not None:
        config.merge_from_dict(dict(model=dict(init_cfg=dict(type='Pretrained', checkpoint=model.weights))))
    config.model.data_preprocessor.size = (model.size, model.size)
    resize = dict(type='Resize', scale=(model.size, model.size), keep_ratio=model.keep_ratio, backend='pillow')
    config.merge_from_dict(
        dict(
            named_model=name,
            model=dict(trainable=()),  # nothing was trained since, so scores are those of the published IoU head
            default_scope='mmseg',
            custom_imports=dict(imports=['mmsam_ext']),
            test_pipeline=[dict(type='LoadImageFromFile'), resize, dict(type='PackPromptInputs')],
        )
    )
    return config
