"""Fill the embedding cache of a training before it starts: encode every image that its pipeline can return, once.

    python -m mmsam_ext precompute CONFIG [--path DIR] [--max-gib 50] [--device cuda] [--amp]

The cache is that of the config's `default_hooks.embedding_cache`; --path, --max-gib and --store-dtype change it. Flips
and the outcomes of EnumeratedVariants are encoded, too. Images that are in the cache already are not encoded again, so
that an interrupted run continues. Use the device and --amp as in the training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import chain

import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, HOOKS
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from mmsam_ext.apis.model_loading import load_config, load_model
from mmsam_ext.datasets.fixed_images import check_fixed_images, with_each_image
from mmsam_ext.engine.hooks import EmbeddingCacheHook
from mmsam_ext.models.segmentors import PromptableSegmentor


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config name or path')
    parser.add_argument('--path', metavar='DIR', help='folder of the cache')
    parser.add_argument('--max-gib', type=float, help='GiB that the cache may take')
    parser.add_argument('--store-dtype', help='floating-point format to store, such as bfloat16')
    parser.add_argument('--weights', help="checkpoint with the encoder's weights; default: as in the training")
    parser.add_argument('--workers', type=int, default=2, help='processes that load images')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--amp', action='store_true', help='the training uses mixed precision (--amp)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the config')
    args = parser.parse_args(arguments)
    if args.workers < 0:
        parser.error(f'--workers {args.workers}, expected 0 or more')
    return args


def cache_hook(config: Config, args: argparse.Namespace) -> EmbeddingCacheHook:
    """Return the hook that the training will use, with the changes of the command line.

    Raises:
        ValueError: Neither the config nor the command line names the folder of the cache.
    """
    settings = dict((config.get('default_hooks') or {}).get('embedding_cache') or {})
    given = dict(path=args.path, max_gib=args.max_gib, dtype=args.store_dtype)
    settings |= {key: value for key, value in given.items() if value is not None}
    if settings.get('path') is None:
        raise ValueError(
            f'{args.config}: no folder for embeddings; give --path DIR, or set default_hooks = dict(embedding_cache='
            "dict(type='EmbeddingCacheHook', path='DIR'))"
        )
    return HOOKS.build(dict(settings, type='EmbeddingCacheHook'))


def image_loaders(config: Config, fixed: Sequence[str], workers: int) -> list[DataLoader]:
    """Return loaders that together yield every image that can occur in training.

    Raises:
        ValueError: The training pipeline changes images at random; the error names the transform.
    """
    loaders = []
    for one in with_each_image(config.train_dataloader.dataset.to_dict()):
        dataset = DATASETS.build(one)
        check_fixed_images(dataset, fixed)
        loaders.append(DataLoader(dataset, batch_size=1, num_workers=workers, collate_fn=pseudo_collate))
    return loaders


@torch.no_grad()
def fill(model: PromptableSegmentor, loaders: Sequence[DataLoader], amp: str | None) -> None:
    """Encode all images through the model's cache, with progress on stderr; `amp` is the dtype of mixed precision."""
    device = next(model.parameters()).device.type
    mixed = torch.autocast(device, getattr(torch, amp or 'float16'), enabled=amp is not None)
    total = sum(map(len, loaders))
    for batch in track(chain(*loaders), 'Encoding', total=total, console=Console(stderr=True)):
        data = model.data_preprocessor(batch, True)
        with mixed:
            model.encode(data['inputs'], data['data_samples'], model.compute_dtype)


def mixed_precision(config: Config, amp: bool) -> str | None:
    """Return the dtype in which AmpOptimWrapper trains, None without it."""
    wrapper = config.get('optim_wrapper') or {}
    if not amp and 'Amp' not in str(wrapper.get('type')):
        return None
    return wrapper.get('dtype') or 'float16'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    config = load_config(args.config)
    config.merge_from_dict(args.cfg_options)
    if config.get('train_dataloader') is None:
        raise ValueError(f'{args.config}: field `train_dataloader` is missing, expected a config that trains')
    hook = cache_hook(config, args)
    # Prediction may compute in another dtype than training, whose weights are what counts here.
    config.model.test_cfg = {**(config.model.get('test_cfg') or {}), 'compute_dtype': None}
    model = load_model(config, args.weights or config.get('load_from'), args.device, untrained=True)
    cache = hook.open(model, strict=True)
    model.cache_embeddings(cache)
    loaders = image_loaders(config, hook.fixed, args.workers)
    fill(model, loaders, mixed_precision(config, args.amp))
    print(f'{cache.misses} images encoded, {cache.hits} were there already: {cache.store}', file=sys.stderr)
    return 0
