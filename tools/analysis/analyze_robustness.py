"""Plot accuracy and stability against prompt quality: the same as ``python -m mmsam_ext analyze-robustness``."""

import runpy
from pathlib import Path

if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))['run_command']('analyze-robustness')
