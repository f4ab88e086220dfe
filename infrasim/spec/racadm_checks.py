"""Checks of values of the racadm shell (see ``checks``)."""

from __future__ import annotations

from infrasim.spec import checks

WORD_MAX = 64
# How the reference system spells that there is no folder.
NO_FOLDER = "auto"


def ssh_word(text: str) -> str:
    """A user name or password of SSH; never part of a message."""
    return checks.printable(text, at_most=WORD_MAX)


def racadm_folder(text: str) -> str:
    """A folder, or the word that says there is none."""
    return text if text == NO_FOLDER else checks.absolute_path(text)


def whole_login(*, username: str | None, password: str | None) -> None:
    """A name needs a password, and a password a name."""
    if (username is None) == (password is None):
        return
    given, missing = ("username", "password") if password is None else ("password", "username")
    hint = "give both, or neither: then the users of the BMC log in"
    checks.refuse([checks.Conflict((given,), f"needs '{missing}' beside it", hint)])
