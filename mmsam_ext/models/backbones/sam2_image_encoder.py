"""The image encoder of SAM 2 and 2.1 as an MMSegmentation backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.checkpoints.part_of_sam import PartOfSAM

from ..layers import replace_gelus
from ..layers.checkpointing import checkpointed

#: Arguments of timm's ``HieraDet`` by size, as in Meta's configs of SAM 2 and 2.1.
ARCHS: dict[str, dict] = {
    'tiny': dict(embed_dim=96, num_heads=1, stages=(1, 2, 7, 2), global_att_blocks=(5, 7, 9)),
    'small': dict(embed_dim=96, num_heads=1, stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13)),
    'base_plus': dict(
        embed_dim=112, num_heads=2, stages=(2, 3, 16, 3), global_att_blocks=(12, 16, 20), global_pos_size=(14, 14)
    ),
    'large': dict(
        embed_dim=144, num_heads=2, stages=(2, 6, 36, 4), global_att_blocks=(23, 33, 43), window_spec=(8, 4, 16, 8)
    ),
}


@MODELS.register_module()
class SAM2ImageEncoder(PartOfSAM, BaseModule):
    """The hierarchical image encoder of SAM 2.1 for single images: timm's Hiera trunk and SAM 2's pyramid neck.

    The video memory is not part of it; ``no_mem_embed``, which SAM 2 adds to an image without a past, is. Files of SAM
    2, SAM 2.1 and Hugging Face load as they are. With the decoder and the prompt encoder, T has 31.4 million
    parameters, S 38.5, B+ 73.3 and L 216.9.

    Paper: SAM 2: Segment Anything in Images and Videos (arXiv:2408.00714), appendix D.1.

    Args:
        arch: 'tiny', 'small', 'base_plus' or 'large'; or a dict of timm's ``HieraDet`` arguments.
        out_channels: C, channels of all outputs.
        with_cp: Checkpoint the activations of every block: less memory, about a third more time in training.
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: unknown `arch`; in the forward pass, an input whose sides are not multiples of 32.
    """

    PREFIXES = ('backbone.', 'image_encoder.')
    TOP_LEVEL = ('no_mem_embed',)
    #: Sides of the input must be multiples of this.
    size_divisor: ClassVar[int] = 32

    def __init__(
        self,
        arch: str | dict = 'base_plus',
        out_channels: int = 256,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        from timm.models.hieradet_sam2 import HieraDet  # slow to import, and needed here alone

        if isinstance(arch, str) and arch not in ARCHS:
            raise ValueError(f'SAM2ImageEncoder: unknown arch {arch!r}, expected one of {sorted(ARCHS)} or a dict')
        settings = ARCHS[arch] if isinstance(arch, str) else arch
        self.arch = arch if isinstance(arch, str) else 'custom'
        self.trunk = cast(Any, HieraDet(num_classes=0, **settings))
        self.trunk.head = nn.Identity()  # that of a classifier
        replace_gelus(self.trunk)
        self.embed_dim = settings['embed_dim']
        self.out_channels, self.with_cp = out_channels, with_cp
        self.out_indices = (0, 1)  # the levels of the pyramid that are returned beside the embedding, always
        widths = [stage['num_chs'] for stage in self.trunk.feature_info]
        self.neck = _PyramidNeck(widths, out_channels)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, out_channels))
        nn.init.trunc_normal_(self.no_mem_embed, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode images.

        Args:
            x: (B, 3, H, W), H and W multiples of 32.

        Returns:
            Features of stride 4 (B, C, H/4, W/4) and of stride 8 (B, C, H/8, W/8), which SAM 2's decoder takes, and the
            image embedding (B, C, H/16, W/16).

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        if x.shape[-2] % self.size_divisor or x.shape[-1] % self.size_divisor:
            raise ValueError(
                f'SAM2ImageEncoder: input of {tuple(x.shape[-2:])} (height, width), expected multiples of '
                f'{self.size_divisor}; set size_divisor={self.size_divisor} in the data preprocessor'
            )
        fine, middle, embedding = self.neck(self._levels(x))
        return fine, middle, embedding + self.no_mem_embed.view(1, -1, 1, 1)

    def _levels(self, x: Tensor) -> list[Tensor]:
        """Return the output of each stage of the trunk, strides 4 to 32, each (B, C_i, h_i, w_i)."""
        x = self.trunk.patch_embed(x)  # (B, h, w, C)
        x = x + self._position(x.shape[1], x.shape[2])
        levels = []
        for index, block in enumerate(self.trunk.blocks):
            again = self.with_cp and self.training
            x = cast('Tensor', checkpointed(block, block, x) if again else block(x))
            if index in self.trunk.stage_ends:
                levels.append(x.permute(0, 3, 1, 2))
        return levels

    def _position(self, height: int, width: int) -> Tensor:
        """Return the position code (1, height, width, C): a coarse one, resized, and one that every window repeats."""
        window = self.trunk.pos_embed_window
        tiles = [-(-size // side) for size, side in zip((height, width), window.shape[-2:], strict=True)]
        position = F.interpolate(self.trunk.pos_embed, (height, width), mode='bicubic')
        position = position + window.tile(tiles)[..., :height, :width]
        return position.permute(0, 2, 3, 1)


class _PyramidNeck(BaseModule):
    """SAM 2's feature pyramid: 1 x 1 convolutions, and one step from coarse to fine."""

    def __init__(self, widths: Sequence[int], out_channels: int) -> None:
        super().__init__()
        # Coarsest first, as in Meta's files.
        self.convs = ModuleList([nn.Conv2d(width, out_channels, 1) for width in reversed(widths)])

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Bring the maps of strides 4 to 32 to C channels -> those of strides 4, 8 and 16."""
        coarsest, *rest = (_pointwise(conv, level) for conv, level in zip(self.convs, reversed(levels), strict=True))
        embedding, *finer = rest
        embedding = embedding + F.interpolate(coarsest, scale_factor=2.0, mode='nearest')
        middle, fine = finer
        return fine, middle, embedding


def _pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    """Apply a 1 x 1 convolution to (B, C, h, w) that is channels-last in memory, as a product of matrices."""
    if not torch.is_grad_enabled() and type(conv) is nn.Conv2d:
        return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
    return conv(x)
