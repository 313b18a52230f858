from .adapter import Adapter
from .dora import DoRA
from .inject import inject_peft, merge_peft, unmerge_peft
from .lora import LoRA, PEFTLinear

__all__ = ['Adapter', 'DoRA', 'LoRA', 'PEFTLinear', 'inject_peft', 'merge_peft', 'unmerge_peft']
