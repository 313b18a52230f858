"""Train on a folder of labelled images, without a config file.

The arguments are in :mod:`.arguments.fit`.
"""

from __future__ import annotations

import sys

from mmsam_ext.apis.fitting import fit

from .arguments.fit import parse


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    fit(
        args.dataset,
        args.method,
        args.model,
        args.minutes,
        args.out,
        args.size,
        args.checkpoint,
        args.load_from,
        args.iterations,
        args.device,
        say=lambda line: print(line, flush=True),
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
