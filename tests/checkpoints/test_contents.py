"""Small files that ask for much memory, special files, and records of the wrong type."""

from __future__ import annotations

import collections
import io
import os
import pickle
import resource
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmsam_ext.checkpoints import CheckpointError
from mmsam_ext.checkpoints.contents import check_headers
from mmsam_ext.checkpoints.errors import shown
from mmsam_ext.checkpoints.pickle_scan import ALWAYS_ALLOWED, scan_pickle
from tests.naming import raises_naming

HUGE = 2_000_000_000  # elements: 8 GB of float32


def load(path: Path | str) -> dict[str, Any]:
    return CheckpointLoader.load_checkpoint(str(path), 'cpu')


@pytest.fixture
def tmp_file(tmp_path: Path) -> Path:
    return tmp_path / 'trap.pth'


@pytest.fixture(autouse=True)
def memory_stays_small() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


# ------------------------------------------------------------------------------------------------ zip containers


def rewritten(path: Path, edit: Callable[[str, bytes], bytes] = lambda name, content: content, **options: Any) -> None:
    """Write a zip of torch again, with its records edited."""
    with zipfile.ZipFile(path) as archive:
        records = [(record.filename, archive.read(record)) for record in archive.infolist()]
    with zipfile.ZipFile(path, 'w', **options) as archive:
        for name, content in records:
            archive.writestr(name, edit(name, content))


def test_compressed_records(tmp_file) -> None:
    torch.save(dict(a=torch.zeros(50_000_000)), tmp_file)
    rewritten(tmp_file, compression=zipfile.ZIP_DEFLATED)
    assert tmp_file.stat().st_size < 1_000_000
    with raises_naming(CheckpointError, 'trap.pth', 'compressed'):
        load(tmp_file)


def test_stored_zip_of_another_writer_loads(tmp_file) -> None:
    torch.save(dict(a=torch.arange(3.0)), tmp_file)
    rewritten(tmp_file)
    assert load(tmp_file)['state_dict']['a'].tolist() == [0, 1, 2]


def test_storage_larger_than_its_record(tmp_file) -> None:
    """A storage that states more bytes than its record has is an error; torch would read beyond the record."""
    torch.save(dict(a=torch.zeros(1000)), tmp_file)

    def longer(name: str, content: bytes) -> bytes:
        number = (1000).to_bytes(2, 'little')
        assert not name.endswith('data.pkl') or content.count(b'M' + number) >= 1
        return content.replace(b'M' + number, b'J' + HUGE.to_bytes(4, 'little')) if name.endswith('.pkl') else content

    rewritten(tmp_file, longer)
    with raises_naming(CheckpointError, 'trap.pth', "storage '0'", '8000000000', '4000'):
        load(tmp_file)


def test_overlapping_and_repeated_records(tmp_file) -> None:
    torch.save(dict(a=torch.zeros(3_000_000), b=torch.zeros(3_000_000)), tmp_file)
    content = tmp_file.read_bytes()
    with zipfile.ZipFile(tmp_file) as archive:
        offsets = {r.filename: r.header_offset for r in archive.infolist()}
        start = archive.start_dir
    # Two entries of the table share one body, and the other body is cut out: 12 MB hold 24.
    first, second = offsets['trap/data/0'], offsets['trap/data/1']
    table = bytearray(content[start:])
    table = table.replace(second.to_bytes(4, 'little'), first.to_bytes(4, 'little'))
    tmp_file.write_bytes(content[:start] + table)
    with zipfile.ZipFile(tmp_file, 'a') as archive, pytest.warns(UserWarning, match='Duplicate'):
        archive.writestr('trap/data.pkl', b'\x80\x02}.')
    with raises_naming(CheckpointError, 'trap.pth', 'trap/data.pkl'):
        load(tmp_file)


# ------------------------------------------------------------------------------------------------------- pickles


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.parts


CALLS = {
    'bytearray': Call(bytearray, HUGE),
    'bytearray of a list': Call(bytearray, [0] * 10),
    'torch.Tensor': Call(torch.Tensor, HUGE),
    'torch.Tensor of two sizes': Call(torch.Tensor, 50_000, 50_000),
    'torch.FloatTensor': Call(torch.FloatTensor, HUGE),
    'torch.UntypedStorage': Call(torch.UntypedStorage, HUGE),
    'array': Call(np.ndarray, (HUGE,)),
    'reconstruct': Call(np.zeros(1).__reduce__()[0], np.ndarray, (HUGE,), b'b'),
    'dtype': Call(np.dtype, 'V2000000000'),
    'type_v2': Call(torch._tensor._rebuild_from_type_v2, torch.Tensor, torch.Tensor, (HUGE,), None),
    'quantized': Call(
        torch._utils._rebuild_qtensor, None, 0, (HUGE,), (1,), (torch.per_tensor_affine, 1.0, 0), False, {}
    ),
    'any other call': Call(collections.Counter, HUGE),
    'numpy scalar in a call': Call(bytearray, np.int64(HUGE)),
}


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('name', CALLS)
def test_calls_that_allocate(name, legacy, tmp_file) -> None:
    content = dict(state_dict=dict(a=torch.zeros(1)), extra=CALLS[name])
    torch.save(content, tmp_file, _use_new_zipfile_serialization=not legacy)
    with raises_naming(CheckpointError, 'trap.pth'):
        load(tmp_file)


def test_legacy_storage_larger_than_the_file(tmp_file) -> None:
    """A storage larger than the file is an error before torch allocates it."""
    torch.save(dict(a=torch.zeros(1000)), tmp_file, _use_new_zipfile_serialization=False)
    content = tmp_file.read_bytes()
    tmp_file.write_bytes(content.replace(b'M' + (1000).to_bytes(2, 'little'), b'J' + HUGE.to_bytes(4, 'little')))
    with raises_naming(CheckpointError, 'trap.pth', '8000000000'):
        load(tmp_file)


def test_tensors_of_stride_zero(tmp_file) -> None:
    torch.save(dict(a=torch.zeros(1).expand(HUGE)), tmp_file)
    with raises_naming(CheckpointError, 'trap.pth', '8000000000'):
        load(tmp_file)


def test_arguments_that_are_no_tuple() -> None:
    """Arguments of a call that are not a tuple are an error; torch's unpickler accepts any iterable, here a list."""
    pickled = b'\x80\x02cbuiltins\nbytearray\n](J\x00\x94\x35\x77eR.'
    with raises_naming(CheckpointError, 'tuple'):
        scan_pickle(io.BytesIO(pickled), 1000)


def test_nested_tuples_end(tmp_file) -> None:
    """Each tuple holds the one before twice: 2^40 numbers of 40 instructions."""
    value: Any = 1
    for _ in range(40):
        value = (value, value)
    pickled = pickle.dumps(Call(collections.Counter, value), 2)
    with raises_naming(CheckpointError, 'arguments'):
        scan_pickle(io.BytesIO(pickled), 1000)


@pytest.mark.parametrize(
    ('pickled', 'names'),
    [
        (b'\x80\x02R.', ('1', 'REDUCE')), (b'\x80\x02h\x05.', ('1', 'BINGET')), (b'\x80\x02((R.', ('3', 'REDUCE')),
        (b'\x80\x02]', ('STOP',)), (b'\x80\x02\xff.', ('2', r"b'\xff'")),
    ],
)  # fmt: skip
def test_damaged_pickles(pickled, names) -> None:
    with raises_naming(ValueError, *names):
        scan_pickle(io.BytesIO(pickled), 1000)


@pytest.mark.parametrize('legacy', [False, True])
def test_what_real_checkpoints_hold_passes(legacy, tmp_file) -> None:
    buffer = HistoryBuffer()
    for value in range(100):
        buffer.update(value / 7)
    weight = torch.nn.Parameter(torch.randn(300, 200))
    module = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    content = dict(
        state_dict=collections.OrderedDict(module.state_dict(), w=weight, t=weight.data.t(), h=weight.data[:2].half()),
        meta=dict(iter=10**9, array=np.arange(5), scalar=np.float64(2.5), names={'a', 'b'}, size=weight.shape),
        message_hub=dict(log_scalars=dict(loss=buffer)),
        optimizer=optimizer.state_dict(),
        random_state=torch.get_rng_state(),
        big=HUGE,
    )
    torch.save(content, tmp_file, _use_new_zipfile_serialization=not legacy)
    check_headers(str(tmp_file))
    loaded = load(tmp_file)
    assert torch.equal(loaded['state_dict']['t'], weight.data.t())
    assert loaded['big'] == HUGE and loaded['message_hub']['log_scalars']['loss'].mean() == buffer.mean()
    assert HUGE * 4 > ALWAYS_ALLOWED


# ------------------------------------------------------------------------------------------------- special files


def test_special_files(tmp_path) -> None:
    """None of these is opened: reading the pipe would wait for ever, the device never ends."""
    os.mkfifo(tmp_path / 'pipe.pth')
    (tmp_path / 'zero.pth').symlink_to('/dev/zero')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 's.pth'))
        for name, kind in (('pipe.pth', 'named pipe'), ('zero.pth', 'device'), ('s.pth', 'socket')):
            with raises_naming(CheckpointError, name, kind):
                load(tmp_path / name)
    for name in ('/dev/zero.safetensors', 'a\0b.pth', 'x' * 5000, '\x1b[31mred.pth'):
        with raises_naming(FileNotFoundError, shown(name)) as error:
            load(name)
        assert '\x1b' not in str(error.value) and len(str(error.value)) < 2000


# ---------------------------------------------------------------------------------------------- wrong types inside


@pytest.mark.parametrize(
    ('content', 'field'),
    [
        (dict(state_dict=[torch.zeros(1)], other=dict(a=torch.zeros(1))), 'state_dict'),
        (dict(state_dict=dict(a=torch.zeros(1)), meta='iter 5'), 'meta'),
        (dict(state_dict=dict(a=torch.zeros(1)), message_hub=3), 'message_hub'),
        (dict(state_dict=dict(a=torch.zeros(1)), ema_state_dict=[1]), 'ema_state_dict'),
        (dict(state_dict={5: torch.zeros(1)}), 'a key of state_dict'),
        ({5: torch.zeros(1)}, 'a key of state_dict'),
        (collections.OrderedDict({'a': torch.zeros(1), 5: torch.zeros(1)}), 'a key of state_dict'),
    ],
)
def test_wrong_types(content, field, tmp_file) -> None:
    torch.save(content, tmp_file)
    with raises_naming(CheckpointError, 'trap.pth', field):
        load(tmp_file)


@pytest.mark.parametrize('metadata', [5, {'': 5}, [('', {})]])
def test_wrong_metadata(metadata, tmp_file) -> None:
    state = collections.OrderedDict(a=torch.zeros(1))
    state._metadata = metadata
    torch.save(dict(state_dict=state), tmp_file)
    with raises_naming(CheckpointError, 'trap.pth', 'state_dict._metadata'):
        load(tmp_file)
