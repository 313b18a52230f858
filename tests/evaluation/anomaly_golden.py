"""Small cases for pixel scores, and what scikit-learn 1.9.1 says of them.

`python tests/evaluation/anomaly_golden.py` prints GOLDEN anew; it needs numpy and scikit-learn.
"""

from __future__ import annotations

import numpy as np

#: By seed: roc_auc_score, average_precision_score, best F1 of precision_recall_curve.
GOLDEN = [
    (0.7691761363636364, 0.6588543930503236, 0.5625),
    (0.8246527777777778, 0.759195963646428, 0.744186046511628),
    (0.8074454428754814, 0.6359318345345721, 0.653061224489796),
    (0.7747252747252746, 0.6407339737846272, 0.6461538461538462),
    (0.7941176470588235, 0.5619378176238043, 0.6857142857142857),
]


def pixels(seed: int, number: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores, which fp16 holds exactly and some of which are equal, and labels."""
    random = np.random.RandomState(seed)
    labels = random.rand(number) < 0.3
    labels[:2] = True, False
    return (random.normal(labels, 1) * 8).round() / 8, labels


def main() -> None:
    """Ask scikit-learn."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    for seed in range(5):
        scores, labels = pixels(seed)
        precision, recall, _ = precision_recall_curve(labels, scores)
        best = max(2 * precision * recall / np.maximum(precision + recall, 1e-300))
        print((float(roc_auc_score(labels, scores)), float(average_precision_score(labels, scores)), float(best)))


if __name__ == '__main__':
    main()
