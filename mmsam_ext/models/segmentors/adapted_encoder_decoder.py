"""MMSegmentation's EncoderDecoder with PEFT layers, a list of what is trained, and checkpoints of the trained part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from mmsam_ext.checkpoints.base import load_base_state

from ..peft import inject_peft
from .freezing import freeze_all_but, keep_frozen_in_eval


@MODELS.register_module()
class AdaptedEncoderDecoder(EncoderDecoder):
    """An EncoderDecoder of which few parameters are trained.

    With ``TrainableCheckpointHook`` its checkpoints hold the trained part alone, on the file that ``init_cfg`` names,
    and with ``TrainableOptimWrapperConstructor`` only that part has an optimizer state.

    Args:
        *args: Arguments of EncoderDecoder.
        peft: Rules of :func:`inject_peft`.
        trainable: Patterns of the parameters to train; None trains all. Frozen modules stay in eval mode.
        **kwargs: Arguments of EncoderDecoder.

    Example:
        >>> model = dict(
        ...     type='AdaptedEncoderDecoder',
        ...     peft=[dict(type='LoRA', modules='ffn', rank=8)],
        ...     trainable=['lora', '^decode_head'],
        ... )
    """

    def __init__(
        self,
        *args: Any,
        peft: Sequence[dict] | dict[str, dict | None] = (),
        trainable: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        inject_peft(self, peft)
        freeze_all_but(self, trainable)

    def rename_state(self, state_dict: dict[str, Tensor], prefix: str = '') -> None:
        """Leave the keys of a base as they are: PEFT layers keep the names of the layers that they replace."""

    def train(self, mode: bool = True) -> AdaptedEncoderDecoder:
        """Set the training mode as in any module, except that frozen parts stay in eval mode."""
        super().train(mode)
        if mode:
            keep_frozen_in_eval(self)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *args: Any) -> None:
        """Complete a checkpoint of the trained part with its base."""
        load_base_state(self, state_dict, prefix, local_metadata, self.rename_state)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
