from .loaders import CheckpointError, asset_path

__all__ = ['CheckpointError', 'asset_path']
