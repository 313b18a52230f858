"""tools/reproduce.py: the framework on a toy study, by injected runs; and every variant of every study, shrunk."""

from __future__ import annotations

import json
import re
import threading
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
from studies import study as base
from studies import table

from tests.conftest import find_data
from tests.naming import assert_names, error_line, raises_naming
from tests.shrink import shrink

TOY = base.Study(
    name='toy',
    config='sam_tiny_{data}',
    data=('mtd', 'synthetic'),
    iterations=100,
    variants=(
        base.Variant('zero-shot', {'model.trainable': ()}, trained=False),
        base.Variant('tuned'),
        base.Variant('tuned, half', lambda config: {'optim_wrapper.optimizer.lr': config.train_cfg.max_iters}, 0.5),
    ),
    columns=(base.Column('mIoU', 'mIoU'), base.Column('MAE', 'MAE', 3), base.Column('gone', 'gone')),
    claims=(
        base.Claim('tuned', 'zero-shot', 'mIoU'),
        base.Claim('tuned', 'zero-shot', 'MAE', lower=True),
        base.Claim('tuned, half', 'tuned', 'mIoU'),
    ),
)
SEEDS = [0, 1, 2]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Markdown file with markers; the toy is a study of the tool."""
    monkeypatch.setitem(reproduce.STUDIES, 'toy', TOY)
    path = tmp_path / 'page.md'
    path.write_text('before\n<!-- reproduce:toy -->\nOLD TEXT\n<!-- /reproduce:toy -->\nafter \\1\n')
    return path


class Fake:
    """Stands for training and test: known numbers, and which runs were asked for."""

    MIOU = {'zero-shot': [50.0], 'tuned': [51.0, 52.0, 56.0], 'tuned, half': [51.0, 53.0, 57.0]}

    def __init__(self, fail: str = '') -> None:
        self.fail = fail
        self.asked: list[str] = []

    def __call__(self, run: base.Run, folder: Path) -> dict:
        self.asked.append(str(run))
        assert not list(folder.iterdir())  # nothing is left of an interrupted run
        (folder / 'half done').touch()
        if self.fail == 'interrupt' and len(self.asked) == 4:
            raise KeyboardInterrupt
        if self.fail in str(run) and self.fail:
            raise reproduce.RunError('train.py failed (1), train.log:\nboom')
        miou = self.MIOU[run.variant.name][run.seed] + 10 * (run.data == 'synthetic')
        metrics = dict(mIoU=miou, MAE=miou / 1000)
        return dict(metrics=metrics, cost=dict(trained=12345, flops=2e9, flops_trained=1e9), seconds=dict(train=60.0))


def run(page: Path, *arguments: str, fail: str = '') -> tuple[int, Fake]:
    fake = Fake(fail)
    line = ['toy', '--work-dir', str(page.parent / 'work'), '--out', str(page), *arguments]
    return reproduce.main(line, fake), fake


def rows(page: Path) -> dict[str, list[list[str]]]:
    """Data, or 'Claims' -> the rows of its table, without its head."""
    tables = {}
    for part in page.read_text().split('\n## ')[1:]:
        cells = [line.strip('| ').split(' | ') for line in part.splitlines() if line.startswith('|')]
        tables[part.splitlines()[0]] = cells[2:]
    return tables


def test_table(page: Path) -> None:
    """Means and sample standard deviations by hand: (51, 52, 56) has mean 53 and deviation sqrt(14 / 2) = 2.65."""
    code, fake = run(page)
    assert code == 0 and len(fake.asked) == len(set(fake.asked)) == 2 * (1 + 3 + 3)
    text = page.read_text()
    assert text.startswith('before\n<!-- reproduce:toy -->\n') and 'OLD TEXT' not in text
    assert text.endswith('\n<!-- /reproduce:toy -->\nafter \\1\n')
    assert '`python tools/reproduce.py toy --seeds 0 1 2`' in text and 'missing' not in text
    assert rows(page)['mtd'] == [
        ['zero-shot', '0', '12,345', '50.0', '0.050', 'undefined'],
        ['tuned', '100', '12,345', '53.0 ± 2.6', '0.053 ± 0.003', 'undefined'],
        ['tuned, half', '50', '12,345', '53.7 ± 3.1', '0.054 ± 0.003', 'undefined'],
    ]
    assert rows(page)['synthetic'][1][3] == '63.0 ± 2.6'
    # Differences of the same seeds: (1, 2, 6) all positive; of an error, reversed; (0, 1, 1): open.
    assert rows(page)['Claims'] == [
        ['tuned', 'zero-shot', 'mIoU', '+3.0 ± 2.6, holds', '+3.0 ± 2.6, holds'],
        ['tuned', 'zero-shot', 'MAE (lower is better)', '+0.003 ± 0.003, reversed', '+0.003 ± 0.003, reversed'],
        ['tuned, half', 'tuned', 'mIoU', '+0.7 ± 0.6, open', '+0.7 ± 0.6, open'],
    ]


def test_a_difference_has_its_sign() -> None:
    """A loss of 1, 2 and 6 points is -3.0; a claim of a lower error holds when the error falls."""
    found = {
        one: dict(metrics=dict(mIoU=-dict(enumerate([1.0, 2.0, 6.0]))[one.seed], MAE=-0.1 * (one.seed + 1)))
        for one in TOY.runs(SEEDS, data=['mtd'], only=['tuned'])
    }
    found |= {one: dict(metrics=dict(mIoU=0.0, MAE=0.0)) for one in TOY.runs(SEEDS, data=['mtd'], only=['zero-shot'])}
    higher, lower, _ = TOY.claims
    assert table.check(higher, 'mtd', found, 1, 3) == '-3.0 ± 2.6, reversed'
    assert table.check(lower, 'mtd', found, 3, 3) == '-0.200 ± 0.100, holds'


def test_finished_runs_are_not_run_again(page: Path) -> None:
    code, first = run(page, fail='interrupt')
    assert code == 130 and len(first.asked) == 4
    code, second = run(page)
    assert code == 0 and second.asked[0] == first.asked[3] and len(second.asked) == 14 - 3
    whole = page.read_text()
    assert not run(page)[1].asked and page.read_text() == whole
    page.write_text(whole.replace('53.0', '-'))
    assert not run(page, '--table')[1].asked and page.read_text() == whole


def test_another_config_is_another_run(page: Path) -> None:
    """More steps do not pass for fewer, and the old results are there when they are asked for again."""
    run(page, '--only', 'tuned', '--data', 'mtd', '--seeds', '0')
    code, fake = run(page, '--only', 'tuned', '--data', 'mtd', '--seeds', '0', '--iters', '10')
    assert fake.asked == ['mtd: tuned, seed 0, 10 steps']
    assert '--seeds 0 --iters 10`' in page.read_text()
    assert not run(page, '--only', 'tuned', '--data', 'mtd', '--seeds', '0')[1].asked


def test_absent_runs_are_counted(page: Path) -> None:
    run(page, '--table')
    assert_names(page.read_text(), '14 runs', '`python tools/reproduce.py toy --seeds 0 1 2`')
    run(page, '--only', 'tuned', '--data', 'mtd', '--seeds', '0', '1')
    run(page, '--table')
    assert '**12 of 14 runs are missing (-).**' in page.read_text()
    assert rows(page)['mtd'][0] == ['zero-shot', '0', '-', '-', '-', '-']
    assert rows(page)['mtd'][1][3] == '51.5 ± 0.7 (2 of 3)'
    assert 'Claims' not in page.read_text()


def test_a_failure_does_not_stop_the_others(page: Path, capsys: pytest.CaptureFixture) -> None:
    code, fake = run(page, fail='mtd: tuned, seed 1')
    assert code == 1 and len(fake.asked) == 14
    assert_names(capsys.readouterr().out, 'FAILED', 'mtd: tuned, seed 1, 100 steps', 'train.py')
    assert rows(page)['mtd'][1][3] == '53.5 ± 3.5 (2 of 3)'
    assert run(page)[1].asked == ['mtd: tuned, seed 1, 100 steps']


def test_weights_that_change_meanwhile(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the run under way nor those that were planned with the old weights pass for results of either."""
    fake = Fake()

    def replaced_in_the_third(run: base.Run, folder: Path) -> dict:
        result = fake(run, folder)
        if len(fake.asked) == 3:
            monkeypatch.setattr(base, 'weights_hash', lambda name: 'of new weights')
        return result

    line = ['toy', '--data', 'mtd', '--work-dir', str(page.parent / 'work'), '--out', str(page)]
    assert reproduce.main(line, replaced_in_the_third) == 1
    assert len(fake.asked) == 3 and len(list((page.parent / 'work').rglob('result.json'))) == 2
    code, again = run(page, '--data', 'mtd')
    assert code == 0 and len(again.asked) == 7


def test_progress(page: Path, capsys: pytest.CaptureFixture) -> None:
    """Seven of a minute each: after the fifth, two minutes are left."""
    run(page, '--data', 'mtd')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '0 of 7 runs are finished'
    assert '[5/7] mtd: tuned, half, seed 1, 50 steps: 1 min; left: about 2 min' in lines
    assert (reproduce.clock(3900), reproduce.clock(59.4)) == ('1 h 05 min', '59 s')


def test_jobs_at_a_time(page: Path) -> None:
    """Each run waits until another has begun, which one at a time would do in vain; the table is the same."""
    run(page)
    alone = page.read_text()
    both, fake = threading.Barrier(2, timeout=20), Fake()

    def execute(run: base.Run, folder: Path) -> dict:
        both.wait()
        return fake(run, folder)

    line = ['toy', '--jobs', '2', '--work-dir', str(page.parent / 'other'), '--out', str(page)]
    assert reproduce.main(line, execute) == 0
    assert len(set(fake.asked)) == 14 and page.read_text() == alone


def test_dry_run(page: Path, capsys: pytest.CaptureFixture) -> None:
    run(page, '--data', 'mtd', '--seeds', '0')
    before = page.read_text()
    capsys.readouterr()
    assert not run(page, '--dry-run')[1].asked and page.read_text() == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ['finished  mtd: zero-shot, not trained', 'finished  mtd: tuned, seed 0, 100 steps']
    assert lines[-1] == '14 runs' and sum(line.startswith('to run') for line in lines) == 11


@pytest.mark.parametrize(
    ('arguments', 'names'),
    [
        (
            ['--only', 'tuned', 'tined'],
            ('tined', "'zero-shot'", "'tuned'", "'tuned, half'"),
        ),
        (['--data', 'mvtec'], ('mvtec', 'mtd', 'synthetic')),
        (['--speed', '--only', 'tuned'], ('--only', '--speed')),
        (['--iters', '0'], ('--iters', '0')),
        (['--seeds', '1', '1'], ('--seeds', '[1, 1]')),
    ],
)
def test_bad_input(arguments: list[str], names: tuple[str, ...], page: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run(page, *arguments)
    assert_names(error_line(capsys), *names)


def test_markers_are_missing(page: Path) -> None:
    page.write_text('<!-- /reproduce:toy -->\n<!-- reproduce:toy -->\n')
    with raises_naming(ValueError, 'page.md', '<!-- reproduce:toy -->'):
        run(page, '--table')
    assert page.read_text() == '<!-- /reproduce:toy -->\n<!-- reproduce:toy -->\n'


def test_config_of_a_run() -> None:
    """No validation, the schedule stretched, the seed; the shipped config is left alone."""
    before = base.read_config('sam_tiny_mtd').to_dict()
    (one,) = TOY.runs([7], 200, ['mtd'], ['tuned, half'])
    config = one.config
    assert config.train_cfg.max_iters == config.default_hooks.checkpoint.interval == 100
    assert [(item.begin, item.end) for item in config.param_scheduler] == [(0, 6), (6, 100)]  # of 0-50-800
    assert config.randomness.seed == 7 and config.optim_wrapper.optimizer.lr == 800
    assert config.val_dataloader is config.val_cfg is config.val_evaluator is None
    assert (
        config.train_dataloader.dataset.ann_file == 'train.txt' and config.test_dataloader.dataset.ann_file == 'val.txt'
    )
    assert base.read_config('sam_tiny_mtd').to_dict() == before
    (short,) = replace(TOY, iterations=dict(mtd=50, synthetic=9)).runs([7], None, ['mtd'], ['tuned, half'])
    assert short.iterations == short.config.train_cfg.max_iters == 25
    zero, again = (TOY.runs([0], steps, ['mtd'], ['zero-shot'])[0] for steps in (100, 200))
    assert zero.config.train_dataloader is None and zero.fingerprint == again.fingerprint != one.fingerprint


def test_a_variant_on_some_data_alone(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no run and no row elsewhere, and nothing is missing."""
    variants = (*TOY.variants[:2], replace(TOY.variants[2], data=('mtd',)))
    monkeypatch.setitem(reproduce.STUDIES, 'toy', replace(TOY, variants=variants))
    _, fake = run(page)
    assert len(fake.asked) == 11 and not [one for one in fake.asked if one.startswith('synthetic: tuned, half')]
    assert {data: len(rows(page)[data]) for data in ('mtd', 'synthetic')} == {'mtd': 3, 'synthetic': 2}
    assert rows(page)['Claims'][2][3:] == ['+0.7 ± 0.6, open', '-']
    assert 'missing' not in page.read_text()


def test_speed_is_relative_to_the_first(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero-shot and tuned are made of the same, so they are one measurement."""
    seconds = iter([2.0, 4.0])

    def time_parts(works: dict, repeats: int, device: object, progress: object) -> tuple[dict, dict]:
        cpu = {name: [next(seconds)] * repeats for name in works}
        return cpu, cpu

    monkeypatch.setattr(reproduce, 'time_parts', time_parts)
    monkeypatch.setitem(reproduce.SPEEDS, 'predict', lambda config: None)
    two = base.Study('toy', 'sam_tiny_{data}', ('mtd',), 100, (*TOY.variants[:2], wide()), TOY.columns)
    monkeypatch.setitem(reproduce.STUDIES, 'toy', two)
    run(page)
    run(page, '--speed')
    assert [row[3] for row in rows(page)['mtd']] == ['1.00', '1.00', '0.50']


def wide() -> base.Variant:
    return base.Variant('tuned, half', {'model.backbone.embed_dim': 384})


# ---------------------------------------------------------------- the studies


@pytest.mark.parametrize('study', reproduce.STUDIES.values(), ids=lambda study: study.name)
def test_pages_are_as_the_tool_writes_them(study: base.Study, tmp_path: Path) -> None:
    """Between the markers stand the rows, columns, notes and claims of the study of today; only figures differ."""
    first, last = f'<!-- reproduce:{study.name} -->\n', f'\n<!-- /reproduce:{study.name} -->'
    page = (reproduce.RESULTS / f'{study.name}.md').read_text()
    assert page.count(first) == page.count(last) == 1
    runs = study.runs(SEEDS)
    for one in runs:
        metrics = {column.key: 50.0 + one.seed for column in study.columns}
        folder = one.folder(tmp_path)
        folder.mkdir(parents=True)
        cost = dict(trained=0, flops=0, flops_trained=0)
        (folder / 'result.json').write_text(json.dumps(dict(metrics=metrics, cost=cost, seconds={})))
    speeds = {data: {variant.name: 1.0 for variant in study.variants} for data in study.data}
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
    """Every variant of every study, on the one data set and on the other in turn."""
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
    """It builds, its losses are finite, and every parameter that it trains gets a gradient."""
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
        with torch.no_grad():
            assert model.eval()(torch.randn(1, 3, 64, 64), None, mode='tensor') is not None


def test_operations_of_what_is_trained() -> None:
    """All those of a model from scratch, of ODS-SAM the prompt head's alone, and none of what is not trained."""
    costs = {
        name: reproduce.cost(run_of('ods_sam', name, 'mtd').config)
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
    monkeypatch.setattr(reproduce, 'call', lambda *arguments: pytest.fail('it was trained'))
    with raises_naming(reproduce.RunError, 'data_preprocessor.size'):
        reproduce.execute(SimpleNamespace(config=config), tmp_path)


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
    """The shares of data are of so many images."""
    config = run_of('plm', 'PLM', 'mtd').config.train_dataloader.dataset
    dataset = DATASETS.build(dict(config, data_root=str(find_data('mtd')), pipeline=[]))
    assert len(dataset) == studies.plm.IMAGES == studies.stable_sam.IMAGES
