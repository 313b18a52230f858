"""Images, prompts and targets of a batch on the device, normalised and padded to one size."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import stack_batch
from torch import Tensor

from mmsam_ext.structures import Prompts, UncutImage
from mmsam_ext.structures.samples import pixel_data, sample_name, sample_prompts

from ..caching.fingerprint import image_digest

#: SAM's pixel statistics, RGB.
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class PromptDataPreprocessor(SegDataPreProcessor):
    """Prepare batches as MMSegmentation does, but also pad `gt_masks`, check prompts, and pad in evaluation.

    Images are padded on the right and at the bottom, after the normalisation, with zeros, as in SAM. A sample without
    prompts gets the empty prompt. MMSegmentation's `batch_augments` is not supported: it would not move prompts.

    Args:
        size: (H, W) that every image is padded to. Give either this or `size_divisor`.
        size_divisor: Pad to the size of the batch's largest image, rounded up to a multiple of this number.
        mean: Mean of each channel, RGB; SAM's by default.
        std: Standard deviation of each channel, RGB; SAM's by default.
        bgr_to_rgb: Convert BGR, which MMSegmentation loads, to RGB, which SAM expects.
        pad_val: Padding of normalised images.
        seg_pad_val: Padding of `gt_sem_seg`; the losses ignore 255.

    Raises:
        ValueError: An image is larger than `size`, prompts are malformed or outside their image, or (in training)
            target masks have another size than their image. The message names the sample, the field, what came and what
            was expected.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        mean: tuple[float, ...] = SAM_MEAN,
        std: tuple[float, ...] = SAM_STD,
        bgr_to_rgb: bool = True,
        pad_val: float = 0.0,
        seg_pad_val: int = 255,
    ) -> None:
        if (size is None) == (size_divisor is None):
            raise ValueError(
                f'PromptDataPreprocessor: size={size}, size_divisor={size_divisor}, expected exactly one of the two'
            )
        settings: dict[str, Any] = dict(mean=mean, std=std, pad_val=pad_val, seg_pad_val=seg_pad_val)
        super().__init__(size=size, size_divisor=size_divisor, bgr_to_rgb=bgr_to_rgb, **settings)
        self.mean: Tensor
        self.std: Tensor
        self.pad_val: float
        #: Whether to add `image_digest`, a hash of the image before normalisation, to each sample's metainfo.
        self.digest_images = False

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: 'inputs', a list of uint8 (3, H, W) images, and 'data_samples'.
            training: Whether targets are in the frame of the network input, and so are padded with it. In evaluation
                they are in the frame of the original image, and stay as they are.

        Returns:
            'inputs' (B, 3, H, W) float and 'data_samples', each with `prompts`.
        """
        images, samples = self._received(data, training)
        if not training:
            return dict(inputs=self._normalised_batch(images, samples), data_samples=samples)
        paddings: dict[str, Any] = dict(pad_val=self.pad_val, seg_pad_val=self.seg_pad_val)
        inputs, _ = stack_batch(
            inputs=[self._normalise(image) for image in images],
            data_samples=samples,
            size=self.size,
            size_divisor=self.size_divisor,
            **paddings,
        )
        for sample in samples:
            self._pad_masks(sample, (inputs.shape[-2], inputs.shape[-1]))
        return dict(inputs=inputs, data_samples=samples)

    def uncut(self, data: dict) -> tuple[list[UncutImage], list[SegDataSample]]:
        """Prepare a batch for prediction as :meth:`forward` does, but normalise only the tiles that are cut from it.

        Args:
            data: As for :meth:`forward`.

        Returns:
            The images, all with the network input's size, and the samples, each with `prompts`.
        """
        images, samples = self._received(data, training=False)
        size = self._padded_size(images, samples)
        whole = [UncutImage(image, size, self._normalise, self.pad_val) for image in images]
        return whole, samples

    def _received(self, data: dict, training: bool) -> tuple[list[Tensor], list[SegDataSample]]:
        """Check a batch, move it to the device, and give each sample prompts."""
        # Checked before they are moved: on a GPU every check would wait for the device.
        samples = data.get('data_samples') or [SegDataSample() for _ in data['inputs']]
        for image, sample in zip(data['inputs'], samples, strict=True):
            self._check(image, sample, training)
            if self.digest_images:
                sample.set_metainfo(dict(image_digest=image_digest(image)))
        moved: Any = self.cast_data(dict(inputs=data['inputs'], data_samples=samples))
        images, samples = moved['inputs'], moved['data_samples']
        for sample in samples:
            if 'prompts' not in sample or len(sample_prompts(sample)) == 0:
                sample.prompts = Prompts.empty().to(images[0].device)
        return images, samples

    def normalisation(self) -> dict[str, float | bool | list[float]]:
        """Return everything that decides what becomes of an image's pixels, but for the padded size."""
        return dict(
            mean=self.mean.flatten().tolist(),
            std=self.std.flatten().tolist(),
            swaps_channels=bool(_swaps_channels(self)),
            pad_val=float(self.pad_val),
        )

    def _normalise(self, image: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalise an image (3 or 1, h, w) into `out` (3, h, w) float32, or into new memory."""
        if out is None:
            out = self.mean.new_empty(max(len(image), len(self.mean)), *image.shape[-2:])
        out.copy_(image.flip(0) if _swaps_channels(self) and len(image) == 3 else image)
        return out.sub_(self.mean).div_(self.std)

    def _normalised_batch(self, images: list[Tensor], samples: list[SegDataSample]) -> Tensor:
        """Normalise and pad images as MMSegmentation's `stack_batch` does, but each in the memory of the batch.

        A copy of a photograph of 24 megapixels takes 288 MB.
        """
        channels = max(len(images[0]), len(self.mean))
        batch = self.mean.new_full((len(images), channels, *self._padded_size(images, samples)), self.pad_val)
        for padded, image in zip(batch, images, strict=True):
            self._normalise(image, padded[:, : image.shape[-2], : image.shape[-1]])
        return batch

    def _padded_size(self, images: list[Tensor], samples: list[SegDataSample]) -> tuple[int, int]:
        """Return the size (H, W) of the network input, and write the padding into the samples' metainfo."""
        height, width = torch.tensor([image.shape[-2:] for image in images]).amax(0).tolist()
        if self.size is not None:
            height, width = self.size
        elif self.size_divisor is not None:
            height, width = (-(-side // self.size_divisor) * self.size_divisor for side in (height, width))
        for image, sample in zip(images, samples, strict=True):
            rows, columns = image.shape[-2:]
            padding = (0, width - columns, 0, height - rows)
            sample.set_metainfo(dict(img_padding_size=padding, pad_shape=torch.Size((height, width))))
        return height, width

    def _check(self, image: Tensor, sample: SegDataSample, training: bool) -> None:
        height, width = image.shape[-2:]
        name = sample_name(sample)
        if self.size is not None and (height > self.size[0] or width > self.size[1]):
            raise ValueError(
                f'{name}: image of {height} x {width} (height x width) after the pipeline, larger than the '
                f"preprocessor's size {tuple(self.size)}; add a Resize to the pipeline"
            )
        if 'prompts' in sample and len(sample_prompts(sample)):
            sample_prompts(sample).check(name).check_inside(width, height, name)
        shape = tuple(pixel_data(sample, 'gt_masks').shape) if training and 'gt_masks' in sample else None
        if shape is not None and shape[-2:] != (height, width):
            raise ValueError(
                f'{name}: field `gt_masks` has shape {shape}, expected (T, {height}, {width}) as the image in '
                'training; put GeneratePrompts after the geometric transforms'
            )

    @staticmethod
    def _pad_masks(sample: SegDataSample, size: tuple[int, int]) -> None:
        if 'gt_masks' not in sample:
            return
        masks = pixel_data(sample, 'gt_masks')  # (T, H, W)
        pad = (0, size[1] - masks.shape[-1], 0, size[0] - masks.shape[-2])
        sample.gt_masks = PixelData(data=F.pad(masks, pad))


def _swaps_channels(preprocessor: SegDataPreProcessor) -> bool:
    """Return whether channels are swapped; the onedl fork of MMSegmentation made the attribute private."""
    name = 'channel_conversion' if hasattr(preprocessor, 'channel_conversion') else '_channel_conversion'
    return getattr(preprocessor, name)
