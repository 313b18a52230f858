"""`ClickTestLoop`: tests interactive segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, TestLoop, autocast
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader

from .clicking import ClickSettings, click_image


@LOOPS.register_module()
class ClickTestLoop(TestLoop):
    """Test a promptable model with the clicks of a simulated user (:class:`Clicker`), for :class:`NoCMetric`.

    An image is encoded once, and the clicks on all its objects are decoded together. Which targets are clicked on is
    what GeneratePrompts says with a mode of kind 'none': one object an image (``targets='whole'``) or each instance
    (``targets='parts'``), and `draws` of realistic clicks.

    Example::

        test_pipeline = [..., dict(type='GeneratePrompts', modes=dict(clicks=dict(kind='none')), seed=0), ...]
        test_cfg = dict(type='ClickTestLoop', multimask='first')
        test_evaluator = dict(type='NoCMetric')

    Paper: the protocol of RITM (arXiv:2102.06583), as in Stable-SAM (arXiv:2311.15776), Table 5.

    Args:
        runner, dataloader, evaluator, fp16: See ``TestLoop``.
        max_clicks, multimask, feed_back, stop_at, seed, last_clicks: See :class:`ClickSettings`.

    Raises:
        ValueError: a setting that is not as described there; while testing, an object without a pixel.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        max_clicks: int = 20,
        multimask: str = 'first',
        feed_back: bool = True,
        stop_at: float | None = None,
        seed: int | None = None,
        last_clicks: int | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.settings = ClickSettings(max_clicks, multimask, feed_back, stop_at, seed, last_clicks)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Click through the images of a batch."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            outputs = self.click(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def click(self, data_batch: Any) -> list:
        """Return the data samples of a batch, completed as :func:`click_image` says."""
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        data = model.data_preprocessor(data_batch, False)
        inputs, samples = data['inputs'], data['data_samples']
        # An image at a time: each has its own number of clicks to go.
        return [
            click_image(model, model.extract_feat(image[None]), inputs.shape[-2:], sample, self.settings)
            for image, sample in zip(inputs, samples, strict=True)
        ]
