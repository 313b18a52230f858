"""Convert a checkpoint of SPT's authors: the same as ``python -m mmsam_ext convert spt-official``."""

import runpy
import sys
from pathlib import Path

if __name__ == '__main__':
    sys.argv.insert(1, 'spt-official')
    runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))['run_command']('convert')
