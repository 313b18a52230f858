"""Suggestions for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

#: How many names an error message suggests at most.
SUGGESTIONS = 3


def nearest_names(name: str, known: Iterable[str], number: int = SUGGESTIONS) -> list[str]:
    """Return the known names that are most like `name`, best first; the one nearest name if none is close.

    Upper and lower case count as equal.

    Example:
        >>> nearest_names('tranistor', ['bottle', 'cable', 'transistor'], number=1)
        ['transistor']
    """
    by_folded = {one.casefold(): one for one in known}
    close = get_close_matches(name.casefold(), by_folded, number)
    return [by_folded[one] for one in close or get_close_matches(name.casefold(), by_folded, 1, cutoff=0.0)]


def unknown_names(unknown: Sequence[str], known: Iterable[str]) -> str:
    """Return the end of an error message about a list of names: what is wrong with it and what may be meant.

    Args:
        unknown: Those of the list that do not exist; empty where the list is empty.
        known: Those that exist.

    Example:
        >>> unknown_names(['tranistor'], ['bottle', 'cable', 'transistor'])
        "'tranistor' does not exist; did you mean 'transistor'?"
    """
    known = list(known)
    if not unknown:
        return f'the list is empty; expected one or more of {len(known)} names, such as {known[0]!r}'
    return ' '.join(f'{name!r} does not exist; {did_you_mean(name, known)}' for name in unknown)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the known names nearest to `name`, for an error message.

    Example:
        >>> did_you_mean('tarin', ['train', 'test'])
        "did you mean 'train'?"
    """
    names = [repr(one) for one in nearest_names(name, known)]
    if not names:
        return 'no names are known.'
    return f'did you mean {" or ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])}?'
