"""Models for programs without PyTorch, or without this package."""

from .export import PRECISIONS, export_model

__all__ = ['PRECISIONS', 'export_model']
