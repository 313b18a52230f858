"""Replace a function of another package; the only way in which this package does so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

_MARK = '__mmsam_ext_stock__'


def replace(owner: Any, name: str, make: Callable[[Callable], Callable]) -> None:
    """Replace ``owner.name`` by ``make(stock)``; a second call changes nothing.

    Args:
        owner: A module or a class.
        name: Name of the function in `owner`.
        make: Takes the original function and returns its replacement.

    Raises:
        AttributeError: `owner` has no such function, so it is a version that this fix was not written for.
    """
    stock = getattr(owner, name)
    if hasattr(stock, _MARK):
        return
    replacement = wraps(stock)(make(stock))
    setattr(replacement, _MARK, stock)
    # getattr returned a bound classmethod; its replacement must not be bound a second time.
    unbound = isinstance(owner, type) and isinstance(owner.__dict__.get(name), (classmethod, staticmethod))
    setattr(owner, name, staticmethod(replacement) if unbound else replacement)
