"""Checks of what a user asks of a model."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from mmsam_ext.models.segmentors import PromptableSegmentor

from .errors import InferenceError
from .prompt_sets import PromptSet


def creates_prompts(model: PromptableSegmentor) -> bool:
    """Return whether a prompt stage makes prompts from the image, so that a user does not need to give any."""
    return any(getattr(stage, 'creates_prompt', False) for stage in model.prompt_stages)


def check_given(model: PromptableSegmentor, prompts: PromptSet, name: str) -> None:
    """Check that an image has a prompt, which only models with a stage that creates prompts can do without.

    Raises:
        InferenceError: There is none; names the image.
    """
    if not prompts and not creates_prompts(model):
        raise InferenceError(f'{name}: no prompt given; give boxes, points with point_labels, or masks')


def multimask_choice(model: PromptableSegmentor, multimask: bool | str | None) -> bool | str | None:
    """Check `multimask`, and replace the model's 'oracle', which needs ground truth, by 'ambiguous'.

    Raises:
        InferenceError: It is none of the known choices.
    """
    if multimask not in (None, False, True, 'ambiguous', 'stable'):
        raise InferenceError(f"multimask is {multimask!r}, expected None, False, True, 'ambiguous' or 'stable'")
    if multimask is None and model.test_cfg.get('multimask') == 'oracle':
        return 'ambiguous'
    return multimask


def positive(option: str, value: Any) -> int:
    """Return a whole number of 1 or more.

    Raises:
        InferenceError: It is something else; names the option.
    """
    if not isinstance(value, Integral) or value < 1:
        raise InferenceError(f'{option} is {value!r}, expected a whole number, 1 or more')
    return int(value)
