"""Is a difference to a public implementation rounding? Compares both in fp32 with both in float64, at full size.

    python tools/analysis/family_rounding.py NAME [NAME ...] [--boxes 3] [--dtype fp32] --peers FOLDER

The models have the same random weights, and see one random image of 1024 x 1024 pixels. If both compute the same,
their masks in float64 are equal to about 1e-12 and what differs in fp32 is rounding; the one whose masks in fp32 are
nearer to those in float64 rounds less. The public implementations are installed into the environment FOLDER, as
``tools/benchmark.py families --peers FOLDER`` does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import _bootstrap  # noqa: F401  (finds the package)
import torch

# isort: split
from benchmarks.families import MASKS, PACKAGES, example_boxes, example_image, ours
from benchmarks.peer_environment import make_environment

from mmsam_ext.cli.choices import one_of
from mmsam_ext.cli.table import text_table

FORMATS = {'fp32': None, 'bf16': torch.bfloat16}
#: Set in the process that runs in the environment of the public implementations.
INSIDE = 'MMSAM_EXT_INSIDE_PEERS'


def largest(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the largest difference of two results."""
    return float((first.double() - second.double()).abs().max())


def encode_in_their_format() -> None:
    """Let position codes be computed in the format of their weights; Meta's code and ours take fp32 alone."""
    from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
    from segment_anything_hq.modeling import prompt_encoder as hq

    from mmsam_ext.models.prompt_encoders import sam_prompt_encoder

    encode = PositionEmbeddingRandom._pe_encoding  # noqa: SLF001 (theirs has no public one)
    classes = (hq.PositionEmbeddingRandom, sam_prompt_encoder.Float32PositionEmbedding)
    for one in classes:
        one._pe_encoding = lambda self, coords: encode(  # noqa: SLF001
            self, coords.to(self.positional_encoding_gaussian_matrix.dtype)
        )


def compare(name: str, boxes: int, dtype: str) -> dict[str, float]:
    """Return the largest differences between the masks of both implementations, in a format and in float64."""
    from benchmarks.family_models import random_weights, stock

    encode_in_their_format()
    image = example_image()
    pixels = example_boxes(boxes).round()  # whole numbers, which fp32 holds and divides by 1024 exactly
    weights = random_weights(name)
    exact = {key: value.double() for key, value in weights.items()}
    default, found = torch.get_default_dtype(), {}
    for who, build in (('stock', stock), ('ours', ours)):
        found[who] = build(name, dict(weights), image, pixels, FORMATS[dtype])()
        torch.set_default_dtype(torch.float64)
        found[f'{who}, float64'] = build(name, dict(exact), image.double(), pixels.double(), None)()
        torch.set_default_dtype(default)
    return dict(
        largest_logit=float(found['stock, float64'].abs().max()),
        stock_to_ours=largest(found['stock'], found['ours']),
        stock_to_float64=largest(found['stock'], found['stock, float64']),
        ours_to_float64=largest(found['ours'], found['ours, float64']),
        both_in_float64=largest(found['stock, float64'], found['ours, float64']),
    )


def main() -> int:
    """Print a table, a row for each model, and the figures as JSON in the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', type=one_of(MASKS), help=', '.join(MASKS))
    parser.add_argument('--boxes', type=int, default=3, help='number of boxes on the image')
    parser.add_argument('--dtype', default='fp32', type=one_of(FORMATS), help='format to compare with float64')
    parser.add_argument('--peers', required=True, metavar='FOLDER', help='environment of the public implementations')
    args = parser.parse_args()
    if INSIDE not in os.environ:
        python = make_environment(Path(args.peers), print, PACKAGES)
        return subprocess.run([python, *sys.argv], env={**os.environ, INSIDE: '1'}).returncode
    results = {}
    for name in args.models:
        results[name] = compare(name, args.boxes, args.dtype)
        print(text_table(['model', *results[name]], [[name, *(f'{value:.2g}' for value in results[name].values())]], 1))
    print(json.dumps(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
