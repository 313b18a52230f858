"""A config's test pipeline without its ground truth: load, attach prompts, resize, pack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS
from torch import nn

from mmsam_ext.datasets.transforms import geometry_probe
from mmsam_ext.structures import Prompts

from .errors import InferenceError, name_error, reason
from .image_inputs import Source, as_bgr, check_source

#: Steps that an image with given prompts does not need.
LOADERS = ('LoadImageFromFile', 'LoadAnnotations', 'LoadBinaryMask')
LEFT_OUT = (*LOADERS, 'GeneratePrompts', 'PerturbPrompts', 'PackSegInputs', 'PackPromptInputs')


class InferencePipeline:
    """What ``tools/test.py`` does to an image, for an image and prompts of the user.

    Procedural data sets come at the model's size, so their pipelines have no Resize; here one to the preprocessor's
    `size` is added (with pillow and without keeping the ratio, as in the other configs).

    Args:
        config: Whose test dataset has the pipeline.
        preprocessor: Of the model.
        dataset_meta: What is known of the training set. By its `bit_depth` files of 16 bits are read, unless the
            pipeline states its own; without both, by their values.
    """

    def __init__(self, config: Config, preprocessor: nn.Module, dataset_meta: Mapping[str, Any] | None = None) -> None:
        self.bit_depth = (dataset_meta or {}).get('bit_depth')
        steps = _test_pipeline(config)
        loaders = [step for step in steps if _name(step) == 'LoadImageFromFile']
        self.load_file = TRANSFORMS.build(loaders[0] if loaders else dict(type='LoadImageFromFile'))
        steps = [step for step in steps if _name(step) not in LEFT_OUT]
        size = getattr(preprocessor, 'size', None)
        if size is not None and not any(_name(step) == 'Resize' for step in steps):
            steps.append(dict(type='Resize', scale=(size[1], size[0]), keep_ratio=False, backend='pillow'))
        # Built here, since Compose of mmengine would look in the default scope.
        self.steps = Compose([TRANSFORMS.build(step) for step in (*steps, dict(type='PackPromptInputs'))])

    def load(self, source: Source) -> dict[str, Any]:
        """Read an image.

        Returns:
            `img` (H, W, 3) uint8 BGR, `ori_shape`, `img_shape`, `img_path`, `sample_id`.

        Raises:
            InferenceError: it cannot be read; names it, what came and what was expected.
        """
        check_source(source)
        results: dict[str, Any] = dict(sample_id=source.name, img_path=source.path or source.name, seg_fields=[])
        if source.array is not None:
            image = as_bgr(source.array)
            return results | dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        try:
            return self.load_file(results | (dict(bit_depth=self.bit_depth) if self.bit_depth else {}))
        except ValueError as error:  # names the file
            raise InferenceError(name_error(error, source.name)) from error
        except Exception as error:  # decoders raise what they like
            raise InferenceError(f'{source.name}: cannot be decoded ({reason(error)}), expected an image') from error

    def pack(self, results: dict[str, Any], prompts: Prompts) -> dict[str, Any]:
        """Apply the pipeline to a loaded image and prompts in its pixels.

        Returns:
            `inputs` (3, h, w) uint8 and `data_samples`, whose prompts are in pixels of the network input.

        Raises:
            InferenceError: A step of the pipeline rejects them, for example one that moves the image.
        """
        results = results | dict(prompts=prompts, seg_fields=[])
        geometry_probe.plant(results)  # as GeneratePrompts does: anything but a resize is an error
        try:
            packed = self.steps(results)
        except ValueError as error:
            raise InferenceError(name_error(error, results['sample_id'])) from error
        if packed is None:
            raise InferenceError(f'{results["sample_id"]}: a step of the test pipeline returned None, expected a dict')
        return packed


def _test_pipeline(config: Config) -> list[dict]:
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset and ('dataset' in dataset or 'datasets' in dataset):  # wrappers, ConcatDataset
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return list(dataset.get('pipeline') or config.get('test_pipeline') or ())


def _name(step: dict) -> str:
    """'mmseg.Resize' is Resize; a class is its name."""
    kind = step['type']
    return kind.rsplit('.')[-1] if isinstance(kind, str) else kind.__name__
