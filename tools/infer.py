"""Segment an image or a folder of images by boxes and points: the same as ``python -m mmsam_ext infer``."""

from _bootstrap import run_command

if __name__ == '__main__':
    run_command('infer')
