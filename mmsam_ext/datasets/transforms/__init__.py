from .generate_prompts import GeneratePrompts, PromptMode
from .pack_prompt_inputs import PackPromptInputs
from .perturb_prompts import PerturbPrompts, noisy_box

__all__ = ['GeneratePrompts', 'PackPromptInputs', 'PerturbPrompts', 'PromptMode', 'noisy_box']
