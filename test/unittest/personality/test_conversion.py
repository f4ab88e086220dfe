"""Raw sensor bytes to engineering units and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrasim.personality.conversion import Conversion, Raw
from infrasim.personality.names import LINEARIZATIONS

FORMATS = ("unsigned", "ones_complement", "twos_complement", "none")
factors = st.builds(
    Conversion,
    m=st.integers(-512, 511),
    b=st.integers(-512, 511),
    b_exp=st.integers(-8, 7),
    r_exp=st.integers(-8, 7),
    analog_format=st.sampled_from(FORMATS),
    linearization=st.sampled_from([*LINEARIZATIONS.values(), 0x70]),
)


@given(factors, st.integers(0, 255))
def test_every_byte_comes_back(conversion: Conversion, raw: int) -> None:
    assert conversion.to_raw(conversion.to_units(raw)) == raw


@pytest.mark.parametrize(
    ("conversion", "raw", "value"),
    [
        # Source: a captured 12 V rail, a fan, and temperatures with an offset and with a sign
        (Conversion(m=60, r_exp=-3), 202, 12.12),
        (Conversion(m=120), 32, 3840),
        (Conversion(m=1, b=-128), 151, 23),
        (Conversion(m=1, analog_format="twos_complement"), 0xF6, -10),
        (Conversion(m=1, analog_format="ones_complement"), 0xFE, -1),
        (Conversion(m=5, b=5, b_exp=2, r_exp=-1), 1, 50.5),
        (Conversion(m=1, linearization="square"), 12, 144),
        (Conversion(m=1, linearization="reciprocal"), 4, 0.25),
        (Conversion(m=0, b=4), 7, 7),
        (Conversion(m=3, linearization=0x70), 7, 7),
        (Conversion(m=3, analog_format="none"), 7, 7),
    ],
)
def test_known_values(conversion: Conversion, raw: int, value: float) -> None:
    assert conversion.to_units(raw) == value
    assert conversion.to_raw(value) == raw


def test_a_value_between_two_bytes_takes_the_nearest() -> None:
    assert Conversion(m=60, r_exp=-3).to_raw(12) == 200
    assert Conversion(m=100).to_raw(6049) == 60
    assert Conversion(m=1, linearization="square").to_raw(17) == 4


@pytest.mark.parametrize(
    ("conversion", "value", "wanted"),
    [
        (Conversion(m=60, r_exp=-3), 15.4, "wanted a value from 0 to 15.3"),
        (Conversion(m=1, analog_format="twos_complement"), 128, "wanted a value from -128 to 127"),
        (Conversion(m=-1), 1, "wanted a value from -255 to 0"),
        (Conversion(m=1, linearization="sqrt"), 17, "wanted a value from 0 to 15.968"),
        (Conversion(m=0), 256, "wanted a raw byte from 0 to 255"),
        (Conversion(m=0), 1.5, "wanted a raw byte from 0 to 255"),
    ],
)
def test_a_value_out_of_range(conversion: Conversion, value: float, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        conversion.to_raw(value)


def test_a_byte_that_no_number_stands_for() -> None:
    """In one's complement 0x00 and 0xff are both zero; a logarithm has no value for zero."""
    assert Conversion(analog_format="ones_complement").to_units(0xFF) == Raw(0xFF)
    assert isinstance(Conversion(linearization="ln").to_units(0), Raw)
    assert Conversion(linearization="ln").to_raw(Raw(0)) == 0
