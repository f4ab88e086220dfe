"""UEFI firmware on a node: secure boot, a TPM, boot overrides, the BMC's other interface, SMBIOS."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator

import pytest
from guest.build import Guest
from guest.esp import boot_disk
from inside import Inside, shell
from lab import NODE, Lab, lab, wait_for

FIRMWARE_S = 900.0

# TPM2_CreatePrimary of an elliptic endorsement key: it comes from a seed of the TPM, so it is the same as
# long as the TPM is. Source: TPM 2.0 library, part 3 section 24.1, part 2 sections 12.2 and 11.2.
_ENDORSEMENT, _PASSWORD_SESSION = 0x4000000B, 0x40000009
_PUBLIC = struct.pack(">HHIHHHHHHHHH", 0x23, 0x0B, 0x00030072, 0, 6, 128, 0x43, 0x10, 3, 0x10, 0, 0)
_PARAMETERS = (
    struct.pack(">IIIHBH", _ENDORSEMENT, 9, _PASSWORD_SESSION, 0, 0, 0)
    + struct.pack(">HHH", 4, 0, 0)
    + struct.pack(">H", len(_PUBLIC))
    + _PUBLIC
    + struct.pack(">HI", 0, 0)
)
_CREATE_PRIMARY = struct.pack(">HII", 0x8002, 10 + len(_PARAMETERS), 0x131) + _PARAMETERS


@pytest.fixture(scope="module")
def secure(request: pytest.FixtureRequest, guest: Guest) -> Iterator[Lab]:
    """A running node without power that starts only what is signed: its first disk is not, its second is."""
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        tampered = boot_disk(guest, home.root / "tampered.img", is_tampered=True)
        signed = boot_disk(guest, home.root / "signed.img")
        drives = [
            {"file": str(path), "format": "raw", "serial": serial}
            for path, serial in ((tampered, "TAMPERED"), (signed, "SIGNED"))
        ]
        home.start(
            compute={
                "memory": {"size": 512},
                "firmware": "uefi",
                "secure_boot": True,
                "tpm": 2.0,
                "ipmi": {"interface": "bt", "irq": 10},
                "storage_backend": [{"drives": drives}],
                "guest-agent": True,
                "trace": {"guest": True},
            },
            bmc={"startnow": False},
        )
        yield home


def endorsement_key(inside: Inside) -> bytes:
    """The public part of the TPM's key, asked for inside the guest."""
    inside.run("exec 3<>/dev/tpmrm0; busybox true >/tmp/command")
    # A line may not be wider than the terminal, and the device wants the whole command at once.
    for start in range(0, len(_CREATE_PRIMARY), 32):
        words = "".join(f"\\x{value:02x}" for value in _CREATE_PRIMARY[start : start + 32])
        inside.run(f"printf '{words}' >>/tmp/command")
    inside.run("busybox dd bs=4096 if=/tmp/command >&3")
    said = base64.b64decode(
        inside.run("busybox dd bs=4096 count=1 <&3 2>/dev/null | busybox base64 -w 0").out
    )
    inside.run("exec 3>&-")
    tag, _, code = struct.unpack_from(">HII", said)
    assert (tag, code) == (0x8002, 0), said.hex()
    # Behind header, handle and the parameters' size.
    (size,) = struct.unpack_from(">H", said, 18)
    return said[20 : 20 + size]


def structures(table: bytes) -> list[bytes]:
    """The structures of an SMBIOS table."""
    found = []
    while table:
        end = table.index(b"\0\0", table[1]) + 2
        found.append(table[:end])
        table = table[end:]
    return found


@pytest.fixture(scope="module")
def first_boot(secure: Lab, guest: Guest) -> Iterator[tuple[Lab, dict[str, str], bytes]]:
    """What the guest says of itself after a boot from disk, and its TPM's key."""
    secure.ipmi("chassis", "bootdev", "disk", "options=efiboot")
    secure.ipmi("power", "on")
    with shell(secure, guest) as inside:
        asked = {
            "kernel": "dmesg",
            "tpm": "cat /sys/class/tpm/tpm0/tpm_version_major",
            "interface": "ipmitool mc info",
            "interrupts": "cat /proc/interrupts",
            "smbios": "busybox base64 -w 0 /sys/firmware/dmi/tables/DMI",
            "trace": "echo to the second port >/dev/ttyS1",
        }
        said = {name: inside.run(line).out for name, line in asked.items()}
        yield secure, said, endorsement_key(inside)


def test_only_what_is_signed_is_started(first_boot: tuple[Lab, dict[str, str], bytes]) -> None:
    home, said, _ = first_boot
    assert re.search(r"BdsDxe: failed to load Boot\d+ .*TAMPERED .*: Access Denied", home.serial())
    assert re.search(r"BdsDxe: starting Boot\d+ .*SIGNED ", home.serial())
    assert "Secure boot enabled" in said["kernel"]


def test_an_override_for_disks_comes_before_the_network_and_is_spent(
    first_boot: tuple[Lab, dict[str, str], bytes],
) -> None:
    home, _, _ = first_boot
    assert "Configuring (net0" not in home.serial()
    assert home.status()["host"]["boot_override"] is None
    assert "No override" in home.ipmi("chassis", "bootparam", "get", "5")


def test_the_guest_has_the_tpm_the_bmc_and_the_identity_of_the_node(
    first_boot: tuple[Lab, dict[str, str], bytes],
) -> None:
    home, said, _ = first_boot
    assert said["tpm"].strip() == "2"
    assert "IPMI bt interface initialized" in said["kernel"]
    assert re.search(r"^ *10: .*ipmi_si", said["interrupts"], re.MULTILINE)
    inside = re.search(r"Manufacturer ID +: (\d+)", said["interface"])
    outside = re.search(r"Manufacturer ID +: (\d+)", home.ipmi("mc", "info"))
    assert inside and outside and inside.group(1) == outside.group(1)
    wanted = [path.read_bytes() for path in sorted((home.home / NODE / "data" / "smbios").iterdir())]
    table = structures(base64.b64decode(said["smbios"].strip()))
    assert table[: len(wanted)] == wanted
    # QEMU's own boot information, and the end of the table.
    assert [structure[0] for structure in table[len(wanted) :]] == [32, 127]
    assert "to the second port" in (home.logs / NODE / "guest.log").read_text()


def test_the_setup_the_plain_order_and_the_memory_of_the_tpm(
    first_boot: tuple[Lab, dict[str, str], bytes], guest: Guest
) -> None:
    home, _, key = first_boot
    before = (home.pid("swtpm"), home.count("died"))
    home.ipmi("chassis", "bootdev", "bios", "options=efiboot")
    home.ipmi("power", "cycle")
    wait_for(lambda: '"UiApp" from ' in home.serial(), timeout_s=FIRMWARE_S, what="the firmware's setup")
    assert home.pid("swtpm") != before[0], "it ended with its host"
    # One boot only: then the network is first again, although the firmware keeps an order of its own.
    home.ipmi("power", "reset")
    wait_for(lambda: "Configuring (net0" in home.serial(), timeout_s=FIRMWARE_S, what="a boot by network")
    home.ipmi("chassis", "bootdev", "disk", "options=efiboot,persistent")
    home.ipmi("power", "cycle")
    with shell(home, guest) as inside:
        assert endorsement_key(inside) == key
    assert home.count("died") == before[1]
    assert home.status()["state"] == "running"


def test_a_destroy_takes_variables_and_tpm_with_it(first_boot: tuple[Lab, dict[str, str], bytes]) -> None:
    home, _, _ = first_boot
    workspace = home.home / NODE
    assert (workspace / "nvram" / "OVMF_VARS_4M.ms.fd").stat().st_size == 540672
    assert (workspace / "tpm" / "tpm2-00.permall").exists()
    home.must("node", "destroy", NODE)
    assert not workspace.exists()
