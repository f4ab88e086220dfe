"""Raw sensor bytes to engineering units and back.

Source: IPMI 2.0 section 36.3 (y = L[(M·x + B·10^K1)·10^K2]) and 36.5 (non-linear sensors).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property

from infrasim.frozen import Frozen

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "ln": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "e": math.exp,
    "exp10": lambda x: 10.0**x,
    "exp2": lambda x: 2.0**x,
    "reciprocal": lambda x: 1.0 / x,
    "square": lambda x: x * x,
    "cube": lambda x: x**3,
    "sqrt": math.sqrt,
    "cube_root": lambda x: math.copysign(abs(x) ** (1 / 3), x),
}


class Raw(int):
    """A sensor byte that no number of engineering units stands for; written ``raw 0x1f`` in YAML."""


class Conversion(Frozen):
    """The factors of one sensor. ``analog_format`` and ``linearization`` as in ``names``."""

    m: int = 1
    b: int = 0
    b_exp: int = 0
    r_exp: int = 0
    analog_format: str | int = "unsigned"
    linearization: str | int = "linear"

    @property
    def is_plain(self) -> bool:
        """Whether bytes are written as they are, because no conversion is defined.

        That is so without an analogue reading, with M = 0 (every byte would mean the same), and with a
        linearisation that only the sensor's own tables describe.
        """
        if self.analog_format == "none" or self.m == 0:
            return True
        return self.linearization != "linear" and self.linearization not in _FUNCTIONS

    def to_units(self, raw: int) -> float | int | Raw:
        """What ``raw`` (0..255) reads as, the shortest number that :meth:`to_raw` turns back into it."""
        if self.is_plain:
            return raw
        if self.linearization != "linear":
            return self._table[raw]
        if self.analog_format == "ones_complement" and raw == 0xFF:
            return Raw(raw)
        value = self._linear(self._signed(raw))
        return int(value) if value.denominator == 1 else float(value)

    def to_raw(self, value: float | int) -> int:
        """The byte nearest to ``value``.

        Raises:
            ValueError: if the sensor cannot show it; says which range it can.
        """
        if isinstance(value, Raw) or self.is_plain:
            if type(value) is float or not 0 <= value <= 255:
                raise ValueError("wanted a raw byte from 0 to 255")
            return int(value)
        if self.linearization != "linear":
            return self._nearest(value)
        scaled = (value / 10.0**self.r_exp - self.b * 10.0**self.b_exp) / self.m
        low, high = self._range
        number = math.floor(scaled + 0.5)
        if not low <= number <= high:
            ends = sorted((float(self._linear(low)), float(self._linear(high))))
            raise ValueError(f"wanted a value from {ends[0]:g} to {ends[1]:g}")
        if number >= 0:
            return number
        return number + (255 if self.analog_format == "ones_complement" else 256)

    @property
    def _range(self) -> tuple[int, int]:
        if self.analog_format == "unsigned":
            return 0, 255
        return (-127 if self.analog_format == "ones_complement" else -128), 127

    def _signed(self, raw: int) -> int:
        if raw < 128 or self.analog_format == "unsigned":
            return raw
        return raw - (255 if self.analog_format == "ones_complement" else 256)

    def _linear(self, number: int) -> Fraction:
        ten = Fraction(10)
        return (self.m * number + self.b * ten**self.b_exp) * ten**self.r_exp

    @cached_property
    def _table(self) -> tuple[float | Raw, ...]:
        """What each byte reads as; bytes that cannot be told from another by number are ``Raw``."""
        function = _FUNCTIONS[str(self.linearization)]
        values: list[float | Raw] = []
        for raw in range(256):
            try:
                value = float(f"{function(float(self._linear(self._signed(raw)))):.9g}")
            except (ValueError, OverflowError, ZeroDivisionError):
                values.append(Raw(raw))
                continue
            unusable = not math.isfinite(value) or value in values
            values.append(Raw(raw) if unusable else value)
        return tuple(values)

    def _nearest(self, value: float) -> int:
        numbers = [(raw, known) for raw, known in enumerate(self._table) if not isinstance(known, Raw)]
        low = min((known for _, known in numbers), default=0.0)
        high = max((known for _, known in numbers), default=0.0)
        if not numbers or not low <= value <= high:
            raise ValueError(f"wanted a value from {low:g} to {high:g}")
        return min(numbers, key=lambda pair: abs(pair[1] - value))[0]
