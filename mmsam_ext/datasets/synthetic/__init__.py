from .synthetic_defects import SyntheticDefectDataset
from .synthetic_objects import SyntheticObjectsDataset
from .synthetic_parts import SyntheticPartsDataset
from .synthetic_scenes import SyntheticScenesDataset

__all__ = ['SyntheticDefectDataset', 'SyntheticObjectsDataset', 'SyntheticPartsDataset', 'SyntheticScenesDataset']
