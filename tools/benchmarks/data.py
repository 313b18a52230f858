"""How fast images are read and prepared for training: what ``tools/benchmark.py data`` runs.

On photographs of 6 megapixels that it draws (a smooth surface with the noise of a camera, and a mask with ten defects),
it times readers of files, each transform of a training pipeline, and the pipeline with 0, 1 and 2 processes beside a
training step. ``--arch tiny`` prepares 384 pixels for the mini SAM, the others 1024 pixels for SAM with SPT and LoRA.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader

from mmsam_ext.cli.measuring import timed
from mmsam_ext.cli.table import text_table
from mmsam_ext.datasets.transforms.image_files import decode_image
from mmsam_ext.datasets.transforms.mask_values import read_binary_mask

from .by_parts import medians, time_parts

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
#: Architecture -> config whose pipeline and model are timed.
NAMES = {
    'tiny': 'sam_tiny_mtd',
    'base': 'spt_vitb_industrial',
    'large': 'sam_vitl_industrial',
    'huge': 'sam_vith_industrial',
}
WORKERS = (0, 1, 2)
HEIGHT, WIDTH, IMAGES = 2000, 3000, 6


def draw(folder: Path) -> None:
    """Write photographs, as JPEG and PNG in turn, and their masks, in the layout of `BinaryDefectDataset`."""
    random = np.random.RandomState(0)
    for name in ('images', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(IMAGES):
        coarse = random.randint(60, 200, (8, 12, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        image += random.normal(0, 3, image.shape)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for x, y in zip(random.randint(100, WIDTH - 100, 10), random.randint(100, HEIGHT - 100, 10), strict=True):
            cv2.ellipse(mask, (int(x), int(y)), (60, 25), float(x), 0, 360, 255, -1)
        image[mask > 0] -= 30
        suffix = ('.jpg', '.png')[index % 2]
        cv2.imwrite(str(folder / 'images' / f'{index}{suffix}'), image.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / 'masks' / f'{index}.png'), mask)


def readers(folder: Path) -> dict[str, Callable[[], object]]:
    """Return what decodes a JPEG, a PNG and a mask: this package with its checks, OpenCV and Pillow without any."""
    jpeg, png = (folder / 'images' / name for name in ('0.jpg', '1.png'))
    works: dict[str, Callable[[], object]] = {}
    for kind, content in (('JPEG', jpeg.read_bytes()), ('PNG', png.read_bytes())):
        works[f'{kind}, ours'] = lambda content=content: decode_image(content, 'image')
        works[f'{kind}, OpenCV'] = lambda content=content: cv2.imdecode(np.frombuffer(content, np.uint8), 1)
        works[f'{kind}, Pillow'] = lambda content=content: np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))
    content = (folder / 'masks' / '0.png').read_bytes()
    works['mask, ours'] = lambda: read_binary_mask(content, 'mask')
    works['mask, OpenCV'] = lambda: cv2.imdecode(np.frombuffer(content, np.uint8), 0) > 127
    return works


def transform_seconds(dataset: Any, pipeline: list[dict], repeats: int) -> dict[str, float]:
    """Return the mean CPU seconds of each transform for an image, in the order of the pipeline."""
    steps = [(f'{number}. {step["type"]}', TRANSFORMS.build(step)) for number, step in enumerate(pipeline, 1)]
    seconds = dict.fromkeys((name for name, _ in steps), 0.0)
    for index in range(repeats * IMAGES):
        results: Any = dataset.get_data_info(index % IMAGES)
        for name, step in steps:
            start = time.process_time()
            results = step(results)
            seconds[name] += time.process_time() - start
    return {name: total / (repeats * IMAGES) for name, total in seconds.items()}


def images_per_second(dataset: Any, workers: int, images: int) -> float:
    """Return the rate at which `workers` processes (0: this one) prepare images, without their start."""
    loader = DataLoader(dataset, None, sampler=[index % IMAGES for index in range(images + 4)], num_workers=workers)
    rows = iter(loader)
    for _ in range(4):
        next(rows)
    start = time.perf_counter()
    for _ in rows:
        pass
    return images / (time.perf_counter() - start)


def training_step(config: Config, dataset: Any, device: torch.device) -> tuple[Callable[[], float], int]:
    """Return a training step on one batch, with random weights, and the batch's size."""
    config.model.pop('init_cfg', None)
    model = MODELS.build(config.model).to(device).train()
    batch = int(config.train_dataloader.batch_size)
    rows = pseudo_collate([dataset[index % IMAGES] for index in range(batch)])
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-6)

    def step() -> float:
        losses = model(**model.data_preprocessor(rows, True), mode='loss')
        total = sum(value.sum() for name, value in losses.items() if 'loss' in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return float(total.detach())

    return step, batch


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return 'readers', 'transforms' (seconds), 'pipeline' and 'step' (images a second)."""
    config = Config.fromfile(CONFIGS / f'{NAMES[args.arch]}.py')
    init_default_scope(config.default_scope)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder)
        say(f'{IMAGES} images of {WIDTH} x {HEIGHT}, {config.filename}')
        _, cpu = time_parts(readers(folder), args.repeats, torch.device('cpu'), say)
        pipeline = config.train_pipeline
        dataset: Any = DATASETS.build(dict(type='BinaryDefectDataset', data_root=name, pipeline=pipeline))
        transforms = transform_seconds(dataset, pipeline, args.repeats)
        rates = {}
        for workers in WORKERS:
            say(f'pipeline with {workers} processes')
            rates[f'{workers} processes'] = images_per_second(dataset, workers, 4 * args.repeats)
        step, batch = training_step(config, dataset, device)
        say(f'training step of {batch} images')
        step()
        seconds = sorted(timed(step, device) for _ in range(max(1, args.repeats // 2)))
    return dict(
        readers=medians(cpu),
        transforms=transforms,
        pipeline=rates,
        step={f'{batch} images': batch / seconds[len(seconds) // 2]},
    )


def table(results: dict[str, dict]) -> str:
    """Return the results as text."""
    times = [
        [name, f'{1e3 * value:.1f}'] for part in ('readers', 'transforms') for name, value in results[part].items()
    ]
    rates = [
        [f'{label} {name}', f'{value:.2f}']
        for label, part in (('pipeline with', 'pipeline'), ('training step of', 'step'))
        for name, value in results[part].items()
    ]
    return '\n\n'.join([text_table(('CPU time for an image', 'ms'), times), text_table(('rate', 'images / s'), rates)])
