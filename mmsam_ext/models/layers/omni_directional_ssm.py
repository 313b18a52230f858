"""OD-SSM: a state space model that scans an image in up to eight directions (ODS-SAM, section 3.3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .scan_directions import DIRECTIONS, merge_directions, scan_orders, split_directions
from .selective_scan import BACKENDS, selective_scan


class OmniDirectionalSSM(nn.Module):
    """Scan an image in several directions and add up the results.

    y = x + out(norm(sum over directions of scan(SiLU(DWConv(u)))) * SiLU(z)), with u, z = in(norm(x)).

    Every direction has its own step sizes, B, C and A; all are scanned in one call. The paper does not describe the
    block around the scan; this is Mamba's with a 3x3 depthwise convolution, as in VMamba (arXiv:2401.10166).

    Paper: ODS-SAM, section 3.3.

    Args:
        dim: d, channels of the map and of the scan.
        num_directions: K, 8 (rows, columns, both diagonals, each both ways), 4 (without diagonals), 2 (rows) or 1.
        d_state: N, the number of states per channel.
        dt_rank: Rank of the step sizes.
        backend, chunk_size: As :func:`selective_scan`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        dim: int,
        num_directions: int = 8,
        d_state: int = 16,
        dt_rank: int = 16,
        backend: str = 'auto',
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        if num_directions not in DIRECTIONS:
            raise ValueError(f'OmniDirectionalSSM: num_directions={num_directions}, expected one of {DIRECTIONS}')
        if backend not in BACKENDS:
            raise ValueError(f'OmniDirectionalSSM: backend={backend!r}, expected one of {BACKENDS}')
        sizes = dict(dim=dim, d_state=d_state, dt_rank=dt_rank, chunk_size=1 if chunk_size is None else chunk_size)
        for name, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'OmniDirectionalSSM: {name}={value!r}, expected a whole number of 1 or more')
        self.num_directions, self.d_state, self.dt_rank = num_directions, d_state, dt_rank
        self.backend, self.chunk_size = backend, chunk_size
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        # of each direction: step sizes (low rank), B and C
        self.x_proj = nn.Linear(dim, num_directions * (dt_rank + 2 * d_state), bias=False)
        self.dt_weight = nn.Parameter(torch.empty(num_directions, dt_rank, dim))
        self.dt_bias = nn.Parameter(torch.empty(num_directions, dim))
        self.A_log = nn.Parameter(torch.empty(num_directions, dim, d_state))
        self.D = nn.Parameter(torch.ones(num_directions, dim))
        self.out_norm = nn.LayerNorm(dim)
        self.out_proj = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self, dt_min: float = 1e-3, dt_max: float = 0.1) -> None:
        """Initialise as Mamba does: step sizes log-uniform between `dt_min` and `dt_max`, A = -(1, ..., N)."""
        nn.init.uniform_(self.dt_weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        with torch.no_grad():
            step = torch.empty_like(self.dt_bias).uniform_(math.log(dt_min), math.log(dt_max)).exp()
            self.dt_bias.copy_(step + torch.log(-torch.expm1(-step)))  # the inverse of softplus
            self.A_log.copy_(torch.arange(1, self.d_state + 1).float().log().expand_as(self.A_log))

    def forward(self, x: Tensor) -> Tensor:
        """Scan (B, d, h, w); the result has the same shape."""
        batch, dim, height, width = x.shape
        size, directions = (height, width), self.num_directions
        tokens = x.flatten(2).transpose(1, 2)  # (B, L, d)
        u, gate = self.in_proj(self.norm(tokens)).chunk(2, -1)
        u = F.silu(self.conv(u.unflatten(1, size).permute(0, 3, 1, 2))).flatten(2).transpose(1, 2)  # (B, L, d)
        # Pointwise, so before the tokens are put in order; a direction keeps its own part of the columns.
        parts = self.x_proj(u).unflatten(2, (directions, -1)).transpose(1, 2)  # (B, K, L, dt_rank + 2 N)
        orders = scan_orders(height, width, directions, x.device)[:, :, None]
        parts = parts.gather(2, orders.expand_as(parts))
        step, B, C = parts.split((self.dt_rank, self.d_state, self.d_state), -1)
        y = selective_scan(
            split_directions(u, size, directions),  # (B, K, L, d)
            step @ self.dt_weight.to(step.dtype),
            -self.A_log.float().exp(),
            B,
            C,
            self.D,
            self.dt_bias,
            delta_softplus=True,
            backend=self.backend,
            chunk_size=self.chunk_size,
        )
        y = self.out_norm(merge_directions(y, size)) * F.silu(gate)
        return x + self.out_proj(y).transpose(1, 2).reshape(batch, dim, height, width)
