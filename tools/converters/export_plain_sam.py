"""Write the SAM in a checkpoint under Meta's key names: the same as ``python -m mmsam_ext export-plain-sam``."""

import runpy
from pathlib import Path

if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))['run_command']('export-plain-sam')
