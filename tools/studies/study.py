"""What a study of ``tools/reproduce.py`` is made of: variants as differences from a shipped config, data, seeds."""

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

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / 'configs'
#: Changes to a config: key with dots -> value, as --cfg-options takes them, or a function of the config so far.
Options = Mapping[str, Any] | Callable[[Config], Mapping[str, Any]]
#: All training ends before anything is measured: what is reported on is never looked at to choose something.
NO_VALIDATION = {'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None}
NO_TRAINING = {'train_dataloader': None, 'train_cfg': None, 'optim_wrapper': None, 'param_scheduler': None}


class RunError(RuntimeError):
    """A run failed; the message has the end of its log."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A row of a study's table.

    Attributes:
        name: Unique in its study.
        options: Differences from the study's config.
        share: Of the study's training steps, where it takes more or fewer of them.
        trained: False: it is tested as the weights are, once, as no seed has a say.
        data: The data that it is run on; empty: all of the study's.
    """

    name: str
    options: Options = field(default_factory=dict)
    share: float = 1.0
    trained: bool = True
    data: Sequence[str] = ()


@dataclass(frozen=True)
class Column:
    """A result in a study's table: its title, the key that tools/test.py writes, and decimal digits."""

    title: str
    key: str
    digits: int = 1


@dataclass(frozen=True)
class Claim:
    """That one variant does better than another, by a key of the results (smaller is better: `lower`)."""

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
        iterations: Training steps, on all data or on each.
        variants: Rows; the speed of others is relative to the first one's.
        columns: Results.
        claims: What the paper says, checked under the tables.
        options: Data -> differences that all variants have on it.
        weights: What variants that are not trained are tested with.
        flops: Whether the table says operations.
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
        """The variant of this name.

        Raises:
            ValueError: there is none; lists those there are.
        """
        return self.variants[pick('variant', [name], [variant.name for variant in self.variants])[0]]

    def steps(self, data: str) -> int:
        """Training steps on some data."""
        return self.iterations if isinstance(self.iterations, int) else self.iterations[data]

    def runs(
        self,
        seeds: Sequence[int],
        iterations: int | None = None,
        data: Sequence[str] | None = None,
        only: Sequence[str] | None = None,
    ) -> list[Run]:
        """All runs or, of some data or variants, these: first a seed of everything, then the next.

        Args:
            seeds: Of training; variants that are not trained have one run, under the first.
            iterations: Training steps instead of the study's.
            data, only: Names of data and of variants.

        Raises:
            ValueError: an unknown name; lists the known ones.
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
    """Places of `names` in `known`, in the order of the latter; all of them for None.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    for name in names or ():
        if name not in known:
            raise ValueError(f'unknown {what} {name!r}, expected some of: {", ".join(map(repr, known))}')
    return [index for index, name in enumerate(known) if names is None or name in names]


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        iterations: Training steps.
    """

    study: Study
    variant: Variant
    data: str
    seed: int
    iterations: int

    def __str__(self) -> str:
        steps = f', seed {self.seed}, {self.iterations} steps' if self.variant.trained else ', not trained'
        return f'{self.data}: {self.variant.name}{steps}'

    @cached_property
    def config(self) -> Config:
        """The whole config, but for its work_dir."""
        config = copy.deepcopy(read_config(self.study.config.format(data=self.data)))
        for options in (NO_VALIDATION, self.study.options.get(self.data, {}), self.variant.options):
            # A copy: merging takes `_delete_` out of what it is given.
            config.merge_from_dict(copy.deepcopy(dict(options(config) if callable(options) else options)))
        if self.variant.trained:
            set_iterations(config, self.iterations)
            config.randomness = dict(seed=self.seed)
        else:
            config.merge_from_dict(NO_TRAINING)
        return config

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the config and of the packaged weights that it starts from."""
        text = json.dumps([self.config.to_dict(), self.study.weights], sort_keys=True, default=str)
        names = sorted(set(re.findall(rf'{PACKAGED}\w+', text)))
        return hashlib.sha256(''.join([text, *map(weights_hash, names)]).encode()).hexdigest()

    def check_unchanged(self) -> None:
        """What it starts from is still what its fingerprint says.

        Raises:
            RunError: the packaged weights were replaced since.
        """
        if replace(self).fingerprint != self.fingerprint:
            raise RunError('the packaged weights were replaced meanwhile, its result is not kept; start again')

    def folder(self, work_dir: Path) -> Path:
        """Where it works. Another config, as one of more steps, has another folder: results never mix."""
        variant = re.sub(r'[^\w%]+', '-', self.variant.name).strip('-').lower()
        return work_dir / self.study.name / self.data / variant / f'seed{self.seed}-{self.fingerprint[:10]}'

    def result(self, work_dir: Path) -> dict | None:
        """What it gave, where it is finished: `metrics`, `cost` (see model_cost.py) and `seconds`."""
        path = self.folder(work_dir) / 'result.json'
        return json.loads(path.read_text()) if path.is_file() else None


@lru_cache
def read_config(name: str) -> Config:
    """A file of configs/, by its path there without '.py'; not to be changed."""
    return Config.fromfile(CONFIGS / f'{name}.py')


def weights_hash(name: str) -> str:
    """SHA-256 of packaged weights, as they are now."""
    path = asset_path(name)
    return _hash_of(path, os.stat(path).st_mtime_ns)


@lru_cache
def _hash_of(path: str, modified: int) -> str:
    return file_hash(path)


def set_iterations(config: Config, iterations: int) -> None:
    """Make a config train for `iterations`: stretch its schedule, and save one checkpoint at the end."""
    factor = iterations / config.train_cfg.max_iters
    config.train_cfg.update(max_iters=iterations, val_interval=iterations)
    config.default_hooks.checkpoint.interval = iterations
    for scheduler in config.param_scheduler or ():
        scheduler['begin'] = round(scheduler.get('begin', 0) * factor)
        if 'end' in scheduler:
            scheduler['end'] = max(scheduler['begin'] + 1, round(scheduler['end'] * factor))
