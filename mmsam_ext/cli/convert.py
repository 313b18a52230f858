"""Convert another project's checkpoint into one of ours.

    python -m mmsam_ext convert FORMAT ...

`python -m mmsam_ext convert FORMAT --help` describes the arguments of a format.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from mmsam_ext.nearest import did_you_mean

#: Format -> module of this folder with ``main(arguments)``, and a line of help. A new format is one line.
FORMATS: dict[str, tuple[str, str]] = {
    'spt-official': ('spt_official', "checkpoints that SPT's authors published (spt_vit_b.pth, ...)"),
}


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run the command line; the first argument is the format."""
    arguments = sys.argv[1:] if arguments is None else arguments
    formats = '\n'.join(f'  {name}  {help_line}' for name, (_, help_line) in FORMATS.items())
    parser = argparse.ArgumentParser(
        description=f'{__doc__}\nformats:\n{formats}', formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('format', metavar='FORMAT', help='one of the formats above')
    parser.add_argument('rest', nargs=argparse.REMAINDER, metavar='...', help='arguments of the format')
    args = parser.parse_args(arguments[:1])
    if args.format not in FORMATS:
        parser.error(f'unknown format {args.format!r}; {did_you_mean(args.format, FORMATS)}')
    sys.argv[0] = f'{parser.prog} {args.format}'
    return importlib.import_module(f'.{FORMATS[args.format][0]}', __package__).main(arguments[1:])
