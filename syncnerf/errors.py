"""Errors that are the user's to mend: one line each, shown without a traceback, exit code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, with which file or option, and what to do about it; in one line."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def usage(message: str) -> str:
    """What argparse says, in one line, with what it leaves to be guessed."""
    message = " ".join(message.split())
    if "expected one argument" in message:
        message += " (one that begins with - is given with =, as in --bounds=-1,-1,-1,1,1,1)"
    return message


def one_line(error: Exception) -> str:
    """An exception's reason in one line, without the path that a message will name anyway."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).splitlines()[0][:120]
