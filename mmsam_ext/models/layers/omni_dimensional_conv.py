"""Omni-dimensional dynamic convolution (Li, Zhou and Yao, ICLR 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OmniDimensionalConv(nn.Module):
    """Convolve with a kernel that is mixed for each image from n kernels W_i.

    ::

        y = (sum_i a_kernel[i] * a_output * a_input * a_spatial * W_i) conv x

    The four attentions come from the globally pooled input: a hidden layer, then a sigmoid (for the kernels a softmax),
    whose input is divided by a temperature. The official code normalises the hidden layer over the batch, which fails
    for a batch of one; here it is a LayerNorm.

    Paper: Li, Zhou and Yao, "Omni-Dimensional Dynamic Convolution", ICLR 2022 (arXiv:2209.07947), equation 2.

    Args:
        in_channels, out_channels: Channels of the input and output maps.
        kernel_size: Side of the kernel, an odd number; the map keeps its size.
        dilation: Dilation of the kernel.
        num_kernels: n, the number of kernels.
        reduction: The hidden layer has in_channels / reduction channels, at least 16.

    Raises:
        ValueError: The kernel size is even, or a number is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        num_kernels: int = 4,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or min(kernel_size, dilation, num_kernels, reduction) < 1:
            raise ValueError(
                f'OmniDimensionalConv: kernel_size={kernel_size}, dilation={dilation}, num_kernels={num_kernels}, '
                f'reduction={reduction}; expected an odd kernel size and numbers of 1 or more'
            )
        self.dilation = dilation
        self.padding = dilation * (kernel_size // 2)
        self.weight = nn.Parameter(torch.empty(num_kernels, out_channels, in_channels, kernel_size, kernel_size))
        for kernel in self.weight:
            nn.init.kaiming_normal_(kernel, mode='fan_out', nonlinearity='relu')
        hidden = max(in_channels // reduction, 16)
        self.hidden = nn.Sequential(
            nn.Linear(in_channels, hidden, bias=False), nn.LayerNorm(hidden), nn.ReLU(inplace=True)
        )
        self.input_attention = nn.Linear(hidden, in_channels)
        self.output_attention = nn.Linear(hidden, out_channels)
        self.spatial_attention = nn.Linear(hidden, kernel_size**2)
        self.kernel_attention = nn.Linear(hidden, num_kernels)
        for linear in (self.input_attention, self.output_attention, self.spatial_attention, self.kernel_attention):
            nn.init.kaiming_normal_(linear.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(linear.bias)
        # A buffer, so that a checkpoint is tested at the temperature that it was trained at.
        self.temperature: Tensor
        self.register_buffer('temperature', torch.ones(()))

    def attentions(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the attentions of maps (B, C, h, w).

        Returns:
            Attention over input channels (B, C), output channels (B, O) and positions in the kernel (B, k * k), each in
            (0, 1), and over kernels (B, n), which sum to 1.
        """
        hidden = self.hidden(x.mean((2, 3)))
        heads = (self.input_attention, self.output_attention, self.spatial_attention)
        channel, filters, spatial = ((head(hidden) / self.temperature).sigmoid() for head in heads)
        return channel, filters, spatial, (self.kernel_attention(hidden) / self.temperature).softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, h, w) to (B, O, h, w), in one grouped convolution for the whole batch."""
        batch, channels, height, width = x.shape
        # In tracing, sizes are tensors, but a kernel's shape must be known.
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            batch, channels, height, width = int(batch), int(channels), int(height), int(width)
        channel, filters, spatial, kernel = self.attentions(x)
        weight = torch.einsum('bn,nois->bois', kernel, self.weight.flatten(3)) * spatial[:, None, None]
        weight = weight.reshape(batch * self.weight.shape[1], channels, *self.weight.shape[-2:])  # (B * O, C, k, k)
        x = (x * channel[:, :, None, None]).reshape(1, -1, height, width)  # (1, B * C, h, w)
        y = F.conv2d(x, weight.to(x.dtype), padding=self.padding, dilation=self.dilation, groups=batch)
        return y.reshape(batch, -1, height, width) * filters[:, :, None, None]
