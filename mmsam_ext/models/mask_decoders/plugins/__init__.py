from .base import DecoderContext, DecoderPlugin, install_plugins

__all__ = ['DecoderContext', 'DecoderPlugin', 'install_plugins']
