from . import transforms
from .binary_defect import BinaryDefectDataset
from .hqseg44k import HQSeg44KDataset
from .loading import LoadBinaryMask, check_image_file, read_binary_mask
from .mtd import MTDDataset
from .prompt_mix import PromptMixDataset
from .synthetic_defects import SyntheticDefectDataset
from .synthetic_objects import SyntheticObjectsDataset

__all__ = [
    'BinaryDefectDataset',
    'HQSeg44KDataset',
    'LoadBinaryMask',
    'MTDDataset',
    'PromptMixDataset',
    'SyntheticDefectDataset',
    'SyntheticObjectsDataset',
    'check_image_file',
    'read_binary_mask',
    'transforms',
]
