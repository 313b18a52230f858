"""Training with stored embeddings: the same losses, and errors where an embedding could belong to something else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from mmsam_ext.models.caching import DiskStore, EmbeddingCache, MemoryStore, encoder_parts, fingerprint, stores
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import Prompts, SAMFeatures
from tests.models.small import ARCH, CHANNELS, config, disc, sample, segmentor
from tests.naming import assert_names, raises_naming
from tests.numeric import MODEL, assert_close

GIB = 2**30
BACKBONE = dict(type='SAMImageEncoder', arch=ARCH, out_indices=(0,))
PLUGINS = [dict(type='DeformableSamplingPlugin', dim=CHANNELS)]


def frozen(**changes) -> PromptableSegmentor:
    """A segmentor whose decoder alone is trained."""
    settings = dict(trainable=[r'^mask_decoder\.'], **changes)
    settings.setdefault('mask_decoder', dict(config()['mask_decoder'], plugins=PLUGINS))
    return segmentor(**settings).train()


def with_cache(model: PromptableSegmentor, store, **options) -> EmbeddingCache:
    cache = EmbeddingCache(store, fingerprint(encoder_parts(model)), **options)
    model.cache_embeddings(cache)
    return cache


def pictures(*seeds: int) -> list[Tensor]:
    return [
        torch.randint(0, 256, (3, 128, 128), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        for seed in seeds
    ]


def step(model: PromptableSegmentor, images: list[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and gradients of a batch, through the preprocessor as in training."""
    samples = [sample(Prompts.create(boxes=[[25, 45, 75, 95], [20, 40, 75, 95]]), disc()[None]) for _ in images]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    model.zero_grad()
    losses = model.loss(**data)
    sum(losses.values()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


def assert_same(ours: tuple, theirs: tuple) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize('on_disk', [False, True])
@pytest.mark.parametrize('stage', [False, True])
def test_losses_and_gradients_bit_for_bit(on_disk: bool, stage: bool, tmp_path: Path) -> None:
    """First encoded, then found: both as without a cache, inner stages and all."""
    options = dict(backbone=BACKBONE) if stage else {}
    plain, model = frozen(**options), frozen(**options)
    cache = with_cache(model, DiskStore(tmp_path, 'e' * 64, GIB) if on_disk else MemoryStore(GIB))
    for images in [pictures(1), pictures(2), pictures(1), pictures(2)]:
        assert_same(step(model, images), step(plain, images))
    assert (cache.misses, cache.hits) == (2, 2)
    first = step(model, pictures(2, 3, 3))
    assert (cache.misses, cache.hits) == (3, 4)
    assert_same(step(model, pictures(2, 3, 3)), first)
    expected = step(plain, pictures(2, 3, 3))[0]  # encoded in one batch, whose rounding may differ
    assert_close(torch.stack(list(first[0].values())), torch.stack(list(expected.values())), MODEL)
    encoded = []
    model.backbone.register_forward_hook(lambda *_: encoded.append(1))
    data = model.data_preprocessor(dict(inputs=pictures(2, 3), data_samples=[sample(), sample()]), True)
    features = model.encode(data['inputs'], data['data_samples'])
    alone = [plain.extract_feat(data['inputs'][row : row + 1]) for row in range(2)]
    expected = SAMFeatures(
        torch.cat([one.embedding for one in alone]),
        tuple(torch.cat(stages) for stages in zip(*(one.stages for one in alone), strict=True)),
    )
    assert not encoded and len(features.stages) == len(expected.stages) == int(stage)
    pairs = zip((*features.stages, features.embedding), (*expected.stages, expected.embedding), strict=True)
    for ours, theirs in pairs:
        assert torch.equal(ours, theirs) and ours.stride() == theirs.stride()  # the memory layout, too


def test_bf16_entries_are_half_as_large() -> None:
    plain, model, half = frozen(), frozen(), frozen()
    full, small = MemoryStore(GIB), MemoryStore(GIB)
    with_cache(model, full)
    with_cache(half, small, dtype='bfloat16')
    exact, _ = step(plain, pictures(1))
    for each in (model, half):
        step(each, pictures(1))
    close, _ = step(half, pictures(1))
    assert small.bytes * 2 == full.bytes == 32 * 8 * 8 * 4
    assert all(torch.isclose(close[name], exact[name], rtol=2e-2) for name in exact)
    assert any(close[name] != exact[name] for name in exact)


def test_key_has_image_geometry_normalisation_dtype_and_weights(tmp_path: Path) -> None:
    """What differs in any of them is encoded anew; what differs in none is found."""
    folder = tmp_path / 'cache'

    def misses(model: PromptableSegmentor, image: Tensor, dtype: str | None = None) -> int:
        encoder = fingerprint(encoder_parts(model))
        model.cache_embeddings(cache := EmbeddingCache(DiskStore(folder, encoder, GIB), encoder, dtype))
        step(model, [image])
        return cache.misses

    (image,) = pictures(1)
    assert misses(frozen(), image) == 1 and misses(frozen(), image) == 0
    changed = image.clone()
    changed[0, 0, 0] ^= 1
    assert misses(frozen(), changed) == 1  # a single bit of a single pixel
    assert misses(frozen(), image.flip(-1)) == 1 and misses(frozen(), image.flip(-1)) == 0
    preprocessor = dict(type='PromptDataPreprocessor', size=(128, 128))
    assert misses(frozen(data_preprocessor=dict(preprocessor, bgr_to_rgb=False)), image) == 1
    assert misses(frozen(data_preprocessor=dict(preprocessor, mean=(1.0, 2.0, 3.0))), image) == 1
    assert misses(frozen(train_cfg=dict(compute_dtype='bfloat16')), image) == 1
    assert misses(frozen(), image, 'bfloat16') == 1
    other = frozen()
    with torch.no_grad():
        other.backbone.blocks[1].attn.rel_pos_h[0, 0] += 1e-3
    assert misses(other, image) == 1
    windows = dict(type='SAMImageEncoder', arch=dict(ARCH, window_size=4))
    stock = fingerprint(encoder_parts(frozen()))
    assert fingerprint(encoder_parts(frozen(backbone=windows))) != stock  # settings that no weight shows
    assert fingerprint(encoder_parts(frozen())) == stock
    assert misses(frozen(), image) == 0


@pytest.mark.parametrize(
    'changes',
    [
        dict(trainable=[r'^mask_decoder\.', r'^backbone\.neck\.']),
        dict(trainable=None),
        dict(
            trainable=[r'lora_'],
            peft=dict(encoder=dict(type='LoRA', modules=r'^backbone\..*\.qkv$', num_slices=3, slices=(0, 2))),
        ),
    ],
)
def test_trained_encoder_is_an_error(changes: dict) -> None:
    model = segmentor(**changes).train()
    with raises_naming(ValueError, 'backbone', 'trainable', 'peft'):
        with_cache(model, MemoryStore(GIB))
    assert model.embedding_cache is None


def test_weights_that_change_during_training_are_an_error() -> None:
    model = frozen()
    with_cache(model, MemoryStore(GIB))
    step(model, pictures(1))
    with torch.no_grad():
        model.backbone.patch_embed.proj.weight.mul_(2)
    with raises_naming(RuntimeError, 'weights', 'encoder'):
        step(model, pictures(1))


def test_padding_to_the_largest_image_is_an_error() -> None:
    model = frozen(data_preprocessor=dict(type='PromptDataPreprocessor', size_divisor=16))
    with raises_naming(ValueError, 'data_preprocessor', 'size=None'):
        with_cache(model, MemoryStore(GIB))


def test_call_without_the_preprocessor_names_the_sample() -> None:
    model = frozen()
    with_cache(model, MemoryStore(GIB))
    with raises_naming(ValueError, 'folder/one.png', 'image_digest'):
        model.loss(torch.zeros(1, 3, 128, 128), [sample(Prompts.create(boxes=[[1, 2, 30, 40]]), disc()[None])])


def entry(value: float, size: int = 256) -> dict[str, Tensor]:
    return {'0.chw.float32': torch.full((size,), float(value))}


KEYS = [f'{index:x}' * 64 for index in range(8)]


@pytest.mark.parametrize('damage', ['truncated', 'empty', 'other key', 'not one'])
def test_damaged_entry_is_named_and_written_again(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(tmp_path, 'e' * 64, GIB)
    store.put(KEYS[0], entry(1))
    path = store.path(KEYS[0])
    content = {'truncated': path.read_bytes()[:-100], 'empty': b'', 'not one': b'x' * 500}.get(damage)
    if content is None:
        store.put(KEYS[1], entry(2))
        content = store.path(KEYS[1]).read_bytes()
    path.write_bytes(content)
    reader, logged = DiskStore(tmp_path, 'e' * 64, GIB), []
    monkeypatch.setattr(stores, 'print_log', lambda text, *args: logged.append(text))
    assert reader.get(KEYS[0]) is None and not path.exists()
    assert len(logged) == 1
    assert_names(logged[0], path)
    assert store.put(KEYS[0], entry(3)) and store.get(KEYS[0])['0.chw.float32'][0] == 3


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on without storing; `strict`, for precompute, names the entry. No half a file is left."""

    def full(tensors: dict, path: Path, metadata: dict) -> None:
        Path(path).write_bytes(b'half')
        raise SafetensorError(f'I/O error: {os.strerror(errno.ENOSPC)}')

    monkeypatch.setattr(stores, 'save_file', full)
    model, plain = frozen(), frozen()
    with_cache(model, DiskStore(tmp_path, 'e' * 64, GIB))
    for images in (pictures(1), pictures(2), pictures(1)):
        assert_same(step(model, images), step(plain, images))
    with_cache(model, DiskStore(tmp_path, 'e' * 64, GIB), strict=True)
    with raises_naming(OSError, tmp_path, 'No space left on device'):
        step(model, pictures(1))
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_bound_evicts_what_this_run_does_not_use(tmp_path: Path) -> None:
    """Oldest first; entries in use stay, and then nothing more is stored. Files of the user stay, too."""
    size = len(_file(tmp_path / 'one'))
    old = DiskStore(tmp_path / 'c', 'a' * 64, GIB)
    for index in range(3):
        old.put(KEYS[index], entry(index))
        os.utime(old.path(KEYS[index]), (1000 + index, 1000 + index))
    own = tmp_path / 'c' / 'a' / 'notes.safetensors'
    own.parent.mkdir()
    own.write_bytes(b'mine' * 1000)
    new = DiskStore(tmp_path / 'c', 'b' * 64, 4 * size)
    assert new.bytes == 3 * size
    assert new.put(KEYS[3], entry(3)) and len(list(new._files())) == 4
    assert new.put(KEYS[4], entry(4))
    assert not old.path(KEYS[0]).exists() and old.path(KEYS[1]).exists()
    assert new.put(KEYS[5], entry(5)) and new.put(KEYS[6], entry(6))
    assert not any(old.path(key).exists() for key in KEYS[:3])
    assert not new.put(KEYS[7], entry(7))  # full of entries in use
    assert [new.get(key)['0.chw.float32'][0] for key in KEYS[3:7]] == [3, 4, 5, 6] and new.get(KEYS[7]) is None
    assert own.exists()
    memory = MemoryStore(2048)
    assert memory.put('a', entry(1)) and memory.put('b', entry(2)) and not memory.put('c', entry(3))


def _file(folder: Path) -> bytes:
    store = DiskStore(folder, 'e' * 64, GIB)
    store.put(KEYS[0], entry(0))
    return store.path(KEYS[0]).read_bytes()


def test_two_writers_and_a_killed_one(tmp_path: Path) -> None:
    """Both write the same entry; the reader finds one of them whole. What a killed writer left goes after an hour."""
    first, second = (DiskStore(tmp_path, 'e' * 64, GIB) for _ in range(2))
    first.put(KEYS[0], entry(5))
    mapped = second.get(KEYS[0])['0.chw.float32']
    second.put(KEYS[0], entry(5))
    assert (mapped == 5).all() and (first.get(KEYS[0])['0.chw.float32'] == 5).all()
    left, fresh = (first.path(KEYS[0]).parent / f'.{name * 32}.tmp' for name in 'ab')
    for path in (left, fresh):
        path.write_bytes(b'half')
    os.utime(left, (1000, 1000))
    DiskStore(tmp_path, 'e' * 64, GIB)
    assert not left.exists() and fresh.exists()


def test_messages_name_what_to_do() -> None:
    with raises_naming(ValueError, 'dtype', 'half a float'):
        EmbeddingCache(MemoryStore(1), 'e', dtype='half a float')
    assert_names(str(MemoryStore(1)), '0 entries')
