"""Assertions about messages: what they name (sample, file, field, value), never how a sentence is worded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def missing_names(text: str, *names: object) -> list[str]:
    """Return those of ``names`` that ``text`` does not contain as whole words.

    A name that begins or ends with a letter or digit must not touch another one there: ``5`` is not in ``512``. Runs
    of white space count as one blank, so wrapped lines are matched, too.

    Args:
        text: An error message, a warning, a log or printed output.
        names: Sample, file, field and value that the text has to name. At least one, and none is empty.
    """
    parts = [' '.join(str(name).split()) for name in names]
    if not parts or not all(parts):
        raise ValueError(f'names is {names}, expected at least one name, and no empty one: they would match anything')
    text = ' '.join(text.split())
    return [
        part
        for part in parts
        if not re.search(
            (r'(?<!\w)' if re.match(r'\w', part) else '') + re.escape(part) + (r'(?!\w)' if part[-1].isalnum() else ''),
            text,
        )
    ]


def assert_names(text: str, *names: object) -> None:
    """Assert that ``text`` contains each of ``names`` as a whole word."""
    missing = missing_names(text, *names)
    assert not missing, f'{missing} is not named in:\n{text}'


@contextmanager
def raises_naming(
    kind: type[BaseException] | tuple[type[BaseException], ...], *names: object
) -> Iterator[pytest.ExceptionInfo]:
    """Expect an error of type ``kind`` whose message contains each of ``names`` as a whole word.

    Example:
        >>> with raises_naming(ValueError, 'a.png', 'boxes', '[5, 3]'):
        ...     raise ValueError('a.png: field `boxes` holds [5, 3]')
    """
    missing_names('', *names)  # rejects an empty name before the code runs
    with pytest.raises(kind) as error:
        yield error
    assert_names(str(error.value), *names)


@contextmanager
def warns_naming(kind: type[Warning], *names: object) -> Iterator[pytest.WarningsRecorder]:
    """Expect a warning of type ``kind`` whose message contains each of ``names`` as a whole word."""
    missing_names('', *names)
    with pytest.warns(kind) as record:
        yield record
    messages = [str(warning.message) for warning in record if issubclass(warning.category, kind)]
    assert any(not missing_names(message, *names) for message in messages), f'{names} is not named in: {messages}'


def error_line(capsys: pytest.CaptureFixture) -> str:
    """Return what a command printed after ``error:``; the usage text before it names every option anyway."""
    printed = capsys.readouterr().err
    assert 'Traceback' not in printed, printed
    assert 'error: ' in printed, printed
    return printed.split('error: ', 1)[1]
