"""How a run can end: the exit codes, and the one exception that the user can fix."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the command line; a sweep ends with the worst of its jobs'."""

    OK = 0
    USER_ERROR = 1
    REGRESSION = 10
    INVALID = 20
    ARM_FAILED = 30
    INTERRUPTED = 130  # as shells have it: 128 plus the number of SIGINT


class UserError(Exception):
    """Something the user can fix: shown as one line, without a traceback, exit code 1.

    The message names the key as typed, the value, what is allowed and what to try. Several
    problems of one kind are reported together with `UserError.collected`.
    """

    @classmethod
    def collected(cls, subject: str, problems: list[str]) -> "UserError":
        """Make one error of many problems: `subject: first; second; third`.

        Args:
            subject: what is wrong as a whole.
            problems: one clause each.
        """
        listed = "; ".join(problems)
        return cls(f"{subject}: {listed}")
