from .presence_head import PresenceHead

__all__ = ['PresenceHead']
