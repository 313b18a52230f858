"""SSMODC: a prompt head that reads the image and writes the prompt (ODS-SAM, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import PromptEmbedding, SAMFeatures
from mmsam_ext.structures.samples import check_num_classes

from ..layers import OmniDimensionalConv, OmniDirectionalSSM
from .base import PromptStage


@MODELS.register_module()
class SSMODCPromptHead(PromptStage):
    """Write a prompt from the image: dense + proj(x + ODConvs(OD-SSMs(SiLU(BN(DWConv(x)))))).

    x are the features of a second network, whose stages are brought to d channels (1x1 convolution, batch norm),
    resized to SAM's grid and summed; with `sam_channels` SAM's own maps are among them, or in their place. The last
    projection is zero at the start, so that the model begins as SAM without a prompt, bit for bit. The prompt is
    computed once for an image, whatever the number of its prompts, and takes the place of SAM's "no mask" embedding.
    Points and boxes that a user gives stay as they are.

    Paper: ODS-SAM, section 3.3.

    Args:
        feature_encoder: Config of any backbone that returns maps, as ``mmpretrain.TIMMBackbone``. With None the head
            reads only SAM's maps, which need `sam_channels`. The paper has an encoder; without a pretrained one, the
            mini SAM learned faster from its own maps (configs/methods/ods_sam.md).
        in_channels: Channels of each of the encoder's maps, shallow to deep; all of them are fused.
        embed_dim: C, channels of SAM's image embedding.
        dim: d, channels within the head.
        input_size: (H, W) that the image is resized to for the feature encoder; None to take it as it is.
        stride: Of the encoder's deepest map. The encoder's input must measure at least twice that on each side, so that
            its batch norms have more than one value even in a batch of one.
        num_ssm: Number of OD-SSM in sequence; 0 for none (Tables 4 and 6).
        dilations: Of the ODConv in sequence, each with batch norm and SiLU; () for none (Tables 4 and 5).
        num_kernels: Kernels that an ODConv mixes.
        num_classes: K, number of classes without the background. With it the last projection writes K prompts, and each
            prompt of the batch gets that of its class. None: one prompt, whatever the class. A segmentor with classes
            sets it.
        sam_channels: Channels of SAM's own maps that are fused beside those of the encoder, shallow to deep: the last
            are those of the image embedding, those before it of the backbone's last inner stages. () for none, as in
            the paper.
        num_directions, d_state, dt_rank, scan_backend, scan_chunk_size: Of :class:`OmniDirectionalSSM`.
        init_cfg: See ``BaseModule``.

    Raises:
        ValueError: A number is out of its range, or there is no map to fuse; in `forward`, the encoder's maps do not
            fit `in_channels` or SAM's `sam_channels`, the image is missing or too small for the encoder, the embedding
            does not have `embed_dim` channels, or a prompt has no class where there are several.
    """

    creates_prompt = True
    takes_num_classes = True

    def __init__(
        self,
        feature_encoder: dict | None = None,
        in_channels: Sequence[int] = (),
        embed_dim: int = 256,
        dim: int = 256,
        input_size: tuple[int, int] | None = None,
        stride: int = 32,
        num_ssm: int = 1,
        dilations: Sequence[int] = (1, 2),
        num_kernels: int = 4,
        num_directions: int = 8,
        d_state: int = 16,
        dt_rank: int = 16,
        scan_backend: str = 'auto',
        scan_chunk_size: int | None = None,
        num_classes: int | None = None,
        sam_channels: Sequence[int] = (),
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_ssm < 0:
            raise ValueError(f'SSMODCPromptHead: num_ssm={num_ssm}, expected 0 or more OD-SSM')
        if (feature_encoder is None) != (not in_channels) or not (in_channels or sam_channels):
            raise ValueError(
                f'SSMODCPromptHead: {"no" if feature_encoder is None else "a"} feature_encoder, '
                f'in_channels={tuple(in_channels)}, sam_channels={tuple(sam_channels)}, expected in_channels with an '
                'encoder and only then, and sam_channels where there is none'
            )
        self.in_channels, self.sam_channels = tuple(in_channels), tuple(sam_channels)
        self.embed_dim, self.stride = embed_dim, stride
        self.num_classes = check_num_classes('SSMODCPromptHead', num_classes) or 1
        self.input_size = None if input_size is None else tuple(input_size)
        if self.input_size is not None:
            self._check_size(self.input_size)
        self.feature_encoder = None if feature_encoder is None else MODELS.build(feature_encoder)
        self.fuse = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, dim, 1, bias=False), nn.BatchNorm2d(dim))
            for channels in (*self.in_channels, *self.sam_channels)
        )
        self.local = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False), nn.BatchNorm2d(dim), nn.SiLU()
        )
        self.od_ssm = nn.Sequential(
            *(
                OmniDirectionalSSM(dim, num_directions, d_state, dt_rank, scan_backend, scan_chunk_size)
                for _ in range(num_ssm)
            )
        )
        self.od_conv = nn.Sequential(
            *(
                nn.Sequential(
                    OmniDimensionalConv(dim, dim, dilation=dilation, num_kernels=num_kernels),
                    nn.BatchNorm2d(dim),
                    nn.SiLU(),
                )
                for dilation in dilations
            )
        )
        self.proj = nn.Conv2d(dim, self.num_classes * embed_dim, 1)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.get_parameter('bias'))

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        """Add the prompt of its image (and class) to each dense embedding (P, C, h, w); sparse stays as it is."""
        written = features.once('SSMODC prompt', lambda: self.write(features), weights=self)  # (B, K * C, h, w)
        written = written.to(prompts.dense.dtype)
        if self.num_classes == 1:
            shared = prompts.shared_dense
            by_image = None if shared is None or torch.is_grad_enabled() else shared + written
            return prompts.with_dense(prompts.dense + written[prompts.image_index], by_image)
        by_class = written.unflatten(1, (self.num_classes, self.embed_dim))  # (B, K, C, h, w)
        return prompts.with_dense(prompts.dense + by_class[prompts.image_index, self._classes(prompts)])

    def _classes(self, prompts: PromptEmbedding) -> Tensor:
        """Return the class of each prompt, (P,) from 0 to K - 1."""
        labels = torch.zeros_like(prompts.image_index) if prompts.class_ids is None else prompts.class_ids
        if len(labels) and not bool(((labels >= 1) & (labels <= self.num_classes)).all()):
            raise ValueError(
                f'SSMODCPromptHead: prompts with the class_ids {labels.unique().tolist()} (0: not given), expected '
                f'labels from 1 to {self.num_classes}; give class_ids with the prompts, or set num_classes of the '
                'segmentor, which then asks for each class'
            )
        return labels - 1

    def write(self, features: SAMFeatures) -> Tensor:
        """Return what is added to the dense embeddings of each image, class after class, (B, K * C, h, w)."""
        if features.embedding.shape[1] != self.embed_dim:
            raise ValueError(
                f'SSMODCPromptHead: embedding {tuple(features.embedding.shape)}, expected embed_dim={self.embed_dim} '
                'channels'
            )
        maps = [*self._encoded(features.image), *self._maps_of_sam(features)]
        size = features.embedding.shape[-2:]
        x = torch.stack(
            [
                F.interpolate(fuse(one), size, mode='bilinear', align_corners=False)
                for fuse, one in zip(self.fuse, maps, strict=True)
            ]
        ).sum(0)
        return self.proj(x + self.od_conv(self.od_ssm(self.local(x))))

    def _encoded(self, image: Tensor | None) -> Sequence[Tensor]:
        """Return the maps of the feature encoder, each (B, C_i, h_i, w_i), for images (B, 3, H, W)."""
        if self.feature_encoder is None:
            return ()
        if image is None:
            raise ValueError('SSMODCPromptHead: the image is None, expected one for the feature encoder')
        if self.input_size is not None and image.shape[-2:] != self.input_size:
            image = F.interpolate(image, self.input_size, mode='bilinear', antialias=True, align_corners=False)
        self._check_size(image.shape[-2:])
        maps = self.feature_encoder(image)
        maps = maps if isinstance(maps, (tuple, list)) else (maps,)
        self._check_maps(f'{type(self.feature_encoder).__name__} returned', maps, 'in_channels', self.in_channels)
        return maps

    def _maps_of_sam(self, features: SAMFeatures) -> Sequence[Tensor]:
        """Return the maps of SAM that are fused, each (B, C_i, h_i, w_i), in the head's format."""
        if not self.sam_channels:
            return ()
        maps = (*features.stages, features.embedding)[-len(self.sam_channels) :]
        self._check_maps("SAM's backbone has", maps, 'sam_channels', self.sam_channels)
        return [one.to(self.proj.weight.dtype) for one in maps]

    def _check_maps(self, what: str, maps: Sequence[Tensor], name: str, channels: tuple[int, ...]) -> None:
        shapes = [tuple(one.shape) for one in maps]
        if any(len(shape) != 4 for shape in shapes) or tuple(shape[1] for shape in shapes) != channels:
            raise ValueError(
                f'SSMODCPromptHead: {what} maps of {shapes}, expected {len(channels)} maps (B, C, h, w) with '
                f'{name}={channels}'
            )

    def _check_size(self, size: Sequence[int]) -> None:
        if min(size) < 2 * self.stride:
            raise ValueError(
                f'SSMODCPromptHead: input of {size[0]} x {size[1]} (height x width) for a feature encoder of stride '
                f'{self.stride}, expected at least {2 * self.stride} on each side; set `input_size`'
            )
