"""Train a model: MMSegmentation's own ``tools/train.py``, with this package imported first.

Usage: python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] [--cfg-options KEY=VALUE ...]
       (all arguments: python tools/train.py --help)
"""

from _mmseg_tool import run_mmseg_tool

if __name__ == '__main__':
    run_mmseg_tool('train.py')
