from .anomaly_prompt import AnomalyPrompt
from .boxes_from_file import BoxesFromFile
from .fusion import fuse_masks
from .grounding_dino import GroundingDINOBoxes
from .saa_plus import SAAPlusSegmentor
from .saliency_rescorer import SaliencyRescorer
from .text_boxes import BoxSource, TextBoxes, normalise_caption

__all__ = [
    'AnomalyPrompt',
    'BoxSource',
    'BoxesFromFile',
    'GroundingDINOBoxes',
    'SAAPlusSegmentor',
    'SaliencyRescorer',
    'TextBoxes',
    'fuse_masks',
    'normalise_caption',
]
