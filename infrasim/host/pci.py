"""PCI devices of this machine: see them, take them from their drivers for a guest, and give them back.

All of it is files of the kernel; where they are, and how they are written, can be told, so that a test can
bring a kernel of its own. What is taken, and when, is for ``runtime.passthrough``; what this machine itself
needs of a device is in ``pci_uses``.

Source: Linux Documentation/ABI/testing/sysfs-bus-pci, Documentation/driver-api/vfio.rst; flock(2), proc(5).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from infrasim.errors import HostError
from infrasim.frozen import Frozen
from infrasim.host.facts import PciDevice
from infrasim.host.process import find_program, run

# The driver that hands a device on to a process.
VFIO = "vfio-pci"

_MODPROBE = "modprobe"
_LOAD_WAIT_S = 30.0
# How sysfs says that no driver is demanded. Source: Linux drivers/pci/pci-sysfs.c, driver_override_show.
_NO_OVERRIDE = "(null)"
# Where the header type is in the configuration of a device, and what of it is the type: all but 0 lead to
# another bus. Source: PCI Local Bus Specification, section 6.2.1.
_HEADER_TYPE, _TYPE_BITS = 0x0E, 0x7F
_BRIDGE = 0x06


class Had(Frozen):
    """What a device had before it was taken: its driver, and the driver that was demanded for it."""

    address: str
    driver: str | None
    override: str | None


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _load(module: str) -> None:
    program = find_program(_MODPROBE)
    if program is None:
        raise HostError(f"{_MODPROBE} is not installed", hint="run: apt-get install kmod")
    run([program, module], timeout_s=_LOAD_WAIT_S)


def _can_load(module: str) -> bool:
    program = find_program(_MODPROBE)
    if program is None:
        return False
    return run([program, "--dry-run", "--quiet", module], timeout_s=_LOAD_WAIT_S, check=False).exit_code == 0


class Pci(Frozen):
    """The kernel's files of PCI devices. ``write`` and ``load`` are what changes anything."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")
    write: Callable[[Path, str], None] = _write
    load: Callable[[str], None] = _load
    can_load: Callable[[str], bool] = _can_load

    # --- seeing

    def device(self, address: str) -> PciDevice | None:
        """The device there; None if there is none."""
        place = self._place(address)
        if not place.is_dir():
            return None
        return PciDevice(
            address,
            vendor=_number(place / "vendor"),
            device=_number(place / "device"),
            kind=_number(place / "class"),
            driver=link_target(place / "driver"),
            group=_group_number(place / "iommu_group"),
            is_bridge=_header_type(place / "config") != 0,
        )

    def addresses(self) -> tuple[str, ...]:
        """Where there are devices, sorted."""
        return _names(self.sys / "bus/pci/devices")

    def group(self, number: int) -> tuple[PciDevice, ...]:
        """All devices of an IOMMU group, which the IOMMU does not keep apart."""
        names = _names(self.sys / "kernel/iommu_groups" / str(number) / "devices")
        return tuple(found for name in names if (found := self.device(name)) is not None)

    def has_iommu(self) -> bool:
        """Whether the IOMMU is in use."""
        return bool(_names(self.sys / "kernel/iommu_groups"))

    def has_vfio(self) -> bool:
        """Whether the driver is there, or its module can be loaded."""
        return self._driver(VFIO).is_dir() or self.can_load(VFIO)

    def may_bind(self) -> bool:
        """Whether this user may take devices."""
        return os.access(self.sys / "bus/pci/drivers_probe", os.W_OK)

    def had(self, device: PciDevice) -> Had:
        """What a device has now."""
        return Had(device.address, device.driver, self._override(device.address))

    # --- who has it

    def claim(self, address: str) -> int | None:
        """Have a device for this process among those of infrasim; None if another one has it.

        Returns the open descriptor, which is the claim until it is closed.

        Raises:
            HostError: there is no such device.
        """
        try:
            descriptor = os.open(self._place(address), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise HostError(f"cannot open the PCI device {address}: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def claimant(self, address: str) -> int | None:
        """The pid of the process that has a device; None if that cannot be seen."""
        with contextlib.suppress(OSError):
            status = self._place(address).stat()
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
            for line in (self.proc / "locks").read_text().splitlines():
                # "1: FLOCK  ADVISORY  WRITE 4711 00:16:4919 0 EOF", an arrow in it for those who wait.
                words = line.split()
                if words[1] == "FLOCK" and words[5] == device:
                    return int(words[4])
        return None

    def user_of(self, group: int) -> int | None:
        """The pid of a process that a guest of its own has a group with; 0 if it cannot be seen who."""
        place = self.dev / "vfio" / str(group)
        try:
            # The kernel lets one process open a group. Source: Linux drivers/vfio, vfio_group_fops_open.
            os.close(os.open(place, os.O_RDWR | os.O_CLOEXEC))
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                return None
        else:
            return None
        from infrasim.host.image_lock import holders

        with contextlib.suppress(OSError):
            return next((pid for pid, _ in holders(place)), 0)
        return 0

    # --- changing

    def load_vfio(self) -> None:
        """Have the driver.

        Raises:
            InfrasimError: there is none, or it cannot be loaded.
        """
        if not self._driver(VFIO).is_dir():
            self.load(VFIO)
        if not self._driver(VFIO).is_dir():
            raise HostError(f"this machine's Linux has no driver {VFIO}")

    def take(self, address: str) -> None:
        """Bind a device to ``VFIO``, away from the driver that it has.

        Raises:
            HostError: the kernel refuses; the device may be half-way.
        """
        self._demand(address, VFIO)
        if (driver := self._driver_of(address)) is not None:
            self._unbind(address, driver)
        self._write("drivers_probe", address, f"bind {address} to {VFIO}")
        if (driver := self._driver_of(address)) != VFIO:
            message = f"the PCI device {address} was not taken by {VFIO}; it has {driver or 'no driver'} now"
            raise HostError(message, hint="see what the kernel says: dmesg")

    def give_back(self, had: Had) -> None:
        """Give a device what it had; one that is gone, or that somebody has given another driver, is left.

        Raises:
            HostError: the kernel refuses; the device may be half-way.
        """
        driver, address = self._driver_of(had.address), had.address
        if not self._place(address).is_dir() or driver not in (None, VFIO, had.driver):
            return
        if driver != had.driver:
            is_there = had.driver is not None and self._driver(had.driver).is_dir()
            # A driver binds what it is demanded for, and nothing else that another is demanded for.
            self._demand(address, had.driver if is_there else None)
            if driver is not None:
                self._unbind(address, driver)
            if is_there:
                self._write(f"drivers/{had.driver}/bind", address, f"give {address} back to {had.driver}")
            elif had.driver is not None:
                self._write("drivers_probe", address, f"find a driver for {address}")
        self._demand(address, had.override)
        if had.driver is not None and self._driver_of(address) is None:
            raise HostError(f"the PCI device {address} has no driver now, and had {had.driver}")

    def _demand(self, address: str, driver: str | None) -> None:
        """Let only that driver have a device; None lets any."""
        if self._override(address) != driver:
            what = f"set the driver of {address}"
            # A line break alone demands none.
            self._write(f"devices/{address}/driver_override", driver or "\n", what)

    def _override(self, address: str) -> str | None:
        text = _text(self._place(address) / "driver_override")
        return None if text in ("", _NO_OVERRIDE) else text

    def _unbind(self, address: str, driver: str) -> None:
        self._write(f"drivers/{driver}/unbind", address, f"take {address} from {driver}")

    def _write(self, name: str, text: str, what: str) -> None:
        path = self.sys / "bus/pci" / name
        try:
            self.write(path, text)
        except OSError as exc:
            hint = "run infrasim as root" if isinstance(exc, PermissionError) else ""
            raise HostError(f"cannot {what}: {path}: {exc.strerror}", hint=hint) from exc

    def _place(self, address: str) -> Path:
        return self.sys / "bus/pci/devices" / address

    def _driver(self, name: str) -> Path:
        return self.sys / "bus/pci/drivers" / name

    def _driver_of(self, address: str) -> str | None:
        return link_target(self._place(address) / "driver")


def goes_along(device: PciDevice) -> bool:
    """Whether a device of an IOMMU group is taken with the others.

    What leads to another bus is not, and needs no other driver; nor are bridges to anything else, such as to
    the chipset's own parts, which nobody drives. Source: Linux drivers/vfio/vfio.c, vfio_dev_viable.
    """
    return not device.is_bridge and not (device.base_class == _BRIDGE and device.driver is None)


def is_needed_bridge(device: PciDevice) -> bool:
    """Whether it is a bridge to parts of this machine, such as its LPC bus, which something drives."""
    return not device.is_bridge and device.base_class == _BRIDGE and device.driver not in (None, VFIO)


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - names are all it takes
    except OSError:
        return ()


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    try:
        return int(_text(path), 16)
    except ValueError:
        return 0


def link_target(link: Path) -> str | None:
    """The name of what a link leads to."""
    try:
        return os.path.basename(os.readlink(link))  # noqa: PTH115, PTH119 - a name, no path
    except OSError:
        return None


def _group_number(link: Path) -> int | None:
    name = link_target(link) or ""
    return int(name) if name.isdigit() else None


def _header_type(config: Path) -> int:
    try:
        with config.open("rb") as stream:
            header = stream.read(_HEADER_TYPE + 1)
    except OSError:
        return 0
    return header[_HEADER_TYPE] & _TYPE_BITS if len(header) > _HEADER_TYPE else 0
