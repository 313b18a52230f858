from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from mmsam_ext.compat.console import LOGGED, ScreenFilter
from mmsam_ext.engine.hooks import TimedLoggerHook
from tests.naming import raises_naming
from tests.toy import toy_runner


class Slow(Hook):
    """Let an iteration take a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def after_train_iter(self, *args, **kwargs) -> None:
        time.sleep(self.seconds)


def lines(tmp_path: Path, capsys: pytest.CaptureFixture, seconds: float) -> tuple[list[str], str]:
    """The screen's lines of a training of 6 iterations, and the log file."""
    hooks = dict(logger=dict(type='TimedLoggerHook', interval=1000, seconds=seconds))
    toy_runner(
        tmp_path, 6, default_hooks=hooks, custom_hooks=[dict(type=Slow, seconds=0.03)], log_level='INFO',
        experiment_name=f'timed_{tmp_path.name}_{seconds}',
    ).train()  # fmt: skip
    return capsys.readouterr().out.splitlines(), next(tmp_path.rglob('*.log')).read_text()


def test_a_line_whenever_the_time_has_passed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every iteration takes longer than the limit, so each has its line, with the time left."""
    screen, _ = lines(tmp_path, capsys, 0.02)
    assert len([line for line in screen if 'eta' in line]) == 6


def test_the_first_iteration_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    screen, _ = lines(tmp_path, capsys, 1000.0)
    assert '[1][1/4]' in next(line for line in screen if 'eta' in line)
    (start,) = (line for line in screen if 'Training starts' in line)
    assert '6 iterations' in start and '2 of 8 samples' in start and str(tmp_path) in start


def test_the_environment_goes_to_the_file_only(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    screen, file = lines(tmp_path, capsys, 1000.0)
    for text in ('System environment', 'Hooks will be executed'):
        assert text in file and not any(text in line for line in screen)
    assert not screen[0].startswith('---')


@pytest.mark.parametrize('seconds', [0, -1])
def test_seconds_out_of_range(seconds: float) -> None:
    with raises_naming(ValueError, 'seconds', seconds):
        TimedLoggerHook(seconds=seconds)


def test_only_named_messages_are_kept_from_the_screen() -> None:
    show = ScreenFilter().filter

    def record(text: str, level: int = logging.WARNING) -> logging.LogRecord:
        return logging.LogRecord('mmengine', level, __file__, 1, text, (), None)

    assert not show(record('backbone.patch_embed.weight is skipped since its requires_grad=False'))
    assert not show(record('"FileClient" will be deprecated in future.'))
    assert show(record('mtd: 1 of 73 samples are dropped because their masks have no foreground'))
    assert show(record('the layer x is skipped since its requires_grad=False'))  # not at the beginning
    assert show(record('Config:\nbroken', logging.ERROR))
    assert all(rule.reason for rule in LOGGED)


def test_loggers_of_other_packages_are_left_alone() -> None:
    handler = logging.StreamHandler()
    logging.getLogger('another').addHandler(handler)
    MMLogger.get_instance('screen_filter')
    assert not handler.filters


@pytest.mark.parametrize(('first', 'files'), [(True, 1), (False, 0)])
def test_the_first_rank_alone_writes_the_results(
    first: bool, files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmsam_ext.engine.hooks.timed_logger_hook.is_main_process', lambda: first)
    runner = SimpleNamespace(
        log_dir=str(tmp_path),
        logger=logging.getLogger('results'),
        test_dataloader=[],
        log_processor=SimpleNamespace(get_log_after_epoch=lambda *args, **kwargs: ({'mIoU': 50.0}, 'mIoU: 50')),
    )
    hook = TimedLoggerHook()
    hook.json_log_path = 'results.json'
    hook.after_test_epoch(runner)
    written = list(tmp_path.glob('*.json'))
    assert len(written) == files and all(json.loads(path.read_text()) == {'mIoU': 50.0} for path in written)
