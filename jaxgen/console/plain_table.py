"""A table without lines, as all tables on the terminal are."""

from rich.table import Table


def plain_table() -> Table:
    """Make an empty table whose columns stand two spaces apart."""
    return Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
