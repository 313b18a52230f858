"""Put the results of several tests side by side: the same as ``python -m mmsam_ext compare-runs``."""

from _bootstrap import run_command

if __name__ == '__main__':
    run_command('compare-runs')
