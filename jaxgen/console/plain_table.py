"""A table without lines, as all tables on the terminal are."""

from rich.table import Table


def plain_table(*, title: str | None = None) -> Table:
    """Make an empty table whose columns stand two spaces apart.

    Args:
        title: a line above the heads.
    """
    return Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        padding=(0, 2, 0, 0),
        title=title,
    )
