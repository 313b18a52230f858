"""Mask AP of several ranks, and its memory over many images."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from mmsam_ext.evaluation import CocoMaskAP

pytest.importorskip('pycocotools')
from tests.conftest import free_port
from tests.evaluation.coco_sets import random_set, sample


def in_processes(target: Callable, *arguments: object, number: int = 1, timeout: float = 120) -> list:
    """Call ``target(index, queue, *arguments)`` in forked processes; returns what each puts into the queue."""
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    processes = [
        context.Process(target=_in_one_thread, args=(target, index, queue, *arguments)) for index in range(number)
    ]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=timeout) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * number
    return [results[index] for index in range(number)]


def _in_one_thread(target: Callable, *arguments: object) -> None:
    torch.set_num_threads(
        1
    )  # OpenMP's threads do not survive a fork: with OMP_NUM_THREADS=4 the process waits for them
    target(*arguments)


def evaluate(images: list[int], found: dict, ann_file: Path, size: int) -> dict[str, float]:
    metric = CocoMaskAP()
    for image in images:
        metric.process(None, [sample(image, ann_file, found[image])])
    return metric.evaluate(size)


def of_rank(rank: int, queue, port: int, found: dict, ann_file: Path) -> None:
    """As DistSampler divides a dataset: every second image, and the first ones again where a rank has too few."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    distributed.init_process_group('gloo', rank=rank, world_size=2)
    images = list(found)
    images += images[: len(images) % 2]
    queue.put((rank, evaluate(images[rank::2], found, ann_file, len(found))))
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.parametrize('seed', [1, 10, 14])
def test_two_ranks_equal_one(seed: int, tmp_path: Path) -> None:
    annotations, found = random_set(seed)
    assert len(found) > 2
    (tmp_path / 'a.json').write_text(json.dumps(annotations))
    alone = evaluate(list(found), found, tmp_path / 'a.json', len(found))
    ranks = in_processes(of_rank, free_port(), found, tmp_path / 'a.json', number=2)
    assert alone and ranks == [alone, alone]


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def feed(index: int, queue, images: int, boxes: int, height: int, width: int, ann_file: Path) -> None:
    """Puts megabytes after a tenth of the images, and after all."""
    rng = np.random.default_rng(0)
    metric, after = CocoMaskAP(), []
    for image in range(1, images + 1):
        masks = np.zeros((boxes, height, width), np.uint8)
        for mask in masks:
            y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
            mask[y : y + height // 3, x : x + width // 3] = 1
        number = np.arange(boxes)
        found = dict(masks=masks, scores=number / boxes, ious=number / boxes, categories=np.ones(boxes, np.int64))
        metric.process(None, [sample(image, ann_file, found)])
        if image in (images // 10, images):
            after.append(resident())
    queue.put((index, after))


@pytest.mark.skipif(not Path('/proc/self/statm').is_file(), reason='/proc tells what memory a process has')
def test_memory_is_flat_over_2000_images(tmp_path: Path) -> None:
    """Masks of 2,000 images take 256 MB; what is kept of them, a few."""
    ((early, late),) = in_processes(feed, 2000, 4, 160, 200, tmp_path / 'a.json')
    assert late - early < 25
