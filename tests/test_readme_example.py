"""The worked example of CONTRIBUTING.md and the config of README: their lines are taken from there and run."""

from __future__ import annotations

import copy
import importlib
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsam_ext.structures import Prompts
from tests.models.small import disc, sample
from tests.shrink import CONFIGS, REPO

SIZE = 128


def blocks() -> tuple[str, str]:
    """Return the plugin and the config of the section in CONTRIBUTING.md."""
    text = (REPO / 'CONTRIBUTING.md').read_text().split('### A decoder plugin, from nothing')[1].split('\n## ')[0]
    plugin, config = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    return plugin, config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Both files as a user would have them, but for the folder of the config."""
    plugin, text = blocks()
    (tmp_path / 'my_plugin.py').write_text(plugin)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    path = tmp_path / 'channel_gate_tiny_mtd.py'
    assert "_base_ = './" in text
    path.write_text(text.replace("_base_ = './", f"_base_ = '{CONFIGS}/"))
    yield Config.fromfile(path)
    MODELS.module_dict.pop('ChannelGate', None)


def test_is_as_short_as_it_says() -> None:
    plugin, text = blocks()
    assert len(plugin.strip().splitlines()) <= 22 and len(text.strip().splitlines()) <= 6


def test_identity_then_training_of_the_plugin_alone(config: Config) -> None:
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config.model)).eval()
    base = Config.fromfile(CONFIGS / 'sam_tiny_mtd.py').model
    plain = MODELS.build(base).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    inputs = torch.randn(1, 3, SIZE, SIZE)
    data = sample(Prompts.create(points=[[[50, 70]]], point_labels=[[1]]), disc(SIZE)[None])
    with torch.no_grad():
        before, after = (m(inputs, [data], mode='tensor').logits for m in (plain, model))
    assert torch.equal(before, after)

    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {name: p.shape for name, p in trained.items()} == {
        f'mask_decoder.plugins.0.gate.{block}': (128,) for block in (0, 1)
    }
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    sum(model.train().loss(inputs, [data]).values()).backward()
    optimizer.step()
    with torch.no_grad():
        assert not torch.equal(model.eval()(inputs, [data], mode='tensor').logits, before)


def test_config_of_readme(tmp_path: Path) -> None:
    """It trains LoRA, VRA and PLM of ViT-B on other data; the shipped config takes the place of the installed one."""
    (text,) = re.findall(r"```python\n(_base_ = 'mmsam_ext::.*?)```", (REPO / 'README.md').read_text(), re.DOTALL)
    path = tmp_path / 'my_config.py'
    path.write_text(text.replace("'mmsam_ext::", f"'{CONFIGS}/"))
    config = Config.fromfile(path)
    assert config.train_dataloader.dataset.data_root == 'data/my_parts'
    with torch.device('meta'):
        model = MODELS.build(config.model)
    trained = {name.split('.')[0]: 0 for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        trained[name.split('.')[0]] += parameter.numel() * parameter.requires_grad
    # LoRA in the encoder, LoRA and beta in two decoders, PLM: the published counts of SPT and of PLM
    assert trained['backbone'] + trained['mask_decoder'] == 390_144 and trained['prompt_stages'] == 1_644_544
