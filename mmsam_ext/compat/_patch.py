"""The one way in which this package replaces a function of another package."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

_MARK = '__mmsam_ext_mend__'


def replace(owner: Any, name: str, make: Callable[[Callable], Callable]) -> None:
    """Replace ``owner.name`` by ``make(stock)``, once: a second call changes nothing.

    Args:
        owner: A module or a class.
        make: Takes the stock function and returns the one to put in its place.

    Raises:
        AttributeError: `owner` has no such function; a version this mend was not written for.
    """
    stock = getattr(owner, name)
    if hasattr(stock, _MARK):
        return
    mended = wraps(stock)(make(stock))
    setattr(mended, _MARK, stock)
    # A bound classmethod was fetched above; its replacement must not be bound again.
    is_classmethod = isinstance(owner, type) and isinstance(owner.__dict__.get(name), classmethod)
    setattr(owner, name, staticmethod(mended) if is_classmethod else mended)
