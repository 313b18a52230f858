"""What the page can ask for: each call is a function of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from ..errors import InferenceError
from ..exchange.labelled import Instance
from ..exchange.outlines import polygons
from ..inspection.calibrate import thumbnail
from ..rle import decode_rle, encode_rle
from .assistant import Assistant, stroke
from .store import Store
from .training import Training

#: Pixels of the longer side of a picture that the page shows.
LARGEST_SIDE = 3000


class Service:
    """The calls of the page on a store, an assistant and a training.

    Args:
        store: The labels.
        assistant: The model.
        training: Of the labels.
        model: Key of MODELS that trainings start from.
    """

    def __init__(self, store: Store, assistant: Assistant, training: Training, model: str = 'sam_tiny') -> None:
        self.store, self.assistant, self.training, self.model = store, assistant, training, model
        self.calls: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            'state': self.state, 'labels': self.labels, 'segment': self.segment, 'stroke': self.stroke,
            'commit': self.commit, 'propose': self.propose, 'add_class': self.add_class,
            'rename_class': self.rename_class, 'train': self.train, 'stop': self.stop, 'training': self.progress,
        }  # fmt: skip

    def call(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call.

        Raises:
            InferenceError: There is no such call, or a value is missing or wrong.
            ConflictError: The labels were changed in the meantime.
            OSError: Labels cannot be saved.
        """
        if name not in self.calls:
            raise InferenceError(f'there is no call {name!r}; expected one of {", ".join(self.calls)}')
        try:
            return self.calls[name](values)
        except (KeyError, TypeError, AttributeError) as error:
            raise InferenceError(f'{name}: a value is missing or has the wrong form ({error!r})') from error

    def state(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all images with their status, the classes, and whether there are proposals."""
        images = self.store.overview()
        done = sum(one['status'] != 'new' for one in images)
        return dict(images=images, classes=list(self.store.classes), done=done, proposals=self.assistant.proposes)

    def labels(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels of an image, its size and its version."""
        name = values['name']
        height, width = self.store.size(name)
        found = [shown(one) for one in self.store.instances(name)]
        return dict(width=width, height=height, version=self.store.version(name), instances=found)

    def picture(self, values: Mapping[str, Any]) -> bytes:
        """Return a part of an image as JPEG: `x`, `y`, `width`, `height`, shrunk to `side` pixels.

        Raises:
            InferenceError: There is no such image, or the part lies outside of it.
        """
        name = values.get('name', '')
        height, width = self.store.size(name)
        image = self.assistant.image(self.store.files[name])
        x, y = int(float(values.get('x', 0))), int(float(values.get('y', 0)))
        wide, high = int(float(values.get('width', width))), int(float(values.get('height', height)))
        part = image[max(0, y) : max(0, y + high), max(0, x) : max(0, x + wide)]
        if not part.size:
            raise InferenceError(f'{name}: the part {x} {y} {wide} {high} lies outside of {width} x {height} pixels')
        side = min(LARGEST_SIDE, max(1, int(float(values.get('side', 1600)))))
        return cv2.imencode('.jpg', thumbnail(part, side), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()

    def segment(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Segment by `points` with `labels`, or a `box`; `view` is what the user sees."""
        name = values['name']
        self.store.size(name)
        found, score = self.assistant.segment(
            self.store.files[name],
            values.get('points') or (),
            values.get('labels') or (),
            values.get('box'),
            values.get('view'),
        )
        return dict(instance=None if found is None else shown(found), score=score)

    def stroke(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Draw on a mask, or erase from it."""
        size = self.store.size(values['name'])
        given = values.get('instance')
        before = None if given is None else taken(given)
        after = stroke(before, values['points'], float(values['radius']), bool(values.get('erase')), size)
        return dict(instance=None if after is None else shown(after))

    def commit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Save the defects of an image; an empty list means that it has none."""
        found = [taken(one) for one in values['instances']]
        return dict(version=self.store.save(values['name'], int(values['version']), found))

    def propose(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the trained model finds."""
        name = values['name']
        self.store.size(name)
        found = self.assistant.propose(self.store.files[name])
        first = self.store.classes[0]
        named = [one if one.name in self.store.classes else one._replace(name=first) for one in found]
        return dict(instances=[shown(one) for one in named])

    def add_class(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a class."""
        self.store.add_class(values['name'])
        return dict(classes=list(self.store.classes))

    def rename_class(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Rename a class everywhere."""
        self.store.rename_class(values['old'], values['new'])
        return dict(classes=list(self.store.classes))

    def train(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Start a training on what is labelled so far."""
        self.training.start(float(values.get('minutes', 10)), values.get('method'), self.model)
        return self.progress(values)

    def stop(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the training."""
        self.training.stop()
        return self.progress(values)

    def progress(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the progress of the training; the first call after its end takes the new weights."""
        state = self.training.state()
        best = self.training.best
        over = state['state'] in ('none', 'done', 'failed', 'stopped')
        if best is not None and str(best) != self.assistant.trained and over:
            self.assistant.use(best.parent / 'config.py', best)
        return {**state, 'proposals': self.assistant.proposes}


def shown(one: Instance) -> dict[str, Any]:
    """Return a defect for the page: `class`, `box`, `rle` in the box, `polygons` in the image (even-odd), `area`."""
    x, y = one.box[:2]
    outlines = [part for outline, holes in polygons(one.mask) for part in (outline, *holes)]
    return {
        'class': one.name,
        'box': list(one.box),
        'rle': encode_rle(one.mask),
        'polygons': [(outline + [x, y]).tolist() for outline in outlines],
        'area': one.area,
        'score': one.score,
    }


def taken(value: Mapping[str, Any]) -> Instance:
    """Return the defect that the page sent.

    Raises:
        InferenceError: Its run lengths or its box are malformed.
    """
    try:
        box = tuple(int(side) for side in value['box'])
        height, width = (int(side) for side in value['rle']['size'])
        if len(box) != 4 or not 0 < height * width <= 2**30 or (width, height) != box[2:]:
            raise ValueError(f'box {box} and a mask of {width} x {height}')
        counts = [int(count) for count in value['rle']['counts']]
        if min(counts, default=0) < 0:
            raise ValueError('negative run lengths')
        mask = decode_rle(dict(size=[height, width], counts=counts))
    except (ValueError, KeyError, TypeError) as error:
        raise InferenceError(
            f'instance: {error}; expected a box (x, y, width, height) and the run lengths in it'
        ) from error
    return Instance(str(value.get('class', '')), box, np.ascontiguousarray(mask))
