"""Labelling in the browser."""

from .assistant import Assistant
from .store import ConflictError, Store

__all__ = ['Assistant', 'ConflictError', 'Store']
