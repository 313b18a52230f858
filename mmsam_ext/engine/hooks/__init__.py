from .atomic_checkpoint_hook import AtomicCheckpointHook
from .bit_depth_hook import BitDepthHook
from .broadcast_buffers_hook import BroadcastBuffersHook
from .embedding_cache_hook import EmbeddingCacheHook
from .invalid_loss_hook import InvalidLossHook
from .kernel_temperature_hook import KernelTemperatureHook
from .normal_images_hook import NormalImagesHook
from .progress_file_hook import ProgressFileHook
from .prompt_visualization_hook import PromptVisualizationHook
from .random_state_hook import RandomStateHook
from .recipe_hook import RecipeHook
from .timed_logger_hook import TimedLoggerHook
from .trainable_checkpoint_hook import TrainableCheckpointHook

__all__ = [
    'AtomicCheckpointHook',
    'BitDepthHook',
    'BroadcastBuffersHook',
    'EmbeddingCacheHook',
    'InvalidLossHook',
    'KernelTemperatureHook',
    'NormalImagesHook',
    'ProgressFileHook',
    'PromptVisualizationHook',
    'RandomStateHook',
    'RecipeHook',
    'TimedLoggerHook',
    'TrainableCheckpointHook',
]
