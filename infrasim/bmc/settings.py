"""What a node's plan tells its BMC core and its racadm shell; rendered, because it holds passwords."""

from __future__ import annotations

from infrasim.frozen import Frozen


class OtherChannel(Frozen):
    """A LAN channel that no network leads to."""

    number: int
    mac: str


class CoreSettings(Frozen):
    """Everything that is decided before the BMC starts.

    ``guid`` is the node's UUID; ``manufacturer`` and ``product`` are as in Get Device ID;
    ``cipher_suites`` are ids of IPMI 2.0 table 22-20. Times in seconds.
    ``reset_s`` is how long a reset of the BMC takes; ``watchdog_sensor`` the number its events carry.
    ``lan_address6`` is empty without IPv6; ``system_firmware`` is the version of the BIOS, ``asset_tag`` the
    one in the inventory, ``processors`` the number of sockets that take power,
    ``model`` the server's product name, ``host_macs`` the addresses of the host's network cards, in order.
    ``main_channel`` is the LAN channel that ``lan_*`` are of, ``history_fru`` the number of the FRU device
    that has what the host printed, if there is one. ``system_interface`` is its kind, ``kcs`` or ``bt``.
    """

    node: str
    guid: str
    manufacturer: int
    product: int
    username: str
    password: str
    lan_address: str
    lan_netmask: str
    lan_gateway: str
    lan_mac: str
    lan_port: int
    serial_over_lan: bool
    cipher_suites: tuple[int, ...] = (3, 17)
    insecure: bool = False
    lockout_failures: int = 0
    lockout_s: float = 300.0
    reset_s: float = 3.0
    power_on_at_start: bool = True
    watchdog_sensor: int = 0
    lan_address6: str = ""
    system_firmware: str = ""
    asset_tag: str = ""
    processors: int = 2
    model: str = ""
    host_macs: tuple[str, ...] = ()
    main_channel: int = 1
    other_channels: tuple[OtherChannel, ...] = ()
    history_fru: int | None = None
    system_interface: str = "kcs"


class RacadmSettings(Frozen):
    """Everything of a racadm shell that is decided before it starts, beside what the server is made of.

    ``username`` is empty where the users of the BMC log in, ``data`` where there is no folder of answers.
    ``lan_channel`` is the channel of the BMC whose users and network it has; ``uefi``, ``secure_boot`` and
    ``has_tpm`` are of the host.
    """

    node: str
    address: str
    port: int
    username: str = ""
    password: str = ""
    data: str = ""
    lan_channel: int = 1
    uefi: bool = False
    secure_boot: bool = False
    has_tpm: bool = False
