"""Every ``--out``: checked before the work, never the input, never a file of the user without ``--overwrite``."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmsam_ext.cli import (
    analyze_robustness,
    compare_runs,
    export_plain_sam,
    merge_peft,
    spt_official,
    visualize_sampling,
)
from mmsam_ext.cli.test import out_to_metrics

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
    with pytest.raises(SystemExit, match='masks: 1 files .*truth.png'):
        out_to_metrics(arguments)
    done = out_to_metrics([*arguments[:2], f'--out={out}', '--overwrite'])
    assert done[2:] == ['--cfg-options', f'test_evaluator.1.output_dir={out}', 'test_evaluator.1.overwrite=True']
    Config(dict(test_evaluator=metrics[0])).dump(config)
    done = out_to_metrics([str(config), 'w.pth', '--overwrite', '--out', str(out)])
    assert done[3:] == [f'test_evaluator.output_dir={out}']
    Config(dict(test_evaluator=metrics[2])).dump(config)
    with pytest.raises(SystemExit, match='MAEMetric.*output_dir'):
        out_to_metrics([str(config), 'w.pth', '--out', str(tmp_path / 'new')])
    with pytest.raises(SystemExit, match='--out DIR'):
        out_to_metrics([str(config), 'w.pth', '--overwrite'])
