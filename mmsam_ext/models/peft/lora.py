"""LoRA on output slices of a linear layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.checkpoints.errors import CheckpointError

from ..layers.plain_operations import needs_plain_operations

#: Where a state dict's metadata has the settings that a layer was trained with:
#: ``state_dict._metadata[LAYER][SETTINGS] = dict(scale=..., slices=...)``. No tensor's shape shows them.
SETTINGS = 'mmsam_ext_lora'


class PEFTLinear(nn.Linear):
    """Base class of PEFT layers: an ``nn.Linear`` with additions.

    The parameters of the linear layer keep their names, so checkpoints of the plain layer load unchanged.

    Args:
        linear: The layer to adapt; its parameters are taken over, not copied.
    """

    #: Names of the added parameters and sub-modules, which a plain checkpoint does not have.
    added_to_sam: tuple[str, ...] = ()

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device='meta')
        self.weight, self.bias = linear.weight, linear.bias

    def merged(self) -> nn.Linear:
        """Return a plain ``nn.Linear`` that computes the same.

        Raises:
            TypeError: The layer does not support merging.
        """
        raise TypeError(f'{type(self).__name__} cannot be merged into a linear layer: it is not linear')

    def unmerged_weight(self) -> Tensor:
        """Return the plain weight (out_features, in_features), computed from a merged one.

        Raises:
            TypeError: The layer does not support unmerging.
        """
        raise TypeError(f'{type(self).__name__} cannot be taken out of a merged weight')


@MODELS.register_module()
class LoRA(PEFTLinear):
    """Add a low-rank update to some slices of a linear layer's output: W x + b + (alpha / rank) B A x.

    B starts at zero, so the layer starts as the plain one.

    Paper: Hu et al. 2021 (arXiv:2106.09685), equation 3.

    Args:
        linear: The layer to adapt.
        rank: Rows of A for each slice.
        alpha: The scale is alpha / rank.
        dropout: Dropout probability of the input of A, in training.
        num_slices: Number of equal slices that the output is cut into (3 for a fused qkv).
        slices: Which of them are adapted; None: all.

    Raises:
        ValueError: The rank is below 1, the output is not divisible by `num_slices`, or `slices` is empty, repeats a
            slice or names one that does not exist.
        CheckpointError: When loading, the checkpoint was trained with another scale or other slices.
    """

    added_to_sam = ('lora_a', 'lora_b')

    def __init__(
        self,
        linear: nn.Linear,
        rank: int = 8,
        alpha: float = 1.0,
        dropout: float = 0.0,
        num_slices: int = 1,
        slices: Sequence[int] | None = None,
    ) -> None:
        super().__init__(linear)
        if rank < 1:
            raise ValueError(f'LoRA: rank={rank}, expected 1 or more')
        if num_slices < 1:
            raise ValueError(f'LoRA: num_slices={num_slices}, expected 1 or more')
        if self.out_features % num_slices:
            raise ValueError(f'LoRA: {self.out_features} outputs cannot be cut into num_slices={num_slices} parts')
        self.slices = tuple(range(num_slices)) if slices is None else tuple(slices)
        there = all(isinstance(index, int) and 0 <= index < num_slices for index in self.slices)
        if not self.slices or not there or len(set(self.slices)) != len(self.slices):
            raise ValueError(
                f'LoRA: slices={self.slices}, expected different whole numbers from 0 below num_slices={num_slices}'
            )
        self.rank, self.scale, self.num_slices = rank, alpha / rank, num_slices
        self.width = self.out_features // num_slices
        kind: Any = dict(device=self.weight.device, dtype=self.weight.dtype)
        self.lora_a = nn.Parameter(torch.empty(rank * len(self.slices), self.in_features, **kind))
        self.lora_b = nn.Parameter(torch.zeros(self.width * len(self.slices), rank, **kind))
        self.dropout = nn.Dropout(dropout)
        if self.lora_a.device.type != 'meta':
            for part in self.lora_a.split(rank):
                nn.init.kaiming_uniform_(part, a=math.sqrt(5))
        self.register_state_dict_post_hook(_record_settings)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: Mapping, *args: Any) -> None:
        """Check that the update was trained with this scale and these slices."""
        if prefix + 'lora_a' in state_dict:
            self._check_settings(prefix, local_metadata.get(SETTINGS))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def _check_settings(self, prefix: str, settings: Mapping[str, Any] | None) -> None:
        """Compare what a checkpoint says of its training with this layer.

        Raises:
            CheckpointError: They differ, or the record is not one of this class.
        """
        if settings is None:
            if self.scale != 1 / self.rank:
                warnings.warn(
                    f'The checkpoint does not say with which alpha its {type(self).__name__} was trained; it is used '
                    f'with alpha={self.scale * self.rank:g} of model.peft. It must be that of the training.',
                    stacklevel=2,
                )
            return
        try:
            scale, slices = float(settings['scale']), tuple(settings['slices'])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f'{prefix[:-1]}: the checkpoint has {SETTINGS}={str(settings)[:100]!r}, expected a dict with scale (a '
                'number) and slices (whole numbers)'
            ) from error
        if not math.isclose(scale, self.scale) or slices != self.slices:
            raise CheckpointError(
                f'{prefix[:-1]}: the checkpoint was trained with alpha={scale * self.rank:g} (at rank={self.rank}) and '
                f'slices={slices}, the model has alpha={self.scale * self.rank:g} and slices={self.slices}; '
                'set them in model.peft'
            )

    def extra_repr(self) -> str:
        """Return the options to show when the model is printed."""
        return f'{super().extra_repr()}, rank={self.rank}, scale={self.scale:g}, slices={self.slices}'

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (..., in_features); returns (..., out_features)."""
        if self._in_one_product():
            return F.linear(x, self.merged_weight(), self.bias)
        out = F.linear(x, self.weight, self.bias)
        down = F.linear(self.dropout(x), self.lora_a) * self.scale  # (..., slices * rank)
        up = [
            F.linear(part, weight)
            for part, weight in zip(down.split(self.rank, -1), self.lora_b.split(self.width), strict=True)
        ]
        if needs_plain_operations():
            return self._add_slices(out, up)
        starts = [self.width * index for index in self.slices]
        return _AddToSlices.apply(out, starts, *up)  # pyright: ignore[reportReturnType]

    def _add_slices(self, out: Tensor, updates: list[Tensor]) -> Tensor:
        """Add an update (..., width) to each adapted slice of `out` (..., out_features)."""
        if len(updates) == self.num_slices:
            order = sorted(range(self.num_slices), key=lambda place: self.slices[place])
            return out + (updates[0] if self.num_slices == 1 else torch.cat([updates[place] for place in order], -1))
        zeros = torch.zeros_like(updates[0])
        placed = dict(zip(self.slices, updates, strict=True))
        return out + torch.cat([placed.get(index, zeros) for index in range(self.num_slices)], -1)

    def delta(self) -> Tensor:
        """Return what is added to the weight, (out_features, in_features)."""
        delta = torch.zeros_like(self.weight)
        for index, down, up in zip(
            self.slices, self.lora_a.split(self.rank), self.lora_b.split(self.width), strict=True
        ):
            delta[index * self.width : (index + 1) * self.width] = self.scale * up @ down
        return delta

    def merged_weight(self) -> Tensor:
        """Return W + scale B A, (out_features, in_features)."""
        return self.weight + self.delta()

    def _in_one_product(self) -> bool:
        """Return whether to add up the weights: without gradients and dropout this is cheaper than a second product."""
        return not torch.is_grad_enabled() and not (self.training and self.dropout.p)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a plain layer with :meth:`merged_weight`."""
        return plain_linear(self.merged_weight(), self.bias)

    @torch.no_grad()
    def unmerged_weight(self) -> Tensor:
        """Return W, (out_features, in_features), computed from W + scale B A."""
        return self.weight - self.delta()


def _record_settings(layer: LoRA, state_dict: Any, prefix: str, local_metadata: dict) -> None:
    """Note the settings of a layer in the metadata of a state dict, in place."""
    local_metadata[SETTINGS] = dict(scale=layer.scale, slices=layer.slices)


class _AddToSlices(torch.autograd.Function):
    """Add updates to slices of a tensor in place: no second tensor of its size, and no copy of its gradient."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, starts: Sequence[int], *updates: Tensor) -> Tensor:
        """Add update i (..., width) to out[..., starts[i] : starts[i] + width]; returns `out`."""
        ctx.mark_dirty(out)
        ctx.slices = [slice(start, start + update.shape[-1]) for start, update in zip(starts, updates, strict=True)]
        for where, update in zip(ctx.slices, updates, strict=True):
            out[..., where] += update
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `out`, of `starts` (None) and of each update, as views."""
        (gradient,) = gradients
        return gradient, None, *(gradient[..., where] for where in ctx.slices)


def plain_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return an ``nn.Linear`` with this weight (out, in) and bias (out,)."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device='meta')
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear
