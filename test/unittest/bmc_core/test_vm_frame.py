"""The VM protocol's bytes, as an opening reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.vm import HardwareCommand, VmRequest, answer_wire, command_wire
from infrasim.bmc_core.vm_frame import completion_code, escape, message, unescape


@given(st.binary())
def test_escapes_come_back(plain: bytes) -> None:
    assert unescape(escape(plain)) == plain


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20))
def test_the_completion_code_is_found_among_what_else_comes(sequence: int, code: int, data: bytes) -> None:
    answer = answer_wire(VmRequest(sequence, 0x0A, 0, 0x49, b""), bytes([code]) + data)
    noise = command_wire(HardwareCommand.VERSION, b"\x01")
    other = answer_wire(VmRequest((sequence + 1) % 256, 0x0A, 0, 0x49, b""), b"\xc1")
    assert completion_code(noise + other + noise + answer, sequence) == code
    assert completion_code(noise + other + answer[:-1], sequence) is None


def test_a_damaged_answer_is_none() -> None:
    answer = bytearray(answer_wire(VmRequest(1, 0x0A, 0, 0x49, b""), b"\0"))
    answer[1] ^= 1
    assert completion_code(bytes(answer), 1) is None


def test_a_message_is_as_the_core_sends_it() -> None:
    assert (
        message(bytes([1, 0x0A << 2, 0x49]) + b"\xa0\xaa\0\0")
        == VmRequest(1, 0x0A, 0, 0x49, b"\xa0\xaa\0\0").wire()
    )
