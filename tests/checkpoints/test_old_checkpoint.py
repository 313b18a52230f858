"""A checkpoint of an earlier version (see make_old_checkpoint.py) loads and predicts the same."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from tests.checkpoints.make_old_checkpoint import model_config, predictions
from tests.naming import warns_naming
from tests.numeric import MODEL, assert_close

FOLDER = Path(__file__).parent


def test_loads_and_predicts_the_same() -> None:
    with warns_naming(DeprecationWarning, 'DynamicRouter'):  # its config names it DynamicRoutingPlugin
        model = MODELS.build(model_config()).eval()
    checkpoint = load_checkpoint(model, str(FOLDER / 'old_checkpoint.pth'), map_location='cpu')
    assert checkpoint['meta']['iter'] == 2 and checkpoint['optimizer']['state']
    assert len(checkpoint['message_hub']['log_scalars']['train/loss'].data[0]) == 2  # mmengine's HistoryBuffer
    expected = torch.load(FOLDER / 'old_predictions.pt', weights_only=True)
    found = predictions(model)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert_close(found[name], values, MODEL, name=name)
