"""What mmengine writes to the screen: lines that nobody can act on go to the log file only.

A rule names the beginning of a message and why it is kept from the screen. Everything else stays, warnings included.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from ._patch import replace


class Silenced(NamedTuple):
    """A message that stays in the log file.

    Attributes:
        pattern: Matches the beginning of the message.
        reason: Why nobody can act on it.
    """

    pattern: str
    reason: str


#: Messages of mmengine's logger.
LOGGED = (
    Silenced(r'\n?-+\nSystem environment:', 'dump of the environment; it belongs into the file'),
    Silenced(r'Config:\n', 'dump of the config; it is saved beside the log as well'),
    Silenced(r'Hooks will be executed in the following order', 'list of hooks for each stage'),
    Silenced(r'Exp name: ', 'repeats the name of the folder'),
    Silenced(r'\S+ is skipped since its requires_grad=False', 'a line for each frozen parameter'),
    Silenced(r'The prefix is not set in metric class', "the names of our metrics' keys need none"),
    Silenced(r'"FileClient" will be deprecated', "mmengine's own hook uses it"),
    Silenced(r'"HardDiskBackend" is the alias', "mmengine's own file client uses it"),
    Silenced(r'Loads checkpoint by \S+ backend', 'follows a line that names the checkpoint'),
    Silenced(r'Auto-inferred norm|Distributed training is not used', 'describes the default'),
)
#: Python warnings: message, module.
WARNED = (
    (r'The draw is False, it means that the hook for visualization', 'the hook says so unless --show-dir is given'),
    (r'`torch\.cuda\.amp\.GradScaler', "mmengine's call, replaced in its next release"),
    (r'Error checking compiler version', 'no compiler is needed'),
)
_PATTERN = re.compile('|'.join(f'(?:{rule.pattern})' for rule in LOGGED))


class ScreenFilter(logging.Filter):
    """Keep the messages of :data:`LOGGED` from a handler, unless they are errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a record."""
        return record.levelno >= logging.ERROR or not _PATTERN.match(record.getMessage())


def apply() -> None:
    """Filter what mmengine's loggers show on the screen, those that exist and those that are made later."""
    from mmengine.logging import MMLogger

    replace(MMLogger, '__init__', _with_filter)
    for logger in MMLogger._instance_dict.values():  # noqa: SLF001 (mmengine has no public list)
        filter_screen(logger)
    for message, _reason in WARNED:
        warnings.filterwarnings('ignore', message=message)


def filter_screen(logger: logging.Logger) -> None:
    """Add the filter to the handlers of a logger that write to the screen; the log file keeps everything."""
    for handler in logger.handlers:
        screen = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        if screen and not any(isinstance(one, ScreenFilter) for one in handler.filters):
            handler.addFilter(ScreenFilter())


def _with_filter(stock: Callable) -> Callable:
    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        filter_screen(self)

    return initialize
