"""Whether a device has units for bf16."""

from __future__ import annotations

from functools import lru_cache

import torch


def has_bf16_units(device: torch.device) -> bool:
    """Return whether a device computes in bf16 faster than in fp32.

    These are GPUs of compute capability 8.0 or more, and CPUs with AVX-512 BF16, AMX or the bf16 extension of Arm.
    """
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == 'cpu' and cpu_has_bf16_units()


@lru_cache
def cpu_has_bf16_units() -> bool:
    """Return whether this machine's CPU multiplies matrices in bf16 faster than in fp32.

    Not so where ``ATEN_CPU_CAPABILITY`` tells PyTorch to leave the units out.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    units = any(capabilities.get(name) for name in ('avx512_bf16', 'amx_bf16', 'bf16', 'arm_bf16'))
    return units and not avx512_is_hidden()


@lru_cache
def avx512_is_hidden() -> bool:
    """Return whether ``ATEN_CPU_CAPABILITY`` tells PyTorch to leave out the AVX-512 that this processor has."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    return bool(capabilities.get('avx512_f')) and torch.backends.cpu.get_cpu_capability() in ('DEFAULT', 'AVX2')
