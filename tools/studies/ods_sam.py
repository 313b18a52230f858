"""ODS-SAM's comparison (Tables 4, 5 and 6), and MMSegmentation's own U-Net and SegFormer-B0 from scratch beside it.

Training is short, 4 images at 256 x 256 a step. The heads read the mini SAM's own maps, as in the tiny configs; one row
has the paper's second network in their place, from random weights.
"""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from .study import Claim, Column, Study, Variant, read_config

SIZE = (256, 256)
#: Steps, as a share of ODS-SAM's, that take the CPU time of its training, data loading left out. As said by
#: `python tools/reproduce.py ods_sam --speed train --data synthetic --repeats 2 --only 'ODS-SAM (1 OD-SSM, 2 ODConv)'
#: U-Net 'U-Net, 16 wide' SegFormer-B0`, with OMP_NUM_THREADS=1: 0.52 s a step of ODS-SAM, of these 24.4, 1.99, 1.54 s.
SHARES = {'U-Net': 0.022, 'U-Net, 16 wide': 0.26, 'SegFormer-B0': 0.34}


def head(**settings: Any) -> dict[str, Any]:
    """Settings of the prompt head."""
    return {f'model.prompt_stages.0.{key}': value for key, value in settings.items()}


def from_scratch(title: str, name: str, **optimizer: Any) -> Variant:
    """A model of configs/_base_/models, all of it trained, in place of ODS-SAM; of a size, for counting operations."""
    model = read_config(f'_base_/models/{name}').model.to_dict()
    model['data_preprocessor'].update(size=SIZE, size_divisor=None)
    options = {
        'model': dict(model, _delete_=True),
        'custom_hooks': read_config('_base_/runtime/default').custom_hooks,
    }
    if optimizer:
        options['optim_wrapper.optimizer'] = dict(optimizer, _delete_=True)
    return Variant(title, options, share=SHARES[title])


BATCH = {'train_dataloader.batch_size': 4}


def small_tiles(config: Config) -> dict[str, Any]:
    """MTD at the size of the procedural defects."""

    def pipeline(loader: str) -> list[dict]:
        steps = config[loader].dataset.pipeline
        return [dict(step, scale=SIZE) if step['type'] == 'Resize' else step for step in steps]

    return {
        **BATCH,
        'model.data_preprocessor.size': SIZE,
        'train_dataloader.dataset.pipeline': pipeline('train_dataloader'),
        'test_dataloader.dataset.pipeline': pipeline('test_dataloader'),
    }


FULL = 'ODS-SAM (1 OD-SSM, 2 ODConv)'
SECOND = 'ODS-SAM with a second network'
#: As in the paper, but small: from random weights and at the paper's rate, in place of SAM's own maps.
EFFICIENTVIT = {
    **head(
        feature_encoder={
            **read_config('_base_/models/ods_sam_vith').model.prompt_stages[0].feature_encoder,
            'model_name': 'efficientvit_b0',
        },
        in_channels=(32, 64, 128),
        sam_channels=(),
    ),
    'optim_wrapper.optimizer.lr': 1e-3,
}
ODS_SAM = Study(
    name='ods_sam',
    config='ods_sam_tiny_{data}',
    data=('mtd', 'synthetic'),
    iterations=dict(mtd=300, synthetic=150),
    options=dict(mtd=small_tiles, synthetic=BATCH),
    variants=(
        Variant('zero-shot, no prompt', {'model.prompt_stages': [], 'model.trainable': ()}, trained=False),
        Variant('no OD-SSM, no ODConv', head(num_ssm=0, dilations=())),
        Variant('OD-SSM alone', head(dilations=())),
        Variant('ODConv alone', head(num_ssm=0)),
        Variant(FULL),
        Variant('1 ODConv', head(dilations=(1,))),
        Variant('3 ODConv', head(dilations=(1, 2, 3))),
        Variant('2 OD-SSM', head(num_ssm=2)),
        Variant('3 OD-SSM', head(num_ssm=3)),
        Variant(SECOND, EFFICIENTVIT),
        from_scratch('U-Net', 'unet'),
        from_scratch('U-Net, 16 wide', 'unet_16'),
        from_scratch('SegFormer-B0', 'segformer_b0', type='AdamW', lr=5e-4, weight_decay=0.01),
    ),
    columns=(Column('mE', 'mE', 3), Column('MAE', 'MAE', 3), Column('Dice', 'Dice'), Column('IoU', 'IoU')),
    claims=(
        *(Claim(FULL, 'zero-shot, no prompt', key) for key in ('mE', 'Dice')),
        *(Claim(name, 'no OD-SSM, no ODConv', 'Dice') for name in ('OD-SSM alone', 'ODConv alone', FULL)),
        *(Claim(FULL, name, 'Dice') for name in ('1 ODConv', '3 ODConv', '2 OD-SSM', '3 OD-SSM')),
        Claim(FULL, SECOND, 'Dice'),
        *(Claim(FULL, name, 'Dice') for name in SHARES),
    ),
    flops=True,
)
