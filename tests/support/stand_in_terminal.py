"""A stand-in for the terminal, for tests of what is drawn on it."""

import io


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self):
        return True
