"""Turn labels of another tool into a folder for `fit`.

The arguments are in :mod:`.arguments.import_labels`.
"""

from __future__ import annotations

import sys

from mmsam_ext.apis.errors import InferenceError
from mmsam_ext.apis.exchange import read_labels, write_dataset

from .arguments.import_labels import parse


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    try:
        source = read_labels(args.labels, args.images)
        number = write_dataset(source, args.out, args.overwrite)
    except (InferenceError, FileExistsError, ValueError) as error:
        print(f'import-labels: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    print(f'{number} images with the classes {", ".join(source.classes)} are in {args.out}')
    return 0
