"""The entry point of ``python -m mmsam_ext`` and of the scripts in ``tools/``."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import mmsam_ext
from mmsam_ext.nearest import did_you_mean

from .bad_input import check_cfg_options, one_line_errors
from .commands import COMMANDS

PROGRAM = 'python -m mmsam_ext'
PACKAGE = Path(mmsam_ext.__file__).resolve().parent
#: Where the packaged scripts are: in an installed package, or in a checkout.
TOOLS_FOLDERS = (PACKAGE / '.mim' / 'tools', PACKAGE.parent / 'tools')


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run the command that the first argument names, or list the commands.

    Returns:
        The exit code; None counts as 0.
    """
    name, *rest = sys.argv[1:] if arguments is None else arguments or ['--help']
    if name in ('-h', '--help'):
        print(overview())
        return 0
    if name == '--version':
        print(mmsam_ext.__version__)
        return 0
    if name not in COMMANDS:
        print(
            f'{PROGRAM}: error: unknown command {name!r}; {did_you_mean(name, COMMANDS)} '
            f'`{PROGRAM} --help` lists all commands.',
            file=sys.stderr,
        )
        return 2
    sys.argv[0] = f'{PROGRAM} {name}'  # what argparse shows
    return run_command(name, rest)


def overview() -> str:
    """Return the text of ``--help``: usage and one line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}}  {command.help}' for name, command in COMMANDS.items()]
    return '\n'.join(
        [
            f'usage: {PROGRAM} COMMAND [arguments]',
            '',
            'commands:',
            *lines,
            '',
            f'`{PROGRAM} COMMAND --help` describes the arguments of a command.',
        ]
    )


def run_command(name: str, arguments: Sequence[str]) -> int | None:
    """Run one of :data:`COMMANDS`.

    Args:
        name: A key of the table.
        arguments: The command line after the name.

    Returns:
        The exit code; None counts as 0.

    Raises:
        SystemExit: A package that the command needs is not installed, its input is bad, or the command itself exits.
    """
    command = COMMANDS[name]
    check_cfg_options(name, arguments)
    sys.argv[1:] = arguments
    if command.parsed:  # ends here for --help and for a wrong argument
        importlib.import_module(f'.arguments.{command.target}', __package__).parse(list(arguments))
    if command.greeting:
        print(command.greeting, file=sys.stderr, flush=True)
    if not command.standalone:
        register()
    if not command.target.endswith('.py'):
        module = importlib.import_module(f'.{command.target}', __package__)
        with one_line_errors(name):
            return module.main(list(arguments))
    script = next((path for folder in TOOLS_FOLDERS if (path := folder / command.target).is_file()), None)
    if script is None:
        sys.exit(f'{PROGRAM} {name}: {command.target} is in neither {" nor ".join(map(str, TOOLS_FOLDERS))}')
    sys.path.insert(0, str(script.parent))  # as when Python runs the script itself
    with one_line_errors(name):
        runpy.run_path(str(script), run_name='__main__')
    return 0


def register() -> None:
    """Import every component of the package.

    Raises:
        SystemExit: something that it needs is not installed; the message names the command that checks all of it.
    """
    try:
        mmsam_ext.register()
    except ModuleNotFoundError as error:
        if (error.name or '').startswith('mmsam_ext'):
            raise  # a mistake in this package, not in the environment
        sys.exit(
            f'{type(error).__name__}: {error}\nTo see what is missing and how to install it, run: {PROGRAM} check-env'
        )
