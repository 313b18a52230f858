"""Each fix of `mmsam_ext.compat`, and what a poisoned checkpoint must not do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmsam_ext import compat
from mmsam_ext.compat import mmpretrain_backbones
from mmsam_ext.compat.checkpoints import getattr_of_history_buffer
from mmsam_ext.compat.mmcv_lite import torch_sigmoid_focal_loss
from tests.conftest import free_port
from tests.naming import assert_names, raises_naming
from tests.numeric import LAYER, assert_close
from tests.toy import ToyModel, toy_runner

REPO = Path(__file__).resolve().parents[1]


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `code` in a fresh interpreter with the repo on its path; stdout and stderr as text."""
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | dict(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1') | environment,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of a toy trained for four iterations."""
    work_dir = tmp_path_factory.mktemp('trained')
    toy_runner(work_dir).train()
    return work_dir


@pytest.fixture
def checkpoint(trained: Path) -> dict[str, Any]:
    return torch.load(trained / 'iter_4.pth', weights_only=False)


def save(checkpoint: Any, path: Path) -> str:
    torch.save(checkpoint, path)
    return str(path)


class Reduce:
    """Pickles as the call ``function(*arguments)``, followed by setting `state` on what it returned."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.parts


# ------------------------------------------------------------------------------------------- loading checkpoints


def test_a_real_checkpoint_holds_history_buffers(checkpoint: dict[str, Any]) -> None:
    """A real checkpoint holds the types that the tests below are about."""
    assert any(isinstance(value, HistoryBuffer) for value in checkpoint['message_hub']['log_scalars'].values())


def test_load_checkpoint(trained: Path, checkpoint: dict[str, Any]) -> None:
    model = ToyModel()
    load_checkpoint(model, str(trained / 'iter_4.pth'))
    assert torch.equal(model.linear.weight, checkpoint['state_dict']['linear.weight'])


def test_resume_equals_uninterrupted_training(trained: Path, tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    runner = toy_runner(tmp_path, resume=True, load_from=str(trained / 'iter_2.pth'))
    runner.train()
    assert runner.iter == 4
    torch.testing.assert_close(runner.model.linear.weight, checkpoint['state_dict']['linear.weight'], rtol=0, atol=0)
    history = runner.message_hub.log_scalars['train/loss'].data[0]
    np.testing.assert_array_equal(history, checkpoint['message_hub']['log_scalars']['train/loss'].data[0])


def test_numpy_1_checkpoints_load(trained: Path, tmp_path: Path) -> None:
    """A checkpoint names the modules of the numpy that wrote it; numpy 1 said numpy.core, numpy 2 numpy._core."""
    import zipfile

    old = tmp_path / 'numpy1.pth'
    with zipfile.ZipFile(trained / 'iter_4.pth') as source, zipfile.ZipFile(old, 'w') as target:
        for item in source.infolist():
            content = source.read(item)
            if item.filename.endswith('data.pkl'):
                assert b'cnumpy._core.multiarray\n' in content
                content = content.replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
            target.writestr(item, content)
    loaded = CheckpointLoader.load_checkpoint(str(old), 'cpu')
    assert len(loaded['message_hub']['log_scalars']['train/loss'].data[0]) == 4


@pytest.mark.parametrize('dtype', ['bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'float16', 'float32', 'float64'])
def test_numpy_values_load(dtype: str, tmp_path: Path) -> None:
    value = np.arange(3).astype(dtype)
    path = save(dict(state_dict=dict(a=torch.zeros(1)), meta=dict(array=value, scalar=value[1])), tmp_path / 'a.pth')
    meta = CheckpointLoader.load_checkpoint(path, 'cpu')['meta']
    np.testing.assert_array_equal(meta['array'], value)
    assert meta['array'].dtype == dtype and meta['scalar'] == value[1]


# -------------------------------------------------------------------------------------------------------- poison


def test_poisoned_pickle_does_not_run(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    marker = tmp_path / 'poisoned'
    checkpoint['meta']['time'] = Reduce(os.system, f'touch {marker}')
    path = save(checkpoint, tmp_path / 'bad.pth')
    with raises_naming(RuntimeError, 'bad.pth', 'system'):
        load_checkpoint(ToyModel(), path)
    with raises_naming(RuntimeError, 'bad.pth', 'system'):
        toy_runner(tmp_path / 'work', resume=True, load_from=path).train()
    assert not marker.exists()


def os_system_by_getattr() -> list[Any]:
    """``HistoryBuffer.mean`` becomes os.system, out of nothing but allowed types and ``getattr``.

    A buffer takes over the globals of its own module (warnings among them), the next one ``sys.modules``.
    """
    own_globals = Reduce(HistoryBuffer, state=Reduce(getattr, Reduce(getattr, HistoryBuffer, 'update'), '__globals__'))
    sys_module = Reduce(getattr, Reduce(getattr, own_globals, 'warnings'), 'sys')
    modules = Reduce(HistoryBuffer, state=Reduce(getattr, sys_module, 'modules'))
    system = Reduce(getattr, Reduce(getattr, modules, 'os'), 'system')
    return [own_globals, modules, Reduce(HistoryBuffer, state=dict(statistics_methods=dict(mean=system)))]


def test_poisoned_getattr_is_rejected(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    checkpoint['message_hub']['log_scalars']['train/loss'] = os_system_by_getattr()
    path = save(checkpoint, tmp_path / 'gadget.pth')
    with raises_naming(RuntimeError, 'gadget.pth', 'update', 'HistoryBuffer'):
        CheckpointLoader.load_checkpoint(path, 'cpu')


@pytest.mark.parametrize('name', ['__globals__', '__init__', 'update', '__class__', 'register_statistics'])
def test_only_four_attributes_of_history_buffer(name: str, tmp_path: Path) -> None:
    poisoned = dict(state_dict=dict(a=torch.zeros(1)), extra=Reduce(getattr, HistoryBuffer, name))
    with raises_naming(RuntimeError, 'a.pth'):
        CheckpointLoader.load_checkpoint(save(poisoned, tmp_path / 'a.pth'), 'cpu')


def test_restricted_getattr() -> None:
    assert getattr_of_history_buffer(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in ((os, 'system'), (HistoryBuffer(), 'mean'), (HistoryBuffer, '__dict__'), (ToyModel, 'mean')):
        with raises_naming(ValueError, name):
            getattr_of_history_buffer(owner, name)


def test_config_in_meta_does_not_run_on_resume(trained: Path, tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    marker = tmp_path / 'poisoned'
    checkpoint['meta']['config'] = f'open({str(marker)!r}, "w").close()\n'
    runner = toy_runner(tmp_path, resume=True, load_from=save(checkpoint, tmp_path / 'bad.pth'), iterations=6)
    runner.train()
    assert runner.iter == 6 and not marker.exists()


def test_config_in_checkpoint_does_not_run_in_inferencers(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    from mmengine.infer import BaseInferencer
    from mmseg.apis import MMSegInferencer

    marker = tmp_path / 'poisoned'
    payload = f'open({str(marker)!r}, "w").close()\nmodel = dict(type="UNet")\n'
    checkpoint['meta'].update(cfg=payload, config=payload)
    checkpoint['message_hub']['runtime_info']['cfg'] = payload
    path = save(checkpoint, tmp_path / 'bad.pth')
    inferencer = type(
        'Inferencer',
        (BaseInferencer,),
        dict(visualize=lambda self: None, postprocess=lambda self: None, _init_pipeline=lambda self, cfg: None),
    )
    for build in (lambda: MMSegInferencer(model=None, weights=path), lambda: inferencer(weights=path, scope='mmseg')):
        with raises_naming(ValueError, 'bad.pth', 'model='):
            build()
    assert not marker.exists()


def test_mmseg_inferencer_with_config_works(tmp_path: Path) -> None:
    from mmseg.apis import MMSegInferencer
    from mmseg.registry import MODELS

    norm = dict(type='BN')
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
        backbone=dict(type='UNet', base_channels=2, norm_cfg=norm, norm_eval=True),
        decode_head=dict(type='FCNHead', in_channels=2, in_index=4, channels=2, num_convs=1, num_classes=2,
                         norm_cfg=norm),
        test_cfg=dict(mode='whole'),
    )  # fmt: skip
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    config = Config(
        dict(
            model=model,
            test_dataloader=dict(dataset=dict(pipeline=pipeline)),
            visualizer=dict(type='SegLocalVisualizer', name='compat'),
        )
    )
    weights = MODELS.build(model).state_dict()
    weights['decode_head.conv_seg.bias'] = torch.tensor([-50.0, 50.0])  # class 1 everywhere
    buffer = HistoryBuffer()
    buffer.update(1.0)
    meta = dict(dataset_meta=dict(classes=['a', 'b'], palette=[[0, 0, 0], [255, 0, 0]]))
    path = save(dict(state_dict=weights, meta=meta, message_hub=dict(log_scalars=dict(a=buffer))), tmp_path / 'a.pth')
    result = MMSegInferencer(model=config, weights=path, device='cpu')(np.zeros((32, 32, 3), np.uint8))
    np.testing.assert_array_equal(result['predictions'], np.ones((32, 32)))


# ------------------------------------------------------------------------------------------------- the other fixes


def test_apply_twice_changes_nothing() -> None:
    from mmengine.dist import utils
    from mmengine.model import MMDistributedDataParallel
    from mmengine.optim import AmpOptimWrapper

    def state() -> list[Any]:
        return [
            CheckpointLoader.load_checkpoint, utils._init_dist_pytorch, MMDistributedDataParallel.__init__,
            AmpOptimWrapper.__init__, sys.modules.get('mmcv._ext'), list(sys.meta_path), mmengine.utils.is_installed,
            sorted(map(str, torch.serialization.get_safe_globals())),
        ]  # fmt: skip

    before = state()
    compat.apply()
    assert state() == before


def test_fixes_of_another_mmengine_are_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(mmengine, '__version__', '0.11.0')
    monkeypatch.setattr(compat.checkpoints, 'apply', lambda: pytest.fail('applied to an mmengine it was not made for'))
    compat.apply()


def test_mmcv_operators_import_and_raise_when_called() -> None:
    from mmengine.utils.dl_utils import mmcv_full_available

    if mmcv_full_available():
        pytest.skip('the compiled mmcv is installed here')
    done = run_python("""
        import mmsam_ext
        import mmcv.ops, mmseg.models, torch
        from mmcv.ops import point_sample
        from mmengine.utils.dl_utils import mmcv_full_available
        assert not mmcv_full_available()
        image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        assert point_sample(image, torch.tensor([[[0.5, 0.5]]])).item() == 1.5
        mmcv.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    """)
    assert done.returncode == 1
    assert_names(done.stderr, 'NotImplementedError', 'nms', 'mmcv')


def test_sigmoid_focal_loss_on_the_cpu() -> None:
    """By hand: logit 0 is p = 0.5; positive 0.25 * 0.25 * ln 2, negative 0.75 * 0.25 * ln 2."""
    from mmcv.ops import sigmoid_focal_loss

    logits, target = torch.zeros(2, 2), torch.tensor([0, 2])  # class 2 of 2 is background: both negative
    positive, negative = 0.25 * 0.25 * np.log(2), 0.75 * 0.25 * np.log(2)
    expected = torch.tensor([[positive, negative], [negative, negative]], dtype=torch.float32)
    assert_close(torch_sigmoid_focal_loss(logits, target, reduction='none'), expected, LAYER)
    assert_close(sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'sum'), expected.sum(), LAYER)
    assert_close(sigmoid_focal_loss(logits, target), expected.sum() / 2, LAYER)


def test_sigmoid_focal_loss_against_torchvision() -> None:
    from torchvision.ops import sigmoid_focal_loss as reference

    torch.manual_seed(0)
    logits, target = torch.randn(6, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 2, 3, 1, 0])
    one_hot = torch.nn.functional.one_hot(target, 4)[:, :3].double()
    ours = torch_sigmoid_focal_loss(logits, target, gamma=1.5, alpha=0.4, reduction='none')
    assert_close(ours, reference(logits, one_hot, alpha=0.4, gamma=1.5), LAYER)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    weighted = torch_sigmoid_focal_loss(logits, target, 1.5, 0.4, weight, 'none')
    assert_close(weighted, ours * weight[target][:, None], LAYER)
    assert torch.autograd.gradcheck(lambda x: torch_sigmoid_focal_loss(x, target), logits)


def test_without_pkg_resources() -> None:
    """Packages are found without setuptools: by distribution, by module, and in an mmseg:: base. The log of a training
    needs no distutils, which Python 3.12 has from setuptools alone."""
    done = run_python("""
        import sys

        GONE = 'pkg_resources', 'distutils', '_distutils_hack'
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split('.')[0] in GONE:
                    raise ModuleNotFoundError(name)
        import importlib.util
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *a: None if name in GONE else find_spec(name, *a)
        sys.meta_path.insert(0, Blocker())
        import mmsam_ext
        import mmseg, mmengine
        from mmengine.config import Config
        from mmengine.utils import get_installed_path, is_installed
        assert is_installed('mmsegmentation') and is_installed('mmseg') and not is_installed('no_such_package')
        assert get_installed_path('mmsegmentation') == get_installed_path('mmseg') == mmseg.__path__[0]
        assert get_installed_path('mmengine') == mmengine.__path__[0]
        config = Config.fromstring("_base_ = 'mmseg::_base_/default_runtime.py'", '.py')
        assert config.default_scope == 'mmseg'
        assert 'pkg_resources' not in sys.modules
        from mmengine.runner import runner
        assert runner.collect_env()['MMEngine'] == mmengine.__version__ and 'distutils' not in sys.modules
        from mmsam_ext.compat.collected_environment import _without_distutils
        import xmlrpc.client
        del sys.modules['xmlrpc.client']
        _without_distutils(lambda: __import__('xmlrpc.client'))()
        assert 'xmlrpc.client' in sys.modules, 'what was imported meanwhile stays'
        try:
            get_installed_path('no_such_package')
        except Exception as error:
            print(type(error).__name__)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('PackageNotFoundError')


@pytest.mark.skipif(torch.cuda.is_available(), reason='says what happens without a GPU')
def test_amp_without_a_gpu_says_what_to_do(tmp_path: Path) -> None:
    optimizer = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.1))
    with raises_naming(RuntimeError, 'GPU', '--amp', 'OptimWrapper'):
        toy_runner(tmp_path, optim_wrapper=optimizer).train()


@pytest.mark.parametrize(('version', 'kept'), [('4.46.0', True), ('5.0.0', False), ('5.24.0', False), (None, True)])
def test_mmpretrain_does_without_models_that_transformers_5_breaks(version: str | None, kept: bool, monkeypatch):
    """Seen with transformers 5.24 and pycocotools: `import mmpretrain.models` ended in a TypeError."""

    def installed(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, 'version', installed)
    module = ModuleType('mmpretrain.utils.dependency')
    module.WITH_MULTIMODAL = True
    mmpretrain_backbones._leave_out_multimodal(module)
    assert module.WITH_MULTIMODAL is kept


def test_mmpretrain_backbones_return_themselves() -> None:
    pytest.importorskip('mmpretrain')
    done = run_python("""
        import sys, mmsam_ext
        assert 'mmpretrain.models' not in sys.modules
        from mmpretrain.models import ViTSAM
        model = ViTSAM(arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8,
                       global_attn_indexes=[0]), img_size=32, patch_size=16, out_channels=4, use_rel_pos=False)
        assert model.eval() is model and not model.training
        assert model.train() is model and model.training
    """)
    assert done.returncode == 0, done.stderr


TWO_RANKS = """
    import atexit, sys
    sys.path.insert(0, {repo!r})
    import mmsam_ext, torch
    from mmengine.dist import all_gather, get_backend
    from mmsam_ext.engine.hooks import BroadcastBuffersHook
    from tests.toy import toy_runner
    runner = toy_runner({work_dir!r}, launcher='pytorch', experiment_name='ddp',
                        env_cfg=dict(dist_cfg=dict(backend='nccl')))
    runner.train()
    weights = all_gather(runner.model.module.linear.weight.detach())
    assert len(weights) == 2 and torch.equal(*weights), weights
    if runner.rank == 0:
        print('backend', get_backend(), flush=True)
    norm = torch.nn.BatchNorm1d(2)
    norm.running_mean.fill_(1 + runner.rank)
    runner.model = norm
    BroadcastBuffersHook().before_val_epoch(runner)
    assert norm.running_mean.tolist() == [1, 1]
    atexit._run_exitfuncs()  # gloo's threads would now and then abort the process, were they alive at its end
    assert not torch.distributed.is_initialized()
"""

END_OF_A_RANK = """
    import atexit, sys, threading
    import mmsam_ext, torch
    from mmengine.dist import init_dist
    init_dist('pytorch', backend='gloo', init_method='tcp://127.0.0.1:{port}', rank=0, world_size=1)
    group = torch.distributed.distributed_c10d._get_default_group()  # as DistributedDataParallel keeps it
    last_collective, released = threading.Event(), []
    thread = threading.Thread(target=lambda: (last_collective.wait(), released.append(True)), daemon=True)
    thread.start()
    sys.setswitchinterval(100)  # the thread goes on only where this one lets it
    last_collective.set()
    assert not released
    atexit._run_exitfuncs()
    assert released and not torch.distributed.is_initialized()
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason='says what happens without a GPU')
def test_threads_release_their_tensors_before_the_end() -> None:
    """A thread that waits for Python's lock gets it before the interpreter ends."""
    done = run_python(END_OF_A_RANK.format(port=free_port()), RANK='0', LOCAL_RANK='0')
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason='says what happens without a GPU')
def test_two_ranks_without_a_gpu(tmp_path: Path) -> None:
    script = tmp_path / 'train.py'
    script.write_text(textwrap.dedent(TWO_RANKS).format(repo=str(REPO), work_dir=str(tmp_path / 'work')))
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}']
    done = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, timeout=120, env=os.environ | dict(OMP_NUM_THREADS='1')
    )
    assert done.returncode == 0, done.stderr
    assert 'backend gloo' in done.stdout
    assert_names(done.stdout + done.stderr, 'GPU', 'gloo', 'nccl')
