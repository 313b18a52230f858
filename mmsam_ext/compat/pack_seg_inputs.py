"""MMSegmentation's ``PackSegInputs`` drops prompts in silence, and the model would train without any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._patch import replace


def apply() -> None:
    """Make ``PackSegInputs`` reject samples with prompts; :class:`PackPromptInputs` packs them."""
    from mmseg.datasets.transforms import PackSegInputs

    replace(PackSegInputs, 'transform', _with_check)


def _with_check(stock: Callable) -> Callable:
    def transform(self: Any, results: dict) -> dict:
        if 'prompts' in results and not getattr(self, 'packs_prompts', False):
            name = results.get('sample_id') or results.get('img_path') or 'sample'
            raise ValueError(
                f'{name}: {type(self).__name__} would drop the field `prompts` that GeneratePrompts made, expected '
                'PackPromptInputs as the last transform of the pipeline'
            )
        return stock(self, results)

    return transform
