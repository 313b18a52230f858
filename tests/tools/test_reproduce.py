"""tools/reproduce.py: the framework on a toy study, by injected runs."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import reproduce
from studies import running, speed, table
from studies import study as base

from tests.naming import assert_names, error_line, raises_naming

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
    """Replaces training and testing by known numbers, and records which runs were requested."""

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
            raise base.RunError('train.py failed (1), train.log:\nboom')
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
    """Results are kept per number of steps: another number runs anew, and the old results are found again."""
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
    """If the mini SAM changes during a study, no run counts as a result of the old or the new weights."""
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
    """After five of seven runs of one minute each, the estimate is two minutes."""
    run(page, '--data', 'mtd')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '0 of 7 runs are finished'
    assert '[5/7] mtd: tuned, half, seed 1, 50 steps: 1 min; left: about 2 min' in lines
    assert (running.clock(3900), running.clock(59.4)) == ('1 h 05 min', '59 s')


def test_jobs_at_a_time(page: Path) -> None:
    """With --jobs two runs overlap, and the table is the same."""
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
        (['--only', 'tuned', 'tined'], ('tined', "'tuned'")),
        (['--data', 'mvtec'], ('mvtec', 'mtd')),
        (['--speed', '--only', 'tuned'], ('--only', '--speed')),
        (['--iters', '0'], ('--iters', '0')),
        (['--seeds', '1', '1'], ('--seeds', '[1, 1]')),
    ],
)
def test_bad_input(arguments: list[str], names: tuple[str, ...], page: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run(page, *arguments)
    assert_names(error_line(capsys), *names)


def test_markers_are_missing(page: Path, capsys: pytest.CaptureFixture) -> None:
    page.write_text('<!-- /reproduce:toy -->\n<!-- reproduce:toy -->\n')
    with pytest.raises(SystemExit):
        run(page, '--table')
    assert_names(error_line(capsys), 'page.md', '<!-- reproduce:toy -->')
    with raises_naming(ValueError, 'page.md', '<!-- reproduce:toy -->'):
        table.write_between(page, 'toy', 'the table')
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
    """A variant of one data set has no run and no row in the others, and does not count as missing there."""
    variants = (*TOY.variants[:2], replace(TOY.variants[2], data=('mtd',)))
    monkeypatch.setitem(reproduce.STUDIES, 'toy', replace(TOY, variants=variants))
    _, fake = run(page)
    assert len(fake.asked) == 11 and not [one for one in fake.asked if one.startswith('synthetic: tuned, half')]
    assert {data: len(rows(page)[data]) for data in ('mtd', 'synthetic')} == {'mtd': 3, 'synthetic': 2}
    assert rows(page)['Claims'][2][3:] == ['+0.7 ± 0.6, open', '-']
    assert 'missing' not in page.read_text()


def test_speed_is_relative_to_the_first(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants with the same model share one speed measurement."""
    seconds = iter([2.0, 4.0])

    def time_parts(works: dict, repeats: int, device: object, progress: object) -> tuple[dict, dict]:
        cpu = {name: [next(seconds)] * repeats for name in works}
        return cpu, cpu

    monkeypatch.setattr(speed, 'time_parts', time_parts)
    monkeypatch.setitem(speed.SPEEDS, 'predict', lambda config: None)
    two = base.Study('toy', 'sam_tiny_{data}', ('mtd',), 100, (*TOY.variants[:2], wide()), TOY.columns)
    monkeypatch.setitem(reproduce.STUDIES, 'toy', two)
    run(page)
    run(page, '--speed')
    assert [row[3] for row in rows(page)['mtd']] == ['1.00', '1.00', '0.50']


def wide() -> base.Variant:
    return base.Variant('tuned, half', {'model.backbone.embed_dim': 384})


def test_a_variant_that_starts_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the other's run of the same data and seed, loads its checkpoint, and is another run if that is."""
    second = base.Variant('second', after='first')
    study = replace(TOY, variants=(second, base.Variant('first')), claims=(), data=('mtd',))
    runs = study.runs([3])
    assert str(runs[0].parent) == str(runs[1]) and runs[1].parent is None
    other = replace(study, variants=(second, base.Variant('first', {'optim_wrapper.optimizer.lr': 1.0})))
    assert other.runs([3])[0].fingerprint != runs[0].fingerprint
    order = []
    running.run_all(runs, tmp_path, lambda run, folder: order.append(run.variant.name) or dict(seconds={}), jobs=2)
    assert order == ['first', 'second']
    monkeypatch.setattr(running, 'cost', lambda config: {})
    folder = runs[0].folder(tmp_path)
    with raises_naming(base.RunError, 'first', 'seed 3'):
        running.execute(runs[0], folder)
    start = runs[1].checkpoint(tmp_path)
    start.parent.mkdir(parents=True)
    start.touch()
    monkeypatch.setattr(running, 'call', lambda log, tool, config, *rest: pytest.fail(config.read_text()))
    with pytest.raises(pytest.fail.Exception) as started:
        running.execute(runs[0], folder)
    assert str(start) in str(started.value)
