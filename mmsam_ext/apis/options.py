"""Words that options take. They are here because a command line is read without importing PyTorch."""

from __future__ import annotations

#: How boxes are given: x1 y1 x2 y2; x y width height; x1 y1 x2 y2 as shares of the image's sides.
BOX_FORMATS = ('xyxy', 'xywh', 'normalized')
#: What the values of a mask prompt are.
MASK_FORMATS = ('logits', 'binary', 'probability')
#: Choices of ``--dtype``.
DTYPES = ('fp32', 'bf16', 'fp16', 'auto')
