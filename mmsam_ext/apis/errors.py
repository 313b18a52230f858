"""The one error that a user of the inferencer can mend."""

from __future__ import annotations


class InferenceError(ValueError):
    """A model name, weights, an image or a prompt that cannot be used. The message names what came
    and what was expected."""


def name_error(error: Exception, name: str) -> str:
    """The text of an error of the model, with the `name` of the one image that it was about."""
    text = str(error).removeprefix('image 0 of the batch: ')
    return text if name in text else f'{name}: {text}'
