"""The page at the end of `fit`."""

from __future__ import annotations

from pathlib import Path

from mmsam_ext.apis.fitting.page import mask_file


def test_masks_of_names_with_brackets_are_found(tmp_path: Path) -> None:
    (tmp_path / 'masks/line 1').mkdir(parents=True)
    for name in ('part[1].png', 'part1.png', 'line 1/a*b.png'):
        (tmp_path / 'masks' / name).touch()
    assert mask_file(tmp_path, 'part[1]') == tmp_path / 'masks/part[1].png'
    assert mask_file(tmp_path, 'line 1/a*b') == tmp_path / 'masks/line 1/a*b.png'
    assert mask_file(tmp_path, 'part[2]') is None
