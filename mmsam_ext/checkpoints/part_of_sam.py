"""Parts of SAM that are loaded by themselves from a checkpoint of the whole model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from torch import Tensor, nn

from .formats import describe, strip_wrapping
from .keys import adapt_state, check_state, rename_official_keys

# A mix-in: the class that it is mixed into is the module.
_Module = nn.Module if TYPE_CHECKING else object


class PartOfSAM(_Module):
    """Mix in for a part of SAM, which finds its weights in a checkpoint of a whole SAM, Meta's or ours.

    This is for a part outside of :class:`PromptableSegmentor`, as the backbone of MMSegmentation's ``EncoderDecoder``:
    mmengine loads non-strictly, so that with the keys of the whole model nothing would be loaded, and training would go
    on from random weights.

    Example::

        backbone = dict(
            type='SAMImageEncoder', init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_b_01ec64.pth')
        )
    """

    #: What the keys of this part begin with in a checkpoint of the whole model.
    PREFIXES: tuple[str, ...]
    #: Keys of this part that stand at the top level of a checkpoint of the whole model, too.
    TOP_LEVEL: tuple[str, ...] = ()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Move the keys of this part to `prefix`, unless they are there already.

        Raises:
            ValueError: The part is loaded by itself, and the checkpoint has none of its weights, or not all of them.
        """
        own = [prefix + key for key in self.state_dict() if key not in self.TOP_LEVEL]
        if own and not any(key in state_dict for key in own):
            self._take_part(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _take_part(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        if not prefix:
            strip_wrapping(state_dict)
        if not prefix and any(key in state_dict for key in self.state_dict() if key not in self.TOP_LEVEL):
            return
        source = rename_official_keys(state_dict) if not prefix else None
        known = describe(list(state_dict) if source is None else source)
        found = next((part for part in self.PREFIXES if any(key.startswith(part) for key in state_dict)), None)
        if found is None:
            if prefix:  # mmengine passes only keys with this prefix, so that those of a whole SAM cannot be seen here
                print_log(
                    f'{type(self).__name__}: the checkpoint has no weights under {prefix!r}, so they stay as they are. '
                    'For a checkpoint of a whole SAM, set init_cfg on this part, not on the model around it',
                    logger='current',
                    level=logging.WARNING,
                )
                return
            first = ', '.join(list(state_dict)[:3])
            raise ValueError(
                f'{type(self).__name__}: the checkpoint has none of its weights ({len(state_dict)} keys: {first}, ...) '
                f'but should have keys as {next(iter(self.state_dict()))}, or those of a whole SAM, which begin with '
                f'{" or ".join(self.PREFIXES)}{f". {known}" if known else ""}'
            )
        part = {key.removeprefix(found): state_dict.pop(key) for key in list(state_dict) if key.startswith(found)}
        if not prefix:
            state_dict.clear()  # the other parts of SAM
        adapt_state(self, part)
        check_state(self, part, source=source)
        state_dict.update({prefix + key: value for key, value in part.items()})
