"""The argv of each kind of device."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrasim.host.facts import Accelerator
from infrasim.qemu import chardev, network, processors, storage, system

KVM, TCG = Accelerator.KVM, Accelerator.TCG


def test_disk_image_by_file_and_by_device() -> None:
    assert storage.disk_image("d0", Path("/a/b,c.qcow2"), "qcow2") == (
        "-blockdev",
        "driver=qcow2,node-name=d0,read-only=off,cache.direct=off,cache.no-flush=off,"
        "file.driver=file,file.filename=/a/b,,c.qcow2",
    )
    assert storage.disk_image("d0", Path("/dev/sdb"), "raw", read_only=True)[1] == (
        "driver=raw,node-name=d0,read-only=on,cache.direct=off,cache.no-flush=off,"
        "file.driver=host_device,file.filename=/dev/sdb"
    )


@pytest.mark.parametrize(
    ("cache", "text"),
    [
        ("writeback", "cache.direct=off,cache.no-flush=off"),
        ("none", "cache.direct=on,cache.no-flush=off"),
        ("directsync", "cache.direct=on,cache.no-flush=off"),
        ("unsafe", "cache.direct=off,cache.no-flush=on"),
    ],
)
def test_cache_modes(cache: str, text: str) -> None:
    assert f",{text}," in storage.disk_image("d0", Path("/a"), "raw", cache=cache)[1]


def test_nat_and_forwards() -> None:
    assert network.nat("net0", []) == ("-netdev", "user,id=net0")
    forwards = [network.Forward("tcp", "127.0.0.1", 2222, 22), network.Forward("udp", "0.0.0.0", 5353, 53)]
    assert network.nat("net0", forwards) == (
        "-netdev",
        "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:0.0.0.0:5353-:53",
    )


def test_networks_of_qemus_own_take_a_folder_with_a_comma() -> None:
    words = network.nat("net0", [], restrict=False, tftp="/srv/a,b", bootfile=None)
    assert words[1] == "user,id=net0,restrict=off,tftp=/srv/a,,b"


def test_serial_port_with_and_without_its_socket() -> None:
    device = ("-device", "isa-serial,chardev=serial0,index=0")
    assert chardev.serial_port(Path("/run/s,1.sock"), Path("/log/serial.log")) == (
        "-chardev",
        "socket,id=serial0,path=/run/s,,1.sock,reconnect=1",
        *device,
    )
    assert chardev.serial_port(None, Path("/log/serial.log")) == (
        "-chardev",
        "null,id=serial0,logfile=/log/serial.log,logappend=on",
        *device,
    )


def test_system_interface() -> None:
    assert chardev.system_interface(Path("/run/k,1.sock"), "kcs", 0xCA2, 10) == (
        *("-chardev", "socket,id=ipmi0,path=/run/k,,1.sock,reconnect=1"),
        *("-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi0"),
        *("-device", "isa-ipmi-kcs,bmc=bmc0,ioport=3234,irq=10"),
    )


@pytest.mark.parametrize(
    ("model", "features", "accelerator", "text"),
    [
        ("", "", KVM, "host"),
        ("", "", TCG, "max"),
        ("Haswell", "", KVM, "Haswell"),
        ("Haswell", "+vmx,-svm", TCG, "Haswell,+vmx,-svm"),
        ("", "+aes", TCG, "max,+aes"),
    ],
)
def test_cpu(model: str, features: str, accelerator: Accelerator, text: str) -> None:
    assert processors.cpu(model, features, accelerator) == ("-cpu", text)


def test_a_guest_sees_threads_of_the_emulated_processor() -> None:
    maker = "vendor=GenuineIntel,family=6,model=60,stepping=4"
    assert processors.cpu("", "+aes", TCG, 2) == ("-cpu", f"max,{maker},+aes")
    assert processors.cpu("", "", KVM, 2) == ("-cpu", "host")
    assert processors.cpu("EPYC", "", TCG, 2) == ("-cpu", "EPYC")


def test_processors_are_spread_over_the_sockets() -> None:
    layout = processors.Processors(2, 4, 1)
    assert (layout.argv(), layout.total) == (("-smp", "8,sockets=2,cores=4,threads=1"), 8)


@pytest.mark.parametrize(
    ("memory", "backend", "argv"),
    [
        (processors.Memory(64), None, ()),
        (
            processors.Memory(64, Path("/a,b")),
            "mem0",
            ("-object", "memory-backend-file,id=mem0,size=64M,mem-path=/a,,b"),
        ),
        (
            processors.Memory(64, is_shared=True),
            "mem0",
            ("-object", "memory-backend-memfd,id=mem0,size=64M,share=on"),
        ),
        (
            processors.Memory(64, is_preallocated=True),
            "mem0",
            ("-object", "memory-backend-ram,id=mem0,size=64M,prealloc=on"),
        ),
        (
            processors.Memory(64, nodes=(processors.NumaNode(64, ((0, None), (1, 3))),)),
            None,
            (
                *("-object", "memory-backend-ram,id=mem0,size=64M"),
                *("-numa", "node,nodeid=0,memdev=mem0"),
                *("-numa", "cpu,node-id=0,socket-id=0", "-numa", "cpu,node-id=0,socket-id=1,core-id=3"),
            ),
        ),
    ],
)
def test_memory(memory: processors.Memory, backend: str | None, argv: tuple[str, ...]) -> None:
    assert (memory.backend, memory.argv()) == (backend, ("-m", "64", *argv))


def test_screen_puts_an_ipv6_address_in_brackets() -> None:
    assert system.screen("127.0.0.1", 1)[:2] == ("-vnc", "127.0.0.1:1")
    assert system.screen("::1", 2)[:2] == ("-vnc", "[::1]:2")


def test_direct_kernel() -> None:
    assert system.direct_kernel("", "", "") == ()
    assert system.direct_kernel("/vmlinuz", "", "a=b,c d") == ("-kernel", "/vmlinuz", "-append", "a=b,c d")
    assert system.direct_kernel("/vmlinuz", "/initrd", "")[2:] == ("-initrd", "/initrd")
