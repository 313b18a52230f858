"""Configs of this project, by name: for our commands, and for configs and mmengine's hub outside of it."""

from __future__ import annotations

from pathlib import Path

import mmengine.hub
import pytest
from mmengine.config import Config

from mmsam_ext.apis import InferenceError
from mmsam_ext.apis.model_loading import config_path
from mmsam_ext.config_files import packaged_config
from tests.naming import assert_names, raises_naming
from tests.shrink import CONFIGS

NAME = 'spt_tiny_synthetic'
FORMS = [NAME, f'{NAME}.py', f'/{NAME}.py', f'mmsam_ext::{NAME}', f'mmsam_ext::{NAME}.py', f'mmsam_ext::/{NAME}.py']


@pytest.mark.parametrize('form', FORMS)
def test_forms_of_a_name(form: str) -> None:
    assert packaged_config(form) == CONFIGS / f'{NAME}.py'


def test_path_below_configs() -> None:
    assert packaged_config('mmsam_ext::_base_/peft/lora.py') == CONFIGS / '_base_/peft/lora.py'


@pytest.mark.parametrize('base', FORMS[3:])
def test_a_config_elsewhere_inherits_one_of_ours(base: str, tmp_path: Path) -> None:
    """The same config as by a path: no scope is written into its types, which live in MMSeg's."""
    path = tmp_path / 'mine.py'
    path.write_text(f'_base_ = {base!r}\ntrain_cfg = dict(max_iters=3)\n')
    expected = Config.fromfile(CONFIGS / f'{NAME}.py')
    expected.train_cfg.max_iters = 3
    assert Config.fromfile(path).to_dict() == expected.to_dict()
    path.write_text(f'_base_ = [{base!r}, "mmseg::_base_/default_runtime.py"]\n')
    with pytest.raises(KeyError):  # both have keys of the same name: MMSeg's own is found, too
        Config.fromfile(path)


@pytest.mark.parametrize('name', FORMS[3:])
def test_hub(name: str) -> None:
    for get_config in (mmengine.hub.get_config, mmengine.hub.hub.get_config):
        assert get_config(name).to_dict() == Config.fromfile(CONFIGS / f'{NAME}.py').to_dict()
    assert mmengine.hub.get_config('mmsam_ext::sam_tiny_synthetic', pretrained=True).model_path.startswith(
        'mmsam_ext://'
    )
    assert mmengine.hub.get_config('mmseg::_base_/default_runtime.py').default_scope == 'mmseg'


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text("_base_ = 'mmsam_ext::spt_tiny_sinthetic.py'\n")
    with raises_naming(FileNotFoundError, 'mine.py', '_base_', 'spt_tiny_sinthetic', NAME):
        Config.fromfile(tmp_path / 'mine.py')
    with raises_naming(FileNotFoundError, 'mmsam_ext::_base_/peft/laro', '_base_/peft/lora'):
        mmengine.hub.get_config('mmsam_ext::_base_/peft/laro')
    for name in ('spt_tiny_sinthetic', 'configs/spt_tiny_sinthetic.py', 'mmsam_ext::spt_tiny_sinthetic'):
        with pytest.raises(InferenceError) as error:
            config_path(name)
        assert_names(str(error.value), name, NAME)
        assert 'plm_vitb_custom' not in str(error.value)
