"""ipmi_sim's VM channel: the stream QEMU's BMC device speaks, used to set the BMC's clock.

ipmi_sim's clock begins at zero each time it starts, and the channel takes one client at a time, so
this is done before QEMU connects.
"""

from __future__ import annotations

import asyncio

from infrasim.clients.vm_channel import clock_request, clock_was_set


async def set_clock(address: str, port: int, unix_time_s: int) -> bool:
    """Set the BMC's clock; False when another client has the channel or the BMC refuses."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    try:
        writer.write(clock_request(unix_time_s))
        wire = b""
        while (done := clock_was_set(wire)) is None:
            chunk = await reader.read(256)
            if not chunk:
                return False
            wire += chunk
        return done
    except OSError:
        return False
    finally:
        writer.close()
