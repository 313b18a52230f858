"""Images, prompts and targets of a batch on the device, normalised and padded to one size."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import stack_batch

from mmsam_ext.structures import Prompts

#: SAM's pixel statistics, RGB.
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class PromptDataPreprocessor(SegDataPreProcessor):
    """MMSegmentation's preprocessor, which also pads `gt_masks`, checks prompts, and pads in evaluation as in training.

    Padding goes to the right and the bottom, after the normalisation, with zeros, as in SAM. A sample without prompts gets
    the empty prompt.

    Args:
        size: (H, W) every image is padded to, or
        size_divisor: pad to the batch's largest image, rounded up to a multiple of this. One of the two.
        mean, std: Per channel, RGB; SAM's by default.
        bgr_to_rgb: MMSegmentation loads BGR, SAM wants RGB.
        kwargs: As :class:`mmseg.models.SegDataPreProcessor`.

    Raises:
        ValueError: an image larger than `size`, or prompts that are malformed or outside their image (the error names the
            sample, the field, what came and what was expected).
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        mean: tuple[float, ...] = SAM_MEAN,
        std: tuple[float, ...] = SAM_STD,
        bgr_to_rgb: bool = True,
        **kwargs,
    ) -> None:
        if (size is None) == (size_divisor is None):
            raise ValueError(f'PromptDataPreprocessor: size={size}, size_divisor={size_divisor}, expected one of the two')
        super().__init__(mean=mean, std=std, size=size, size_divisor=size_divisor, bgr_to_rgb=bgr_to_rgb, **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: 'inputs', a list of uint8 (3, H, W) images, and 'data_samples'.
            training: Whether targets are in the frame of the network input (then they are padded with it), or in that of the
                original image (then they stay).

        Returns:
            'inputs' (B, 3, H, W) float and 'data_samples', each with `prompts`.
        """
        data = self.cast_data(data)
        inputs = [self._normalise(image) for image in data['inputs']]
        samples = data.get('data_samples') or [SegDataSample() for _ in inputs]
        for image, sample in zip(inputs, samples, strict=True):
            self._check(image, sample)
        inputs, padded = stack_batch(
            inputs=inputs,
            data_samples=samples if training else None,
            size=self.size,
            size_divisor=self.size_divisor,
            pad_val=self.pad_val,
            seg_pad_val=self.seg_pad_val,
        )
        for index, sample in enumerate(samples):
            if training:
                self._pad_masks(sample, inputs.shape[-2:])
            else:
                sample.set_metainfo(padded[index])
        return dict(inputs=inputs, data_samples=samples)

    def _normalise(self, image):
        image = image[[2, 1, 0]] if self.channel_conversion and len(image) == 3 else image
        return (image.float() - self.mean) / self.std

    def _check(self, image, sample: SegDataSample) -> None:
        height, width = image.shape[-2:]
        name = sample_name(sample)
        if self.size is not None and (height > self.size[0] or width > self.size[1]):
            raise ValueError(
                f'{name}: image of {height} x {width} (height x width) after the pipeline, larger than the '
                f"preprocessor's size {tuple(self.size)}; add a Resize to the pipeline"
            )
        if 'prompts' not in sample or len(sample.prompts) == 0:
            sample.prompts = Prompts.empty().to(image.device)
        else:
            sample.prompts.check(name).check_inside(width, height, name)

    @staticmethod
    def _pad_masks(sample: SegDataSample, size: tuple[int, int]) -> None:
        if 'gt_masks' not in sample:
            return
        masks = sample.gt_masks.data  # (T, H, W)
        pad = (0, size[1] - masks.shape[-1], 0, size[0] - masks.shape[-2])
        sample.gt_masks = PixelData(data=F.pad(masks, pad))


def sample_name(sample: SegDataSample) -> str:
    """How errors name a sample: by its file where it has one."""
    meta = sample.metainfo
    return str(meta.get('img_path') or meta.get('sample_id') or 'sample without a name')
