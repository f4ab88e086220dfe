"""The KVM probe: its source is its code, its guest runs, and its verdict is shown."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from lab import CLONE, COMMAND_TIMEOUT_S, NODE, Lab, execute, wait_for

from infrasim.host.probe import KVM_PROBE_CODE, run_probe_guest
from infrasim.host.process import Identity, alive, boot_id

SUCCESS = 0x21


def test_source_assembles_to_the_code_that_is_used(tmp_path: Path) -> None:
    assembled = tmp_path / "probe.bin"
    ran = execute("nasm", "-f", "bin", str(CLONE / "data" / "kvm_probe.asm"), "-o", str(assembled))
    assert ran.code == 0, ran.err
    assert assembled.read_bytes() == KVM_PROBE_CODE


def test_the_guest_takes_its_exception_under_emulation() -> None:
    assert run_probe_guest("/usr/bin/qemu-system-x86_64", "tcg", timeout_s=60) == (SUCCESS, "")


def test_a_guest_that_hangs_ends_even_if_infrasim_was_killed(tmp_path: Path) -> None:
    started = tmp_path / "started"
    hangs = tmp_path / "qemu"
    # It says when it began, kills who asked, and spins.
    lines = (f"cat /proc/$$/stat >{started}", "kill -KILL $PPID", "while :; do :; done")
    hangs.write_text("\n".join(("#!/bin/sh", *lines, "")))
    hangs.chmod(0o700)
    words = f"from infrasim.host.probe import run_probe_guest as run; run({str(hangs)!r}, 'tcg', timeout_s=2)"
    asker = subprocess.Popen([sys.executable, "-c", words], cwd=CLONE)
    assert asker.wait(COMMAND_TIMEOUT_S) == -signal.SIGKILL
    pid, _, *fields = started.read_text().split()
    guest = Identity(int(pid), int(fields[19]), boot_id())
    # It may have so many seconds of a processor, and must get them first.
    wait_for(lambda: not alive(guest), timeout_s=COMMAND_TIMEOUT_S, what="the end of the guest")


def test_verdict_is_the_same_in_doctor_status_and_plan(scratch: Lab) -> None:
    scratch.start()
    findings = {finding["what"]: finding for finding in json.loads(scratch.infrasim("doctor", "--json").out)}
    plan = json.loads(scratch.must("node", "plan", NODE, "--json"))
    status = scratch.status()["host"]
    works = findings["KVM"]["verdict"] == "ok"
    assert status["accelerator"] == plan["host"]["accelerator"] == ("kvm" if works else "tcg")
    assert status["accelerator_note"] == plan["host"]["accelerator_note"] == findings["KVM"]["found"]


def test_a_node_that_refuses_kvm_runs_on_emulation(scratch: Lab) -> None:
    scratch.start(compute={"kvm_enabled": False})
    assert scratch.status()["host"]["accelerator"] == "tcg"
    assert scratch.status()["host"]["accelerator_note"] == "KVM is switched off in the node file"
