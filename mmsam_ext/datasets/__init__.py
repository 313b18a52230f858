from . import transforms
from .synthetic_defects import SyntheticDefectDataset
from .synthetic_objects import SyntheticObjectsDataset

__all__ = ['SyntheticDefectDataset', 'SyntheticObjectsDataset', 'transforms']
