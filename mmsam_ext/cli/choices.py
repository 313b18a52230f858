"""Arguments of a command line that name one of several known things."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from mmsam_ext.nearest import did_you_mean


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """Return a ``type`` for argparse that accepts the known names and suggests the nearest ones for any other.

    argparse's own ``choices`` would list all names in the error.

    Example:
        >>> parser.add_argument('study', type=one_of(STUDIES))  # doctest: +SKIP
        error: argument study: 'stp' does not exist; did you mean 'spt'?
    """
    names = list(known)

    def name(value: str) -> str:
        if value not in names:
            raise argparse.ArgumentTypeError(f'{value!r} does not exist; {did_you_mean(value, names)}')
        return value

    return name
