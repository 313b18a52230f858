"""Decisions: from the scores of a model to defects in a table, with thresholds chosen on validation data."""

from .calibrate import Calibration, calibrate, labelled_folder
from .calibration import CRITERIA, Platt, choose_threshold, fit_platt, rates
from .decision import Decision
from .inspector import Criteria, Defect, Inspection, Inspector
from .regions import Region, extent, find_regions

__all__ = [
    'CRITERIA',
    'Calibration',
    'Criteria',
    'Decision',
    'Defect',
    'Inspection',
    'Inspector',
    'Platt',
    'Region',
    'calibrate',
    'choose_threshold',
    'extent',
    'find_regions',
    'fit_platt',
    'labelled_folder',
    'rates',
]
