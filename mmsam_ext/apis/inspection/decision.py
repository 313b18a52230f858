"""What validation data says about the scores of a model, in a file beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmsam_ext.utils.result_files import ResultFolder
from mmsam_ext.utils.text_files import read_json

from ..errors import InferenceError
from .calibration import Platt, choose_threshold, fit_platt

#: What follows the stem of the weights in the name of the file.
SUFFIX = '.decision.json'
VERSION = 1


@dataclass(frozen=True)
class Decision:
    """Scores of validation images, and what follows from them.

    Attributes:
        weights_sha256: Hash of the checkpoint that the scores belong to.
        config: The config of the model: a file name beside the weights, or a name of ours.
        classes: Names of the classes of defects.
        pixel_threshold: Logit of the best F1 of pixels.
        names: Validation images.
        scores: Their highest logits.
        defective: Whether each has a defect.
    """

    weights_sha256: str
    config: str
    classes: tuple[str, ...]
    pixel_threshold: float
    names: tuple[str, ...] = field(repr=False)
    scores: tuple[float, ...] = field(repr=False)
    defective: tuple[bool, ...] = field(repr=False)

    @property
    def platt(self) -> Platt | None:
        """The curve from scores to probabilities; None where validation has images of one kind only."""
        return fit_platt(np.array(self.scores), np.array(self.defective))

    @property
    def normals(self) -> int:
        """Number of validation images without a defect."""
        return sum(not one for one in self.defective)

    def threshold(self, criterion: str = 'f1', value: float | None = None) -> float:
        """Return the threshold of images by a criterion of :func:`choose_threshold`.

        Without validation images that have no defect, the best F1 says nothing. Then it is that of pixels: every region
        counts.

        Raises:
            InferenceError: The criterion cannot be met with this validation data.
        """
        if criterion == 'f1' and not self.normals:
            return self.pixel_threshold
        try:
            return choose_threshold(np.array(self.scores), np.array(self.defective), criterion, value)
        except ValueError as error:
            raise InferenceError(str(error)) from error

    def save(self, weights: str | Path) -> Path:
        """Write the file beside `weights` and return its path; an existing one is replaced."""
        path = decision_path(weights)
        text = json.dumps(dict(version=VERSION, **asdict(self)), indent=1)
        ResultFolder(path.parent, overwrite=True).write(path.name, text.encode())
        return path

    @classmethod
    def load(cls, weights: str | Path) -> Decision:
        """Read the file beside `weights`.

        Raises:
            InferenceError: There is none, it cannot be read, or it belongs to other weights.
        """
        from mmsam_ext.checkpoints.base import file_hash

        path = decision_path(weights)
        if not Path(weights).is_file():
            raise InferenceError(f'weights {weights}: the file does not exist')
        if not path.is_file():
            raise InferenceError(
                f'{weights}: {path.name} is missing, so it is not known which scores mean a defect. `python -m '
                'mmsam_ext fit` writes it; for other weights give labelled images: inspect --calibrate DATASET'
            )
        try:
            content: dict[str, Any] = read_json(path)
            version = content.pop('version')
            lists = ('classes', 'names', 'scores', 'defective')
            fields: dict[str, Any] = {key: tuple(one) if key in lists else one for key, one in content.items()}
            decision = cls(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise InferenceError(
                f'{path}: cannot be read ({error}); expected the file that `fit` or inspect --calibrate writes'
            ) from error
        if version != VERSION:
            raise InferenceError(f'{path}: version {version}, expected {VERSION}; run inspect --calibrate again')
        if not len(decision.names) == len(decision.scores) == len(decision.defective):
            raise InferenceError(f'{path}: names, scores and defective differ in length')
        if decision.weights_sha256 != file_hash(str(weights)):
            raise InferenceError(
                f'{path}: belongs to other weights than {weights} as they are now; run inspect --calibrate DATASET '
                'again'
            )
        return decision


def decision_path(weights: str | Path) -> Path:
    """Return where the decision of a checkpoint is: 'best.pth' -> 'best.decision.json' in the same folder."""
    return Path(weights).expanduser().with_suffix(SUFFIX)
