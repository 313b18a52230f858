"""Run ``python -m mmsam_ext COMMAND``; ``python -m mmsam_ext --help`` lists the commands."""

import sys

from mmsam_ext.cli import main

if __name__ == '__main__':
    sys.exit(main())
