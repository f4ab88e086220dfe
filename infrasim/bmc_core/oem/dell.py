"""Dell's system info parameters: the front panel's display, the model, the controller's generation.

Source: the fields that ipmitool's ``delloem`` and ``mc getsysinfo`` ask for, measured with ipmitool 1.8.19.
"""

from __future__ import annotations

from infrasim.bmc.settings import CoreSettings
from infrasim.bmc_core.command import Command
from infrasim.bmc_core.parameters import Parameter, fixed
from infrasim.bmc_core.system_info import string_parameter

MANUFACTURER = 674

# The display has one line of so many printable ASCII characters.
_LINE_LENGTH = 62
# iDRAC8 of a monolithic server; the controllers of the shipped Dell types are of that generation.
_IDRAC_13G_MONOLITHIC = 0x20
# What the display shows at first: the model's name.
_SHOW_MODEL = 1

COMMANDS: tuple[Command, ...] = ()


def parameters(settings: CoreSettings) -> tuple[Parameter, ...]:
    """The parameters of a Dell server."""
    mode = _SHOW_MODEL.to_bytes(4, "little") + bytes(8)
    return (
        string_parameter(0xC1, "LCD Text"),
        Parameter(0xC2, "LCD Mode", 12, fixed(mode), least=1),
        Parameter(0xCF, "LCD Capabilities", 6, fixed(bytes([1, 1, _LINE_LENGTH, 0, 0, 0])), writable=False),
        string_parameter(0xD1, "Platform Model Name", settings.model),
        Parameter(
            0xDD,
            "Controller Type",
            9,
            fixed(bytes(8) + bytes([_IDRAC_13G_MONOLITHIC])),
            sets=range(2, 3),
            writable=False,
        ),
        string_parameter(0xDE, "BMC URL"),
        string_parameter(0xE4, "OS Version"),
        Parameter(0xE7, "LCD Status", 4, fixed(bytes(4)), least=1, valid=lambda value: value[1] <= 2),
    )
