"""`MuonAdamW`: Muon for weight matrices, AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmseg.registry import OPTIMIZERS
from torch import Tensor

from mmsam_ext.models.layers.bf16_units import has_bf16_units

#: Coefficients of the quintic Newton-Schulz iteration (Jordan et al. 2024), those of torch.optim.Muon.
QUINTIC = (3.4445, -4.7750, 2.0315)


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.Optimizer):
    """Combine PyTorch's Muon (Jordan et al. 2024) and AdamW into one optimizer with one learning rate.

    Muon is designed for the matrices of linear layers; all other parameters are updated by AdamW. Muon's steps are
    scaled to the size of AdamW's ("match_rms_adamw", Liu et al. 2025), so one learning rate and one weight decay serve
    both. PyTorch computes Muon's direction in bf16; on devices that are slow in bf16 it is computed in fp32 here.

    Args:
        params: Parameters or groups. A group with ``matrix=True`` holds weights of linear layers, (out, in) each, and
            goes to Muon; :class:`TrainableOptimWrapperConstructor` makes such groups.
        lr: Learning rate of both.
        betas: AdamW's coefficients of its running averages.
        eps: AdamW's term for numerical stability.
        momentum: Muon's momentum.
        weight_decay: Decoupled weight decay of both.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, matrix=False))
        matrices = [group for group in self.param_groups if group['matrix']]
        others = [group for group in self.param_groups if not group['matrix']]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(_Muon(matrices, momentum=momentum, adjust_lr_fn='match_rms_adamw'))
        if others:
            self._parts.append(torch.optim.AdamW(others, betas=(betas[0], betas[1]), eps=eps))
        self._share()

    def _share(self) -> None:
        """Let both parts share this optimizer's groups and state, which are what schedulers and checkpoints see."""
        for part in self._parts:
            wants = isinstance(part, torch.optim.Muon)
            part.param_groups = [group for group in self.param_groups if group['matrix'] == wants]
            part.state = self.state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state as any optimizer does."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update all parameters; `closure`, if given, recomputes the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss


class _Muon(torch.optim.Muon):
    """PyTorch's Muon, in fp32 on devices without units for bf16, where its matrix products would be emulated."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all matrices."""
        devices = {p.device for group in self.param_groups for p in group['params'] if p.grad is not None}
        if all(has_bf16_units(device) for device in devices):
            super().step()
            return
        for group in self.param_groups:
            for matrix in group['params']:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if 'momentum_buffer' not in state:
                    state['momentum_buffer'] = torch.zeros_like(matrix.grad)
                average = state['momentum_buffer'].lerp_(matrix.grad, 1 - group['momentum'])
                direction = orthogonalized(matrix.grad.lerp(average, group['momentum']), group['ns_steps'])
                matrix.mul_(1 - group['lr'] * group['weight_decay'])
                matrix.add_(direction, alpha=-0.2 * group['lr'] * max(matrix.shape) ** 0.5)


def orthogonalized(matrix: Tensor, steps: int = 5) -> Tensor:
    """Approximate the nearest semi-orthogonal matrix: large singular values move to about 1, and tiny ones towards it.

    Source: Newton-Schulz iteration of Muon (Jordan et al. 2024), in the matrix's dtype.

    Args:
        matrix: (m, n), any scale.
        steps: Number of iterations.

    Returns:
        (m, n).
    """
    a, b, c = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
