"""Train a model: the same as ``python -m mmsam_ext train``."""

from _bootstrap import run_command

if __name__ == '__main__':
    run_command('train')
