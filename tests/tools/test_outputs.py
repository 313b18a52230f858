"""Every ``--out``: checked before the work, never the input, never a file of the user without ``--overwrite``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import reproduce
from mmengine.config import Config
from mmseg.registry import METRICS, VISUALIZERS

from mmsam_ext.cli import (
    analyze_robustness,
    compare_runs,
    export_plain_sam,
    merge_peft,
    spt_official,
    visualize_sampling,
)
from mmsam_ext.cli.test import out_to_metrics
from mmsam_ext.evaluation.metrics.breakdown import Breakdown, Score
from tests.naming import assert_names, raises_naming
from tests.shrink import unique_name

#: Tool -> arguments in a folder with a.pth, b.pth and mine.pth; the output is OUT. Nothing there can be loaded, so a
#: check that comes after the work would end in another error.
TOOLS = {
    'export_plain_sam': (export_plain_sam, ['a.pth', 'OUT']),
    'spt_official': (spt_official, ['a.pth', 'b.pth', 'OUT']),
    'merge_peft': (merge_peft, ['config.py', 'a.pth', 'OUT']),
    'compare_runs': (compare_runs, ['x=a.pth', '--out', 'OUT']),
    'visualize_sampling': (visualize_sampling, ['a.pth', 'none', '--box', *'1234', '--out', 'OUT']),
}


def run(main, arguments: list[str], capsys) -> str:
    """What a tool prints to stderr when it fails."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code not in (0, None)
    return f'{code} {capsys.readouterr().err}'


@pytest.mark.parametrize('tool', TOOLS)
def test_existing_files_inputs_and_folders(tool: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('a.pth', 'b.pth', 'mine.pth', 'config.py'):
        Path(name).write_text(f'# the user wrote {name}\nmodel = dict(type="None")')
    Path('folder.pth').mkdir()
    module, arguments = TOOLS[tool]

    def fill(out: str) -> list[str]:
        return [out if argument == 'OUT' else argument for argument in arguments]

    said = run(module.main, fill('mine.pth'), capsys)
    assert 'mine.pth' in said and '--overwrite' in said
    if tool != 'compare_runs':  # whose inputs are JSON files
        assert 'a.pth: the output is the input' in run(module.main, [*fill('a.pth'), '--overwrite'], capsys)
    assert 'folder.pth: Is a directory' in run(module.main, [*fill('folder.pth'), '--overwrite'], capsys)
    said = run(module.main, [*fill('mine.pth'), '--overwrite'], capsys)
    assert 'exists' not in said  # goes on, and fails for want of something to load
    for name in ('a.pth', 'b.pth', 'mine.pth', 'config.py'):
        assert Path(name).read_text().startswith(f'# the user wrote {name}')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.pth', 'b.pth', 'config.py', 'folder.pth', 'mine.pth']


def test_analyze_robustness_checks_its_folder_first(tmp_path: Path, capsys) -> None:
    (tmp_path / 'robustness.png').write_text('mine')
    said = run(analyze_robustness.main, ['--model', 'a', 'no_such_config', '--out', str(tmp_path)], capsys)
    assert 'robustness.png' in said and '--overwrite' in said and 'no_such_config' not in said
    said = run(analyze_robustness.main, ['--model', 'a', 'no_such_config', '--out', str(tmp_path / 'new')], capsys)
    assert 'no_such_config' in said and not (tmp_path / 'new').exists()


def test_out_of_test(tmp_path: Path) -> None:
    """It goes to the metric that writes a file for each mode, and its folder is checked before anything is built."""
    metrics = [dict(type='IoUMetric'), dict(type='PromptIoUMetric'), dict(type='MAEMetric')]
    config, out = tmp_path / 'c.py', tmp_path / 'masks'
    Config(dict(test_evaluator=metrics)).dump(config)
    arguments = [str(config), 'w.pth', '--out', str(out), '--cfg-options', 'a=1']
    want = [str(config), 'w.pth', '--cfg-options', f'test_evaluator.1.output_dir={out}', 'a=1']
    assert out_to_metrics(arguments) == want
    out.mkdir()
    (out / 'truth.png').write_text('mine')
    with raises_naming(SystemExit, 'masks', '1', 'truth.png'):
        out_to_metrics(arguments)
    done = out_to_metrics([*arguments[:2], f'--out={out}', '--overwrite'])
    assert done[2:] == ['--cfg-options', f'test_evaluator.1.output_dir={out}', 'test_evaluator.1.overwrite=True']
    Config(dict(test_evaluator=metrics[0])).dump(config)
    done = out_to_metrics([str(config), 'w.pth', '--overwrite', '--out', str(out)])
    assert done[3:] == [f'test_evaluator.output_dir={out}']
    Config(dict(test_evaluator=metrics[2])).dump(config)
    with raises_naming(SystemExit, 'MAEMetric', 'output_dir'):
        out_to_metrics([str(config), 'w.pth', '--out', str(tmp_path / 'new')])
    with raises_naming(SystemExit, '--out DIR'):
        out_to_metrics([str(config), 'w.pth', '--overwrite'])


@pytest.mark.parametrize('option', ['PromptIoUMetric.csv_path', 'StabilityMetric.csv_path', 'NoCMetric.csv_path',
                                    'NoCMetric.figure_path'])  # fmt: skip
def test_files_of_metrics(option: str, tmp_path: Path) -> None:
    kind, argument = option.split('.')
    path = tmp_path / 'table.png'
    path.write_text('mine')
    with raises_naming(FileExistsError, path):  # when the evaluator is built, before the test
        METRICS.build({'type': kind, argument: str(path)})
    with raises_naming(IsADirectoryError, tmp_path):
        METRICS.build({'type': kind, argument: str(tmp_path)})
    METRICS.build({'type': kind, argument: str(path), 'overwrite': True})
    assert path.read_text() == 'mine'


def test_a_table_is_replaced_by_the_next_evaluation_alone(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'table.csv'
    scores = Breakdown(('ST',), [Score('data', '', 'box', (0.5,))])
    scores.write_csv(str(path))
    scores.write_csv(str(path))
    assert 'data,box' in path.read_text()
    path.write_text('changed by the user')
    with raises_naming(FileExistsError, path.parent, 'table.csv'):
        scores.write_csv(str(path))
    scores.write_csv(str(path), overwrite=True)
    assert 'data,box' in path.read_text()


def test_show_dir(tmp_path: Path) -> None:
    config = tmp_path / 'c.py'
    Config(dict(test_evaluator=dict(type='PromptIoUMetric'), visualizer=dict(type='PromptVisualizer'))).dump(config)
    pictures = tmp_path / 'shown' / 'vis_data' / 'vis_image'
    arguments = [str(config), 'w.pth', '--show-dir', str(tmp_path / 'shown')]
    assert out_to_metrics(arguments) == arguments
    pictures.mkdir(parents=True)
    (pictures / 'test_a_0.png').write_text('mine')
    with pytest.raises(SystemExit, match='--show-dir .*test_a_0.png'):
        out_to_metrics(arguments)
    assert out_to_metrics([*arguments, '--overwrite']) == [*arguments, '--cfg-options', 'visualizer.overwrite=True']
    with pytest.raises(SystemExit, match='--out .*c.py.*expected a folder'):
        out_to_metrics([*arguments, '--overwrite', '--out', str(config)])


def test_pictures_replace_only_those_of_earlier_runs(tmp_path: Path) -> None:
    def draw(name: str, overwrite: bool = False) -> None:
        backend = dict(type='LocalVisBackend', save_dir=str(tmp_path))
        options = dict(name=unique_name(), vis_backends=[backend], save_dir=str(tmp_path), overwrite=overwrite)
        visualizer = VISUALIZERS.build(dict(type='PromptVisualizer', **options))
        visualizer.add_datasample(name, np.zeros((40, 60, 3), np.uint8))

    draw('a')
    (folder,) = {path.parent for path in tmp_path.rglob('a_0.png')}
    draw('a')
    (folder / 'b_0.png').write_text('mine')
    with raises_naming(FileExistsError, folder, 'b_0.png'):
        draw('b')
    draw('b', overwrite=True)
    assert cv2.imread(str(folder / 'b_0.png')) is not None


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        ('# My notes\n', 'reproduce:spt'),
        ('<!-- /reproduce:spt -->\n<!-- reproduce:spt -->\n', 'reproduce:spt'),
        (b'\xff\xfe\x00', 'page.md'),
        (None, 'page.md'),
    ],
    ids=['no markers', 'wrong order', 'no text', 'a folder'],
)
def test_page_of_reproduce_is_checked_first(content: str | bytes | None, named: str, tmp_path: Path, capsys) -> None:
    page = tmp_path / 'page.md'
    if content is None:
        page.mkdir()
    else:
        page.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit) as stopped:
        reproduce.main(['spt', '--out', str(page), '--work-dir', str(tmp_path / 'work')])
    assert stopped.value.code == 2
    assert_names(capsys.readouterr().err, page, named)
    assert not (tmp_path / 'work').exists()
