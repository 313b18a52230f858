"""Merge LoRA or DoRA into the weights of SAM: the same as ``python -m mmsam_ext merge-peft``."""

from _bootstrap import run_command

if __name__ == '__main__':
    run_command('merge-peft')
