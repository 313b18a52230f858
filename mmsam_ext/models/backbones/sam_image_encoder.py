"""SAM's image encoder as an MMSegmentation backbone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from mmsam_ext.checkpoints.part_of_sam import PartOfSAM

from ..layers import ConvStem, FusedAttention, fuse_layer_norms
from ..layers.checkpointing import checkpointed

#: Arguments of ``ImageEncoderViT`` by architecture; base, large and huge are those of ``segment_anything``.
ARCHS: dict[str, dict] = {
    'tiny': dict(
        img_size=256, embed_dim=192, depth=8, num_heads=3, window_size=8, out_chans=128, global_attn_indexes=(1, 3, 5,
        7)
    ),
    'base': dict(
        img_size=1024, embed_dim=768, depth=12, num_heads=12, window_size=14, out_chans=256,
        global_attn_indexes=(2, 5, 8, 11),
    ),
    'large': dict(
        img_size=1024, embed_dim=1024, depth=24, num_heads=16, window_size=14, out_chans=256,
        global_attn_indexes=(5, 11, 17, 23),
    ),
    'huge': dict(
        img_size=1024, embed_dim=1280, depth=32, num_heads=16, window_size=14, out_chans=256,
        global_attn_indexes=(7, 15, 23, 31),
    ),
}  # fmt: skip


@MODELS.register_module()
class SAMImageEncoder(PartOfSAM, ImageEncoderViT, BaseModule):
    """The ViT image encoder of SAM (Kirillov et al. 2023), with ``segment_anything``'s parameter names.

    Differences to ``segment_anything`` are in speed and memory alone (:class:`FusedAttention`), but for input sizes
    other than the built one, where `pos_embed` is interpolated (relative positions interpolate already).

    Args:
        arch: 'tiny' (5 M parameters, 256 px, ours), 'base', 'large' or 'huge'; or a dict of ``ImageEncoderViT``
            arguments.
        img_size: Side of the square image that `pos_embed` is made for; the architecture's own where None.
        conv_stem: Use a :class:`ConvStem` for the patch projection; only and always in 'tiny' where None.
        stem_stages: Return the stem's maps of strides 4 and 8, too, for a :class:`SAMMaskDecoder` with
            `stage_channels`; needs a :class:`ConvStem`.
        out_indices: Blocks whose output is returned beside the embedding, for heads that want inner stages.
        with_cp: Checkpoint the activations of every block, or of the blocks with these numbers: less memory, and a
            second forward pass of these blocks in training (about a third more time for all).
        init_cfg: As in any mmengine module.

    Raises:
        ValueError: unknown `arch`, an index in `out_indices` beyond the depth, `stem_stages` without a ConvStem, or an
            input whose sides are not multiples of 16.
    """

    PREFIXES = ('image_encoder.', 'backbone.')
    patch_size = 16

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | None = None,
        conv_stem: bool | None = None,
        stem_stages: bool = False,
        out_indices: Sequence[int] = (),
        with_cp: bool | Sequence[int] = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        if isinstance(arch, str) and arch not in ARCHS:
            raise ValueError(f'SAMImageEncoder: arch {arch!r} is not one of {sorted(ARCHS)} or a dict')
        settings = dict(ARCHS[arch]) if isinstance(arch, str) else dict(arch)
        if img_size is not None:
            settings['img_size'] = img_size
        super().__init__(
            patch_size=self.patch_size,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),  # pyright: ignore[reportArgumentType] (as in build_sam)
            use_rel_pos=True,
            **settings,
        )
        self.init_cfg = init_cfg
        self.arch = arch if isinstance(arch, str) else 'custom'
        self.embed_dim = settings['embed_dim']
        self.out_channels = settings['out_chans']
        self.with_cp = with_cp if isinstance(with_cp, bool) else tuple(with_cp)
        self.out_indices = tuple(out_indices)
        if any(not 0 <= index < len(self.blocks) for index in self.out_indices):
            raise ValueError(f'SAMImageEncoder: out_indices {self.out_indices} beyond the {len(self.blocks)} blocks')
        if not isinstance(self.with_cp, bool) and any(not 0 <= index < len(self.blocks) for index in self.with_cp):
            raise ValueError(f'SAMImageEncoder: with_cp {self.with_cp} beyond the {len(self.blocks)} blocks')
        if conv_stem or (conv_stem is None and arch == 'tiny'):
            self.patch_embed = ConvStem(self.embed_dim)
        if stem_stages and not isinstance(self.patch_embed, ConvStem):
            raise ValueError(
                'SAMImageEncoder: stem_stages=True with a patch projection, which has no maps of strides 4 and 8; '
                'expected conv_stem=True'
            )
        self.stem_stages = stem_stages
        block: Any
        for block in self.blocks:
            # Same parameters under the same names: only the class, and with it the formulation, differs.
            block.attn.__class__ = FusedAttention
        fuse_layer_norms(self.neck)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            x: (B, 3, H, W), H and W multiples of 16.

        Returns:
            The stages of `out_indices`, each (B, embed_dim, H/16, W/16); with `stem_stages`, (B, embed_dim/4, H/4,
            W/4) and (B, embed_dim/2, H/8, W/8); last the image embedding (B, out_channels, H/16, W/16).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        if x.shape[-2] % self.patch_size or x.shape[-1] % self.patch_size:
            raise ValueError(
                f'SAMImageEncoder: input of {tuple(x.shape[-2:])} (height, width), expected multiples of '
                f'{self.patch_size}; set size_divisor={self.patch_size} in the data preprocessor'
            )
        # Channels last in memory, which every block keeps: else each normalisation would copy, and each sum be slower.
        stem: Sequence[Tensor] = ()
        if self.stem_stages:
            x, *stem = cast('ConvStem', self.patch_embed).with_stages(x)
        else:
            x = self.patch_embed(x)
        x = x.contiguous()  # (B, h, w, embed_dim)
        if self.pos_embed is not None:
            x = x + self._fitted(self.pos_embed, x.shape[1], x.shape[2])
        stages = []
        for index, block in enumerate(self.blocks):
            again = self.training and (self.with_cp if isinstance(self.with_cp, bool) else index in self.with_cp)
            x = cast('Tensor', checkpointed(block, block, x) if again else block(x))
            if index in self.out_indices:
                stages.append(x.permute(0, 3, 1, 2))
        return (*stages, *stem, self.neck(x.permute(0, 3, 1, 2)))

    @staticmethod
    def _fitted(pos_embed: Tensor, height: int, width: int) -> Tensor:
        """(1, height, width, embed_dim); the parameter itself at the built size."""
        if pos_embed.shape[1:3] == (height, width):
            return pos_embed
        grid = pos_embed.permute(0, 3, 1, 2)
        grid = F.interpolate(grid, (height, width), mode='bicubic', align_corners=False)
        return grid.permute(0, 2, 3, 1)
