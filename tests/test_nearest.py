"""Suggestions for names that do not exist, and where they are used."""

from __future__ import annotations

from mmsam_ext.datasets import MVTecADDataset
from mmsam_ext.nearest import did_you_mean, nearest_names, unknown_names
from tests.naming import assert_names, raises_naming

KNOWN = ['bottle', 'cable', 'transistor', 'Tile']


def test_nearest_first_and_one_where_none_is_close() -> None:
    assert nearest_names('tranistor', KNOWN) == ['transistor']
    assert nearest_names('TILE', KNOWN)[0] == 'Tile'  # upper and lower case count as equal
    assert nearest_names('cables', ['table', 'cable', 'gable', 'labels', 'wire']) == ['cable', 'table', 'gable']
    assert nearest_names('qqq', KNOWN) and len(nearest_names('qqq', KNOWN)) == 1
    assert nearest_names('a', []) == []


def test_sentences() -> None:
    assert did_you_mean('cabel', ['cable']) == "did you mean 'cable'?"
    many = did_you_mean('train2', ['train', 'train22', 'trains2', 'x'])
    assert many == "did you mean 'trains2', 'train22' or 'train'?"
    assert_names(unknown_names(['tranistor', 'botle'], KNOWN), 'tranistor', 'transistor', 'botle', 'bottle')
    assert_names(unknown_names([], KNOWN), 'empty', 4)


def test_an_unknown_category_is_not_answered_with_all_of_them() -> None:
    with raises_naming(ValueError, 'categories', 'transistr', 'transistor') as error:
        MVTecADDataset(categories=['bottle', 'transistr'])
    assert 'toothbrush' not in str(error.value)
