"""The tables of a report as data: each module fills one kind of table; the pages only set them."""
