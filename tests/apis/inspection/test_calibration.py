from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.inspection import Decision, choose_threshold, fit_platt, rates
from mmsam_ext.checkpoints.base import file_hash
from tests.naming import raises_naming

SCORES = np.array([-3.0, -2.0, -1.0, 0.5, 0.0, 1.0, 2.0, 3.0])
DEFECT = np.array([False, False, False, False, True, True, True, True])


def test_platt_against_a_general_optimiser() -> None:
    """The minimum of Platt's cross entropy, found without derivatives."""
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(10, 4, 30), rng.normal(17, 6, 20)])
    defective = np.arange(50) >= 30
    targets = np.where(defective, 21 / 22, 1 / 32)

    def loss(weights: np.ndarray) -> float:
        logits = weights[0] * scores + weights[1]
        return float((np.logaddexp(0, logits) - targets * logits).sum())

    expected = minimize(loss, [0.1, -1.0], method='Nelder-Mead', options=dict(xatol=1e-9, fatol=1e-12, maxiter=9000)).x
    fitted = fit_platt(scores, defective)
    assert fitted is not None and tuple(fitted) == pytest.approx(tuple(expected), rel=1e-4)


def test_separable_scores_do_not_diverge() -> None:
    fitted = fit_platt(np.array([-4.0, -3.0, 5.0, 6.0]), np.array([False, False, True, True]))
    assert fitted is not None and 0.7 < fitted.probability(6.0) < 0.99 and 0.01 < fitted.probability(-4.0) < 0.3


def test_no_curve_without_both_kinds_or_with_scores_that_say_the_opposite() -> None:
    assert fit_platt(SCORES, np.ones(8, bool)) is None and fit_platt(SCORES, np.zeros(8, bool)) is None
    assert fit_platt(-SCORES, DEFECT) is None


def test_thresholds_by_hand() -> None:
    assert choose_threshold(SCORES, DEFECT, 'recall', 1.0) == 0.0
    assert choose_threshold(SCORES, DEFECT, 'recall', 0.75) == 1.0
    # F1 with all four defects and one alarm is 8 / 9, with three and none 6 / 7.
    assert choose_threshold(SCORES, DEFECT) == pytest.approx(-0.5)
    none = choose_threshold(SCORES, DEFECT, 'false-alarm', 0.0)
    assert 0.5 < none < 0.50001
    quarter = choose_threshold(SCORES, DEFECT, 'false-alarm', 0.25)
    assert -1.0 < quarter < -0.99999
    assert choose_threshold(SCORES, DEFECT, 'false-alarm', 1.0) == -3.0


def test_f1_against_all_thresholds() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        scores, defective = rng.normal(size=25).round(1), rng.random(25) < 0.4
        defective[0] = True
        best = max(rates(scores, defective, one)['f1'] for one in scores)
        assert rates(scores, defective, choose_threshold(scores, defective))['f1'] == pytest.approx(best)


@pytest.mark.parametrize('share', [0.0, 0.05, 0.3, 0.5, 0.99, 1.0])
def test_wanted_shares_are_kept(share: float) -> None:
    rng = np.random.default_rng(5)
    scores, defective = rng.normal(size=200), rng.random(200) < 0.5
    assert rates(scores, defective, choose_threshold(scores, defective, 'recall', share))['recall'] >= share
    alarms = rates(scores, defective, choose_threshold(scores, defective, 'false-alarm', share))['false_alarms']
    assert share - 0.011 <= alarms <= share


@pytest.mark.parametrize(
    ('criterion', 'value', 'defective', 'named'),
    [
        ('false-alarm', 0.1, np.ones(8, bool), 'without a defect'),
        ('recall', 0.9, np.zeros(8, bool), 'has a defect'),
        ('recall', 1.2, DEFECT, '1.2'),
        ('recall', None, DEFECT, 'None'),
        ('area', None, DEFECT, "'area'"),
    ],
)
def test_bad_input(criterion: str, value: float | None, defective: np.ndarray, named: str) -> None:
    with raises_naming(ValueError, named):
        choose_threshold(SCORES, defective, criterion, value)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / 'best.pth'
    path.write_bytes(b'PK\x03\x04weights')
    return path


def decision(weights: Path, defective: np.ndarray = DEFECT) -> Decision:
    names = tuple(f'image {index}' for index in range(len(SCORES)))
    flags = tuple(bool(one) for one in defective)
    return Decision(file_hash(str(weights)), 'config.py', ('defect',), 0.25, names, tuple(SCORES.tolist()), flags)


def test_a_decision_survives_its_file(weights: Path) -> None:
    first = decision(weights)
    assert first.save(weights).name == 'best.decision.json'
    assert Decision.load(weights) == first


def test_decisions_that_cannot_be_used(weights: Path) -> None:
    with raises_naming(InferenceError, 'best.decision.json', 'fit'):
        Decision.load(weights)
    with raises_naming(InferenceError, 'missing.pth'):
        Decision.load(weights.with_name('missing.pth'))
    path = decision(weights).save(weights)
    weights.write_bytes(b'PK\x03\x04other weights')
    with raises_naming(InferenceError, 'best.pth'):
        Decision.load(weights)
    path.write_text('{"version": 1')
    with raises_naming(InferenceError, 'best.decision.json'):
        Decision.load(weights)


def test_without_normal_images(weights: Path) -> None:
    """There is no false alarm rate, F1 is that of pixels, and scores are not calibrated."""
    one = decision(weights, np.ones(8, bool))
    assert one.threshold() == 0.25 and one.platt is None and one.normals == 0
    with raises_naming(InferenceError, 'false-alarm', '0.1', '8'):
        one.threshold('false-alarm', 0.1)
