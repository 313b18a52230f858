"""What `fit` can train: methods and models, and the shipped configs that each is made of."""

from __future__ import annotations

from typing import NamedTuple

from mmsam_ext.nearest import did_you_mean


class Method(NamedTuple):
    """A method.

    Attributes:
        base: Beginning of the name of its model config.
        rate: Learning rate on the mini SAM.
        rate_large: Learning rate on Meta's models.
        prompts: Whether it is trained with prompts besides the whole image.
        extra: Further lines of its config, as text.
        bases: Further base configs.
        bases_tiny: Used in place of `bases` on the mini SAM, unless empty.
        runtime: Its runtime config.
        trained: What is trained, as items of a list in the text of a config.
        stages: The prompt stages of its model config, likewise.
    """

    base: str
    rate: float
    rate_large: float
    prompts: bool = True
    extra: str = ''
    bases: tuple[str, ...] = ()
    bases_tiny: tuple[str, ...] = ()
    runtime: str = 'trained_part'
    trained: str = '*_base_.model.trainable'
    stages: str = ''


class Model(NamedTuple):
    """A model.

    Attributes:
        suffix: How its configs end.
        checkpoint: Its weights.
        smallest: Side of its smallest input.
        largest: Side of its largest input.
        tile: Side of a tile.
        batch: Images in a step at the smallest input.
        dim: Width of its image embedding.
        method: Key of METHODS that it is trained by unless told otherwise.
    """

    suffix: str
    checkpoint: str
    smallest: int
    largest: int
    tile: int
    batch: int
    dim: int = 256
    method: str = 'decoder'


#: Training all of the decoder, and of a small encoder, learns in the fewest steps what a box around the image means.
METHODS = {
    'decoder': Method(
        'sam', 5e-4, 1e-4, extra="model.update(trainable=[r'^mask_decoder\\.(?!iou)'])\n",
        trained="r'^mask_decoder\\.(?!iou)'",
    ),
    'full': Method(
        'sam', 5e-4, 1e-5, extra="model.update(trainable=[r'^backbone\\.', r'^mask_decoder\\.(?!iou)'])\n",
        trained="r'^backbone\\.', r'^mask_decoder\\.(?!iou)'",
    ),
    'spt': Method(
        'spt', 6e-3, 1e-3, bases=('peft/lora',), bases_tiny=('peft/lora_tiny',),
        extra='model.update(peft={{_base_.peft}}, trainable={{_base_.trainable}})\n',
        trained='*_base_.trainable',
    ),
    'stable': Method(
        'stable_sam', 1e-2, 1e-3,
        extra="optim_wrapper.update(paramwise_cfg=dict(custom_keys={'routers': dict(lr_mult=0.1)}))\n",
    ),
    'plm': Method('plm', 1e-3, 1e-4, stages='*_base_.model.prompt_stages'),
    'ods': Method('ods_sam', 3e-3, 1e-3, prompts=False, runtime='ods_sam'),
}  # fmt: skip
MODELS = {
    'sam_tiny': Model('tiny', 'mmsam_ext://sam_tiny', 256, 512, 256, 8, 128, 'full'),
    'sam_vit_b': Model('vitb', 'checkpoints/sam_vit_b_01ec64.pth', 512, 1024, 1024, 2),
    'sam_vit_l': Model('vitl', 'checkpoints/sam_vit_l_0b3195.pth', 512, 1024, 1024, 2),
    'sam_vit_h': Model('vith', 'checkpoints/sam_vit_h_4b8939.pth', 512, 1024, 1024, 1),
}


def known(kind: str, name: str, table: dict) -> str:
    """Return `name` if it is a key of `table`.

    Raises:
        ValueError: It is not; the message suggests the nearest names.
    """
    if name not in table:
        raise ValueError(f'unknown {kind} {name!r}; {did_you_mean(name, table)} Known: {", ".join(table)}')
    return name
