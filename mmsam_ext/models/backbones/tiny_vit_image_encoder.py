"""The image encoder of MobileSAM and TinySAM as an MMSegmentation backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from mmsam_ext.checkpoints.part_of_sam import PartOfSAM

from ..layers import fuse_layer_norms, replace_gelus
from ..layers.checkpointing import checkpointed

#: The TinyViT of MobileSAM, TinySAM and HQ-SAM's tiny model.
MOBILE_SAM: dict[str, Any] = dict(
    embed_dims=(64, 128, 160, 320), depths=(2, 2, 6, 2), num_heads=(2, 4, 5, 10), window_sizes=(7, 7, 14, 7)
)


@MODELS.register_module()
class TinyViTImageEncoder(PartOfSAM, BaseModule):
    """The TinyViT image encoder of MobileSAM and TinySAM: timm's TinyViT and SAM's neck.

    Unlike in a classifier, the last stage keeps the resolution of the one before it. The prompt encoder and the mask
    decoder of MobileSAM are SAM's; its files load as they are.

    Paper: Faster Segment Anything (arXiv:2306.14289); TinyViT (arXiv:2207.10666).

    Args:
        arch: 'mobile_sam', or a dict of timm's ``TinyVit`` arguments.
        out_channels: C, channels of the image embedding.
        out_indices: Stages (1 to 3) whose input, at its own resolution, is returned beside the embedding. HQ-SAM's
            tiny model takes that of stage 2, with 160 channels.
        with_cp: Checkpoint the activations of every stage: less memory, more time in training.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: unknown `arch`, an index in `out_indices` that does not exist, or an input whose sides are not
            multiples of 16.
    """

    PREFIXES = ('backbone.', 'image_encoder.')
    patch_size = 16

    def __init__(
        self,
        arch: str | dict = 'mobile_sam',
        out_channels: int = 256,
        out_indices: Sequence[int] = (),
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        from .tiny_vit_parts import TinyVit, use_own_parts  # timm is slow to import

        if isinstance(arch, str) and arch != 'mobile_sam':
            raise ValueError(f"TinyViTImageEncoder: unknown arch {arch!r}, expected 'mobile_sam' or a dict")
        settings = MOBILE_SAM if isinstance(arch, str) else arch
        self.arch = arch if isinstance(arch, str) else 'custom'
        self.trunk = cast(Any, TinyVit(num_classes=0, drop_path_rate=0.0, **settings))
        self.trunk.head = nn.Identity()  # that of a classifier
        self.trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.out_indices, self.with_cp = tuple(out_indices), with_cp
        if any(not 1 <= index < len(self.trunk.stages) for index in self.out_indices):
            raise ValueError(
                f'TinyViTImageEncoder: out_indices {self.out_indices}, expected 1 to {len(self.trunk.stages) - 1}'
            )
        self.embed_dim, self.out_channels = settings['embed_dims'][-1], out_channels
        use_own_parts(self.trunk)
        replace_gelus(self.trunk)
        self.neck = nn.Sequential(
            nn.Conv2d(self.embed_dim, out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )
        fuse_layer_norms(self.neck)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            x: (B, 3, H, W), H and W multiples of 16.

        Returns:
            The stages of `out_indices`, and last the image embedding (B, C, H/16, W/16).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        if x.shape[-2] % self.patch_size or x.shape[-1] % self.patch_size:
            raise ValueError(
                f'TinyViTImageEncoder: input of {tuple(x.shape[-2:])} (height, width), expected multiples of '
                f'{self.patch_size}; set size_divisor={self.patch_size} in the data preprocessor'
            )
        first, *others = self.trunk.stages
        x = x.contiguous(memory_format=torch.channels_last)  # a tenth faster on a CPU
        x = first(self.trunk.patch_embed(x))  # (B, C_0, H/4, W/4)
        outputs = []
        for index, stage in enumerate(others, 1):
            x = stage.downsample(x)
            if index in self.out_indices:
                outputs.append(x)
            x = x.permute(0, 2, 3, 1)  # (B, C, h, w) -> (B, h, w, C)
            again = self.with_cp and self.training
            x = cast('Tensor', checkpointed(stage.blocks, stage.blocks, x) if again else stage.blocks(x))
            x = x.permute(0, 3, 1, 2)
        return (*outputs, self.neck(x))
