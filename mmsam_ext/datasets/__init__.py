from . import transforms
from .benchmark import BenchmarkDataset, DatasetNotFoundError, MVTecLayoutDataset
from .benchmark_suite import BenchmarkSuite
from .binary_defect import BinaryDefectDataset
from .btad import BTADDataset
from .celebamask_hq import CelebAMaskHQDataset, LoadFaceParts
from .hqseg44k import HQSeg44KDataset
from .ksdd2 import KSDD2Dataset
from .loading import LoadBinaryMask, check_image_file, read_binary_mask
from .mpdd import MPDDDataset
from .mtd import MTDDataset
from .mvtec_ad import MVTecADDataset
from .prompt_mix import PromptMixDataset
from .synthetic_defects import SyntheticDefectDataset
from .synthetic_objects import SyntheticObjectsDataset
from .synthetic_parts import SyntheticPartsDataset
from .visa import VisADataset

__all__ = [
    'BTADDataset',
    'BenchmarkDataset',
    'BenchmarkSuite',
    'BinaryDefectDataset',
    'CelebAMaskHQDataset',
    'DatasetNotFoundError',
    'HQSeg44KDataset',
    'KSDD2Dataset',
    'LoadBinaryMask',
    'LoadFaceParts',
    'MPDDDataset',
    'MTDDataset',
    'MVTecADDataset',
    'MVTecLayoutDataset',
    'PromptMixDataset',
    'SyntheticDefectDataset',
    'SyntheticObjectsDataset',
    'SyntheticPartsDataset',
    'VisADataset',
    'check_image_file',
    'read_binary_mask',
    'transforms',
]
