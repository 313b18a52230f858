"""DoRA: LoRA on the direction of a weight, with a magnitude of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .lora import LoRA


@MODELS.register_module()
class DoRA(LoRA):
    """Train the direction of a weight by LoRA and its magnitude by a vector.

    y = m (W + scale B A) / ||W + scale B A|| x + b, where the norm is that of each row.

    The magnitude m (out_features of the adapted slices,) is the norm of the pretrained rows, so the layer starts as the
    plain one (up to rounding). It is computed again when pretrained weights without a magnitude are loaded. The
    backward pass treats the norm as a constant (section 4.3 of the paper).

    Paper: Liu et al. 2024 (arXiv:2402.09353), equation 5.

    Args:
        linear, rank, alpha, dropout, num_slices, slices: As :class:`LoRA`.
    """

    added_to_sam = ('lora_a', 'lora_b', 'magnitude')

    def __init__(self, linear: nn.Linear, *args, **kwargs) -> None:
        super().__init__(linear, *args, **kwargs)
        self.magnitude = nn.Parameter(self._rows(self.weight).detach().norm(dim=1))

    def _rows(self, weight: Tensor) -> Tensor:
        """Return the rows of the adapted slices, in the order of `slices`."""
        if len(self.slices) == self.num_slices and self.slices == tuple(range(self.num_slices)):
            return weight
        return torch.cat([weight[index * self.width : (index + 1) * self.width] for index in self.slices])

    def _factor(self) -> Tensor:
        """Return m / ||W + scale B A||, (adapted rows,)."""
        parts = zip(self.lora_b.split(self.width), self.lora_a.split(self.rank), strict=True)
        delta = torch.cat([up @ down for up, down in parts])
        norm = (self._rows(self.weight) + self.scale * delta).detach().norm(dim=1)
        return self.magnitude / norm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (..., in_features); returns (..., out_features)."""
        if self._in_one_product():
            return F.linear(x, self.merged_weight(), self.bias)
        plain = F.linear(x, self.weight)
        dropped = self.dropout(x)
        down = F.linear(dropped, self.lora_a) * self.scale
        # With dropout the pretrained part sees the dropped input too where it is rescaled, as in HF peft.
        base = F.linear(dropped, self.weight) if self.dropout.p and self.training else plain
        updates = []
        parts = zip(
            self.slices,
            down.split(self.rank, -1),
            self.lora_b.split(self.width),
            self._factor().split(self.width),
            strict=True,
        )
        for index, part, weight, factor in parts:
            rows = base[..., index * self.width : (index + 1) * self.width]
            updates.append((factor - 1) * rows + factor * F.linear(part, weight))
        out = self._add_slices(plain, updates)
        return out if self.bias is None else out + self.bias

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Derive the magnitude from pretrained weights that come without one."""
        weight = state_dict.get(prefix + 'weight')
        if weight is not None and prefix + 'magnitude' not in state_dict and prefix + 'lora_a' not in state_dict:
            state_dict[prefix + 'magnitude'] = self._rows(weight.float()).norm(dim=1)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return m (W + scale B A) / ||W + scale B A||, (out_features, in_features), without a gradient."""
        weight = self.weight + self.delta()
        for index, factor in zip(self.slices, self._factor().split(self.width), strict=True):
            weight[index * self.width : (index + 1) * self.width] *= factor[:, None]
        return weight

    def unmerged_weight(self) -> Tensor:
        """Raise an error, as DoRA cannot be taken out of merged weights.

        Raises:
            TypeError: Always. A merged row keeps only the direction of W + scale B A.
        """
        raise TypeError('DoRA cannot be taken out of a merged weight: the lengths of its rows are lost')
