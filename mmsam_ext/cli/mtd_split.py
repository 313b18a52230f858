"""Write train.txt and val.txt for the magnetic-tile defects data set (MTD), which is published without a split.

    python -m mmsam_ext mtd-split data/mtd

Every class of defect is split at random at the same share. The same images and seed give the same sorted lists. A line
names one sample, as in MT_Blowhole/Imgs/exp1_num_108719; MT_Free, which has no defects, is left out.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from mmsam_ext.datasets.mtd import samples_of


def split(names: list[str], val: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the samples to train on and those to evaluate on, both sorted.

    Args:
        names: Samples such as MT_Blowhole/Imgs/exp1_num_108719; the first folder is the class.
        val: Share of each class to evaluate on, rounded to whole samples.
        seed: Seed of the random choice.
    """
    generator = random.Random(seed)
    drawn: set[str] = set()
    for kind in sorted({name.split('/')[0] for name in names}):
        of_kind = sorted(name for name in names if name.split('/')[0] == kind)
        drawn.update(generator.sample(of_kind, round(val * len(of_kind))))
    return sorted(set(names) - drawn), sorted(drawn)


def run(root: Path, val: float, seed: int) -> dict[Path, list[str]]:
    """Return file -> the names to write into it.

    Raises:
        ValueError: The share leaves one of the lists without a sample.
        FileExistsError: A list exists already.
        FileNotFoundError: Folders of MTD are missing.
    """
    names = samples_of(str(root))
    lists = dict(
        zip((root / 'train.txt', root / 'val.txt'), split(names, val, seed) if 0 < val < 1 else ([], []), strict=True)
    )
    if not all(lists.values()):
        raise ValueError(f'--val {val} of {len(names)} samples leaves a list empty; expected a share between 0 and 1')
    there = [path for path in lists if path.exists()]
    if there:
        raise FileExistsError(f'{there[0]} exists already; remove it to make another split')
    return lists


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/mtd'), help='the folder with MT_Blowhole, ...')
    parser.add_argument('--val', type=float, default=0.25, help='share of each class in val.txt')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(arguments)
    try:
        lists = run(args.root, args.val, args.seed)
    except (OSError, ValueError) as error:
        sys.exit(f'mtd-split: error: {error}')
    for path, names in lists.items():
        path.write_text('\n'.join(names) + '\n', encoding='utf-8')
        print(f'{path}: {len(names)} samples')
