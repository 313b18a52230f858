"""A U-Net from scratch on a labelled folder, in a given CPU time: the baseline of photograph-to-decision.

    python tools/analysis/_unet_baseline.py SETTINGS.json OUT.npz

Runs in an environment with segmentation_models_pytorch, which is not a dependency of this package: the caller makes a
throw-away folder. The settings name the images and masks to train on and to validate on, the images to test, the
input size and the CPU seconds. The best of four validations is kept, by the best F1 of pixels, as `fit` does.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

#: The version that was compared; its other needs (torch, timm, ...) are in the environment that runs.
PACKAGE = 'segmentation-models-pytorch==0.5.0'
ENCODER, BATCH, RATE, VALIDATIONS = 'resnet18', 6, 1e-3, 4
#: Half of the package's default widths: a step on a CPU takes a third of the time.
DECODER = (128, 64, 32, 16, 16)


def install(folder: Path) -> None:
    """Install the package into a folder of its own.

    Raises:
        CalledProcessError: pip failed.
    """
    if not (folder / 'segmentation_models_pytorch').is_dir():
        command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', str(folder), PACKAGE]
        subprocess.run(command, check=True)


def read(path: str, mask: str | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (3, size, size) float32 in [0, 1] and its mask (size, size) float32."""
    image = cv2.resize(cv2.imread(path), (size, size), interpolation=cv2.INTER_AREA)
    truth = np.zeros(image.shape[:2], np.float32)
    if mask is not None:
        labels = (cv2.imread(mask, cv2.IMREAD_UNCHANGED) > 0).astype(np.float32)
        truth = (cv2.resize(labels, (size, size), interpolation=cv2.INTER_AREA) >= 0.5).astype(np.float32)
    return image.transpose(2, 0, 1).astype(np.float32) / 255, truth


def augmented(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flip at random and change brightness and contrast, as the training pipeline of `fit` does."""
    for axis in (1, 2):
        if rng.random() < 0.5:
            image, truth = np.flip(image, axis), np.flip(truth, axis - 1)
    image = np.clip(image * rng.uniform(0.7, 1.3) + rng.uniform(-0.12, 0.12), 0, 1)
    return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(truth)


def best_f1(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the best F1 over thresholds of pixels."""
    order = np.argsort(-scores.ravel(), kind='stable')
    hits = truth.ravel()[order].cumsum()
    return float((2 * hits / (np.arange(1, len(hits) + 1) + truth.sum())).max()) if truth.any() else 0.0


def train(settings: dict[str, Any]) -> Any:
    """Train for the CPU seconds of this process, validations among them; return the best network."""
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    rng, size = np.random.default_rng(0), settings['size']
    package = importlib.import_module('segmentation_models_pytorch')  # by name: this package does not depend on it
    network = package.Unet(ENCODER, encoder_weights=None, decoder_channels=DECODER, classes=1)
    network = network.to(memory_format=torch.channels_last)  # faster on a CPU
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    data = [read(*pair, size) for pair in settings['train']]
    val = [read(*pair, size) for pair in settings['val']]
    best, kept, steps, checks = -1.0, None, 0, 0
    while True:
        share = time.process_time() / settings['seconds']
        if share * VALIDATIONS >= checks + 1 or share >= 1:
            checks += 1
            f1 = best_f1(np.stack([predict(network, one) for one, _ in val]), np.stack([mask for _, mask in val]))
            print(f'step {steps}, {time.process_time():.0f} s: F1 {100 * f1:.1f} %', flush=True)
            if f1 > best:
                best, kept = f1, {name: value.clone() for name, value in network.state_dict().items()}
            if share >= 1:
                break
        for group in optimizer.param_groups:
            group['lr'] = RATE * 0.5 * (1 + np.cos(np.pi * min(share, 1.0)))
        network.train()
        drawn = [augmented(*data[index], rng) for index in rng.integers(len(data), size=BATCH)]
        images, masks = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        logits = network(images)[:, 0]
        p = logits.sigmoid().flatten(1)
        flat = masks.flatten(1)
        dice = 1 - (2 * (p * flat).sum(1) + 1) / (p.sum(1) + flat.sum(1) + 1)
        loss = F.binary_cross_entropy_with_logits(logits, masks) + dice.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    network.load_state_dict(kept)
    return network


def predict(network: Any, image: np.ndarray) -> np.ndarray:
    """Return logits (h, w) of an image (3, h, w)."""
    import torch

    network.eval()
    with torch.no_grad():
        return network(torch.from_numpy(image)[None])[0, 0].numpy()


def main() -> None:
    """Train, and write the logits of the validation and test images at their own size."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    install(Path(settings['packages']))
    sys.path.insert(0, settings['packages'])
    network = train(settings)
    spent, found = time.process_time(), {}
    for path in settings['predict']:
        height, width = cv2.imread(path).shape[:2]
        logits = predict(network, read(path, None, settings['size'])[0])
        found[path] = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    np.savez(sys.argv[2], seconds=spent, **found)


if __name__ == '__main__':
    main()
