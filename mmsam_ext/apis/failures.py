"""Images that could not be used: what a result says about one, and what is logged about all."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from .errors import InferenceError, name_error
from .image_inputs import Source

SHOWN = 10  # failed images that a message names one by one


def failure(source: Source, error: Exception) -> dict[str, Any]:
    """Return `path`, `name` and `error` (the reason) of an image that could not be used."""
    if not isinstance(error, (ValueError, OSError)):  # perhaps a mistake of the program
        print_log(''.join(traceback.format_exception(error)), logger='current', level=logging.DEBUG)
    return dict(path=source.path, name=source.name, error=name_error(error, source.name))


def report(reasons: Sequence[str], done: int) -> None:
    """Log why images failed.

    Args:
        reasons: One for each image that failed.
        done: Number of images that did not fail.

    Raises:
        InferenceError: All images failed.
    """
    if len(reasons) == 1 and not done:
        raise InferenceError(reasons[0])
    more = [f'and {len(reasons) - SHOWN} more'] if len(reasons) > SHOWN else []
    listing = '\n  '.join([*reasons[:SHOWN], *more])
    if not done:
        raise InferenceError(f'none of {len(reasons)} images could be used:\n  {listing}')
    if reasons:
        message = f'{len(reasons)} of {len(reasons) + done} images could not be used:\n  {listing}'
        print_log(message, logger='current', level=logging.WARNING)
