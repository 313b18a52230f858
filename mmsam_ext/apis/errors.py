"""The one error that a user of the inferencer can fix."""

from __future__ import annotations

from mmsam_ext.utils import printable

#: What the errors of allocators have in common (numpy, cv2, PyTorch on CPU and GPU).
_ALLOCATION = ('allocate', 'out of memory')


class InferenceError(ValueError):
    """Report a model name, weights, an image or a prompt that cannot be used.

    The message names what came and what was expected; bytes of file names that are not UTF-8 are written as escapes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def name_error(error: Exception, name: str) -> str:
    """Return the text of an error of the model, with the `name` of the one image that it was about."""
    text = reason(error).removeprefix('image 0 of the batch: ')
    return printable(text if name in text else f'{name}: {text}')


def reason(error: Exception) -> str:
    """Return an error in words, with its type unless it is one of those whose messages are written for users."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or any(word in text.lower() for word in _ALLOCATION):
        first = text.splitlines()[0] if text else 'MemoryError'
        return f'too large for the memory of this machine ({first}); give a smaller image, or fewer prompts at a time'
    return text if isinstance(error, (ValueError, OSError)) else f'{type(error).__name__}: {text}'
