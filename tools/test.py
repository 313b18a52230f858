"""Test and evaluate a model: the same as ``python -m mmsam_ext test``."""

from _bootstrap import run_command

if __name__ == '__main__':
    run_command('test')
