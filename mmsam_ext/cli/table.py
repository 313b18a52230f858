"""Tables in the terminal and in Markdown, for every command that prints one."""

from __future__ import annotations

from collections.abc import Sequence

from prettytable import PrettyTable, TableStyle


def text_table(head: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Return a table in plain text without borders, two spaces between columns.

    Args:
        head: Titles of the columns, all different.
        rows: Cells, as many in each row as there are titles.
        left: How many columns are aligned to the left, counted from the first; the others are aligned to the right.

    Example:
        >>> print(text_table(['module', 'parameters'], [['backbone', 12], ['decoder', 345]]))
        module    parameters
        backbone          12
        decoder          345
    """
    table = PrettyTable(list(head))
    table.add_rows([list(map(str, row)) for row in rows])
    table.set_style(TableStyle.PLAIN_COLUMNS)
    table.left_padding_width, table.right_padding_width = 0, 2
    for place, name in enumerate(head):
        table.align[name] = 'l' if place < left else 'r'
    return '\n'.join(line.rstrip() for line in table.get_string().splitlines())


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown, its cells not padded, so that a change of one cell changes one line.

    Args:
        head: Titles of the columns.
        rows: Cells, as many in each row as there are titles.

    Example:
        >>> print(markdown_table(['run', 'mIoU'], [['a', 1.5]]))
        | run | mIoU |
        | --- | --- |
        | a | 1.5 |
    """
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)
