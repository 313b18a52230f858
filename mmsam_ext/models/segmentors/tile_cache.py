"""`TileCache`: the features of the tiles of one image, encoded when they are needed first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from torch import Tensor

from mmsam_ext.structures import SAMFeatures

if TYPE_CHECKING:
    from .promptable_segmentor import PromptableSegmentor


class TileCache:
    """Keep the features of tiles of an image that is prompted several times.

    Args:
        limit_mb: Megabytes that may be kept; the tiles used longest ago are dropped first.

    Raises:
        ValueError: By :meth:`features`, one tile takes more than the limit; the error says how much it needs.
    """

    def __init__(self, limit_mb: int = 1024) -> None:
        self.limit = limit_mb * 2**20
        self._kept: OrderedDict[Hashable, SAMFeatures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def features(self, model: PromptableSegmentor, key: Hashable, crop: Tensor) -> SAMFeatures:
        """Return the features of a crop (1, 3, h, w); `key` names it."""
        if key not in self._kept:
            features = model.extract_feat(crop)
            size = _bytes(features)
            if size > self.limit:
                raise ValueError(
                    f'test_cfg.cache_mb is {self.limit // 2**20}, but the features of one tile of {crop.shape[-2]} x '
                    f'{crop.shape[-1]} pixels take {size / 2**20:.1f} MB; set cache_mb to {-(-size // 2**20)} or more'
                )
            self._kept[key] = features
            while sum(map(_bytes, self._kept.values())) > self.limit:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _bytes(features: SAMFeatures) -> int:
    """Return the memory of an image's features: embedding, inner stages and the network input."""
    tensors = [features.embedding, *features.stages, *([] if features.image is None else [features.image])]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
