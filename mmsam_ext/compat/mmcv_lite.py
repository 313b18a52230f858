"""Let mmcv be imported without its compiled operators, and provide its focal loss where there is no kernel."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ._patch import replace

EXTENSION = 'mmcv._ext'
ADVICE = (
    'mmcv was installed without compiled operators (mmcv-lite). Install the full package if you need this one: '
    'pip uninstall -y mmcv-lite && pip install "setuptools<82" wheel ninja psutil && '
    'MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv==2.1.0'
)


class _MissingExtension(ModuleType):
    """Replace ``mmcv._ext`` by a module in which every operator exists but raises an error when it is called.

    Because only the extension is replaced, the real ``mmcv.ops`` can be imported and its pure Python parts, such as
    ``point_sample``, work. mmengine's ``mmcv_full_available()`` stays False, because the module spec has no loader.
    """

    def __init__(self) -> None:
        super().__init__(EXTENSION, 'Placeholder of mmsam_ext.compat for the compiled operators of mmcv.')
        self.__spec__ = ModuleSpec(EXTENSION, loader=None)

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):  # inspect, copy and pickle look these up and must find that they do not exist
            raise AttributeError(name)

        def missing(*args: object, **kwargs: object) -> None:
            raise NotImplementedError(f'mmcv operator `{name}` is not available: {ADVICE}')

        return missing

    @staticmethod
    def get_compiler_version() -> str:
        return 'n/a (mmcv-lite)'

    @staticmethod
    def get_compiling_cuda_version() -> str:
        return 'n/a (mmcv-lite)'


def apply() -> None:
    """Register the placeholder where mmcv is installed without its extension, and the focal loss in PyTorch.

    Without mmcv, nothing is done, so that the import error that names mmcv is shown.
    """
    if importlib.util.find_spec('mmcv') is None:
        return
    if EXTENSION not in sys.modules and importlib.util.find_spec(EXTENSION) is None:
        sys.modules[EXTENSION] = _MissingExtension()
    from mmcv import ops
    from mmcv.ops import focal_loss

    replace(focal_loss, 'sigmoid_focal_loss', _with_fallback)
    ops.sigmoid_focal_loss = focal_loss.sigmoid_focal_loss
    mmseg_loss: Any = sys.modules.get('mmseg.models.losses.focal_loss')
    if mmseg_loss is not None:  # mmseg was imported before this package, with the full mmcv
        mmseg_loss._sigmoid_focal_loss = focal_loss.sigmoid_focal_loss  # noqa: SLF001 (the name mmseg imported it by)


def _with_fallback(stock: Callable) -> Callable:
    has_kernel = not isinstance(sys.modules.get(EXTENSION), _MissingExtension)

    def sigmoid_focal_loss(
        input: Tensor,
        target: Tensor,
        gamma: float = 2.0,
        alpha: float = 0.25,
        weight: Tensor | None = None,
        reduction: str = 'mean',
    ) -> Tensor:
        if has_kernel and input.is_cuda:
            return stock(input, target, gamma, alpha, weight, reduction)
        return torch_sigmoid_focal_loss(input, target, gamma, alpha, weight, reduction)

    return sigmoid_focal_loss


def torch_sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Return the focal loss (Lin et al. 2017, equation 5), as mmcv's CUDA operator defines it.

    Args:
        input: (N, C) logits.
        target: (N,) int64 class of each row, 0 to C. C means background: all C classes are negative.
        gamma: Exponent that reduces the loss of well-classified elements.
        alpha: Weight of positive elements; negative ones have 1 - alpha.
        weight: (C,) factor for each target class.
        reduction: 'none', 'mean' (the sum divided by the number of rows, not of elements) or 'sum'.

    Returns:
        (N, C) for 'none', otherwise a scalar.
    """
    positive = torch.nn.functional.one_hot(target, input.shape[1] + 1)[:, : input.shape[1]].to(input)
    log_p, log_not_p = torch.nn.functional.logsigmoid(input), torch.nn.functional.logsigmoid(-input)
    loss = -positive * alpha * log_not_p.exp() ** gamma * log_p
    loss = loss - (1 - positive) * (1 - alpha) * log_p.exp() ** gamma * log_not_p
    if weight is not None:
        loss = loss * weight[target][:, None]
    if reduction == 'none':
        return loss
    return loss.sum() / input.shape[0] if reduction == 'mean' else loss.sum()
