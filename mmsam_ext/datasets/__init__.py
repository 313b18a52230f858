from . import transforms
from .benchmark import BenchmarkDataset, DatasetNotFoundError, MVTecLayoutDataset
from .benchmark_suite import BenchmarkSuite
from .binary_defect import BinaryDefectDataset
from .btad import BTADDataset
from .celebamask_hq import CelebAMaskHQDataset
from .click_benchmarks import BerkeleyDataset, DAVIS345Dataset, GrabCutDataset
from .coco_prompts import CocoPromptDataset
from .glas import GlaSDataset
from .hqseg44k import HQSeg44KDataset
from .ksdd2 import KSDD2Dataset
from .monuseg import MoNuSegDataset
from .mpdd import MPDDDataset
from .mtd import MTDDataset
from .mvtec_ad import MVTecADDataset
from .mvtec_ad_split import MVTecADSplitDataset
from .polyp import PolypDataset
from .prompt_mix import PromptMixDataset
from .sbd import SBDDataset
from .synthetic import (
    SyntheticDefectDataset,
    SyntheticObjectsDataset,
    SyntheticPartsDataset,
    SyntheticScenesDataset,
)
from .transforms import (
    CropTile,
    LoadBinaryMask,
    LoadFaceParts,
    LoadNucleiMask,
    LoadObjectMask,
    LoadPrompts,
    check_image_file,
    read_binary_mask,
)
from .visa import VisADataset

__all__ = [
    'BTADDataset',
    'BenchmarkDataset',
    'BenchmarkSuite',
    'BerkeleyDataset',
    'BinaryDefectDataset',
    'CelebAMaskHQDataset',
    'CocoPromptDataset',
    'CropTile',
    'DAVIS345Dataset',
    'DatasetNotFoundError',
    'GlaSDataset',
    'GrabCutDataset',
    'HQSeg44KDataset',
    'KSDD2Dataset',
    'LoadBinaryMask',
    'LoadFaceParts',
    'LoadNucleiMask',
    'LoadObjectMask',
    'LoadPrompts',
    'MPDDDataset',
    'MTDDataset',
    'MVTecADDataset',
    'MVTecADSplitDataset',
    'MVTecLayoutDataset',
    'MoNuSegDataset',
    'PolypDataset',
    'PromptMixDataset',
    'SBDDataset',
    'SyntheticDefectDataset',
    'SyntheticObjectsDataset',
    'SyntheticPartsDataset',
    'SyntheticScenesDataset',
    'VisADataset',
    'check_image_file',
    'read_binary_mask',
    'transforms',
]
