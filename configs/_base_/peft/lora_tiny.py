# LoRA for the mini SAM. Its scale, alpha / rank, is 1 instead of SPT's 1 / 8: the update then grows fast enough for the
# short trainings that this model is for (configs/methods/spt.md has the comparison).
_base_ = './lora.py'
peft = dict(encoder=dict(alpha=8), draft=dict(alpha=8), refine=dict(alpha=8))
