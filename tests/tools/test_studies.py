"""The studies of tools/reproduce.py: their pages, and every variant, shrunk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import reproduce
import studies
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from studies import running, table
from studies import study as base

from mmsam_ext.checkpoints.keys import added_keys, untrained_parts
from tests.conftest import find_data
from tests.naming import raises_naming
from tests.shrink import shrink

SEEDS = [0, 1, 2]


@pytest.mark.parametrize('study', reproduce.STUDIES.values(), ids=lambda study: study.name)
def test_pages_are_as_the_tool_writes_them(study: base.Study, tmp_path: Path) -> None:
    """The rows, columns, notes and claims in each results page are those of its study; only the numbers may differ.

    The page of a study without finished runs says so.
    """
    first, last = f'<!-- reproduce:{study.name} -->\n', f'\n<!-- /reproduce:{study.name} -->'
    page = (reproduce.RESULTS / f'{study.name}.md').read_text()
    assert page.count(first) == page.count(last) == 1
    runs = study.runs(SEEDS)
    nothing = table.report(study, runs, tmp_path, table.command(study, SEEDS, None), {})
    if page.split(first)[1].split(last)[0] == nothing:
        return
    for one in runs:
        metrics = {column.key: 50.0 + one.seed for column in study.columns}
        folder = one.folder(tmp_path)
        folder.mkdir(parents=True)
        cost = dict(trained=0, flops=0, flops_trained=0)
        (folder / 'result.json').write_text(json.dumps(dict(metrics=metrics, cost=cost, seconds={})))
    with_speed = '| speed |' in page  # which --speed measures
    speeds = {data: {variant.name: 1.0 for variant in study.variants} for data in study.data * with_speed}
    written = table.report(study, runs, tmp_path, table.command(study, SEEDS, None), speeds)

    def without_figures(text: str) -> list[str]:
        return re.sub(r'[+-]?\d[\d,.]*( ± \d[\d.]*)?|holds|open|reversed', '#', text).splitlines()

    assert without_figures(page.split(first)[1].split(last)[0]) == without_figures(written)


def test_a_page_that_is_missing_is_created(tmp_path: Path) -> None:
    path = tmp_path / 'results/toy.md'
    table.write_between(path, 'toy', 'the table')
    assert path.read_text().endswith('<!-- reproduce:toy -->\nthe table\n<!-- /reproduce:toy -->\n')
    assert path.read_text().startswith('# ')


def variants() -> Iterator[tuple[str, str, str]]:
    """Every variant of every study, on alternating data sets."""
    for study in reproduce.STUDIES.values():
        for index, variant in enumerate(study.variants):
            data = variant.data or study.data
            yield study.name, variant.name, data[index % len(data)]


@pytest.mark.parametrize('study', reproduce.STUDIES.values(), ids=lambda study: study.name)
def test_names_and_keys(study: base.Study) -> None:
    """Names are unique, all runs differ, columns are keys that the test's metrics have, claims name variants."""
    names = [variant.name for variant in study.variants]
    assert len(set(names)) == len(names)
    runs = study.runs(SEEDS)
    assert len({one.fingerprint for one in runs}) == len({one.folder(Path()) for one in runs}) == len(runs)
    keys = {column.key for column in study.columns}
    assert {claim.key for claim in study.claims} <= keys
    assert all(study.variant(name) for claim in study.claims for name in (claim.better, claim.worse))
    for one in study.runs([0]):
        steps = {step['type']: step for step in one.config.test_dataloader.dataset.pipeline}
        modes = steps['GeneratePrompts'].modes if 'GeneratePrompts' in steps else {}
        perturbed = [m for step in one.config.test_dataloader.dataset.pipeline for m in step.get('modes', ())]
        assert set(perturbed) <= set(modes)
        assert {key.split('/', 1)[1] for key in keys if '/' in key} <= set(modes)


_batches: dict[str, dict] = {}


def batch_of(config: Config) -> dict:
    """A collated batch of the training data, one for all configs that have the same."""
    key = json.dumps(config.train_dataloader.to_dict(), sort_keys=True, default=str)
    if key not in _batches:
        _batches[key] = next(iter(Runner.build_dataloader(config.train_dataloader, seed=0)))
    return _batches[key]


_stepped: set[str] = set()


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('shrunk')


@pytest.mark.parametrize(('study', 'variant', 'data'), [pytest.param(*row, id=' '.join(row)) for row in variants()])
def test_variant_takes_a_step(study: str, variant: str, data: str, folder: Path) -> None:
    """Each variant builds, its losses are finite, and every trained parameter gets a gradient."""
    (one,) = reproduce.STUDIES[study].runs([0], None, [data], [variant])
    trained = one.variant.trained
    # What is not trained has no data to train on, which shrinking expects.
    source = one.config if trained else replace(one, variant=base.Variant(variant, one.variant.options)).config
    config = shrink(source, folder)
    key = json.dumps([config.model.to_dict(), source.train_dataloader.to_dict()], sort_keys=True, default=str)
    if key in _stepped:
        return  # the same but for its number of steps
    _stepped.add(key)
    model = MODELS.build(config.model)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert bool(names) == trained
    if trained:
        batch = model.train().data_preprocessor(batch_of(config), True)
        losses, _ = model.parse_losses(model(**batch, mode='loss'))
        losses.backward()
        assert losses.isfinite()
        parameters = dict(model.named_parameters())
        assert [name for name in names if parameters[name].grad is None] == []
    else:
        # Plain SAM's weights are all that it needs, so that its row is no result of untrained parts. The mini SAM's
        # file has those of the stages that its decoder adds.
        added = [name for name in added_keys(model) if not name.endswith(('.conv_s0', '.conv_s1'))]
        assert not untrained_parts(model, added)
        with torch.no_grad():
            assert model.eval()(torch.randn(1, 3, 64, 64), None, mode='tensor') is not None


def test_operations_of_what_is_trained() -> None:
    """All those of a model from scratch, of ODS-SAM the prompt head's alone, and none of what is not trained."""
    costs = {
        name: running.cost(run_of('ods_sam', name, 'mtd').config)
        for name in ('zero-shot, no prompt', 'OD-SSM alone', 'U-Net, 16 wide', 'SegFormer-B0')
    }
    shares = {name: cost['flops_trained'] / cost['flops'] for name, cost in costs.items()}
    assert shares['zero-shot, no prompt'] == 0 < shares['OD-SSM alone'] < 0.2
    assert shares['U-Net, 16 wide'] == shares['SegFormer-B0'] == 1
    # U-Net's first convolution alone, 3 x 3 from 3 to 16 channels at 256 x 256: a lower bound
    assert costs['U-Net, 16 wide']['flops'] > 2 * 9 * 3 * 16 * 256 * 256


def test_a_model_that_cannot_be_counted_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_of('ods_sam', 'U-Net, 16 wide', 'mtd').config
    config.model.data_preprocessor.pop('size')
    config.model.data_preprocessor.size_divisor = 32
    monkeypatch.setattr(running, 'call', lambda *arguments: pytest.fail('it was trained'))
    with raises_naming(base.RunError, 'data_preprocessor.size'):
        running.execute(SimpleNamespace(config=config), tmp_path)


def run_of(study: str, variant: str, data: str) -> base.Run:
    return reproduce.STUDIES[study].runs([0], None, [data], [variant])[0]


def test_stable_sam_variants_are_what_they_say() -> None:
    """An epoch is 232 images in batches of 4, or half as many.

    Robust training has occlusion and sloppy boxes, the other has neither, and without occlusion it has all but that.
    """

    def types(name: str, data: str) -> set[str]:
        return {step['type'] for step in run_of('stable_sam', name, data).config.train_dataloader.dataset.pipeline}

    steps = {name: run_of('stable_sam', name, 'mtd').iterations for name in ('DSP + RTS', 'DSP + RTS, 1 epoch')}
    assert steps == {'DSP + RTS': 696, 'DSP + RTS, 1 epoch': 58}
    quarter = run_of('stable_sam', 'PT-SAM + RTS, 1/4 of the data', 'mtd')
    assert quarter.iterations == 696 // 4
    dataset = quarter.config.train_dataloader.dataset
    assert (len(dataset.dataset.indices), dataset.dataset.indices[-1]) == (58, 228)
    procedural = run_of('stable_sam', 'DSP', 'synthetic')
    assert (procedural.config.train_dataloader.dataset.dataset.length, procedural.iterations) == (116, 348)
    robust = {'SynthesizeOcclusion', 'PerturbPrompts'}
    for name in ('LoRA', 'DSP'):
        for data in ('mtd', 'synthetic'):
            clean, sloppy = types(name, data), types(f'{name} + RTS', data)
            assert robust <= sloppy and not robust & clean
    for name in studies.stable_sam.UNOCCLUDED:
        for data in ('mtd', 'synthetic'):
            sloppy, rest = types(f'{name} + RTS', data), types(f'{name} + RTS without occlusion', data)
            assert rest == sloppy - {'SynthesizeOcclusion'} and rest < sloppy


def test_plm_variants_are_what_they_say() -> None:
    dataset = run_of('plm', 'SAM-F, 10 % of the data', 'parts').config.train_dataloader.dataset
    assert dataset.length == 2000 and dataset.indices == list(range(0, 2000, 10))
    indices = run_of('plm', 'SAM-F, 50 % of the data', 'mtd').config.train_dataloader.dataset.indices
    assert len(set(indices)) == 116 and max(indices) < 232
    for name, modes in (('points', {'1 point'}), ('boxes', {'box'})):
        config = run_of('plm', f'PLM + PMM, trained with {name} alone', 'mtd').config
        (prompts,) = (step for step in config.train_dataloader.dataset.pipeline if step['type'] == 'GeneratePrompts')
        assert set(prompts['modes']) == modes


def test_size_of_mtd() -> None:
    """Check how many images the shares of the training data have."""
    config = run_of('plm', 'PLM', 'mtd').config.train_dataloader.dataset
    dataset = DATASETS.build(dict(config, data_root=str(find_data('mtd')), pipeline=[]))
    assert len(dataset) == studies.plm.IMAGES == studies.stable_sam.IMAGES
