"""COCO's JSON files: annotations and results, read and checked."""

from __future__ import annotations

import os
from typing import Any

from mmsam_ext.utils import text_files

#: What an annotation file must have.
PARTS = ('images', 'annotations', 'categories')


def read_json(path: str) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: The file is not JSON, or neither UTF-8 nor marked as UTF-16 or UTF-32; names the file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a JSON file')
    return text_files.read_json(path)


def read_coco(path: str) -> dict[str, Any]:
    """Read an annotation file in COCO's format.

    Returns:
        With `images`, `annotations` and `categories`, each a list of dicts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: The file is not JSON, a list is missing, or an annotation names an unknown image or category;
            names the file and the annotation.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not all(isinstance(data.get(part), list) for part in PARTS):
        kind = f'keys {sorted(data)}' if isinstance(data, dict) else f'a {type(data).__name__}'
        raise ValueError(f'{path}: holds {kind}, expected an annotation file with the lists {", ".join(PARTS)}')
    for field, part in (('image_id', 'images'), ('category_id', 'categories')):
        known = {one['id'] for one in data[part]}
        for annotation in data['annotations']:
            if annotation.get(field) not in known:
                raise ValueError(
                    f'{path}: annotation {annotation.get("id")} has {field} {annotation.get(field)!r}, which is not '
                    f'among its {len(known)} {part}'
                )
    return data
