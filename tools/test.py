"""Test (and evaluate) a model: MMSegmentation's own ``tools/test.py``, with this package imported first.

Usage: python tools/test.py CONFIG CHECKPOINT [--work-dir DIR] [--out DIR] [--show-dir DIR] [--tta]
                            [--cfg-options KEY=VALUE ...]
       (all arguments: python tools/test.py --help)
"""

from _mmseg_tool import run_mmseg_tool

if __name__ == '__main__':
    run_mmseg_tool('test.py')
