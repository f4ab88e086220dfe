"""Everything a user can get wrong: one clear message, the right exit code, and the disk as it was."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
from lab import NODE, Lab, execute, free_display

# What stands in the node file, and the message behind its place; {root} is the scratch folder.
NODE_FILES = {
    "unknown type": (
        "type: dell_r73o",
        "1:7: type: there is no server type 'dell_r73o' (did you mean 'dell_r730'?)",
    ),
    "unknown key": (
        "compute:\n  memry: {size: 512}",
        "2:3: compute.memry: unknown key 'memry' (did you mean 'memory'?)",
    ),
    "unknown device": (
        "compute: {networks: [{device: 'e1000,x=y'}]}",
        "1:31: compute.networks[0].device: 'e1000,x=y' cannot be a network card "
        "(such as e1000, e1000e or virtio-net-pci)",
    ),
    "list": ("- name: n", "1:1: the file is a list, not 'key: value' lines"),
    "not YAML": (
        "compute: [",
        "2:1: not YAML: expected the node content, but found '<stream end>' while parsing a flow node",
    ),
    "duplicate key": (
        "name: n\nname: n",
        "2:1: name: the key 'name' is given twice; first on line 1 (keep one of them)",
    ),
    "missing image": (
        "compute: {storage_backend: [{drives: [{file: {root}/no.qcow2}]}]}",
        "1:46: compute.storage_backend[0].drives[0].file: {root}/no.qcow2 does not exist "
        "(leave the key out to have a disk made in the workspace)",
    ),
    "image that is a directory": (
        "compute: {storage_backend: [{drives: [{file: {root}}]}]}",
        "1:46: compute.storage_backend[0].drives[0].file: {root} is a directory, not a file",
    ),
    "image of another format": (
        "compute: {storage_backend: [{drives: [{file: {root}/raw.img}]}]}",
        "1:46: compute.storage_backend[0].drives[0].file: {root}/raw.img is not a qcow2 image "
        "(say format: raw, if it is a raw one)",
    ),
    "missing ISO": ("compute: {cdrom: {root}/no.iso}", "1:18: compute.cdrom: {root}/no.iso does not exist"),
    "missing kernel": (
        "compute: {kernel: {root}/no}",
        "1:19: compute.kernel: {root}/no does not exist",
    ),
    "uneven processors": (
        "compute: {cpu: {quantities: 3}}",
        "1:29: compute.cpu.quantities: 3 processors cannot be spread over the 2 sockets of quanta_d51 "
        "(use a multiple of 2)",
    ),
}


def write_node_file(home: Lab, text: str) -> Path:
    """Put a node file where ``config add`` would refuse it."""
    path = home.home / ".node_map" / f"{NODE}.yml"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text + "\n")
    return path


@pytest.mark.parametrize("case", NODE_FILES)
def test_node_file(scratch: Lab, case: str) -> None:
    (scratch.root / "raw.img").write_bytes(b"no header at all" * 64)
    text, message = (part.replace("{root}", str(scratch.root)) for part in NODE_FILES[case])
    path = write_node_file(scratch, text)
    before = scratch.names_on_disk()
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.err == f"{path}:{message}\n"
    assert (ran.code, ran.out) == (2, "")
    assert scratch.names_on_disk() == before
    as_json = json.loads(scratch.infrasim("node", "start", NODE, "--json").err)
    assert as_json["exit_code"] == 2, as_json
    assert message.split(": ")[0] == f"{as_json['problems'][0]['line']}:{as_json['problems'][0]['column']}"


def test_all_problems_at_once_in_file_order(scratch: Lab) -> None:
    write_node_file(scratch, "tipe: x\ncompute:\n  memory: {size: big}\nbmc: {username: ''}")
    lines = scratch.infrasim("node", "start", NODE).err.splitlines()
    assert [line.removeprefix(str(scratch.home)).split(":")[1] for line in lines] == ["1", "3", "4"]


def test_unknown_interface_names_those_there_are(scratch: Lab) -> None:
    path = write_node_file(scratch, "bmc: {interface: nosuch0}")
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    message = "1:18: bmc.interface: this machine has no interface 'nosuch0' (it has: "
    assert ran.err.startswith(f"{path}:{message}")
    assert "lo" in ran.err


def test_address_of_another_machine(scratch: Lab) -> None:
    path = write_node_file(scratch, "bmc: {address: 203.0.113.5}")
    ran = scratch.infrasim("node", "start", NODE)
    assert ran.code == 2
    assert ran.err.startswith(f"{path}:1:16: bmc.address: this machine has no address 203.0.113.5 (it has: ")


@pytest.mark.parametrize("verb", ["start", "stop", "status", "destroy", "plan", "logs"])
def test_names_that_cannot_be_nodes(scratch: Lab, verb: str) -> None:
    for name in ("a/b", "..", "../x", "a b", "", "-x", "x" * 64):
        ran = scratch.infrasim("node", verb, "--", name)
        assert ran.code == 2
        assert ran.err.startswith(f"infrasim: node name {name!r} cannot be used\nhint: letters, digits,")
    assert scratch.names_on_disk() == {}


def test_unknown_node_with_a_guess(scratch: Lab) -> None:
    scratch.register()
    ran = scratch.infrasim("node", "start", "nn")
    assert (ran.code, ran.err) == (
        2,
        f"infrasim: there is no node 'nn' in {scratch.home}\nhint: did you mean 'n'?\n",
    )


def test_socket_path_that_is_too_long(scratch: Lab) -> None:
    home = scratch.root / ("d" * 100)
    (home / ".node_map").mkdir(parents=True)
    (home / ".node_map" / "n.yml").write_text("name: n\n")
    ran = scratch.infrasim("node", "start", NODE, env={"INFRASIM_HOME": str(home)})
    socket_path = home / "n" / "run" / "control.sock"
    assert ran.code == 2
    assert ran.err == (
        f"infrasim: socket path {socket_path} is {len(str(socket_path))} bytes long; the kernel allows 107\n"
        "hint: use a shorter node name or a shorter INFRASIM_HOME\n"
    )
    assert not (home / "n").exists()


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_port_in_use_names_who_holds_it(scratch: Lab, protocol: str) -> None:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((scratch.address if protocol == "udp" else "127.0.0.1", 0))
        if protocol == "tcp":
            holder.listen()
        port = holder.getsockname()[1]
        # Of a display that somebody else was given just now the message would tell.
        display = {"vnc_display": free_display()}
        if protocol == "udp":
            scratch.register(bmc={"ipmi_over_lan_port": port}, compute=display)
            place, purpose = f"{scratch.address} port {port}/udp", "BMC"
        else:
            forward = {"protocol": "tcp", "outside": port, "inside": 22}
            scratch.register(compute={"networks": [{"port_forward": [forward]}], **display})
            place, purpose = f"127.0.0.1 port {port}/tcp", "port forward to 22"
        before = scratch.names_on_disk()
        ran = scratch.infrasim("node", "start", NODE)
    mine = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert ran.err == (
        f"infrasim: {purpose}: {place} is in use by {mine} (pid {os.getpid()})\n"
        "hint: stop that one, or give this node another address or port in its node file\n"
    )
    assert ran.code == 4
    assert scratch.names_on_disk() == before


def test_address_of_another_node_names_that_node(scratch: Lab) -> None:
    scratch.start("b")
    scratch.register("c")
    ran = scratch.infrasim("node", "start", "c")
    assert ran.code == 4
    supervisor = scratch.pid("supervisor", "b")
    assert ran.err.splitlines()[0] == (
        f"infrasim: BMC: {scratch.address} port 623/udp is in use by "
        f"infrasim node b of {scratch.home} (pid {supervisor})"
    )


def test_image_of_another_node(scratch: Lab) -> None:
    scratch.start()
    disk = next((scratch.home / NODE / "disks").iterdir())
    other = scratch.node_file("o", compute={"storage_backend": [{"drives": [{"file": str(disk)}]}]})
    scratch.must("config", "add", "o", str(other))
    ran = scratch.infrasim("node", "start", "o")
    assert ran.code == 2
    assert f"disk image {disk} belongs to node n (two nodes cannot write one image)" in ran.err


def test_no_permission_for_the_home(scratch: Lab) -> None:
    """Root without its power over other people's files: the clone stays readable wherever it lies."""
    scratch.register()
    for path in (scratch.home, *scratch.home.rglob("*")):
        os.chown(path, 65534, 65534)
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = scratch.names_on_disk()
    powerless = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
    ran = execute(*powerless, sys.executable, "-m", "infrasim", "node", "start", NODE, env=scratch.env)
    assert (ran.code, ran.err) == (
        4,
        f"infrasim: cannot make lock file {scratch.home}/.n.lock: Permission denied\n"
        "hint: run with sudo, or point INFRASIM_HOME and INFRASIM_LOG_DIR at folders of your own\n",
    )
    assert scratch.names_on_disk() == before


def path_without(folder: Path, missing: str) -> str:
    """A PATH with everything infrasim drives but one program."""
    for name in ("qemu-system-x86_64", "qemu-img", "ipmi_sim", "socat", "ipmitool", "sh"):
        found = shutil.which(name)
        if name != missing and found:
            (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("program", ["qemu-system-x86_64", "ipmi_sim", "socat"])
def test_missing_program_with_no_install(scratch: Lab, tmp_path: Path, program: str) -> None:
    scratch.register()
    before = scratch.names_on_disk()
    hidden = {"PATH": path_without(tmp_path, program)}
    ran = scratch.infrasim("node", "start", NODE, "--no-install", env=hidden)
    assert ran.err == (f"infrasim: {program} is not installed\nhint: install with: infrasim init (as root)\n")
    assert ran.code == 4
    assert scratch.names_on_disk() == before


def test_broken_workspace_files_never_break_status(scratch: Lab) -> None:
    scratch.start()
    state = scratch.home / NODE / "run" / "state.json"
    plan = scratch.home / NODE / "plan.json"
    good_state, good_plan = state.read_bytes(), plan.read_bytes()
    for broken in (b"", b"{", b"[]", b'{"format": 2}', b"\xff\xfe"):
        for path, good in ((state, good_state), (plan, good_plan)):
            path.write_bytes(broken)
            ran = scratch.infrasim("node", "status", NODE, "--json")
            assert ran.code in (0, 1, 3), ran
            assert json.loads(ran.out)["name"] == NODE
            assert scratch.infrasim("node", "list").code == 0
            path.write_bytes(good)
    assert scratch.status()["state"] == "running"


def test_wrong_usage_of_the_command() -> None:
    for words, said in (
        (["nod"], "No such command 'nod'. Did you mean 'node'?"),
        (["node", "strat"], "No such command 'strat'"),
        (["node", "start", "--no-such-option"], "No such option '--no-such-option'"),
        (["node", "start", "a", "b"], "Got unexpected extra argument (b)"),
    ):
        ran = execute(sys.executable, "-m", "infrasim", *words)
        assert ran.code == 2
        assert said in ran.err
        assert ran.out == ""
