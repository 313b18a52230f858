"""Threads that share one inferencer, as in a web server, get what they asked for."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsam_ext.apis import PromptSegInferencer
from tests.apis.conftest import PIPELINE, picture
from tests.models.small import CHANNELS, DECODER, config, segmentor

THREADS = 8


@pytest.fixture
def inferencer(tmp_path: Path) -> PromptSegInferencer:
    """Self-draft decoders with plugins, whose hooks read a context; every weight has an effect."""
    plugins = [
        dict(type='VRAAdapter', dim=CHANNELS),
        dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=dict(type='DynamicRouter', dim=CHANNELS)),
    ]
    decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, plugins=plugins, **DECODER)
    settings = dict(
        mask_decoder=dict(type='SelfDraftDecoder', decoder=decoder),
        data_preprocessor=dict(type='PromptDataPreprocessor', size_divisor=16),  # inputs of different sizes
    )
    model = segmentor(**settings)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    return PromptSegInferencer(config_of(settings), tmp_path / 'weights.pth', device='cpu')


def config_of(settings: dict) -> Any:
    """Return a config with the model, and a pipeline that resizes to at most 128 pixels."""
    from mmengine.config import Config

    return Config(dict(model=config(**settings), test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))


def test_threads_get_their_own_masks(inferencer: PromptSegInferencer) -> None:
    """Eight threads with different settings, prompts and image sizes, against the same calls one by one."""
    images = [picture(), picture()[:60], np.ascontiguousarray(picture()[:, :90])]
    jobs = []
    for index in range(3 * THREADS):
        prompts = [
            dict(points=[[30, 20]], point_labels=[1]),
            dict(boxes=[[20, 10, 70, 50], [5, 5, 40, 40]]),
            dict(points=[[[30, 20], [50, 40]]], point_labels=[[1, 0]], boxes=[[10, 10, 80, 55]]),
        ][index % 3]
        multimask = [None, True, False, 'ambiguous'][index % 4]
        jobs.append((images[(index // 3) % 3], dict(prompts, multimask=multimask, return_logits=True)))

    def call(job: tuple[np.ndarray, dict]) -> dict:
        return inferencer(job[0], show_progress=False, **job[1])['predictions'][0]

    wanted = [call(job) for job in jobs]
    settings = dict(inferencer.model.test_cfg)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(call, jobs))
    for job, want, got in zip(jobs, wanted, found, strict=True):
        # The same operations on the same shapes in another thread: the same bits.
        np.testing.assert_array_equal(got['logits'], want['logits'], err_msg=str(job[1]))
        np.testing.assert_array_equal(got['scores'], want['scores'], err_msg=str(job[1]))
    assert inferencer.model.test_cfg == settings
    assert len({want['logits'].tobytes() for want in wanted}) > 12  # so that a mix-up would show


def test_threads_prompt_one_encoded_image(inferencer: PromptSegInferencer) -> None:
    inferencer.set_image(picture())
    jobs = [
        dict(points=[[30 + index, 20]], point_labels=[1], multimask=bool(index % 2), return_logits=True)
        for index in range(2 * THREADS)
    ]
    wanted = [inferencer.predict(**job) for job in jobs]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda job: inferencer.predict(**job), jobs))
    for want, got in zip(wanted, found, strict=True):
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other)


def test_threads_with_an_image_each_take_a_copy(inferencer: PromptSegInferencer) -> None:
    """Copies share the model, and none sees the image of another."""
    images = [np.roll(picture(), 9 * index, 1) for index in range(THREADS)]

    def answer(image: np.ndarray) -> np.ndarray:
        own = copy.copy(inferencer)
        assert own.model is inferencer.model
        own.set_image(image)
        return own.predict(boxes=[[20, 10, 70, 50]], return_logits=True)[0]

    wanted = [answer(image) for image in images]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(answer, images))
    assert all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert len({one.tobytes() for one in wanted}) == THREADS and inferencer.encoded is None
