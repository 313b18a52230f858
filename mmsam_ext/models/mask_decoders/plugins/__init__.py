from .base import DecoderContext, DecoderPlugin, install_plugins
from .visual_relation_adapter import VRAAdapter, visual_relation

__all__ = ['DecoderContext', 'DecoderPlugin', 'VRAAdapter', 'install_plugins', 'visual_relation']
