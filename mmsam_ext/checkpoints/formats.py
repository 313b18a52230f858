"""Whose checkpoint is it? Known formats, recognised by their key names, and what can be done with each.

A new format is one entry of :data:`FORMATS`. The first that recognises the keys is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import key_maps

#: Keys under which training codes keep a state dict in their checkpoints, in this order.
WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'net', 'network', 'weights')
#: Written into keys by torch.compile.
COMPILED = '_orig_mod.'
#: First part of all keys where a model was saved inside another module.
OUTER = ('module.', 'model.', 'sam.', 'sam_model.', 'net.', 'network.')

_WEIGHT = r'\.(weight|bias)'
_ATTENTION = rf'(q|k|v|out)_proj{_WEIGHT}'
#: Every key of a plain SAM with a ViT, under Meta's names; `conv_s0` and `conv_s1` are the mini SAM's.
PLAIN_SAM = re.compile(
    rf'image_encoder\.(pos_embed|patch_embed\..+|neck\.\d{_WEIGHT}'
    rf'|blocks\.\d+\.(norm[12]{_WEIGHT}|mlp\.lin[12]{_WEIGHT}|attn\.((qkv|proj){_WEIGHT}|rel_pos_[hw])))'
    r'|prompt_encoder\.(pe_layer\.positional_encoding_gaussian_matrix|point_embeddings\.\d\.weight'
    rf'|not_a_point_embed\.weight|no_mask_embed\.weight|mask_downscaling\.\d{_WEIGHT})'
    rf'|mask_decoder\.((iou_token|mask_tokens)\.weight|conv_s[01]{_WEIGHT}|output_upscaling\.\d{_WEIGHT}'
    rf'|output_hypernetworks_mlps\.\d\.layers\.\d{_WEIGHT}|iou_prediction_head\.layers\.\d{_WEIGHT}'
    rf'|transformer\.(norm_final_attn{_WEIGHT}|final_attn_token_to_image\.{_ATTENTION}'
    rf'|layers\.\d\.(norm\d{_WEIGHT}|mlp\.lin[12]{_WEIGHT}'
    rf'|(self_attn|cross_attn_token_to_image|cross_attn_image_to_token)\.{_ATTENTION})))'
    r'|pixel_mean|pixel_std'
)


@dataclass(frozen=True)
class Format:
    """A kind of checkpoint.

    Attributes:
        name: What it is called in messages.
        recognise: Takes the key names, and returns whether they are of this format.
        advice: What to do with such a file where it cannot be loaded as it is.
        key_map: Regular expression of their key -> our key, as for :func:`re.sub`; empty where the names are ours
            already, None where the format cannot be loaded without a converter.
        left_out: Regular expressions of keys that are dropped, because our model has no such part.
        finish: What else is to be done after renaming, in place; takes the state dict and the prefix.
        needs_base: Whether it is a part of a model, whose other weights are those that ``model.init_cfg`` names.
    """

    name: str
    recognise: Callable[[Collection[str]], bool]
    advice: str = ''
    key_map: Mapping[str, str] | None = None
    left_out: tuple[str, ...] = field(default=())
    finish: Callable[[MutableMapping[str, Tensor], str], None] | None = None
    needs_base: bool = False


def _any(pattern: str) -> Callable[[Collection[str]], bool]:
    """Recognise a format by one key that matches."""
    compiled = re.compile(pattern)
    return lambda keys: any(compiled.search(key) for key in keys)


#: Names of parts that only one project has, by project; "shared" are Meta's, which this project has, too.
SCHEMES = {
    'Meta': r'^(image_encoder\.|sam_prompt_encoder\.|sam_mask_decoder\.|no_mem_embed$)',
    'Hugging Face transformers': (
        r'^(vision_encoder\.|shared_image_embedding\.|no_memory_embedding$'
        r'|prompt_encoder\.(mask_embed|point_embed|shared_embedding)\.'
        r'|mask_decoder\.(upscale_\w+|(output_hypernetworks_mlps\.\d|iou_prediction_head)\.proj_(in|out))\.)'
    ),
    'this project': r'^backbone\.',
    'shared': r'^(prompt_encoder\.(pe_layer|point_embeddings|mask_downscaling)\.|mask_decoder\.output_upscaling\.)',
}
#: Pairs of them that no complete file has.
MIXTURES = (
    ('Hugging Face transformers', 'Meta'),
    ('Hugging Face transformers', 'this project'),
    ('Hugging Face transformers', 'shared'),
    ('Meta', 'this project'),
)


def check_one_scheme(keys: Collection[str]) -> None:
    """Check that all keys have the names of one project.

    Raises:
        ValueError: Some have names of another: the file was converted in part.
    """
    ordered = sorted(keys)
    found = {name: next((key for key in ordered if re.search(pattern, key)), None) for name, pattern in SCHEMES.items()}
    for first, second in MIXTURES:
        if found[first] and found[second]:
            other = 'Meta' if second == 'shared' else second
            raise ValueError(
                f'The file was converted in part: {found[first]} is a name of {first}, and {found[second]} is one of '
                f'{other}. Give the file that it was made from, which needs no conversion'
            )


def is_plain_sam(keys: Collection[str]) -> bool:
    """Return whether these are the keys of a whole SAM of Meta, and no others."""
    return all(PLAIN_SAM.fullmatch(key) for key in keys) and all(
        any(key.startswith(part) for key in keys) for part in ('image_encoder.', 'prompt_encoder.', 'mask_decoder.')
    )


FORMATS: tuple[Format, ...] = (
    Format(
        "SAM with Meta's names",
        is_plain_sam,
        key_map=key_maps.META,
        left_out=(r'^pixel_(mean|std)$',),
    ),
    Format(
        "the SPT authors' checkpoint",
        _any(r'^draft_decoder\.|\.lora_sim_scale$'),
        'Convert it with tools/converters/spt_official.py CHECKPOINT SAM_BASE OUT',
    ),
    Format(
        'the video memory of SAM 2, without its image model',
        lambda keys: all(any(re.search(part, key) for part in key_maps.VIDEO_PARTS) for key in keys),
        'It segments no images: take the whole file, such as sam2.1_hiera_small.pt',
    ),
    Format(
        'HQ-SAM 2',
        _any(r'^sam_mask_decoder\.(hf_token|hf_mlp)\.'),
        'It has a token that SAM 2 does not have: take a config with an HQSAM2MaskDecoder',
        key_map=key_maps.SAM2,
        left_out=key_maps.VIDEO_PARTS,
    ),
    Format(
        'SAM 2',
        _any(r'^(image_encoder\.trunk\.|sam_prompt_encoder\.|sam_mask_decoder\.)'),
        'Take a config of SAM 2 of the same size, such as stable_sam2_hiera_l_hqseg44k.py, or --model sam2.1_hiera_l',
        key_map=key_maps.SAM2,
        left_out=key_maps.VIDEO_PARTS,
    ),
    Format(
        'MobileSAM',
        _any(r'^image_encoder\.(patch_embed\.seq|layers\.\d+\.blocks)\.'),
        'Its image encoder is a TinyViT: take a config with a TinyViTImageEncoder, or --model mobile_sam',
        key_map=key_maps.MOBILE_SAM,
        left_out=key_maps.MOBILE_LEFT_OUT,
    ),
    Format(
        'HQ-SAM',
        _any(r'^mask_decoder\.(hf_token|hf_mlp|compress_vit_feat)\b'),
        'It has a token that SAM does not have: take a config with an HQMaskDecoder, or --model sam_hq_vit_b',
        key_map=key_maps.META,
        left_out=(r'^pixel_(mean|std)$',),
    ),
    Format(
        'the decoder of HQ-SAM alone',
        _any(r'^(hf_token|hf_mlp|compress_vit_feat)\.'),
        'It needs the SAM that it was trained on: set model.init_cfg.checkpoint to its file',
        key_map={r'^': 'mask_decoder.'},
        needs_base=True,
    ),
    Format(
        'HQ-SAM of Hugging Face transformers',
        _any(r'^mask_decoder\.hq_(token|mask_mlp)\.'),
        'Take a config with an HQMaskDecoder, or --model sam_hq_vit_b',
        key_map=key_maps.HF_SAM_HQ,
    ),
    Format(
        'SAM 2 of Hugging Face transformers',
        _any(r'^(vision_encoder\.backbone\.|no_memory_embedding$)'),
        'Take a config of SAM 2 of the same size, or --model sam2.1_hiera_l',
        key_map=key_maps.HF_SAM2,
        left_out=key_maps.VIDEO_PARTS,
        finish=key_maps.split_points,
    ),
    Format(
        'SAM of Hugging Face transformers',
        _any(r'^(vision_encoder\.|shared_image_embedding\.)'),
        'Take a config of SAM of the same size, or --model sam_vit_b',
        key_map=key_maps.HF_SAM,
    ),
    Format(
        'a model of this project',
        lambda keys: _any(r'^backbone\.')(keys) and _any(r'^(mask_decoder|prompt_encoder)\.')(keys),
        'Take the config that it was trained with',
        key_map={},
    ),
    Format(
        'a segmentor of MMSegmentation',
        _any(r'^(decode_head|auxiliary_head)\.'),
        'It is not a SAM: take the config that it was trained with',
    ),
    Format(
        "a part of a SAM with Meta's names",
        lambda keys: all(PLAIN_SAM.fullmatch(key) for key in keys),
        'It lacks other parts: take the whole file, such as sam_vit_b_01ec64.pth',
    ),
    Format(
        'a classifier or a plain ViT',
        _any(
            r'^(backbone\.|model\.|encoder\.)?'
            r'(cls_token|head\.weight|fc\.weight|blocks\.0\.attn\.qkv\.weight|conv1\.weight)$'
        ),
        'It is not a SAM: give it to the backbone alone, by model.backbone.init_cfg',
    ),
)


def recognise(keys: Collection[str]) -> Format | None:
    """Return the format that a state dict's keys are of, None where it is unknown."""
    return next((one for one in FORMATS if keys and one.recognise(keys)), None)


def dataset_meta(keys: Collection[str]) -> dict:
    """Return the `meta` of a file that holds weights alone: classes and colours of a SAM, {} of anything else.

    ``mmseg.apis.init_model`` looks for them, and would otherwise ask the model for its number of classes.
    """
    found = recognise(keys)
    foreign = found is not None and bool(found.key_map)  # a SAM of someone else, which can be loaded
    if not (foreign or is_plain_sam({key.replace('backbone.', 'image_encoder.', 1) for key in keys})):
        return {}
    return dict(dataset_meta=dict(classes=('background', 'foreground'), palette=[[0, 0, 0], [255, 0, 0]]))


def describe(keys: Collection[str] | Format) -> str:
    """Return one sentence on what a state dict is and what to do with it, '' where its format is unknown.

    Args:
        keys: Its key names, or its format.
    """
    found = keys if isinstance(keys, Format) else recognise(keys)
    if found is None:
        return ''
    return f'The file is {found.name}. {found.advice}.' if found.advice else f'The file is {found.name}.'


def unwrap(checkpoint: Mapping) -> Mapping | None:
    """Return the state dict in a checkpoint of some training code, None where there is none."""
    for name in WRAPPERS:
        inner = checkpoint.get(name)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            return inner
    return None


def strip_wrapping(state_dict: MutableMapping[str, Tensor], prefix: str = '') -> None:
    """Take what compiling and wrapping a model put into its key names out of them, in place.

    Args:
        state_dict: The keys below `prefix` are looked at.
        prefix: Of the model in the module that is loaded.
    """
    keys = [key for key in state_dict if key.startswith(prefix)]
    _rename(state_dict, {key: prefix + key[len(prefix) :].replace(COMPILED, '') for key in keys})
    while keys := [key for key in state_dict if key.startswith(prefix)]:
        outer = next((o for o in OUTER if all(key.startswith(prefix + o) for key in keys)), None)
        if outer is None:
            return
        _rename(state_dict, {key: prefix + key[len(prefix + outer) :] for key in keys})


def translate(state_dict: MutableMapping[str, Tensor], prefix: str = '') -> Format | None:
    """Bring the keys below `prefix` to our names, in place, where their format is known and can be loaded.

    Returns:
        The format of the file, None where it is unknown.

    Raises:
        ValueError: The keys are those of several projects, or two weights that are copies of each other differ.
    """
    keys = {key[len(prefix) :] for key in state_dict if key.startswith(prefix)}
    check_one_scheme(keys)
    found = recognise(keys)
    if found is None or found.key_map is None:
        return found
    names: dict[str, str | None] = {}
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key[len(prefix) :]
        if any(re.search(pattern, name) for pattern in found.left_out):
            names[key] = None
            continue
        for pattern, ours in found.key_map.items():
            name = re.sub(pattern, ours, name)
        names[key] = prefix + name
    _check_copies(state_dict, names, found.name)
    _rename(state_dict, names)
    if found.finish is not None:
        found.finish(state_dict, prefix)
    return found


def _check_copies(state_dict: Mapping[str, Tensor], names: Mapping[str, str | None], kind: str) -> None:
    """Check that keys which get the same name hold the same values.

    Raises:
        ValueError: They do not, so that the order of the keys would decide.
    """
    first: dict[str, str] = {}
    for key, name in names.items():
        other = first.setdefault(name, key) if name is not None else key
        if other != key and not torch.equal(state_dict[other], state_dict[key]):
            raise ValueError(
                f'The file is {kind}, in which {other} and {key} must be equal, but they differ. transformers '
                'initialises them separately in a model without pretrained weights: copy one to the other before saving'
            )


def _rename(state_dict: MutableMapping[str, Tensor], names: Mapping[str, str | None]) -> None:
    """Rename keys in place; those renamed to None are dropped, those that stay keep their place."""
    # All are taken out first: the new name of one key may be the old name of another.
    moved = {key: state_dict.pop(key) for key, name in names.items() if name != key}
    for key, value in moved.items():
        if (name := names[key]) is not None:
            state_dict[name] = value
