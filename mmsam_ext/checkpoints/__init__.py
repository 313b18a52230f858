from . import remote  # registers the loaders of URLs
from .errors import CheckpointError
from .loaders import asset_path

__all__ = ['CheckpointError', 'asset_path', 'remote']
