from .enumerated_variants import EnumeratedVariants
from .generate_prompts import GeneratePrompts, PromptMode
from .keep_original_image import KeepOriginalImage
from .load_face_parts import LoadFaceParts
from .load_image import LoadImageFromFile
from .load_nuclei import CropTile, LoadNucleiMask, read_nuclei
from .load_object_mask import LoadObjectMask
from .load_prompts import LoadPrompts
from .loading import LoadBinaryMask, check_image_file, read_binary_mask
from .pack_prompt_inputs import PackPromptInputs
from .perturb_prompts import PerturbPrompts, box_iou, box_of_iou, noisy_box
from .random_tile import RandomTile
from .synthesize_occlusion import SynthesizeOcclusion
from .whole_image_prompt import WholeImagePrompt

__all__ = [
    'CropTile',
    'EnumeratedVariants',
    'GeneratePrompts',
    'KeepOriginalImage',
    'LoadBinaryMask',
    'LoadImageFromFile',
    'LoadFaceParts',
    'LoadNucleiMask',
    'LoadObjectMask',
    'LoadPrompts',
    'PackPromptInputs',
    'PerturbPrompts',
    'PromptMode',
    'RandomTile',
    'SynthesizeOcclusion',
    'WholeImagePrompt',
    'box_iou',
    'box_of_iou',
    'check_image_file',
    'noisy_box',
    'read_binary_mask',
    'read_nuclei',
]
