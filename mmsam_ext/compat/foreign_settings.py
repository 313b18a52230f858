"""What MMSegmentation's scripts look up in a config that a promptable segmentor's config does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._patch import replace

#: Settings of an EncoderDecoder -> what to do on a promptable segmentor instead.
OF_ENCODER_DECODER = {
    'decode_head': 'a promptable segmentor has no decode_head. Its decoder is `mask_decoder`, its number of classes '
    '`num_classes` of the model. MMSegmentation\'s get_flops.py works on models with a decode_head only (and with '
    'mmengine 0.10 on none): run `python -m mmsam_ext model-cost CONFIG`',
    'data_preprocessor': 'the config of a promptable segmentor has its data_preprocessor in `model`, without `mean` '
    "and `std`. MMSegmentation's visualization_cam.py looks for it outside of the model; it cannot work on promptable "
    'segmentors anyway: it draws the gradients of class scores, which they do not have',
}  # fmt: skip


def apply() -> None:
    """Let the AttributeError of a config say why the setting is missing."""
    from mmengine.config import ConfigDict

    replace(ConfigDict, '__getattr__', _explained)


def _explained(stock: Callable) -> Callable:
    def __getattr__(self: Any, name: str) -> Any:  # noqa: N807 (a method of ConfigDict)
        try:
            return stock(self, name)
        except AttributeError:
            model = self if name == 'decode_head' else dict.get(self, 'model')
            if name in OF_ENCODER_DECODER and isinstance(model, dict) and dict.__contains__(model, 'mask_decoder'):
                raise AttributeError(f'{name}: {OF_ENCODER_DECODER[name]}') from None
            raise

    return __getattr__
