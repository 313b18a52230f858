"""Errors of bad input end a command with one line; errors in a program keep their traceback."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmsam_ext.utils.printable import printable

#: Set this to see the traceback of bad input, too.
TRACEBACK_VARIABLE = 'MMSAM_EXT_TRACEBACK'
#: Modules whose deliberate errors are about what a user gave: ours, the script that runs, and mmengine's configs,
#: registries and Runner.
_PACKAGES = ('mmsam_ext', '__main__', 'mmengine.config', 'mmengine.registry', 'mmengine.runner')
#: Calls the components of a config with the arguments there.
_BUILDER = 'mmengine.registry.build_functions'
#: Errors that no input should cause.
_MISTAKES = (AssertionError, AttributeError, NameError, NotImplementedError)


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Turn errors of bad input into one line, ``COMMAND: error: ...``, and the exit code 1.

    Raises:
        SystemExit: In place of an error for which :func:`is_bad_input` holds.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE) or not is_bad_input(error):
            raise
        # A KeyError shows its message in quotes.
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if isinstance(error, OSError) and error.filename is not None and text.startswith('[Errno'):
            text = printable(f'{os.fsdecode(error.filename)}: {error.strerror}')
        sys.exit(f'{command}: error: {text.strip() or type(error).__name__}')


def is_bad_input(error: BaseException | None) -> bool:
    """Return whether an error is about what a user gave, and not a mistake in a program.

    That is so if a file could not be opened, if a component does not take the arguments in a config, or if the error or
    one that led to it comes from a ``raise`` statement in this package, the script that runs or mmengine's handling of
    configs.
    """
    while error is not None:
        if isinstance(error, _MISTAKES):
            return False
        if isinstance(error, OSError) and error.filename is not None:
            return True
        frames = list(traceback.walk_tb(error.__traceback__))
        if frames:
            frame, line = frames[-1]
            module = str(frame.f_globals.get('__name__', ''))
            if isinstance(error, TypeError) and module == _BUILDER:
                return True
            ours = any(module == name or module.startswith(f'{name}.') for name in _PACKAGES)
            if ours and linecache.getline(frame.f_code.co_filename, line).lstrip().startswith('raise'):
                return True
        error = error.__cause__ or error.__context__
    return False


def check_cfg_options(command: str, arguments: Sequence[str]) -> None:
    """Check that every word after ``--cfg-options`` is KEY=VALUE: mmengine's parser ends in a traceback otherwise.

    Raises:
        SystemExit: A word is not, or its value has unequal brackets or calls such as dict(a=1, b=2).
    """
    among = False
    problem = f'{command}: error: argument --cfg-options:'
    for word in arguments:
        if word.startswith('--'):
            among = word == '--cfg-options'
        elif among and not word.partition('=')[1]:
            sys.exit(f'{problem} {word!r}, expected KEY=VALUE')
        elif among:
            from mmengine.config import DictAction

            try:
                DictAction._parse_iterable(word.partition('=')[2])  # noqa: SLF001 (the parser of that argument)
            except (AssertionError, RecursionError):
                sys.exit(
                    f'{problem} {word!r}, expected a number, a word, or a list such as KEY=[1,2] as the value; set the '
                    'fields of a dict one by one, as KEY.FIELD=VALUE'
                )
