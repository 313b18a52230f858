"""The helpers of tests/naming.py can fail."""

from __future__ import annotations

import warnings

import pytest

from tests.naming import missing_names, raises_naming, warns_naming

TEXT = "set/a.png: field `boxes`\n  row 0 is [5.0, 3], expected 'x1 y1'; size 512, step -0.25"


@pytest.mark.parametrize('name', ['a.png', 'boxes', 'row 0', '[5.0, 3]', 'boxes` row', 512, -0.25, 'set/a.png:', "'x1"])
def test_a_name_that_is_there(name: object) -> None:
    assert missing_names(TEXT, name) == []


@pytest.mark.parametrize('name', ['b.png', 'box', 'png2', '[5, 3]', 51, 12, -0.2, 'Boxes'])
def test_a_name_that_is_not_there_or_is_part_of_another(name: object) -> None:
    assert missing_names(TEXT, 'boxes', name) == [str(name)]


@pytest.mark.parametrize('names', [(), ('',), ('a.png', ' ')])
def test_names_that_would_match_anything(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match='anything'), raises_naming(KeyError, *names):
        raise KeyError(TEXT)


def test_an_error_or_a_warning_that_names_something_else() -> None:
    with raises_naming(ValueError, 'a.png', 'boxes', '[5.0, 3]'):
        raise ValueError(TEXT)
    with pytest.raises(AssertionError), raises_naming(ValueError, 'a.png', 'points'):
        raise ValueError(TEXT)
    with warns_naming(UserWarning, 'boxes'):
        warnings.warn(TEXT)
    with pytest.raises(AssertionError), warns_naming(UserWarning, 'points'):
        warnings.warn(TEXT)
