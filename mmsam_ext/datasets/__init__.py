from .synthetic_objects import SyntheticObjectsDataset

__all__ = ['SyntheticObjectsDataset']
