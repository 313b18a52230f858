"""The one error that a user of the inferencer can mend."""

from __future__ import annotations


class InferenceError(ValueError):
    """A model name, weights, an image or a prompt that cannot be used. The message names what came
    and what was expected."""
