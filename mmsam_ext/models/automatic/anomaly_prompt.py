"""What an image of a category may show: the words and numbers that SAA+ is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Captions for any category.
GENERAL = ('defect on {}', 'damage on {}', 'flaw on {}')


@dataclass(frozen=True)
class AnomalyPrompt:
    """The prompts of one category.

    Paper: SAA+ (arXiv:2305.10724, section 4.2).

    Attributes:
        object: Caption of the object.
        number: Objects in an image; none may cover more than 1 / number of it.
        most_masks: Masks that are fused (k_mask).
        largest_share: Largest share of the object that a defect may have.
        defects: (caption, phrase to filter): boxes whose phrase contains the second are of no defect.
        name: Of the category, for the general captions; None: `object`.
    """

    object: str
    number: int = 1
    most_masks: int = 5
    largest_share: float = 0.9
    defects: Sequence[tuple[str, str]] = field(default_factory=tuple)
    name: str | None = None

    def __post_init__(self) -> None:
        if not self.object or self.number < 1 or self.most_masks < 1 or not self.largest_share > 0:
            raise ValueError(
                f'prompt of {self.object!r}: number={self.number}, most_masks={self.most_masks}, '
                f'largest_share={self.largest_share}, expected a name, 1 or more, 1 or more, above 0'
            )

    @property
    def captions(self) -> list[tuple[str, str]]:
        """(caption, phrase to filter) of all defects: general ones, then those of the category."""
        name = self.name or self.object
        return [(caption.format(name), name) for caption in GENERAL] + [
            (caption, phrase) for caption, phrase in self.defects
        ]
