"""Write a plan as an ordinary config, which a user can go on with."""

from __future__ import annotations

from pathlib import Path

from .facts import FolderFacts
from .plan import Plan
from .recipes import METHODS, MODELS, Method, Model

CONFIG = 'config.py'
TRAIN, VAL = 'train.txt', 'val.txt'


def config_text(plan: Plan, facts: FolderFacts, work_dir: Path, load_from: str | None, checkpoint: str | None) -> str:
    """Return the text of the config.

    Args:
        plan: How to train.
        facts: The folder.
        work_dir: Where ``train.txt`` and ``val.txt`` are.
        load_from: Checkpoint to go on from, or None.
        checkpoint: The model's weights, or None for those that MODELS names.
    """
    method, model = METHODS[plan.method], MODELS[plan.model]
    tiny = plan.model == 'sam_tiny'
    own = method.bases_tiny if tiny and method.bases_tiny else method.bases
    bases = [f'models/{method.base}_{model.suffix}', *own, 'schedules/adamw_600', f'runtime/{method.runtime}']
    listed = '\n'.join(f"    'mmsam_ext::_base_/{base}.py'," for base in bases)
    reasons = '\n'.join(f'# - {reason}' for reason in plan.reasons)
    rate = method.rate if tiny else method.rate_large
    kind = 'none' if plan.tiles else 'box'
    several = facts.num_classes is not None
    classes = f', num_classes={facts.num_classes}' if several else ''
    name = 'tile_size' if plan.tiles else 'input_size'
    resize = f"dict(type='Resize', scale={name}[::-1], keep_ratio=False, backend='pillow')"
    # A tile of an image with defects may have none, which the model must see as well.
    placed = f"dict(type='RandomTile', size={name}, defect_share=0.8)" if plan.tiles else resize
    before = [] if not method.prompts else [f"dict(type='WholeImagePrompt', kind='{kind}', training=False{classes})"]
    whole = [] if not method.prompts else [f"dict(type='WholeImagePrompt', prob=0.5, kind='{kind}'{classes})"]
    drawn = [] if not method.prompts else ["dict(type='GeneratePrompts', modes=train_modes, num_prompts=4)"]
    flips = "dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical'])"
    train = ['*load', placed, flips, "dict(type='PhotoMetricDistortion')", *whole, *drawn]
    # Without prompts, the ground truth is loaded after Resize, so that it keeps its size.
    order = [] if plan.tiles else [resize]
    test = ['*load', *before, *order] if method.prompts else ['load[0]', *order, 'load[1]']
    size = 'size=None, size_divisor=16' if plan.tiles else f'size={name}'
    stride = plan.size * 3 // 4 // 16 * 16
    slide = f"model.update(test_cfg=dict(mode='slide', crop_size={name}, stride=({stride}, {stride})))\n"
    extra = method.extra + (slide if plan.tiles else '') + (_class_lines(method, model) if several else '')
    labels = f'classes={facts.class_option}' if several else f'foreground={facts.foreground}'
    metrics = ["dict(type='AnomalyMetric')", "dict(type='DiceIoU')", *(["dict(type='IoUMetric')"] if several else [])]
    modes = (
        "train_modes = {\n    'box': dict(kind='box', weight=2),\n    'boxes': dict(kind='box', targets='parts', "
        "weight=2),\n    '1 point': dict(kind='points', targets='parts'),\n    '5 points': dict(kind='points', "
        'num_points=5),\n}\n'
    )
    return f"""# Written by `python -m mmsam_ext fit`: method {plan.method}, model {plan.model}.
{reasons}
# To train again: python -m mmsam_ext train {CONFIG}
_base_ = [
{listed}
]
{name} = ({plan.size}, {plan.size})  # height, width
load = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
{modes if method.prompts else ''}train_pipeline = [{_steps(train)}]
test_pipeline = [{_steps(test)}]
dataset = dict(type='BinaryDefectDataset', data_root={str(facts.root.resolve())!r}, drop_empty=False,
               missing_mask='drop', {labels})  # fmt: skip
train_dataloader = dict(
    batch_size={plan.batch},
    num_workers={plan.workers},
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, ann_file={str((work_dir / TRAIN).resolve())!r}, pipeline=train_pipeline),
)
val_dataloader = test_dataloader = dict(
    batch_size=1,
    num_workers={plan.workers},
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, ann_file={str((work_dir / VAL).resolve())!r}, test_mode=True, pipeline=test_pipeline),
)
val_evaluator = test_evaluator = [{', '.join(metrics)}]
model = dict(
    num_classes={facts.num_classes},
    data_preprocessor=dict({size}),
    init_cfg=dict(type='Pretrained', checkpoint={(checkpoint or model.checkpoint)!r}),
)
optim_wrapper = dict(optimizer=dict(lr={rate}))
{extra}train_cfg = dict(max_iters={plan.iterations}, val_interval={plan.val_interval})
default_hooks = dict(
    checkpoint=dict(interval={plan.val_interval}, save_best='pixel_F1Max', rule='greater'),
    progress=dict(type='ProgressFileHook'),
    visualization=dict(draw=True, interval={max(1, len(facts.val) // 4)}),
)
load_from = {load_from!r}
"""


def _class_lines(method: Method, model: Model) -> str:
    """Return the lines by which a model with prompts learns what class is meant; ODS-SAM writes prompts by class."""
    if not method.prompts:
        return ''
    stages = f'{method.stages}, ' if method.stages else ''
    return (
        f"model.update(prompt_stages=[{stages}dict(type='ClassEmbedding', dim={model.dim})])\n"
        f"model.update(trainable=[{method.trained}, r'^prompt_stages\\.'])\n"
    )


def _steps(steps: list[str]) -> str:
    return ''.join(f'\n    {step},' for step in (*steps, "dict(type='PackPromptInputs')")) + '\n'
