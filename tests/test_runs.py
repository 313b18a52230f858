"""Whole runs of our tools and of MMSegmentation's own, on shrunk configs: launched, distributed, killed, resumed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import mmengine.runner
import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import MODELS

from tests.conftest import free_port
from tests.naming import assert_names, raises_naming
from tests.run_hooks import last_checkpoint, state_hash
from tests.run_tool import TOOLS, run_forked, run_here, run_process, test_results
from tests.shrink import CONFIGS, REPO, SIZE, shrink, spare_formatting

MMSEG_TOOLS = Path(mmseg.__file__).parent / '.mim' / 'tools'
SYNTHETIC = CONFIGS / 'sam_tiny_synthetic.py'


@pytest.fixture(scope='module', autouse=True)
def unformatted() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('LOCAL_RANK', '0')  # MMSeg's tools set it for the rest of the process
        spare_formatting(monkeypatch)
        yield


class Trained(NamedTuple):
    """The files of a run of two iterations."""

    folder: Path
    config: Path
    checkpoint: Path


def write_config(folder: Path, source: Path = SYNTHETIC, *, iterations: int = 2, hooks: list[dict] = ()) -> Path:
    """A shrunk config as a file, with hooks of tests/run_hooks.py; five samples to test, in batches of two."""
    cfg = shrink(source, folder, iterations=iterations)
    cfg.custom_imports = dict(imports=['mmsam_ext', *(['tests.run_hooks'] if hooks else [])])
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    if 'length' in cfg.test_dataloader.dataset:
        cfg.test_dataloader.dataset.length = 5
    folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """MMSegmentation's own train.py in a process of its own, which learns of our package from the config alone."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder)
    run_process([sys.executable, MMSEG_TOOLS / 'train.py', config], folder, PYTHONPATH=REPO)
    return Trained(folder, config, folder / 'work' / 'iter_2.pth')


@pytest.fixture(scope='module')
def results(trained: Trained) -> dict[str, float]:
    """Return the results of our test.py, run in this process."""
    work = trained.folder / 'tested'
    run_here('test.py', trained.config, trained.checkpoint, '--work-dir', work)
    return test_results(work)


def load(path: Path) -> dict:
    return torch.load(path, map_location='cpu', weights_only=False)


# ---------------------------------------------------------------- launchers


@pytest.mark.slow
def test_mmsegs_own_test(trained: Trained, results: dict[str, float]) -> None:
    work = trained.folder / 'mmseg'
    command = [sys.executable, MMSEG_TOOLS / 'test.py', trained.config, trained.checkpoint, '--work-dir', work]
    run_process(command, trained.folder, PYTHONPATH=REPO)
    assert {'mIoU', 'mBIoU', 'ST', 'mIoU/box', 'ST/5 points'} <= set(results)
    assert test_results(work) == results


@pytest.mark.slow
def test_ours_from_another_folder(trained: Trained, tmp_path: Path) -> None:
    """Our train.py, from another folder and without PYTHONPATH, gives the weights of MMSegmentation's."""
    run_process([sys.executable, TOOLS / 'train.py', trained.config, '--work-dir', 'mine'], tmp_path)
    ours, theirs = load(tmp_path / 'mine' / 'iter_2.pth'), load(trained.checkpoint)
    assert state_hash(ours['state_dict']) == state_hash(theirs['state_dict'])
    start = MODELS.build(Config.fromfile(trained.config).model).state_dict()
    assert {key.split('.')[0] for key in start} == {'backbone', 'prompt_encoder', 'mask_decoder'}


@pytest.mark.slow
def test_two_ranks_test_as_one(trained: Trained, results: dict[str, float]) -> None:
    """Two ranks give exactly the results of one, with five samples that they cannot share evenly."""
    for ranks in (1, 2):
        work = trained.folder / f'ranks{ranks}'
        command = [TOOLS / 'dist_test.sh', trained.config, trained.checkpoint, ranks, '--work-dir', work]
        run_process(command, trained.folder, PYTHON=sys.executable, PORT=free_port())
        assert test_results(work) == results


def check_ranks(work: Path) -> None:
    """Check that both ranks start with the same weights, end with the same weights, and have changed them."""
    before, after = ([(work / f'rank{rank}_{when}').read_text() for rank in (0, 1)] for when in ('before', 'after'))
    assert before[0] == before[1]
    assert after[0] == after[1] != before[0]
    checkpoint = load(work / 'iter_4.pth')
    if 'ema_state_dict' not in checkpoint:  # otherwise the weights in it are averages
        assert state_hash(checkpoint['state_dict']) == after[0]


@pytest.mark.slow
def test_dist_train(tmp_path: Path) -> None:
    """dist_train.sh trains the mask decoder without its IoU head, which no loss reaches."""
    config = write_config(tmp_path, iterations=4, hooks=[dict(type='RankStateHook')])
    command = [TOOLS / 'dist_train.sh', config, 2]
    output = run_process(command, tmp_path, PYTHON=sys.executable, PORT=free_port(), PYTHONPATH=REPO)
    assert_names(output, 'distributed', 'gloo')
    check_ranks(tmp_path / 'work')


@pytest.mark.slow
@pytest.mark.parametrize('source', ['sam_tiny_mtd.py', 'sam_tiny_pretrain.py', 'spt_vitb_industrial.py'])
def test_two_ranks_train_what_configs_train(source: str, tmp_path: Path) -> None:
    """Every config that trains also does so on two ranks: each trained parameter gets a gradient."""
    config = write_config(tmp_path, CONFIGS / source, iterations=4, hooks=[dict(type='RankStateHook')])
    codes, errors = run_forked(tmp_path, 'train.py', config, ranks=2, port=free_port())
    assert codes == [0, 0], errors[-3000:]
    check_ranks(tmp_path / 'work')


@pytest.mark.slow
def test_fsdp_is_killed_and_resumed_and_saves_the_whole_model(tmp_path: Path) -> None:
    """A shrunk ViT-H, sharded over two processes by MMEngine's FlexibleRunner, and killed in the middle of a
    checkpoint. In the end what is frozen is as it was loaded, what is trained has changed, and the checkpoint is one of
    the plain model."""
    cfg = shrink(CONFIGS / 'spt_vith_industrial.py', tmp_path, iterations=4)
    model = MODELS.build(cfg.model)
    before = model.state_dict()
    torch.save(before, tmp_path / 'before.pth')
    cfg.load_from = str(tmp_path / 'before.pth')
    cfg.runner_type = 'FlexibleRunner'
    wrapper = dict(use_orig_params=True)  # some parameters are frozen
    cfg.strategy = dict(type='FSDPStrategy', state_dict_cfg='full', model_wrapper=wrapper)
    cfg.custom_imports = dict(imports=['mmsam_ext', 'tests.run_hooks'])
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='DieHook', at=4, writing=True)]
    cfg.train_cfg.val_interval = 100

    def train(*arguments: str) -> list[int]:
        cfg.dump(tmp_path / 'config.py')
        codes, errors = run_forked(tmp_path, 'train.py', tmp_path / 'config.py', *arguments, ranks=2, port=free_port())
        assert codes[0] in (0, -signal.SIGKILL), errors[-3000:]
        return codes

    assert train()[0] == -signal.SIGKILL
    work = tmp_path / 'work'
    assert last_checkpoint(work).name == 'iter_2.pth' and not (work / 'iter_4.pth').exists()
    assert len(list(work.glob('.iter_4.pth.*.partial'))) == 1
    cfg.custom_hooks[-1].at, cfg.load_from = 0, None
    assert train('--resume') == [0, 0]
    assert last_checkpoint(work).name == 'iter_4.pth' and not list(work.glob('.iter_4.pth.*.partial'))
    checkpoint = torch.load(work / 'iter_4.pth', weights_only=True)
    after = checkpoint['state_dict']
    assert after.keys() == before.keys()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all(torch.equal(after[name], before[name]) for name in before if name not in trained)
    changed = [name for name in trained if not torch.equal(after[name], before[name])]
    assert len(changed) > len(trained) / 2 and all(after[name].isfinite().all() for name in trained)
    steps = {float(state['step']) for state in checkpoint['optimizer']['state'].values()}
    assert steps == {4.0}  # the optimizer's state was resumed, too


def test_checkpoints_without_a_backend_are_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the strategies of FlexibleRunner and published checkpoints are: a full disk leaves the old file whole."""
    path = tmp_path / 'a.pth'
    torch.save(dict(old=torch.ones(1)), path)
    for save in (mmengine.runner.save_checkpoint, mmengine.runner.checkpoint.save_checkpoint):
        with monkeypatch.context() as patch:
            patch.setattr(os, 'fsync', full_disk)
            with pytest.raises(OSError, match='No space'):
                save(dict(new=torch.zeros(1)), str(path))
        assert list(torch.load(path)) == ['old'] and [entry.name for entry in tmp_path.iterdir()] == ['a.pth']
    mmengine.runner.save_checkpoint(dict(new=torch.zeros(1)), str(path))
    assert list(torch.load(path)) == ['new']


def full_disk(descriptor: int) -> None:
    raise OSError(28, 'No space left on device')


# ---------------------------------------------------------------- killed and resumed


@pytest.mark.slow
@pytest.mark.parametrize('source', ['sam_tiny_synthetic.py', 'sam_tiny_pretrain.py'])
def test_killed_and_resumed(source: str, tmp_path: Path) -> None:
    """SIGKILL after a step, then in the middle of a checkpoint: the end is that of a run that nobody killed.

    The pretraining config draws random numbers in the model; here it keeps averaged weights, too.
    """
    config = write_config(tmp_path, CONFIGS / source, iterations=6, hooks=[dict(type='DieHook', at=0)])
    cfg = Config.fromfile(config)
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True, sampler=dict(shuffle=True))
    cfg.train_dataloader.dataset.length = 7
    averaged = source == 'sam_tiny_pretrain.py'
    if averaged:
        cfg.custom_hooks.insert(0, dict(type='EMAHook', ema_type='ExponentialMovingAverage'))
    cfg.dump(config)
    hook = f'custom_hooks.{len(cfg.custom_hooks) - 1}'

    def train(work: str, at: int, writing: bool) -> int:
        options = ['--work-dir', work, '--resume', '--cfg-options', f'{hook}.at={at}', f'{hook}.writing={writing}']
        (code,), errors = run_forked(tmp_path, 'train.py', config, *options)
        assert code in (0, -signal.SIGKILL), errors[-3000:]
        return code

    work = tmp_path / 'killed'
    assert train('killed', 3, False) == -signal.SIGKILL
    assert last_checkpoint(work).name == 'iter_2.pth'
    assert train('killed', 4, True) == -signal.SIGKILL
    assert last_checkpoint(work).name == 'iter_2.pth'
    assert len(list(work.glob('.iter_4.pth.*.partial'))) == 1 and not (work / 'iter_4.pth').exists()
    assert train('killed', 0, False) == 0
    assert train('whole', 0, False) == 0

    killed, whole = load(last_checkpoint(work)), load(tmp_path / 'whole' / 'iter_6.pth')
    assert killed['meta']['iter'] == 6
    assert ('ema_state_dict' in whole) == averaged
    for part in ('state_dict', 'ema_state_dict'):
        if part in whole:
            assert state_hash(killed[part]) == state_hash(whole[part]), part
    torch.testing.assert_close(killed['optimizer']['state'], whole['optimizer']['state'], rtol=0, atol=0)
    assert killed['optimizer']['param_groups'] == whole['optimizer']['param_groups']
    assert state_hash(whole['state_dict']) != state_hash(load(tmp_path / 'whole' / 'iter_4.pth')['state_dict'])


def test_nan_stops_training(tmp_path: Path) -> None:
    cfg = shrink(SYNTHETIC, tmp_path, iterations=4)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='PoisonHook', at=3)]
    with raises_naming(FloatingPointError, 'iteration 3', "'loss': nan", "'loss_bce': nan", '10'):
        Runner.from_cfg(cfg).train()
    last = last_checkpoint(tmp_path / 'work')
    assert last.name == 'iter_2.pth'
    assert all(value.isfinite().all() for value in load(last)['state_dict'].values())


# ---------------------------------------------------------------- arguments of the tools


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU')
def test_amp_without_gpu(trained: Trained, tmp_path: Path) -> None:
    with raises_naming(SystemExit, 'train', '--amp', 'GPU'):
        run_here('train.py', trained.config, '--amp', '--work-dir', tmp_path)


def test_show_dir_and_out(trained: Trained, results: dict[str, float], tmp_path: Path) -> None:
    """--show-dir writes a picture of each sample and a contact sheet, --out writes masks."""
    arguments = ['--work-dir', tmp_path, '--show-dir', tmp_path / 'pictures', '--out', tmp_path / 'masks']
    run_here('test.py', trained.config, trained.checkpoint, *arguments)
    pictures = sorted((tmp_path / 'pictures').rglob('*.png'))
    assert len(pictures) == 6 and pictures[0].name == 'sheet.png', pictures
    for path in pictures:
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) >= SIZE and picture.std() > 5
    masks = sorted((tmp_path / 'masks').rglob('*.png'))
    by_mode: dict[str, list[str]] = {}
    for path in masks:  # masks/<dataset>/<mode>/<sample>.png
        dataset, mode, *_, name = path.relative_to(tmp_path / 'masks').parts
        by_mode.setdefault(f'{dataset} {mode}', []).append(name)
    assert {f'{key.removeprefix("mIoU/")}' for key in results if key.startswith('mIoU/')} == {
        key.split(' ', 1)[1] for key in by_mode
    }
    assert all(names == [f'00000{index}.png' for index in range(5)] for names in by_mode.values())
    for path in masks:
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (SIZE, SIZE) and set(np.unique(mask)) <= {0, 255}
    assert test_results(tmp_path) == results


def test_tta(tmp_path: Path) -> None:
    """Test-time augmentation with views of equal size gives the results of the plain test."""
    config = write_config(tmp_path, CONFIGS / 'sam_tiny_mtd.py')
    checkpoint = tmp_path / 'start.pth'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), checkpoint)
    run_here('test.py', config, checkpoint, '--work-dir', tmp_path / 'plain')
    run_here('test.py', config, checkpoint, '--work-dir', tmp_path / 'tta', '--tta')
    assert test_results(tmp_path / 'tta') == test_results(tmp_path / 'plain')


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        ('other', ('backbone.pos_embed', '(1, 4, 4, 48)', '(1, 4, 4, 32)')),
        ('truncated', ('truncated.pth', '20000 bytes')),
        ('text', ('text.pth', '19 bytes')),
        ('absent', ('absent.pth',)),
    ],
)
def test_broken_checkpoint(kind: str, names: tuple[str, ...], trained: Trained, tmp_path: Path) -> None:
    """test.py ends with an error that names the broken checkpoint and the reason."""
    path = tmp_path / f'{kind}.pth'
    if kind == 'other':
        model = Config.fromfile(trained.config).model
        model.backbone.arch.update(depth=3, embed_dim=48)
        torch.save(dict(state_dict=MODELS.build(model).state_dict()), path)
    elif kind == 'truncated':
        path.write_bytes(trained.checkpoint.read_bytes()[:20_000])
    elif kind == 'text':
        path.write_text('I am no checkpoint.')
    (code,), errors = run_forked(tmp_path, 'test.py', trained.config, path, '--work-dir', tmp_path)
    assert code == 1
    assert 'Traceback' not in errors, errors
    last = errors[errors.rindex('test: error: ') :]
    assert_names(last, *names)
    assert kind == 'other' or str(path) in last


def test_mmseg_inferencer(trained: Trained, tmp_path: Path) -> None:
    """MMSegmentation's own inferencer, on a config and a checkpoint of a run; without a prompt."""
    from mmseg.apis import MMSegInferencer

    image = tmp_path / 'tile.png'
    assert cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8))
    inferencer = MMSegInferencer(str(trained.config), str(trained.checkpoint), device='cpu')
    prediction = inferencer(str(image), out_dir=str(tmp_path / 'out'))['predictions']
    assert prediction.shape == (70, 90) and set(np.unique(prediction)) <= {0, 1}
    picture = cv2.imread(str(tmp_path / 'out' / 'vis' / 'tile.png'))
    assert picture is not None and picture.std() > 5
    (mask,) = (tmp_path / 'out' / 'pred').glob('*.png')
    assert np.array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), prediction)


# ---------------------------------------------------------------- prompts of the protocol


@pytest.mark.parametrize('source', ['sam_tiny_synthetic.py', 'sam_tiny_mtd.py', 'sam_vitb_industrial.py'])
def test_evaluation_prompts_depend_on_the_sample_alone(source: str, tmp_path: Path) -> None:
    """Evaluation prompts depend neither on batch size, workers and the order of samples nor on earlier draws."""
    cfg = shrink(CONFIGS / source, tmp_path)

    def prompts(batch_size: int, workers: int, first: int = 0) -> dict[str, dict]:
        np.random.seed(batch_size)
        torch.manual_seed(workers)
        loader = Config(cfg.to_dict()).test_dataloader
        loader.update(batch_size=batch_size, num_workers=workers)
        loader.sampler.shuffle = first > 0
        loader.dataset.setdefault('_scope_', 'mmseg')
        samples = [s for batch in Runner.build_dataloader(loader, seed=first) for s in batch['data_samples']]
        return {sample.sample_id: sample.prompts.to_dict() for sample in samples}

    Runner.from_cfg(cfg)  # sets MMSegmentation's scope
    expected = prompts(1, 0)
    assert len(expected) == 4 and all(len(sample['kinds']) >= 4 for sample in expected.values())
    for arguments in ((3, 0), (1, 1), (3, 1), (2, 0, 1)):
        found = prompts(*arguments)
        assert sorted(found) == sorted(expected)
        for key, sample in expected.items():
            for field, value in sample.items():
                assert torch.equal(found[key][field], value) if torch.is_tensor(value) else found[key][field] == value
