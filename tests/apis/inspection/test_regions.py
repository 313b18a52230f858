from __future__ import annotations

import numpy as np
import pytest

from mmsam_ext.apis.inspection import extent, find_regions


def test_two_thresholds_by_hand() -> None:
    logits = np.full((1, 6, 12), -9.0)
    logits[0, 1:3, 1:3] = 0.5  # never sure enough
    logits[0, 1, 6:10] = 1.0, 4.0, 1.0, 0.2
    logits[0, 5, 11] = 3.0  # one pixel
    found = find_regions(logits, 0.1, 2.0)
    assert [(one.box, one.area, one.peak) for one in found] == [((6, 1, 4, 1), 4, 4.0), ((11, 5, 1, 1), 1, 3.0)]
    assert [one.box for one in find_regions(logits, 0.1, 2.0, min_area=2)] == [(6, 1, 4, 1)]
    assert find_regions(logits, 0.1, 5.0) == []


@pytest.mark.parametrize('threshold', [-3.0, -0.5, 0.0, 0.7, 2.0])
def test_an_image_has_a_region_exactly_if_its_highest_logit_reaches_the_threshold(threshold: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = rng.normal(size=(1, 9, 7)) + rng.normal()
        assert bool(find_regions(logits, 0.0, threshold)) == (logits.max() >= threshold)


def test_a_pixel_belongs_to_the_class_of_the_highest_logit() -> None:
    logits = np.full((2, 4, 8), -5.0)
    logits[0, :, :4], logits[1, :, 3:6] = 2.0, 3.0
    found = find_regions(logits, 0.0, 1.0)
    assert [(one.label, one.box) for one in found] == [(1, (3, 0, 3, 4)), (0, (0, 0, 3, 4))]


@pytest.mark.parametrize('angle', [0, 15, 30, 45, 60, 75, 90])
@pytest.mark.parametrize('width', [1, 3, 5])
def test_length_and_width_of_a_line(angle: float, width: int) -> None:
    """A line of 100 px in any direction; drawing on a grid and steps of a grid leave errors of some percent."""
    y, x = np.mgrid[-80:80, -80:80]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    mask = (abs(x * cosine + y * sine) <= 50) & (abs(y * cosine - x * sine) <= width / 2)
    found = extent(mask)
    assert found.length == pytest.approx(100, rel=0.1)
    assert found.width == pytest.approx(width, abs=1.2)


def test_a_bent_line_is_as_long_as_its_parts() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:13, 5:50] = True
    mask[10:50, 47:50] = True
    found = extent(mask)
    assert found.length == pytest.approx(45 + 37, abs=4) and found.width == pytest.approx(3, abs=0.5)


def test_a_blob_has_the_sides_of_its_rectangle() -> None:
    assert extent(np.ones((20, 30), bool)) == (30.0, 20.0)
    assert extent(np.ones((1, 1), bool)) == (1.0, 1.0)
