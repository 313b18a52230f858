"""`TrainableCheckpointHook`: checkpoints of a few MB for models whose base is frozen."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsam_ext.checkpoints.base import KEY, base_file, base_record, keys_beyond, read_state, trained_keys

#: How many keys the log lists.
LISTED = 3


@HOOKS.register_module()
class TrainableCheckpointHook(Hook):
    """Save only the trained part of the model; record the base file's name and SHA-256 in the checkpoint's ``meta``.

    Frozen weights that the base does not hold, or holds with other values, are saved as well and logged: for example
    a pretrained feature encoder, or weights from ``load_from``. Loading such a checkpoint loads the base first (see
    :func:`mmsam_ext.checkpoints.base.load_base_state`), in training, testing and inference alike.

    Raises:
        ValueError: Before training, if the model's ``init_cfg`` names no base, or the model is sharded (FSDP).
    """

    #: After EMAHook, which exchanges all weights with its averages before a checkpoint is saved.
    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Find the base file, hash it, and determine which keys to save."""
        model: Any = runner.model
        if is_model_wrapper(model):
            from torch.distributed.fsdp import FullyShardedDataParallel  # slow to import, and needed here alone

            if isinstance(model, FullyShardedDataParallel):
                raise ValueError(
                    'TrainableCheckpointHook cannot tell the trained part of a sharded model (FSDP): remove it from '
                    'custom_hooks, so that checkpoints hold the whole model, or train with DDP'
                )
            model = model.module
        name = base_file(model)
        if name is None:
            raise ValueError(
                'TrainableCheckpointHook saves only the trained part, but the model has no base: set '
                "model.init_cfg=dict(type='Pretrained', checkpoint=...) or remove the hook"
            )
        self.base = base_record(name)
        trained, state = trained_keys(model), read_state(name)
        model.rename_state(state)
        self.keys = trained | keys_beyond(model, state)
        frozen = sorted(self.keys - trained)
        if frozen:
            named = ', '.join(frozen[:LISTED]) + (', ...' if len(frozen) > LISTED else '')
            runner.logger.info(
                f'Checkpoints will hold the trained part and {len(frozen)} frozen tensors that {name} does not hold as '
                f'they are: {named}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Drop the weights that the base provides."""
        self._reduce(checkpoint['state_dict'], '')
        if 'ema_state_dict' in checkpoint:
            self._reduce(checkpoint['ema_state_dict'], 'module')
        checkpoint['meta']['base'] = self.base

    def _reduce(self, state: dict, name: str) -> None:
        """Drop the keys that the base provides from a state dict whose model has the prefix `name` ('' for none)."""
        dot = f'{name}.' if name else ''
        for key in [key for key in state if key.startswith(dot) and key[len(dot) :] not in self.keys]:
            del state[key]
        metadata: dict[str, dict] = getattr(state, '_metadata')  # noqa: B009 (torch's documented place for versions)
        metadata.setdefault(name, {})[KEY] = self.base
