from .printable import printable
from .result_files import ResultFolder, check_output_file, replacing
from .text_files import read_text

__all__ = ['ResultFolder', 'check_output_file', 'printable', 'read_text', 'replacing']
