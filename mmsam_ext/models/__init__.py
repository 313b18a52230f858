from . import (
    automatic,
    auxiliary_heads,
    backbones,
    data_preprocessors,
    losses,
    mask_decoders,
    mask_refiners,
    peft,
    presence_heads,
    prompt_encoders,
    prompt_stages,
    segmentors,
)

__all__ = [
    'automatic',
    'auxiliary_heads',
    'backbones',
    'data_preprocessors',
    'losses',
    'mask_decoders',
    'mask_refiners',
    'peft',
    'presence_heads',
    'prompt_encoders',
    'prompt_stages',
    'segmentors',
]
