"""How a promptable segmentor takes a checkpoint."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmsam_ext.checkpoints.base import load_base_state, rename_with_base
from mmsam_ext.checkpoints.keys import adapt_state, check_state, rename_official_keys, untrained_parts

from .freezing import keep_frozen_in_eval


class CheckpointedMixin(nn.Module):
    """Load checkpoints of Meta, of this project and of the trained part alone; to be inherited before a segmentor.

    The segmentor registers :func:`mmsam_ext.checkpoints.keys.forgive_missing`, and calls :meth:`check_trained` before
    it predicts.
    """

    test_cfg: dict
    #: Modules that the last checkpoint did not bring.
    unloaded_parts: tuple[str, ...] = ()
    #: Whether a checkpoint was loaded, or the model was trained.
    has_weights = False

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *args: Any) -> None:
        """Complete a trainable-only checkpoint with its base, rename Meta's keys, and check all of them."""
        load_base_state(self, state_dict, prefix, local_metadata, rename_official_keys)
        source = rename_with_base(self, state_dict, prefix, rename_official_keys)
        adapt_state(self, state_dict, prefix)
        self.unloaded_parts = check_state(self, state_dict, prefix, source)
        self.has_weights = True
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def rename_state(self, state_dict: dict[str, Tensor], prefix: str = '') -> None:
        """Rename the keys of a plain SAM, Meta's or ours, to the names that they have in this model, in place."""
        rename_official_keys(state_dict, prefix)
        adapt_state(self, state_dict, prefix)

    def check_trained(self) -> None:
        """Check that the last checkpoint brought every part that predictions need, and warn if there was none at all.

        Raises:
            ValueError: It did not, and `test_cfg.untrained` is not set; the message names the parts.
        """
        if not self.has_weights:
            self.has_weights = True  # one warning is enough
            print_log(
                f'{type(self).__name__}: no checkpoint was loaded into this model, so it predicts with random weights',
                'current',
                logging.WARNING,
            )
        problem = '' if self.test_cfg.get('untrained') else untrained_parts(self, self.unloaded_parts)
        if problem:
            raise ValueError(
                f'{type(self).__name__}: {problem}. Give the checkpoint of the training with this config, or set '
                'model.test_cfg.untrained=True (--untrained) to use the model as it is'
            )

    def train(self, mode: bool = True) -> CheckpointedMixin:
        """Set the training mode as in any module, except that frozen parts stay in eval mode."""
        super().train(mode)
        if mode:
            keep_frozen_in_eval(self)
            self.unloaded_parts, self.has_weights = (), True  # they are trained from now on
        return self
