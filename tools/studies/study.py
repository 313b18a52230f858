"""The parts of a study of ``tools/reproduce.py``: variants as differences from a shipped config, data and seeds."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmsam_ext.checkpoints.base import file_hash
from mmsam_ext.checkpoints.loaders import PACKAGED, asset_path
from mmsam_ext.config_files import packaged_config
from mmsam_ext.config_settings import settle
from mmsam_ext.nearest import did_you_mean

TOOLS = Path(__file__).resolve().parents[1]
#: The checkout, which holds data/ and the pages of results; for an installed package the current folder.
ROOT = TOOLS.parent if (TOOLS.parent / 'mmsam_ext').is_dir() else Path.cwd()
#: Changes to a config: key with dots -> value, as --cfg-options takes them, or a function of the config so far.
Options = Mapping[str, Any] | Callable[[Config], Mapping[str, Any]]
#: Nothing is measured before training has ended, so that the data reported on cannot influence a choice.
NO_VALIDATION = {'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None}
NO_TRAINING = {'train_dataloader': None, 'train_cfg': None, 'optim_wrapper': None, 'param_scheduler': None}


class RunError(RuntimeError):
    """A run that failed. The message has the end of its log."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A row of a study's table.

    Attributes:
        name: Its name, unique in the study.
        options: Differences from the study's config.
        share: Its number of training steps as a share of the study's.
        trained: Whether it is trained; if not, it is tested once with the study's weights, whatever the seed.
        data: Names of the data that it runs on; empty for all of the study's.
        after: Name of the variant whose checkpoint, of the same data and seed, it starts from; empty for the weights
            that the study's config names.
    """

    name: str
    options: Options = field(default_factory=dict)
    share: float = 1.0
    trained: bool = True
    data: Sequence[str] = ()
    after: str = ''


@dataclass(frozen=True)
class Column:
    """A column of a study's table: its title, the key that tools/test.py writes, and the decimal digits."""

    title: str
    key: str
    digits: int = 1


@dataclass(frozen=True)
class Claim:
    """A claim that one variant is better than another in a metric; with `lower`, smaller values are better."""

    better: str
    worse: str
    key: str
    lower: bool = False


@dataclass(frozen=True, eq=False)
class Study:
    """A comparison of variants on data, over seeds.

    Attributes:
        name: Its name on the command line and of its page in configs/results.
        config: Shipped config that the variants differ from, with '{data}' for the name of the data.
        data: Names of the data, each with a table.
        iterations: Number of training steps, one for all data or name of the data -> number.
        variants: Rows of the tables; speeds are relative to the first.
        columns: Results in the tables.
        claims: Claims of the paper, which are checked below the tables.
        options: Name of the data -> differences of all variants on it.
        weights: Checkpoint that untrained variants are tested with.
        flops: Whether the tables show operations.
    """

    name: str
    config: str
    data: Sequence[str]
    iterations: int | Mapping[str, int]
    variants: Sequence[Variant]
    columns: Sequence[Column]
    claims: Sequence[Claim] = ()
    options: Mapping[str, Options] = field(default_factory=dict)
    weights: str = f'{PACKAGED}sam_tiny'
    flops: bool = False

    def variant(self, name: str) -> Variant:
        """Return the variant of this name.

        Raises:
            ValueError: It does not exist; the message suggests the nearest names.
        """
        return self.variants[pick('variant', [name], [variant.name for variant in self.variants])[0]]

    def steps(self, data: str) -> int:
        """Return the number of training steps on some data."""
        return self.iterations if isinstance(self.iterations, int) else self.iterations[data]

    def runs(
        self,
        seeds: Sequence[int],
        iterations: int | None = None,
        data: Sequence[str] | None = None,
        only: Sequence[str] | None = None,
    ) -> list[Run]:
        """Return the runs in their order: all variants on all data with the first seed, then with the next.

        Args:
            seeds: Seeds of training; untrained variants have one run, under the first seed.
            iterations: Number of training steps instead of the study's.
            data: Names of the data to run on; None for all.
            only: Names of the variants to run; None for all.

        Raises:
            ValueError: A name does not exist; the message suggests the nearest names.
        """
        names = [variant.name for variant in self.variants]
        chosen = [self.data[index] for index in pick('data', data, self.data)]
        variants = [self.variants[index] for index in pick('variant', only, names)]
        return [
            Run(self, variant, name, seed, round(variant.share * (iterations or self.steps(name))) or 1)
            for seed in seeds
            for name in chosen
            for variant in variants
            if (variant.trained or seed == seeds[0]) and (not variant.data or name in variant.data)
        ]


def pick(what: str, names: Sequence[str] | None, known: Sequence[str]) -> list[int]:
    """Return the indices of `names` in `known`, in the order of `known`; all of them for None.

    Raises:
        ValueError: A name does not exist; the message suggests the nearest names.
    """
    for name in names or ():
        if name not in known:
            raise ValueError(f'unknown {what} {name!r}; {did_you_mean(name, known)}')
    return [index for index, name in enumerate(known) if names is None or name in names]


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        study: The study that it belongs to.
        variant: What is trained and tested.
        data: Name of the data.
        seed: Seed of training.
        iterations: Number of training steps.
    """

    study: Study
    variant: Variant
    data: str
    seed: int
    iterations: int

    def __str__(self) -> str:
        steps = f', seed {self.seed}, {self.iterations} steps' if self.variant.trained else ', not trained'
        return f'{self.data}: {self.variant.name}{steps}'

    @property
    def parent(self) -> Run | None:
        """Return the run that this one starts from, None for one that starts from packaged weights."""
        if not self.variant.after:
            return None
        variant = self.study.variant(self.variant.after)
        return replace(self, variant=variant, iterations=round(variant.share / self.variant.share * self.iterations))

    @cached_property
    def config(self) -> Config:
        """Return the whole config, without a work_dir."""
        config = copy.deepcopy(read_config(self.study.config.format(data=self.data)))
        for options in (NO_VALIDATION, self.study.options.get(self.data, {}), self.variant.options):
            # A copy, because merging removes `_delete_` from its argument.
            config.merge_from_dict(copy.deepcopy(dict(options(config) if callable(options) else options)))
        if self.variant.trained:
            set_iterations(config, self.iterations)
            config.randomness = dict(seed=self.seed)
        else:
            config.merge_from_dict(NO_TRAINING)
        return config

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the config, and of the packaged weights or the run that it starts from."""
        parts = [self.config.to_dict(), self.study.weights, *([self.parent.fingerprint] if self.parent else [])]
        text = json.dumps(parts, sort_keys=True, default=str)
        names = sorted(set(re.findall(rf'{PACKAGED}\w+', text)))
        return hashlib.sha256(''.join([text, *map(weights_hash, names)]).encode()).hexdigest()

    def check_unchanged(self) -> None:
        """Check that the packaged weights are still those of the fingerprint.

        Raises:
            RunError: They were replaced since.
        """
        if replace(self).fingerprint != self.fingerprint:
            raise RunError('the packaged weights were replaced during the run, so its result is not kept; run it again')

    def folder(self, work_dir: Path) -> Path:
        """Return the folder of the run. Another config, for example with more steps, has another: results never mix."""
        variant = re.sub(r'[^\w%]+', '-', self.variant.name).strip('-').lower()
        return work_dir / self.study.name / self.data / variant / f'seed{self.seed}-{self.fingerprint[:10]}'

    def checkpoint(self, work_dir: Path) -> Path:
        """Return the file of the weights at the end of training."""
        return self.folder(work_dir) / 'train' / f'iter_{self.iterations}.pth'

    def result(self, work_dir: Path) -> dict | None:
        """Return the result of a finished run (`metrics`, `cost`, `seconds`), None of an unfinished one."""
        path = self.folder(work_dir) / 'result.json'
        return json.loads(path.read_text()) if path.is_file() else None


@lru_cache
def read_config(name: str) -> Config:
    """Return a config of configs/, by its path there without '.py'. It is cached, so it must not be changed."""
    return Config.fromfile(packaged_config(name))


def weights_hash(name: str) -> str:
    """Return the SHA-256 of packaged weights as they are now."""
    path = asset_path(name)
    return _hash_of(path, os.stat(path).st_mtime_ns)


@lru_cache
def _hash_of(path: str, modified: int) -> str:
    return file_hash(path)


def set_iterations(config: Config, iterations: int) -> None:
    """Set the number of training steps, stretch the learning rate's schedule, and keep one checkpoint at the end."""
    settle(config)  # shares of the shipped number of iterations
    factor = iterations / config.train_cfg.max_iters
    config.train_cfg.update(max_iters=iterations, val_interval=iterations)
    config.default_hooks.checkpoint.interval = iterations
    for scheduler in config.param_scheduler or ():
        scheduler['begin'] = round(scheduler.get('begin', 0) * factor)
        if 'end' in scheduler:
            scheduler['end'] = max(scheduler['begin'] + 1, round(scheduler['end'] * factor))
