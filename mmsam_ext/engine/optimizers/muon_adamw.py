"""`MuonAdamW`: Muon for weight matrices, AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmseg.registry import OPTIMIZERS
from torch import Tensor


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.Optimizer):
    """Combine PyTorch's Muon (Jordan et al. 2024) and AdamW into one optimizer with one learning rate.

    Muon is designed for the matrices of linear layers; all other parameters are updated by AdamW. Muon's steps are
    scaled to the size of AdamW's ("match_rms_adamw", Liu et al. 2025), so one learning rate and one weight decay serve
    both.

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
            self._parts.append(torch.optim.Muon(matrices, momentum=momentum, adjust_lr_fn='match_rms_adamw'))
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
