"""Words of node files for true and false.

The loader takes ``on`` and ``yes`` for text, as YAML 1.2 does; files of YAML 1.1, such as those of the
reference system, mean true by them.
"""

from __future__ import annotations

from typing import Final

# Source: YAML 1.1, type bool, those words that PyYAML takes.
SWITCHES: Final = {
    form: meant
    for meant, words in ((True, ("on", "yes", "true")), (False, ("off", "no", "false")))
    for word in words
    for form in (word, word.capitalize(), word.upper())
}


def switch(given: object) -> object:
    """What a word says; anything else as it is."""
    return SWITCHES.get(given, given) if isinstance(given, str) else given


def on_or_off(given: object) -> object:
    """``on`` or ``off`` for what says true or false; anything else as it is."""
    meant = switch(given)
    return ("on" if meant else "off") if isinstance(meant, bool) else meant
