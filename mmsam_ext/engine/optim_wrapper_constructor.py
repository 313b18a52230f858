"""`TrainableOptimWrapperConstructor`: an optimizer over the trained parameters only."""

from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Build an optimizer like mmengine's default constructor, but without frozen parameters.

    With a `paramwise_cfg`, parameters with equal options share a group. mmengine makes one group per parameter, which
    keeps PyTorch from updating them in one call.

    Raises:
        ValueError: The model has no parameter to train.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of `model`; `paramwise_cfg` works as in mmengine."""
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                'there is no parameter to train: `model.trainable` is empty. A zero-shot config can only be tested'
            )
        # mmengine calls add_params only if there is a paramwise_cfg.
        self.paramwise_cfg = self.paramwise_cfg or dict(bypass_duplicate=False)
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Append the groups of `module` to `params`."""
        if any(parameter.requires_grad for parameter in module.parameters()):
            super().add_params(params, module, prefix=prefix, **kwargs)
        if not prefix:
            if self.optimizer_cfg['type'] == 'MuonAdamW':
                _mark_matrices(params, module)
            params[:] = _merged(params)


def _mark_matrices(groups: list[dict], model: nn.Module) -> None:
    """Mark the weights of linear layers for :class:`MuonAdamW`; convolutions and embeddings are excluded."""
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    for group in groups:
        group['matrix'] = all(id(parameter) in matrices for parameter in group['params'])


def _merged(groups: list[dict]) -> list[dict]:
    """Merge groups with equal options, in the order of their first parameters."""
    merged: dict[tuple, dict] = {}
    for group in groups:
        options = {key: value for key, value in group.items() if key != 'params'}
        same = merged.setdefault(tuple(sorted(options.items())), dict(options, params=[]))
        same['params'] += group['params']
    return list(merged.values())
