"""A kernel with PCI devices, in a folder: its files, and what it does when some of them are written."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from infrasim.errors import ProgramError
from infrasim.host.pci import VFIO, Pci


class Killed(BaseException):
    """Whoever wrote is no more."""


class FakeKernel:
    """``before`` is called with the number of each write, from 0, and may raise; so may ``after``.

    ``written`` are the writes that were tried. ``modules`` are drivers that can be loaded.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.usual: dict[str, str | None] = {}
        self.written: list[tuple[str, str]] = []
        self.modules = {VFIO}
        self.refusing: set[str] = set()
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None
        for folder in ("bus/pci/devices", "bus/pci/drivers", "kernel/iommu_groups", "dev/block", "class/net"):
            (root / "sys" / folder).mkdir(parents=True)
        for folder in ("sys/class/block", "dev/vfio", "proc/self", "proc/net"):
            (root / folder).mkdir(parents=True)
        (root / "sys/bus/pci/drivers_probe").touch()

    @property
    def pci(self) -> Pci:
        """The kernel as the code under test has it."""
        places = (self.root / "sys", self.root / "dev", self.root / "proc")
        return Pci(*places, write=self.write, load=self.load, can_load=lambda name: name in self.modules)

    # --- making it

    def add(
        self,
        address: str,
        *,
        driver: str | None = None,
        group: int | None = None,
        kind: int = 0x020000,
        header: int = 0,
        usual: str | None = None,
        override: str = "(null)",
    ) -> Path:
        """A device; ``usual`` is the driver that the kernel would give it, if that is not ``driver``."""
        place = self.root / "sys/devices/pci0000:00" / address
        place.mkdir(parents=True)
        for name, text in {
            "vendor": "0x8086",
            "device": "0x10d3",
            "class": f"{kind:#08x}",
            "driver_override": override,
        }.items():
            (place / name).write_text(f"{text}\n")
        (place / "config").write_bytes(bytes(14) + bytes([header | 0x80]) + bytes(49))
        (self.root / "sys/bus/pci/devices" / address).symlink_to(place)
        self.usual[address] = usual or driver
        if driver is not None:
            self.add_driver(driver)
            self._bind(address, driver)
        if group is not None:
            folder = self.root / "sys/kernel/iommu_groups" / str(group)
            (folder / "devices").mkdir(parents=True, exist_ok=True)
            (folder / "devices" / address).symlink_to(place)
            (place / "iommu_group").symlink_to(folder)
        return place

    def add_driver(self, name: str) -> None:
        (self.root / "sys/bus/pci/drivers" / name).mkdir(exist_ok=True)

    def add_disk(self, name: str, numbers: str, beneath: Path) -> Path:
        """A block device below a device, or anywhere."""
        place = beneath / "block" / name
        place.mkdir(parents=True)
        for link in (self.root / "sys/dev/block" / numbers, self.root / "sys/class/block" / name):
            link.symlink_to(place)
        (self.root / "dev" / name).touch()
        return place

    def add_card(self, name: str, beneath: Path) -> Path:
        """A network interface below a device, or anywhere."""
        place = beneath / "net" / name
        place.mkdir(parents=True)
        (self.root / "sys/class/net" / name).symlink_to(place)
        return place

    def mount(self, numbers: str, source: str, at: str) -> None:
        with (self.root / "proc/self/mountinfo").open("a") as stream:
            stream.write(f"30 1 {numbers} / {at} rw,relatime shared:1 - ext4 {source} rw\n")

    # --- what it is like

    @property
    def drivers(self) -> dict[str, str | None]:
        """The driver of each device."""
        return {address: self._driver_of(address) for address in self.usual}

    @property
    def overrides(self) -> dict[str, str]:
        """The driver that is demanded for each device for which one is."""
        found = {each: (self._place(each) / "driver_override").read_text().strip() for each in self.usual}
        return {address: driver for address, driver in found.items() if driver != "(null)"}

    def _place(self, address: str) -> Path:
        return self.root / "sys/bus/pci/devices" / address

    def _driver_of(self, address: str) -> str | None:
        link = self._place(address) / "driver"
        return link.readlink().name if link.is_symlink() else None

    # --- what it does

    def load(self, module: str) -> None:
        if module not in self.modules:
            raise ProgramError(f"modprobe: FATAL: Module {module} not found")
        self.add_driver(module)

    def write(self, path: Path, text: str) -> None:
        number = len(self.written)
        self.written.append((f"{path.parent.name}/{path.name}", text))
        self.before(number)
        match path.name:
            case "driver_override":
                path.write_text("(null)\n" if text == "\n" else f"{text}\n")
            case "unbind":
                self._must(self._driver_of(text) == path.parent.name, errno.ENODEV)
                (self._place(text) / "driver").unlink()
            case "bind":
                self._must(path.parent.is_dir(), errno.ENOENT)
                self._must(
                    self._driver_of(text) is None and self._matches(text, path.parent.name), errno.ENODEV
                )
                self._bind(text, path.parent.name)
            case "drivers_probe":
                driver = self.overrides.get(text) or self.usual[text]
                is_there = driver is not None and (self.root / "sys/bus/pci/drivers" / driver).is_dir()
                if driver and is_there and self._driver_of(text) is None and driver not in self.refusing:
                    self._bind(text, driver)
            case _:
                raise AssertionError(path)
        self.after(number)

    def _matches(self, address: str, driver: str) -> bool:
        return self.overrides.get(address, self.usual[address]) == driver

    def _bind(self, address: str, driver: str) -> None:
        (self._place(address) / "driver").symlink_to(self.root / "sys/bus/pci/drivers" / driver)

    @staticmethod
    def _must(is_so: bool, number: int) -> None:
        if not is_so:
            raise OSError(number, errno.errorcode[number])
