"""Text to boxes by GroundingDINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from .text_boxes import BoxSource, TextBoxes, normalise_caption


@MODELS.register_module()
class GroundingDINOBoxes(BoxSource):
    """Find boxes by text with Hugging Face's GroundingDINO (extra ``text``).

    The image's short side becomes 800 pixels and its long one at most 1333. A box's score is its largest token
    probability; its phrase are the tokens with a probability above `text_threshold`.

    Paper: Grounding DINO (arXiv:2303.05499); as used by SAA+ (arXiv:2305.10724).

    Args:
        model: Name on the hub or folder of the weights, or a ``GroundingDinoForObjectDetection``.
        tokenizer: Likewise; None: that of `model`.
        box_threshold: Boxes with a lower score are not returned.
        text_threshold: Of the tokens of a phrase.

    Raises:
        ImportError: transformers is not installed; says how to install it.
        ValueError: by :meth:`find`, a caption that is empty or too long.
    """

    def __init__(
        self,
        model: Any = 'IDEA-Research/grounding-dino-tiny',
        tokenizer: Any = None,
        box_threshold: float = 0.1,
        text_threshold: float = 0.1,
    ) -> None:
        super().__init__()
        try:
            from transformers import (  # pyright: ignore[reportMissingImports] (optional)
                AutoTokenizer,
                GroundingDinoForObjectDetection,
                GroundingDinoImageProcessor,
            )
        except ImportError as error:
            raise ImportError(
                f'GroundingDINOBoxes needs transformers ({error}); install it by: pip install "mmsam_ext[text]"; or '
                'take boxes from a file (BoxesFromFile)'
            ) from error
        if isinstance(model, str):
            tokenizer = AutoTokenizer.from_pretrained(model if tokenizer is None else tokenizer)
            model = GroundingDinoForObjectDetection.from_pretrained(model)
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.image_processor = GroundingDinoImageProcessor()
        self.box_threshold, self.text_threshold = box_threshold, text_threshold

    def train(self, mode: bool = True) -> GroundingDINOBoxes:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def find(self, image: Tensor, captions: Sequence[str], kind: str, sample: Any) -> TextBoxes:
        """Look for each caption by itself; see :class:`BoxSource`."""
        device = next(self.model.parameters()).device
        pixels = self.image_processor(images=image.cpu(), return_tensors='pt').to(device)
        parts = [
            self._find(pixels, normalise_caption(caption), index, image.shape[-2:])
            for index, caption in enumerate(captions)
        ]
        return TextBoxes.join(parts)

    def _find(self, pixels: Any, caption: str, index: int, size: Sequence[int]) -> TextBoxes:
        tokens = self.tokenizer(caption, return_tensors='pt').to(pixels['pixel_values'].device)
        longest = self.model.config.max_text_len
        if tokens['input_ids'].shape[1] > longest:
            raise ValueError(
                f'text prompt {caption!r} has {tokens["input_ids"].shape[1]} tokens, expected at most {longest}; look '
                'for its parts one after the other'
            )
        outputs = self.model(**pixels, **tokens)
        probabilities = outputs.logits[0].sigmoid()  # (Q, longest)
        scores = probabilities.amax(1)
        keep = scores > self.box_threshold
        centre, sides = outputs.pred_boxes[0][keep].split(2, 1)  # shares of the image
        boxes = torch.cat([centre - sides / 2, centre + sides / 2], 1)
        return TextBoxes(
            boxes=(boxes * boxes.new_tensor([size[1], size[0]] * 2)).cpu(),
            scores=scores[keep].cpu(),
            phrases=tuple(self._phrase(row, tokens['input_ids'][0]) for row in probabilities[keep]),
            captions=torch.full((int(keep.sum()),), index),
        )

    def _phrase(self, probabilities: Tensor, ids: Tensor) -> str:
        """The tokens that a box answers, without those that begin and end a caption."""
        answered = probabilities[: len(ids)] > self.text_threshold
        answered[0] = answered[-1] = False
        return self.tokenizer.decode(ids[answered].tolist())
