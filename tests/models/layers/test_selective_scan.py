"""The scan against its sequential definition, and the directions against cases written out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mmsam_ext.models.layers import OmniDirectionalSSM, selective_scan
from mmsam_ext.models.layers.scan_directions import merge_directions, scan_orders, split_directions
from mmsam_ext.models.layers.selective_scan import INTERFACE, _kernel_scan, doubling_scan, kernel_error, pick_backend
from tests.naming import assert_names, raises_naming
from tests.numeric import LAYER, OPERATION, assert_close

# The package has a function of the module's name.
scan_module = sys.modules[selective_scan.__module__]


def reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """The definition, one step after the other; the semantics of ``selective_scan_ref`` of mamba-ssm."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    batch, groups, length, channels = u.shape
    state = u.new_zeros(batch, groups, channels, A.shape[-1])
    outputs = []
    for t in range(length):
        step = delta[:, :, t, :, None]
        state = torch.exp(step * A) * state + step * B[:, :, t, None, :] * u[:, :, t, :, None]
        outputs.append((state * C[:, :, t, None, :]).sum(-1))
    y = torch.stack(outputs, 2)
    return y if D is None else y + D[:, None] * u


def arguments(
    batch: int, groups: int, length: int, channels: int, states: int, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    return dict(
        u=normal(batch, groups, length, channels),
        delta=normal(batch, groups, length, channels),
        A=-normal(groups, channels, states).detach().exp().requires_grad_(),
        B=normal(batch, groups, length, states),
        C=normal(batch, groups, length, states),
        D=normal(groups, channels),
        delta_bias=normal(groups, channels),
    )


SHAPES = [(1, 1, 1, 1, 1), (2, 3, 5, 2, 2), (1, 2, 8, 3, 3), (2, 1, 9, 2, 3)]


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('chunk_size', [1, 4, 100])
def test_scan_is_the_definition(shape: tuple[int, ...], chunk_size: int) -> None:
    given = arguments(*shape)
    ours = selective_scan(**given, delta_softplus=True, chunk_size=chunk_size)
    assert_close(ours, reference(**given, delta_softplus=True), OPERATION)
    with torch.no_grad():  # keeps no states
        assert_close(selective_scan(**given, delta_softplus=True, chunk_size=chunk_size), ours, OPERATION)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_scan_gradients(shape: tuple[int, ...]) -> None:
    given = arguments(*shape)

    def run(*values: Tensor) -> Tensor:
        return selective_scan(*values, delta_softplus=True, chunk_size=4)

    assert torch.autograd.gradcheck(run, tuple(given.values()))


def test_scan_by_hand() -> None:
    """One channel, one state: h = 1/2, 1/2 * 1/2 + 1 = 5/4, 5/8 + 3/2 = 17/8."""
    column = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1)
    half = torch.full_like(column, 0.5)
    A = torch.tensor([0.25]).log().view(1, 1, 1)  # exp(A / 2) is 1/2
    y = selective_scan(column, half, A, torch.ones_like(column), 2 * torch.ones_like(column), torch.ones(1, 1))
    assert_close(y.flatten(), torch.tensor([1 + 1, 2.5 + 2, 4.25 + 3]), LAYER)


def test_scan_fp32_of_a_long_sequence() -> None:
    """About 1e-5 of the fp64 definition, forward and backward, with strided inputs, steps as in training."""
    given = arguments(1, 2, 300, 24, 16, torch.float32)
    given['delta'] = (given['delta'] - 2).detach().requires_grad_()
    given['u'] = given['u'].detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
    exact = {name: value.detach().double().requires_grad_() for name, value in given.items()}
    weight = torch.randn(given['u'].shape)
    results = []
    for run, values in ((selective_scan, given), (reference, exact)):
        y = run(**values, delta_softplus=True)
        results.append([y, *torch.autograd.grad((y * weight.to(y.dtype)).sum(), values.values())])
    for ours, truth in zip(*results, strict=True):
        assert_close(ours, truth.float(), LAYER)


def test_scan_under_autocast_computes_in_fp32() -> None:
    given = arguments(1, 1, 40, 8, 4, torch.float32)
    expected = selective_scan(**given, delta_softplus=True)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(selective_scan(**given, delta_softplus=True), expected)
    y = selective_scan(**{**given, 'u': given['u'].bfloat16()}, delta_softplus=True)
    assert y.dtype == torch.bfloat16 and (y - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (dict(backend='cuda'), ('backend', 'cuda')),
        (dict(backend='mamba_ssm'), ('MAMBA_KEEP_CUDA_BUILD=TRUE', 'pip install')),
        (dict(chunk_size=0), ('chunk_size', '0')),
        (dict(A=torch.zeros(2, 4, 3)), ('A', '(2, 4, 3)', '(3, 4, 3)')),
        (dict(C=torch.zeros(2, 3, 5, 4)), ('C', '(2, 3, 5, 4)', '(2, 3, 5, 2)')),
        (dict(u=torch.zeros(2, 12, 5)), ('u', '(2, 12, 5)', '(b, K, L, d)')),
    ],
)
def test_scan_refuses(change: dict, names: tuple[str, ...]) -> None:
    with raises_naming((ValueError, RuntimeError), *names):
        selective_scan(**{**arguments(2, 3, 5, 4, 2), **change})


def test_kernel_gets_its_own_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the layout (b, groups * d, L) by a stand-in with the published semantics of mamba-ssm's function."""

    def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
        delta = F.softplus(delta + delta_bias[:, None]) if delta_softplus else delta + delta_bias[:, None]
        channels = u.shape[1] // B.shape[1]
        B, C = (value.repeat_interleave(channels, 1) for value in (B, C))  # (b, groups * d, N, L)
        state, outputs = u.new_zeros(*u.shape[:2], A.shape[1]), []
        for t in range(u.shape[2]):
            state = torch.exp(delta[:, :, t, None] * A) * state + (delta * u)[:, :, t, None] * B[..., t]
            outputs.append((state * C[..., t]).sum(-1))
        return torch.stack(outputs, -1) + D[:, None] * u

    install(monkeypatch, 'mamba_ssm', 'mamba_ssm.ops', INTERFACE)
    sys.modules[INTERFACE].selective_scan_fn = selective_scan_fn
    given = arguments(2, 3, 7, 4, 2, torch.float32)
    ours = selective_scan(**given, delta_softplus=True)
    assert_close(_kernel_scan(*given.values(), True), ours, LAYER)


class OnGPU:
    """The attributes of an input tensor that choose the backend."""

    is_cuda, dtype, device = True, torch.float32, 'cuda:0'


@pytest.fixture
def kernel_untried() -> Iterator[None]:
    kernel_error.cache_clear()
    yield
    kernel_error.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Install empty modules that can be imported."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


@pytest.mark.usefixtures('kernel_untried')
def test_auto_takes_the_kernel_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_backend('auto', OnGPU(), 16) == 'torch'
    kernel_error.cache_clear()
    install(monkeypatch, 'selective_scan_cuda', 'mamba_ssm', 'mamba_ssm.ops', INTERFACE)
    assert pick_backend('auto', OnGPU(), 16) == pick_backend('mamba_ssm', OnGPU(), 16) == 'mamba_ssm'
    assert pick_backend('auto', OnGPU(), 300) == pick_backend('auto', torch.zeros(1), 16) == 'torch'
    with raises_naming(ValueError, '300 states', '256'):
        pick_backend('mamba_ssm', OnGPU(), 300)
    with raises_naming(RuntimeError, 'cpu', 'CUDA'):
        pick_backend('mamba_ssm', torch.zeros(1), 16)


@pytest.mark.usefixtures('kernel_untried')
@pytest.mark.parametrize('broken', [False, True])
def test_auto_does_without_half_a_kernel(broken: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a usable kernel `auto` uses PyTorch; importing the kernel is tried once."""
    if broken:
        (tmp_path / 'selective_scan_cuda.py').write_text("raise ImportError('undefined symbol: _ZN3c10')")
        monkeypatch.syspath_prepend(str(tmp_path))
    else:
        install(monkeypatch, 'selective_scan_cuda')
    reason = 'undefined symbol' if broken else "No module named 'mamba_ssm'"
    logged: list[str] = []
    monkeypatch.setattr(scan_module, 'print_log', lambda message, *args: logged.append(message))
    assert pick_backend('auto', OnGPU(), 16) == pick_backend('auto', OnGPU(), 16) == 'torch'
    (line,) = logged
    assert_names(line, 'mamba', reason)
    with raises_naming(RuntimeError, reason, 'pip install'):
        pick_backend('mamba_ssm', OnGPU(), 16)


def test_orders_by_hand() -> None:
    """Tokens 0 1 2 / 3 4 5."""
    assert scan_orders(2, 3, 8).tolist() == [
        [0, 1, 2, 3, 4, 5],
        [5, 4, 3, 2, 1, 0],
        [0, 3, 1, 4, 2, 5],
        [5, 2, 4, 1, 3, 0],
        [3, 0, 4, 1, 5, 2],
        [2, 5, 1, 4, 0, 3],
        [0, 3, 1, 4, 2, 5],
        [5, 2, 4, 1, 3, 0],
    ]  # on two rows an antidiagonal (y, x), (y - 1, x + 1) has the order of columns
    assert scan_orders(3, 3, 8)[6].tolist() == [0, 3, 1, 6, 4, 2, 7, 5, 8]
    assert scan_orders(3, 3, 8)[4].tolist() == [6, 3, 7, 0, 4, 8, 1, 5, 2]
    for number in (1, 2, 4):
        assert torch.equal(scan_orders(5, 4, number), scan_orders(5, 4, 8)[:number])
    assert scan_orders(5, 4, 8) is scan_orders(5, 4, 8), 'computed once'
    with raises_naming(ValueError, '3 scan directions'):
        scan_orders(5, 4, 3)


def test_split_and_merge() -> None:
    tokens = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    orders = scan_orders(3, 2, 8)
    scanned = split_directions(tokens, (3, 2), 8)
    assert torch.equal(scanned, tokens[:, orders])
    assert_close(merge_directions(scanned, (3, 2)), 8 * tokens, LAYER)
    assert torch.autograd.gradcheck(lambda x: split_directions(x, (3, 2), 8), tokens)
    assert torch.autograd.gradcheck(lambda x: merge_directions(x, (3, 2)), scanned.detach().requires_grad_())


@pytest.mark.parametrize('first', [torch.inference_mode, FakeTensorMode])
def test_trains_after_a_forward_in_another_mode(first: Callable[[], AbstractContextManager]) -> None:
    """Training works after inference at the same size: the cached scan orders must not be inference tensors."""
    for _ in range(2):
        with first():
            OmniDirectionalSSM(4, d_state=2, dt_rank=2)(torch.randn(1, 4, 7, 11))
        x = torch.randn(1, 4, 7, 11, requires_grad=True)
        OmniDirectionalSSM(4, d_state=2, dt_rank=2)(x).square().sum().backward()
        assert x.grad.abs().max() > 0
    # the other way round: what is kept is of no use within the mode
    with FakeTensorMode():
        assert OmniDirectionalSSM(4, d_state=2, dt_rank=2)(torch.randn(1, 4, 7, 11)).shape == (1, 4, 7, 11)


def ssm_by_hand(block: OmniDirectionalSSM, x: Tensor) -> Tensor:
    """One direction after the other, one image at a time, by the sequential definition."""
    images = []
    for image in x:
        _, height, width = image.shape
        tokens = image.flatten(1).T
        u, gate = block.in_proj(block.norm(tokens)).chunk(2, -1)
        u = F.silu(block.conv(u.T.reshape(1, -1, height, width)))[0].flatten(1).T
        total = torch.zeros_like(u)
        weights = block.x_proj.weight.chunk(block.num_directions)
        for k, order in enumerate(scan_orders(height, width, block.num_directions)):
            step, B, C = (u[order] @ weights[k].T).split((block.dt_rank, block.d_state, block.d_state), -1)
            delta = F.softplus(step @ block.dt_weight[k] + block.dt_bias[k])
            y = reference(
                u[order][None, None],
                delta[None, None],
                -block.A_log[k].exp()[None],
                B[None, None],
                C[None, None],
                block.D[k][None],
            )
            total[order] += y[0, 0]
        y = block.out_proj(block.out_norm(total) * F.silu(gate))
        images.append(image + y.T.reshape(-1, height, width))
    return torch.stack(images)


@pytest.mark.parametrize('directions', [1, 2, 4, 8])
def test_od_ssm_is_its_directions_one_by_one(directions: int) -> None:
    torch.manual_seed(0)
    block = OmniDirectionalSSM(6, directions, d_state=3, dt_rank=2, chunk_size=8)
    for parameter in block.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    x = torch.randn(2, 6, 4, 5)
    assert_close(block(x), ssm_by_hand(block, x), LAYER)


@pytest.mark.filterwarnings('ignore:Dynamo detected a call to a `functools.lru_cache`')
def test_od_ssm_compiles_without_graph_breaks() -> None:
    """`fullgraph` makes a break an error; the 'eager' backend runs what was traced, forward and backward."""
    torch.compiler.reset()
    block = OmniDirectionalSSM(6, d_state=3, dt_rank=2, chunk_size=8)
    compiled = torch.compile(block, backend='eager', fullgraph=True)
    x = torch.randn(2, 6, 5, 7)
    results = []
    for run in (block, compiled):
        inputs = x.clone().requires_grad_()
        y = run(inputs)
        y.square().sum().backward()
        results.append((y.detach(), inputs.grad))
    for ours, plain in zip(results[1], results[0], strict=True):
        assert_close(ours, plain, LAYER)


def test_every_pixel_hears_from_every_other() -> None:
    """With two directions every pixel receives from every other; forward rows alone do not see later pixels."""
    torch.manual_seed(0)
    for directions, heard in ((1, False), (2, True), (8, True)):
        x = torch.randn(1, 4, 6, 6, requires_grad=True)
        OmniDirectionalSSM(4, directions, d_state=2, dt_rank=2)(x)[0, :, 1, 1].sum().backward()
        assert bool((x.grad[0, :, 4, 5] != 0).any()) == heard


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (dict(num_directions=3), ('num_directions', '3')),
        (dict(d_state=0), ('d_state', '0')),
        (dict(d_state=2.5), ('d_state', '2.5')),
        (dict(backend='triton'), ('backend', 'triton')),
    ],
)
def test_od_ssm_refuses(change: dict, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, *names):
        OmniDirectionalSSM(4, **change)


@pytest.mark.parametrize('length', [1, 2, 7, 64, 100])
def test_the_form_for_exporters(length: int) -> None:
    """The same recurrence in log2(L) rounds, against the definition and with the scan by chunks."""
    torch.manual_seed(length)
    u, delta = torch.randn(2, 3, length, 5), torch.rand(2, 3, length, 5)
    A, B, C = -torch.rand(3, 5, 4), torch.randn(2, 3, length, 4), torch.randn(2, 3, length, 4)
    found = doubling_scan(u, delta, A, B, C)
    assert_close(found, selective_scan(u, delta, A, B, C, backend='torch'))
    assert_close(found, reference(u, delta, A, B, C))
