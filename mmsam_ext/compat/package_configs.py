"""mmengine's look-up of configs in other packages, extended to this one.

``_base_ = 'mmsam_ext::spt_tiny_synthetic.py'`` in a config, and ``mmengine.hub.get_config('mmsam_ext::...')``. mmengine
looks into the packages of OpenMMLab alone (``MODULE2PACKAGE``), asks for a folder in the name, and builds the types of
an inherited config in a scope of the package's name; our components are in MMSeg's scope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmsam_ext.config_files import PREFIX, packaged_config

from ._patch import replace

if TYPE_CHECKING:
    from mmengine.config import Config


def apply() -> None:
    """Let mmengine find the configs of this package."""
    import mmengine.hub.hub
    from mmengine.config import Config

    replace(Config, '_get_cfg_path', _find_base)
    for owner in (mmengine.hub.hub, mmengine.hub):
        replace(owner, 'get_config', _get_config)


def _find_base(stock: Callable) -> Callable:
    def find_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
        """Return the file behind an entry of ``_base_`` in the config `filename`, and the scope of its types."""
        if not cfg_path.startswith(PREFIX):
            return stock(cfg_path, filename)
        try:
            return str(packaged_config(cfg_path)), None
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{filename}: _base_: {error}') from None

    return find_base


def _get_config(stock: Callable) -> Callable:
    def get_config(cfg_path: str, pretrained: bool = False) -> Config:
        """Return a config of another package; with `pretrained`, its `model_path` is where its weights are."""
        if not cfg_path.startswith(PREFIX):
            return stock(cfg_path, pretrained)
        from mmengine.config import Config

        config = Config.fromfile(str(packaged_config(cfg_path)))
        if pretrained:
            weights = (config.get('model', {}).get('init_cfg') or {}).get('checkpoint')
            if weights is None:
                raise ValueError(f'{cfg_path}: the config names no weights (model.init_cfg.checkpoint)')
            config.model_path = weights
        return config

    return get_config
