"""Count the parameters and operations of a config's model: the same as ``python -m mmsam_ext model-cost``."""

from _bootstrap import run_command

if __name__ == '__main__':
    run_command('model-cost')
