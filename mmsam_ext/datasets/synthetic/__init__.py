from .synthetic_defects import SyntheticDefectDataset
from .synthetic_objects import SyntheticObjectsDataset
from .synthetic_parts import SyntheticPartsDataset

__all__ = ['SyntheticDefectDataset', 'SyntheticObjectsDataset', 'SyntheticPartsDataset']
