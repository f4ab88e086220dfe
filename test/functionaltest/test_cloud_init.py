"""A host that begins as an image and is told who it is by a seed: overlay, base and seed, with one boot."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from guest.build import Guest
from inside import guest_settings, shell
from lab import NODE, Lab
from paused import paused

MARK = "what the base image begins with"


@pytest.fixture
def base(scratch: Lab) -> Path:
    """A small qcow2 image with a mark at its beginning, compressed as cloud images are."""
    raw, made = scratch.root / "base.raw", scratch.root / "base.qcow2"
    raw.write_bytes(MARK.encode().ljust(8 << 20, b"\0"))
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(made)], check=True)
    raw.unlink()
    return made


def image_info(path: Path) -> dict[str, object]:
    done = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", str(path)], check=True, capture_output=True
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_host_begins_as_the_image_and_reads_the_seed(scratch: Lab, guest: Guest, base: Path) -> None:
    before = digest(base)
    user_data = scratch.root / "user-data"
    user_data.write_text("#cloud-config\nruncmd: [[echo, from-a-file]]\n")
    settings = guest_settings(guest, initrd=str(guest.tools_initrd))
    settings |= {
        "image": str(base),
        "storage_backend": [{"drives": [{"size": 1}]}],
        "cloud_init": {"user_data": str(user_data), "network_config": {"version": 2}},
    }
    scratch.start(compute=settings)
    overlay = scratch.home / NODE / "disks" / "disk-sata-0-0.qcow2"
    info = image_info(overlay)
    assert info["backing-filename"] == str(base)
    assert info["backing-filename-format"] == "qcow2"
    # Larger than what it begins as, because the node file says so.
    assert info["virtual-size"] == 1 << 30
    node = json.loads(scratch.must("node", "info", NODE, "--json"))
    with shell(scratch, guest) as inside:
        assert inside.run("seed").code == 0
        assert inside.run("hostname").out.strip() == NODE
        assert "from-a-file" in inside.run("cat /seed/user-data").out
        assert node["uuid"] in inside.run("cat /seed/meta-data").out
        assert inside.run("cat /seed/network-config").out.strip() == "version: 2"
        assert MARK in inside.run(f"dd if=/dev/sda bs={len(MARK)} count=1 2>/dev/null").out
        # Written through, then read back from the disk.
        assert inside.run("echo changed | dd of=/dev/sda bs=512 conv=sync 2>/dev/null && sync").code == 0
        assert "changed" in inside.run("dd if=/dev/sda bs=7 count=1 2>/dev/null").out
    seed = scratch.home / NODE / "data" / "seed.iso"
    first = digest(seed)
    scratch.must("node", "restart", NODE)
    assert digest(seed) == first
    # A file that the node file names is as good as the node file.
    user_data.write_text("#cloud-config\nruncmd: [[echo, changed]]\n")
    scratch.must("node", "restart", NODE)
    assert digest(seed) != first
    scratch.must("node", "destroy", NODE)
    assert not overlay.exists()
    assert digest(base) == before


def test_what_does_not_fit_is_said_before_anything_is_made(scratch: Lab, base: Path) -> None:
    scratch.register(compute={"image": str(scratch.root / "none.qcow2")})
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert "compute.image" in ran.err
    assert "does not exist" in ran.err
    with paused(scratch, compute={"image": str(base)}) as machine:
        (block,) = machine.blocks().values()
        assert block["inserted"]["backing_file_depth"] == 1
    other = scratch.root / "other.qcow2"
    os.utime(base)
    scratch.register(compute={"image": str(base)})
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert f"compute.image: {base} has changed since" in ran.err
    assert f"{NODE}/disks/disk-sata-0-0.qcow2.base" in ran.err
    base.rename(other)
    scratch.register(compute={"image": str(other)})
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert f"was made for another image, {base}, not for {other}" in ran.err
    scratch.register(compute={"image": str(other), "cloud_init": {"user_data": "/nowhere/user-data"}})
    ran = scratch.infrasim("node", "plan", NODE)
    assert ran.code == 2
    assert "compute.cloud_init.user_data: cannot read /nowhere/user-data" in ran.err


@pytest.mark.parametrize("kind", ["raw", "vmdk", "vhdx"])
def test_an_image_may_have_any_format(scratch: Lab, base: Path, kind: str) -> None:
    other = scratch.root / "base.img"
    subprocess.run(["qemu-img", "convert", "-O", kind, str(base), str(other)], check=True)
    with paused(scratch, compute={"image": str(other)}) as machine:
        (block,) = machine.blocks().values()
        assert block["inserted"]["backing_file_depth"] == 1
    info = image_info(scratch.home / NODE / "disks" / "disk-sata-0-0.qcow2")
    assert (info["backing-filename"], info["backing-filename-format"]) == (str(other), kind)


def test_a_start_from_its_opening_sees_that_the_image_changed(scratch: Lab, base: Path) -> None:
    settings = {"image": str(base), "storage_backend": [{"drives": [{"size": 1}]}], "networks": []}
    scratch.start(compute=settings, bmc={"startnow": False})
    overlay = scratch.home / NODE / "disks" / "disk-sata-0-0.qcow2"
    scratch.must("node", "stop", NODE)
    before = digest(overlay)
    stamp = base.stat().st_mtime_ns
    os.utime(base)
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert f"compute.image: {base} has changed since {overlay} was made" in ran.err
    assert digest(overlay) == before
    os.utime(base, ns=(stamp, stamp))
    scratch.must("node", "start", NODE)
