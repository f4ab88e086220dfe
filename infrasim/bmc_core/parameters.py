"""Numbered parameters that clients read and write: what LAN, PEF and system info configuration share.

A table of :class:`Parameter` says what there is; :class:`ParameterStore` keeps what was set, checks what is
written, and does the set-in-progress, commit and roll-back of parameter 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from infrasim.bmc_core.codes import Completion
from infrasim.bmc_core.message import Refused, Request
from infrasim.frozen import Frozen

# Command-specific completion codes. Source: IPMI 2.0 sections 23.1, 30.3, 22.14a (the same in all).
PARAMETER_UNSUPPORTED = 0x80
SET_IN_PROGRESS = 0x81
READ_ONLY = 0x82

# Parameter revision of every answer: present 1h, oldest compatible 1h. Source: IPMI 2.0 section 23.2.
REVISION = 0x11

_COMPLETE, _IN_PROGRESS, _COMMIT = 0, 1, 2


@dataclass
class ParameterState:
    """What was set and outlives the BMC, by ``number``, ``number.set`` or ``number.set.block``.

    ``before`` is what was so and is to be so again if somebody who sets parameters does not come to an end.
    """

    values: dict[str, bytes] = field(default_factory=dict)
    before: dict[str, bytes] | None = None


def _anything(value: bytes) -> bool:
    return True


class Parameter(Frozen):
    """One parameter.

    ``default`` gives the value while none was set, for a set selector (0 if it has none). ``sets`` and
    ``blocks`` are the selectors it has; each it has stands in front of the value, in requests and answers.
    ``least`` allows shorter values, which are filled up with zeros; ``sizes`` are longer ones allowed too.
    Sets in ``volatile`` are forgotten with the BMC.
    """

    number: int
    name: str
    size: int
    default: Callable[[int], bytes]
    sets: range | None = None
    blocks: range | None = None
    writable: bool = True
    valid: Callable[[bytes], bool] = _anything
    least: int | None = None
    sizes: tuple[int, ...] = ()
    volatile: range = range(0)
    set_mask: int = 0xFF

    def fits(self, size: int) -> bool:
        """Whether a value may have so many bytes."""
        least = self.size if self.least is None else self.least
        return least <= size <= self.size or size in self.sizes


def fixed(value: bytes) -> Callable[[int], bytes]:
    """The default that is the same for every set."""
    return lambda _selector: value


class ParameterStore:
    """The parameters of one kind. ``changed`` is called when something that outlives the BMC was set."""

    def __init__(
        self, table: Iterable[Parameter], state: ParameterState, *, changed: Callable[[], None]
    ) -> None:
        self._table = {each.number: each for each in table}
        self._state = state
        self._kept = state.values
        self._volatile: dict[str, bytes] = {}
        self._volatile_before: dict[str, bytes] = {}
        self._changed = changed
        # The BMC may have ended meanwhile.
        self.set_complete()

    def value(self, number: int, selector: int = 0, block: int = 0) -> bytes:
        """The value of a parameter in the table, without selectors."""
        parameter = self._table[number]
        key = _key(parameter, selector, block)
        kept = self._volatile if selector in parameter.volatile else self._kept
        stored = kept.get(key)
        if stored is not None:
            return stored
        return (
            parameter.default(selector) if block == (parameter.blocks or (0,))[0] else bytes(parameter.size)
        )

    def put(self, number: int, value: bytes, selector: int = 0, block: int = 0) -> None:
        """Set a parameter in the table, whether clients may or not."""
        parameter = self._table[number]
        kept = self._volatile if selector in parameter.volatile else self._kept
        kept[_key(parameter, selector, block)] = value
        if kept is self._kept:
            self._changed()

    def set_complete(self) -> None:
        """End an open set-in-progress, dropping what was not committed."""
        before = self._state.before
        if before is None:
            return
        self._kept.clear()
        self._kept.update(before)
        self._volatile = self._volatile_before
        self._state.before = None
        self._changed()

    def forget_volatile(self) -> None:
        """Drop what does not outlive the BMC."""
        self._volatile.clear()

    def forget(self, number: int) -> None:
        """Drop what was set of a volatile parameter."""
        for key in [key for key in self._volatile if key.partition(".")[0] == str(number)]:
            del self._volatile[key]

    def read(self, number: int, selector: int, block: int) -> bytes:
        """The answer to a client that reads: revision, selectors, value.

        Raises:
            Refused: no such parameter, set or block.
        """
        if number == 0:
            return bytes([REVISION, _COMPLETE if self._state.before is None else _IN_PROGRESS])
        parameter = self._find(number)
        # A selector that the parameter does not have says nothing.
        selector = selector & parameter.set_mask if parameter.sets is not None else 0
        block = block if parameter.blocks is not None else 0
        _check_selectors(parameter, selector, block)
        front = _selectors(parameter, selector, block)
        return bytes([REVISION]) + front + self.value(number, selector, block)

    def write(self, number: int, data: bytes) -> None:
        """Do what a client that writes wants; ``data`` is selectors and value.

        Raises:
            Refused: no such parameter, set or block; read-only; wrong length or value.
        """
        if number == 0:
            self._set_in_progress(data)
            return
        parameter = self._find(number)
        if not parameter.writable:
            raise Refused(READ_ONLY)
        selectors = (parameter.sets is not None) + (parameter.blocks is not None)
        if len(data) < selectors or not parameter.fits(len(data) - selectors):
            raise Refused(Completion.LENGTH_INVALID)
        selector = data[0] & parameter.set_mask if parameter.sets is not None else 0
        block = data[1] if parameter.blocks is not None else 0
        _check_selectors(parameter, selector, block)
        value = data[selectors:].ljust(parameter.size, b"\0")
        if not parameter.valid(value):
            raise Refused(Completion.INVALID_FIELD)
        self.put(number, value, selector, block)

    def _find(self, number: int) -> Parameter:
        parameter = self._table.get(number)
        if parameter is None:
            raise Refused(PARAMETER_UNSUPPORTED)
        return parameter

    def _set_in_progress(self, data: bytes) -> None:
        if len(data) != 1:
            raise Refused(Completion.LENGTH_INVALID)
        match data[0] & 0x03:
            case 0:
                self.set_complete()
            case 1 if self._state.before is not None:
                raise Refused(SET_IN_PROGRESS)
            case 1:
                self._commit()
            case 2 if self._state.before is not None:
                self._commit()
            case _:
                raise Refused(Completion.INVALID_FIELD)

    def _commit(self) -> None:
        self._state.before, self._volatile_before = dict(self._kept), dict(self._volatile)
        self._changed()


def _key(parameter: Parameter, selector: int, block: int) -> str:
    if parameter.sets is None and parameter.blocks is None:
        return str(parameter.number)
    return ".".join(str(each) for each in (parameter.number, *_selectors(parameter, selector, block)))


def _selectors(parameter: Parameter, selector: int, block: int) -> bytes:
    front = b"" if parameter.sets is None else bytes([selector])
    return front if parameter.blocks is None else front + bytes([block])


def _check_selectors(parameter: Parameter, selector: int, block: int) -> None:
    if parameter.sets is not None and selector not in parameter.sets:
        raise Refused(Completion.OUT_OF_RANGE)
    if parameter.blocks is not None and block not in parameter.blocks:
        raise Refused(Completion.OUT_OF_RANGE)


def answer_read(store: ParameterStore, request: Request, number: int, *, at: int) -> bytes:
    """What Get ... Parameters answers: ``at`` is the place of the set selector in the request.

    Bit 7 of the request's first byte asks for the revision alone.
    """
    if request.data[0] & 0x80:
        return bytes([REVISION])
    return store.read(number, request.data[at], request.data[at + 1])
