"""The VM protocol, there and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infrasim.bmc_core.vm import (
    HardwareCommand,
    VmAnswer,
    VmCommand,
    VmRequest,
    VmStream,
    answer_wire,
    command_wire,
)

REQUESTS = st.builds(
    VmRequest,
    sequence=st.integers(0, 255),
    netfn=st.integers(0, 31).map(lambda number: number * 2),
    lun=st.integers(0, 3),
    command=st.integers(0, 255),
    data=st.binary(max_size=300),
)


def test_the_bytes_are_as_qemu_sends_them() -> None:
    # Get Device ID, measured from QEMU 7.2.
    assert VmRequest(1, 6, 0, 1, b"").wire() == bytes.fromhex("011801e6a0")
    assert command_wire(HardwareCommand.VERSION, b"\x01") == bytes.fromhex("ff01a1")
    assert VmRequest(1, 6, 0, 0xA0, b"").wire() == bytes.fromhex("0118aab047a0")


@given(REQUESTS, st.integers(1, 20))
def test_requests_survive_any_cutting(request: VmRequest, size: int) -> None:
    wire, stream = request.wire(), VmStream()
    found = [each for start in range(0, len(wire), size) for each in stream.feed(wire[start : start + size])]
    assert found == [request]


@given(REQUESTS, st.binary(min_size=1, max_size=100))
def test_answers_come_back(request: VmRequest, content: bytes) -> None:
    wire = answer_wire(request, content)
    assert VmStream().feed(wire) == [VmAnswer(request.sequence, content)]


@given(st.sampled_from(HardwareCommand), st.binary(max_size=4))
def test_commands_come_back(command: HardwareCommand, data: bytes) -> None:
    assert VmStream().feed(command_wire(command, data)) == [VmCommand(command, data)]


@given(st.lists(st.binary(max_size=700), max_size=5), REQUESTS)
def test_noise_is_dropped_and_the_next_message_read(noise: list[bytes], request: VmRequest) -> None:
    stream = VmStream()
    for chunk in noise:
        stream.feed(chunk)
    assert stream.feed(b"\xa0" + request.wire())[-1] == request
