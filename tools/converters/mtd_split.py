"""Write train.txt and val.txt for MTD: the same as ``python -m mmsam_ext mtd-split``."""

import runpy
from pathlib import Path

if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))['run_command']('mtd-split')
