"""Text that can be printed, logged and written as UTF-8, whatever bytes a file name has."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""Return `text` with what UTF-8 cannot express written as an escape.

    On Linux a file name is bytes. Python keeps bytes that are not UTF-8 as lone surrogates, with which ``open`` finds
    the file again, but which ``print``, a log file and a CSV reject.

    Example::

        >>> printable('part_\udce4.png')
        'part_\\udce4.png'
    """
    return str(text).encode('utf-8', 'backslashreplace').decode('utf-8')
