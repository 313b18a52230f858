"""Write the checkpoint that test_old_checkpoint.py loads, and what the model predicted with it.

It was run once, with commit 8cfb5ef of this project, and is kept to show where the files come from::

    PYTHONPATH=. python tests/checkpoints/make_old_checkpoint.py FOLDER

The files show that checkpoints written by that version load and predict the same, so running it with later code would
defeat their purpose. mmengine's Runner trains two steps, so the checkpoint holds all that real ones do: a message hub
with HistoryBuffer objects, the optimizer's momentum and the schedulers.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import mmsam_ext  # noqa: F401  (before mmseg)

# isort: split
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from mmsam_ext.structures import Prompts
from tests.models.small import DECODER, SIZE, config, disc, randomise, sample

CHANNELS = 16
#: Self-draft decoders with deformable sampling, dynamic routing and a VRA-Adapter, and LoRA in all attentions.
PLUGINS = [
    dict(type='VRAAdapter', dim=CHANNELS),
    dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=dict(type='DynamicRoutingPlugin', dim=CHANNELS)),
]


def model_config() -> dict:
    """Return the config of the model."""
    encoder = dict(
        type='SAMImageEncoder',
        arch=dict(
            img_size=SIZE,
            embed_dim=8,
            depth=2,
            num_heads=2,
            window_size=3,
            out_chans=CHANNELS,
            global_attn_indexes=(1,),
        ),
    )
    decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, iou_head_hidden_dim=16, plugins=PLUGINS, **DECODER)
    return config(
        backbone=encoder,
        prompt_encoder=dict(type='SAMPromptEncoder', embed_dim=CHANNELS),
        mask_decoder=dict(type='SelfDraftDecoder', decoder=decoder),
        peft=[dict(type='LoRA', modules=r'(qkv|q_proj|v_proj)$', rank=2)],
        trainable=['lora', 'plugins', 'mask_tokens'],
    )


def inputs() -> tuple[torch.Tensor, list[SegDataSample]]:
    """Return two images and their samples: boxes, points and a mixture; two sizes of the original image."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, SIZE, SIZE, generator=generator)
    first = Prompts.create(boxes=[[20, 30, 90, 100], [5, 8, 60, 50]])
    second = Prompts.create(points=[[[60, 64], [30, 20]]], point_labels=[[1, 0]], boxes=[[10, 20, 110, 120]])
    samples = [sample(first), sample(second)]
    samples[0].set_metainfo(dict(img_shape=(96, 128), ori_shape=(24, 32)))
    samples[1].set_metainfo(dict(img_shape=(128, 128), ori_shape=(20, 20)))
    return images, samples


@DATASETS.register_module()
class OneDisc(Dataset):
    """Give four samples with a disc and a box around it."""

    metainfo = dict(classes=('background', 'disc'))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
        return dict(inputs=image, data_samples=sample(Prompts.create(boxes=[[25, 45, 75, 95]]), disc()[None]))


def main(folder: Path) -> None:
    """Train two steps, and write the checkpoint and the predictions."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    work_dir = folder / 'work_dir'
    settings = Config(
        dict(
            default_scope='mmseg',
            model=model_config(),
            train_dataloader=dict(
                dataset=dict(type='OneDisc'),
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            param_scheduler=[dict(type='PolyLR', power=1.0, begin=0, end=2, by_epoch=False)],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False), logger=dict(type='LoggerHook')
            ),
            randomness=dict(seed=0),
            work_dir=str(work_dir),
            log_level='ERROR',
        )
    )
    runner = Runner.from_cfg(settings)
    randomise(runner.model)
    runner.train()
    shutil.copy(work_dir / 'iter_2.pth', folder / 'old_checkpoint.pth')
    torch.save(predictions(runner.model.eval()), folder / 'old_predictions.pt')
    shutil.rmtree(work_dir)


@torch.no_grad()
def predictions(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return logits and IoU of all masks as the decoder predicts them, and the masks at the original size."""
    images, samples = inputs()
    prediction = model(images, samples, mode='tensor')
    results = {'logits': prediction.logits[:, :, ::4, ::4], 'iou': prediction.iou}
    for index, result in enumerate(model.predict(images, samples)):
        results[f'mask_logits{index}'] = result.pred_instances.mask_logits
        results[f'iou_scores{index}'] = result.pred_instances.iou_scores
    return results


if __name__ == '__main__':
    main(Path(sys.argv[1]))
