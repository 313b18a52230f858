from .printable import printable
from .text_files import read_text

__all__ = ['printable', 'read_text']
