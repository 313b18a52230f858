"""SPT's configs: the paper's counts, ablations of configs/methods/spt.md, SAM at the start, small checkpoints."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.models.peft import PEFTLinear
from mmsam_ext.structures import PromptBatch, Prompts
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close
from tests.run_tool import run_here, test_results
from tests.shrink import CONFIGS, SIZE, shrink, spare_formatting

pytestmark = pytest.mark.usefixtures('unformatted')
PAGE = (CONFIGS / 'methods/spt.md').read_text()
#: Table rows of the page: (what, config, options).
ABLATIONS = re.findall(r'^\| ([^|]+) \| `(\w+\.py)` \| (?:`([^`]*)`)? *\|$', PAGE, re.MULTILINE)


@pytest.fixture
def unformatted(monkeypatch: pytest.MonkeyPatch) -> None:
    spare_formatting(monkeypatch)


def options(text: str) -> dict:
    """``KEY=VALUE KEY=VALUE`` as --cfg-options reads it."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *text.split()] if text else []).cfg_options


# ---------------------------------------------------------------- figures of the paper

COUNTS = {  # Table 3, and the other sizes of SAM
    ('spt_vitb_industrial', ''): (98_183_956, 390_144),
    ('spt_vitb_industrial', 'model.mask_decoder.decoder.plugins=[]'): (98_182_932, 389_120),
    ('lora_vitb_industrial', ''): (94_077_488, 342_016),
    ('spt_vitb_industrial', 'model.mask_decoder.num_drafts=0 model.peft.draft=None'): (94_078_000, 342_528),
    ('spt_vitl_industrial', ''): (317_282_836, 881_664),
    ('spt_vith_industrial', ''): (646_554_900, 1_405_952),
}


@pytest.fixture(scope='module')
def model_cost():
    """Return tools/model_cost.py as a module."""
    from mmsam_ext.cli import model_cost

    return model_cost


def sizes(model_cost, name: str, text: str) -> tuple[int, int]:
    config = model_cost.load_config(str(CONFIGS / f'{name}.py'), options(text))
    model = model_cost.build_without_backbone(config.model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return sum(p.numel() for p in model.parameters()), trained


@pytest.mark.parametrize(('name', 'text'), COUNTS, ids=' '.join)
def test_counts_of_the_paper(name: str, text: str, model_cost) -> None:
    assert sizes(model_cost, name, text) == COUNTS[name, text]


def test_counts_in_the_pages(model_cost) -> None:
    text = PAGE + (CONFIGS / 'methods/plm_pmm.md').read_text()
    rows = re.findall(r'^\| `([\w+-]+)\.py` \| [^|]+ \| ([\d,]+) \| ([\d,]+) \|$', text, re.MULTILINE)
    assert len(rows) == 15  # of SPT and of PLM
    for name, total, trained in rows:
        expected = tuple(int(number.replace(',', '')) for number in (total, trained))
        assert sizes(model_cost, name, '') == expected, name


# ---------------------------------------------------------------- ablations of the page


def parts(model: nn.Module) -> set[str]:
    """Return the parts of the model that have PEFT layers."""
    names = [name for name, module in model.named_modules() if isinstance(module, PEFTLinear)]
    return {re.sub(r'^mask_decoder\.', '', re.match(r'backbone|mask_decoder\.\w+', name)[0]) for name in names}


EXPECTED = {  # drafts, parts with PEFT, blocks with VRA
    'Table 2, PEFT': (0, {'backbone', 'refine'}, ()),
    'Table 2, + SDT': (1, {'backbone', 'drafts', 'refine'}, ()),
    'Table 2, + VRA': (0, {'backbone', 'refine'}, (0, 1)),
    'Table 4, two drafts': (2, {'backbone', 'drafts', 'refine'}, (0, 1)),
    'Table 5, only refine': (1, {'refine'}, ()),
    'Table 5, only draft': (1, {'drafts'}, ()),
    'Table 5, no decoder': (1, {'backbone'}, ()),
    'Table 5, no encoder': (1, {'drafts', 'refine'}, ()),
    'Table 6, block 1': (1, {'backbone', 'drafts', 'refine'}, (0,)),
    'Table 6, block 2': (1, {'backbone', 'drafts', 'refine'}, (1,)),
}


@pytest.mark.parametrize(('what', 'name', 'text'), ABLATIONS, ids=[row[0] for row in ABLATIONS])
def test_ablation(what: str, name: str, text: str, tmp_path: Path) -> None:
    """The options of an ablation give the paper's model, and every trained parameter gets a gradient."""
    config = Config.fromfile(CONFIGS / name)
    config.merge_from_dict(options(text))
    model = MODELS.build(shrink(config, tmp_path).model)
    if what in EXPECTED:
        drafts, adapted, blocks = EXPECTED[what]
        assert len(model.mask_decoder.drafts) == drafts
        assert parts(model) == adapted
        for decoder in (*model.mask_decoder.drafts, model.mask_decoder.refine):
            assert tuple(block for plugin in decoder.plugins for block in plugin.blocks) == blocks
    losses = model.train().loss(torch.randn(1, 3, SIZE, SIZE), [sample()])
    assert sum(name.startswith('draft') for name in losses) == 2 * len(model.mask_decoder.drafts)
    sum(losses.values()).backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all(parameter.grad is not None for parameter in trained.values())


def test_all_ablations_of_the_readme_are_tried() -> None:
    assert set(EXPECTED) <= {row[0] for row in ABLATIONS} and len(ABLATIONS) == 14


def sample():
    """A data sample with a box and its mask."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    mask[:, 10:40, 20:50] = 1
    one = SegDataSample(gt_masks=PixelData(data=mask))
    one.prompts = Prompts.create(boxes=[[20, 10, 50, 40]])
    return one


# ---------------------------------------------------------------- from plain SAM


def plain_sam(folder: Path) -> tuple[nn.Module, Path]:
    """A shrunken zero-shot SAM, and its checkpoint under Meta's names."""
    model = MODELS.build(shrink(CONFIGS / 'sam_vitb_industrial.py', folder).model).eval()
    state = {re.sub('^backbone', 'image_encoder', key): value for key, value in model.state_dict().items()}
    torch.save(state, folder / 'sam.pth')
    return model, folder / 'sam.pth'


@torch.no_grad()
@pytest.mark.parametrize('name', ['spt_vitb_industrial', 'spt-dora_vitb_industrial', 'spt-adapter_vitb_industrial'])
def test_starts_as_zero_shot_sdt(name: str, tmp_path: Path) -> None:
    """At beta = 0 and B = 0 the draft's logits are plain SAM's, the refined ones those of SAM prompted with the draft:
    bit for bit with LoRA and Adapter, to rounding with DoRA, which divides rows by their lengths."""
    plain, path = plain_sam(tmp_path)
    model = MODELS.build(shrink(CONFIGS / f'{name}.py', tmp_path).model)
    load_checkpoint(model, str(path), map_location='cpu')
    model.eval()
    image, box = torch.randn(1, 3, SIZE, SIZE), [[20.0, 10, 50, 40]]
    draft = plain.decode(
        plain.extract_feat(image), PromptBatch.from_prompts([Prompts.create(boxes=box)], (SIZE, SIZE))
    ).logits
    prompts = Prompts.create(boxes=box, masks=draft[:, :1])
    refined = plain.decode(plain.extract_feat(image), PromptBatch.from_prompts([prompts], (SIZE, SIZE))).logits
    result = model.decode(
        model.extract_feat(image), PromptBatch.from_prompts([Prompts.create(boxes=box)], (SIZE, SIZE))
    )
    assert not torch.equal(draft, refined)
    for got, expected in ((result.drafts[0].logits, draft), (result.logits, refined)):
        if 'dora' in name:
            assert_close(got, expected, MODEL)
        else:
            assert torch.equal(got, expected)


@pytest.mark.parametrize('name', ['spt_vitb_industrial', 'dora_vitb_industrial'])
def test_checkpoint_of_the_trained_part(name: str, tmp_path: Path) -> None:
    """Trained by the Runner from Meta's file, saved without it, tested by tools/test.py on it: the same numbers."""
    _, base = plain_sam(tmp_path)
    config = shrink(CONFIGS / f'{name}.py', tmp_path)
    config.model.init_cfg = dict(type='Pretrained', checkpoint=str(base))
    config.custom_hooks = Config.fromfile(CONFIGS / f'{name}.py').custom_hooks
    datasets = config.test_dataloader.dataset
    datasets.datasets = datasets.datasets[:2]
    config.val_dataloader = config.test_dataloader
    config.optim_wrapper.optimizer.lr = 0.1
    config.dump(tmp_path / 'config.py')
    runner = Runner.from_cfg(config)
    runner.train()
    checkpoint = tmp_path / 'work' / 'iter_2.pth'
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    trained = {name for name, parameter in runner.model.named_parameters() if parameter.requires_grad}
    assert set(state) == trained and not any(key.endswith('qkv.weight') for key in state)
    run_here('test.py', tmp_path / 'config.py', checkpoint, '--work-dir', tmp_path / 'tested')
    results = test_results(tmp_path / 'tested')
    scalars = runner.message_hub.log_scalars
    assert {'mvtec_ad/mIoU/boxes', 'visa/mBIoU/10 points', 'mIoU/box-level', 'mIoU/point-level', 'mIoU'} <= set(results)
    for key, value in results.items():
        assert value == pytest.approx(scalars[f'val/{key}'].current(), abs=1e-3), key
    box_level = (results['mIoU/box'] + results['mIoU/boxes']) / 2
    assert results['mIoU/box-level'] == pytest.approx(box_level, abs=0.02)


def test_without_any_benchmark(tmp_path: Path) -> None:
    """Training stops before its first step; with the options that the page names it trains without them."""
    path = CONFIGS / 'spt_vitb_industrial.py'
    config = shrink(path, tmp_path)
    for dataset in config.val_dataloader.dataset.datasets:
        dataset.data_root = str(tmp_path / 'none' / dataset.type)
    with raises_naming(FileNotFoundError, '6 datasets', 'MVTec AD'):
        Runner.from_cfg(config).train()
    (text,) = re.findall(r'`(val_dataloader=\S+ val_evaluator=\S+ val_cfg=\S+)`', PAGE)
    config = shrink(path, tmp_path)
    config.merge_from_dict(options(text))
    Runner.from_cfg(config).train()
    assert (tmp_path / 'work' / 'iter_2.pth').is_file()
