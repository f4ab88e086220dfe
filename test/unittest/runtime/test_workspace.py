"""The workspace on disk: what is refused, what is written, what stays and what goes."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from infrasim.errors import HostError, InvalidNodeFile, ProgramError
from infrasim.host.process import Finished
from infrasim.paths import Home
from infrasim.plan.model import CopySpec, DiskSpec, InputSpec, NodePlan, read_plan
from infrasim.runtime import workspace
from infrasim.runtime.copies import begin_copies
from infrasim.runtime.planning import Planned
from infrasim.runtime.workspace import check_inputs, create_disk, remove_workspace, write_workspace

MakePlan = Callable[[Home, str, str], NodePlan]
QCOW2 = b"QFI\xfb\x00\x00\x00\x03"
NO_DISK_HINT = "leave the key out to have a disk made in the workspace"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "logs")


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every call of a qemu-img that makes a file."""
    calls: list[list[str]] = []

    def run(argv: list[str], *, timeout_s: float) -> Finished:
        calls.append(argv)
        Path(argv[-2]).write_bytes(QCOW2)
        return Finished(tuple(argv), 0, "", "")

    monkeypatch.setattr(workspace, "run", run)
    monkeypatch.setattr(workspace, "require_program", lambda name: f"/usr/bin/{name}")
    return calls


def write(home: Home, plan: NodePlan, text: str = "{}") -> None:
    write_workspace(Planned(plan, text, (), "digest"), home.node(plan.name))


# --- what is refused before anything is written


def check(home: Home, plan: NodePlan) -> None:
    check_inputs(plan, home.node(plan.name))


def problem_of(home: Home, plan: NodePlan) -> tuple[str, str, str] | None:
    """Place, message and hint of the one problem there is."""
    try:
        check(home, plan)
    except InvalidNodeFile as exc:
        (problem,) = exc.problems
        return problem.path, problem.message, problem.hint
    return None


@pytest.mark.parametrize(
    ("format_", "content", "message", "hint"),
    [
        ("qcow2", QCOW2, None, ""),
        ("raw", b"\xebX\x90", None, ""),
        ("raw", b"", None, ""),
        ("qcow2", b"\xebX\x90", "{path} is not a qcow2 image", "say format: raw, if it is a raw one"),
        ("qcow2", b"", "{path} is not a qcow2 image", "say format: raw, if it is a raw one"),
        ("raw", QCOW2, "{path} is a qcow2 image, not a raw one", "say format: qcow2"),
    ],
)
def test_format_of_an_image(
    home: Home,
    make_plan: MakePlan,
    tmp_path: Path,
    format_: str,
    content: bytes,
    message: str | None,
    hint: str,
) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    disk = DiskSpec(path, format_, 8, create=False, key="the.key")
    plan = dataclasses.replace(make_plan(home, "a", "{}"), disks=(disk,))
    expected = ("the.key", message.replace("{path}", str(path)), hint) if message else None
    assert problem_of(home, plan) == expected


def test_missing_image_is_refused_unless_it_is_to_be_made(
    home: Home, make_plan: MakePlan, tmp_path: Path
) -> None:
    plan = make_plan(home, "a", "{}")
    check(home, plan)
    missing = DiskSpec(tmp_path / "none", "raw", 8, create=False, key="the.key")
    assert problem_of(home, dataclasses.replace(plan, disks=(missing,))) == (
        "the.key",
        f"{tmp_path}/none does not exist",
        NO_DISK_HINT,
    )


def test_memory_may_lie_in_a_folder_that_is_there(home: Home, make_plan: MakePlan, tmp_path: Path) -> None:
    check(home, make_plan(home, "a", f"compute: {{mem_path: {tmp_path}}}"))
    missing = make_plan(home, "a", f"compute: {{mem_path: {tmp_path}/none}}")
    assert problem_of(home, missing) == ("compute.mem_path", f"{tmp_path}/none does not exist", "")


def test_folders_are_no_images_and_no_kernels(home: Home, make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(home, "a", "{}")
    disk = DiskSpec(tmp_path, "raw", 8, create=False, key="disk")
    with pytest.raises(InvalidNodeFile) as caught:
        check(
            home,
            dataclasses.replace(
                plan,
                disks=(disk,),
                inputs=(InputSpec(tmp_path, "kernel"), InputSpec(tmp_path / "none", "initrd")),
            ),
        )
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("disk", f"{tmp_path} is a directory, not a file"),
        ("kernel", f"{tmp_path} is a directory, not a file"),
        ("initrd", f"{tmp_path}/none does not exist"),
    ]


# --- writing


def test_everything_of_the_plan_is_written_with_its_mode(
    home: Home, make_plan: MakePlan, images: list[list[str]]
) -> None:
    plan = make_plan(home, "a", "{}")
    paths = home.node("a")
    write(home, plan, "# my node\n")
    for spec in plan.files:
        assert spec.path.read_bytes() == spec.content
        assert stat.S_IMODE(spec.path.stat().st_mode) == spec.mode
    assert paths.node_file.read_text() == "# my node\n"
    assert read_plan(paths.plan) == dataclasses.replace(plan, files=())
    assert stat.S_IMODE(paths.workspace.stat().st_mode) == 0o700
    assert stat.S_IMODE(paths.vbmc_conf.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.log_dir.stat().st_mode) == 0o750
    assert not [path for path in paths.workspace.rglob("*") if path.name.endswith((".tmp", ".new"))]


def test_password_is_in_one_file_for_its_user_alone(
    home: Home, make_plan: MakePlan, images: list[list[str]]
) -> None:
    write(home, make_plan(home, "a", "bmc: {password: s3cr3t-word}"))
    written = [path for path in home.root.rglob("*") if path.is_file()]
    settings = home.node("a").bmc_settings
    assert [path for path in written if b"s3cr3t-word" in path.read_bytes()] == [settings]
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600


def test_disks_are_made_once_and_kept(home: Home, make_plan: MakePlan, images: list[list[str]]) -> None:
    plan = make_plan(home, "a", "{}")
    (disk,) = plan.disks
    write(home, plan)
    temporary = disk.path.with_name(f".{disk.path.name}.new")
    assert images == [["/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", str(temporary), "8G"]]
    assert stat.S_IMODE(disk.path.stat().st_mode) == 0o600
    disk.path.write_bytes(QCOW2 + b"installed")
    write(home, plan)
    assert len(images) == 1
    assert disk.path.read_bytes() == QCOW2 + b"installed"


def test_disk_of_the_users_is_never_made(
    home: Home, make_plan: MakePlan, images: list[list[str]], tmp_path: Path
) -> None:
    write(home, make_plan(home, "a", f"compute: {{storage_backend: [{{drives: [{{file: {tmp_path}/x}}]}}]}}"))
    assert images == []


def overlay_of(backing: str) -> bytes:
    """The head of an image that was made for another one."""
    name = backing.encode()
    numbers = (104).to_bytes(8, "big") + len(name).to_bytes(4, "big")
    return QCOW2 + numbers + bytes(84) + name


def test_an_overlay_is_of_the_image_it_was_made_for(
    home: Home, make_plan: MakePlan, images: list[list[str]], tmp_path: Path
) -> None:
    base, other = tmp_path / "base.qcow2", tmp_path / "other.qcow2"
    for image in (base, other):
        image.write_bytes(QCOW2)
    plan = make_plan(home, "a", f"compute: {{image: {base}, storage_backend: [{{drives: [{{size: 9}}]}}]}}")
    (disk,) = plan.disks
    assert problem_of(home, plan) is None
    write(home, plan)
    assert images[-1][5:9] == ["-b", str(base), "-F", "qcow2"]
    assert images[-1][-1] == "9G"
    disk.path.write_bytes(overlay_of(str(base)))
    assert problem_of(home, plan) is None
    disk.path.write_bytes(overlay_of(str(other)))
    found = problem_of(home, plan)
    assert found is not None
    assert found[1] == f"{disk.path} was made for another image, {other}, not for {base}"
    disk.path.write_bytes(QCOW2 + bytes(100))
    found = problem_of(home, plan)
    assert found is not None
    assert "was made for another image, none," in found[1]


def test_what_a_disk_begins_as_is_there_and_of_its_format(
    home: Home, make_plan: MakePlan, tmp_path: Path
) -> None:
    base = tmp_path / "base.img"
    plan = make_plan(home, "a", f"compute: {{image: {base}}}")
    assert problem_of(home, plan) == ("compute.image", f"{base} does not exist", "")
    base.write_bytes(b"\xebX\x90")
    assert problem_of(home, plan) is None
    backed = f"{{backing_file: {base}, backing_format: vmdk}}"
    plan = make_plan(home, "a", f"compute: {{storage_backend: [{{drives: [{backed}]}}]}}")
    found = problem_of(home, plan)
    assert found is not None
    assert found[1] == f"{base} is not a vmdk image"
    base.write_bytes(b"KDMV")
    assert problem_of(home, plan) is None


def test_what_an_image_begins_as_is_there_all_the_way_down(
    home: Home, make_plan: MakePlan, tmp_path: Path
) -> None:
    top, middle, base = tmp_path / "top.qcow2", tmp_path / "middle.qcow2", tmp_path / "base.raw"
    top.write_bytes(overlay_of("middle.qcow2"))
    middle.write_bytes(overlay_of(str(base)))
    hint = "put it there, or name another: qemu-img rebase"
    message = f"{middle} begins as another image: {base} does not exist"
    drive = f"compute: {{storage_backend: [{{drives: [{{file: {top}}}]}}]}}"
    key = "compute.storage_backend[0].drives[0].file"
    assert problem_of(home, make_plan(home, "a", drive)) == (key, message, hint)
    image = f"compute: {{image: {top}}}"
    assert problem_of(home, make_plan(home, "a", image)) == ("compute.image", message, hint)
    base.write_bytes(bytes(512))
    assert problem_of(home, make_plan(home, "a", drive)) is None
    assert problem_of(home, make_plan(home, "a", image)) is None
    # What QEMU reaches otherwise is no file; and a ring is QEMU's to refuse.
    for named in ("nbd:localhost:10809", "json:{}", "top.qcow2"):
        middle.write_bytes(overlay_of(named))
        assert problem_of(home, make_plan(home, "a", drive)) is None


def sized(base: Path) -> str:
    """A node whose disk begins as an image, and is larger."""
    return f"compute: {{image: {base}, storage_backend: [{{drives: [{{size: 9}}]}}]}}"


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (QCOW2, "qcow2"),
        (b"KDMV", "vmdk"),
        (b"vhdxfile", "vhdx"),
        (bytes(64) + b"\x7f\x10\xda\xbe", "vdi"),
        (bytes(1024) + b"conectix" + bytes(504), "vpc"),
        (b"QED\0", "qed"),
        (b"", "raw"),
        (bytes(2048), "raw"),
    ],
    ids=["qcow2", "vmdk", "vhdx", "vdi", "fixed-vpc", "qed", "empty", "raw"],
)
def test_qemu_img_is_told_the_format_of_what_a_disk_begins_as(
    home: Home, make_plan: MakePlan, images: list[list[str]], tmp_path: Path, content: bytes, format_: str
) -> None:
    base = tmp_path / "base.img"
    base.write_bytes(content)
    write(home, make_plan(home, "a", sized(base)))
    assert images[-1][5:9] == ["-b", str(base), "-F", format_]


def test_an_image_that_changed_under_its_overlay_is_refused_and_nothing_is_lost(
    home: Home, make_plan: MakePlan, images: list[list[str]], tmp_path: Path
) -> None:
    base = tmp_path / "base.img"
    base.write_bytes(bytes(2048))
    os.utime(base, ns=(0, 1_600_000_000_000_000_000))
    plan = make_plan(home, "a", sized(base))
    write(home, plan)
    (disk,) = plan.disks
    overlay = overlay_of(str(base))
    disk.path.write_bytes(overlay)
    assert problem_of(home, plan) is None
    base.write_bytes(bytes(4096))
    record = f"{disk.path}.base"
    assert problem_of(home, plan) == (
        "compute.image",
        f"{base} has changed since {disk.path} was made, which holds what differs from it",
        "put back the one of 2020-09-13 12:26:40 UTC with 2048 bytes; or, if it holds the same, remove "
        f"{record}; or begin anew with 'infrasim node destroy'",
    )
    assert disk.path.read_bytes() == overlay
    # A start that went on would not take the new one for right.
    write(home, plan)
    assert problem_of(home, plan) is not None
    Path(record).unlink()
    assert problem_of(home, plan) is None
    write(home, plan)
    assert json.loads(Path(record).read_text())["size"] == 4096
    # An image that was removed by hand is made anew, of what is there now.
    disk.path.unlink()
    base.write_bytes(bytes(8192))
    write(home, plan)
    disk.path.write_bytes(overlay)
    assert problem_of(home, plan) is None
    assert json.loads(Path(record).read_text())["size"] == 8192


def test_a_seed_that_is_not_wanted_any_more_goes(
    home: Home, make_plan: MakePlan, images: list[list[str]]
) -> None:
    write(home, make_plan(home, "a", "compute: {cloud_init: {user_data: {}}}"))
    assert home.node("a").seed.read_bytes()[32808:32814] == b"CIDATA"
    write(home, make_plan(home, "a", "{}"))
    assert not home.node("a").seed.exists()


def test_half_made_disk_is_removed(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], *, timeout_s: float) -> Finished:
        Path(argv[-2]).write_bytes(QCOW2)
        raise ProgramError("no space left on device")

    monkeypatch.setattr(workspace, "run", run)
    monkeypatch.setattr(workspace, "require_program", lambda name: name)
    with pytest.raises(ProgramError):
        create_disk(DiskSpec(tmp_path / "disk.qcow2", "qcow2", 8, create=True, key="k"))
    assert list(tmp_path.iterdir()) == []


def test_same_plan_leaves_files_untouched(home: Home, make_plan: MakePlan, images: list[list[str]]) -> None:
    plan = make_plan(home, "a", "{}")
    write(home, plan)
    before = {spec.path: spec.path.stat().st_ino for spec in plan.files}
    write(home, plan)
    assert {path: path.stat().st_ino for path in before} == before


def test_what_another_plan_left_goes(home: Home, make_plan: MakePlan, images: list[list[str]]) -> None:
    paths = home.node("a")
    plan = make_plan(home, "a", "{}")
    write(home, plan)
    old = [paths.smbios_dir / "999.bin", paths.emu("other_type")]
    kept = [paths.smbios_dir / "notes.txt", paths.disks / "mine.qcow2", paths.core_state]
    for path in (*old, *kept):
        path.write_text("x")
    write(home, plan)
    assert [path for path in old if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    assert all(spec.path.exists() for spec in plan.files)


@pytest.mark.parametrize("text", ["{}", "compute: {memory: {size: 2048}}", "bmc: {password: calvin}"])
def test_what_the_bmc_remembers_stays_but_for_what_the_server_type_says(
    home: Home, make_plan: MakePlan, images: list[list[str]], text: str
) -> None:
    write(home, make_plan(home, "a", "{}"))
    paths = home.node("a")
    state = paths.bmc_state / "ipmi_sim" / "a"
    state.mkdir(parents=True)
    for path in (paths.core_state, state / "sel.20", state / "sdr.20.main"):
        path.write_text("x")
    write(home, make_plan(home, "a", text))
    assert [path.name for path in state.iterdir()] == ["sel.20"]
    assert paths.core_state.read_text() == "x", "the core itself sees that the user was edited"


def test_remove_workspace_takes_logs_and_nothing_else(
    home: Home, make_plan: MakePlan, images: list[list[str]]
) -> None:
    write(home, make_plan(home, "a", "{}"))
    write(home, make_plan(home, "b", "{}"))
    remove_workspace(home, home.node("a"))
    assert sorted(path.name for path in home.root.iterdir()) == ["b"]
    assert sorted(path.name for path in home.log_root.iterdir()) == ["b"]
    remove_workspace(home, home.node("a"))


# --- what begins as a copy, and folders that stay


def test_a_copy_is_made_once_and_stays(home: Home, make_plan: MakePlan, images: list[list[str]]) -> None:
    plan, paths = make_plan(home, "a", "{}"), home.node("a")
    source = home.root.parent / "variables.fd"
    source.write_bytes(b"as it came")
    kept = CopySpec(paths.nvram / "variables.fd", source, "compute.firmware")
    plan = dataclasses.replace(plan, copies=(kept,), folders=(paths.tpm_state,))
    write(home, plan)
    assert kept.path.read_bytes() == b"as it came"
    assert paths.tpm_state.is_dir()
    kept.path.write_bytes(b"what the firmware made of it")
    source.unlink()
    assert problem_of(home, plan) is None
    write(home, plan)
    assert kept.path.read_bytes() == b"what the firmware made of it"
    with pytest.raises(HostError, match=f"cannot read {source}: No such file"):
        begin_copies(plan, anew=True)
    source.write_bytes(b"as it came")
    begin_copies(plan, anew=True)
    assert kept.path.read_bytes() == b"as it came"


def test_what_is_to_be_copied_must_be_there(home: Home, make_plan: MakePlan) -> None:
    kept = CopySpec(home.node("a").nvram / "v.fd", Path("/no/such/file"), "compute.firmware")
    plan = dataclasses.replace(make_plan(home, "a", "compute: {storage_backend: []}"), copies=(kept,))
    assert problem_of(home, plan) == ("compute.firmware", "/no/such/file does not exist", "")


# --- further names of files


def with_alias(home: Home, make_plan: MakePlan, place: Path) -> NodePlan:
    return make_plan(home, "a", f"sol_device: {place}\ncompute: {{storage_backend: []}}\n")


def test_an_alias_is_made_moved_with_the_node_file_and_removed_with_the_node(
    home: Home, make_plan: MakePlan, tmp_path: Path
) -> None:
    paths = home.node("a")
    write(home, with_alias(home, make_plan, tmp_path / "one"))
    assert (tmp_path / "one").readlink() == paths.pty
    again = with_alias(home, make_plan, tmp_path / "one")
    assert problem_of(home, again) is None
    write(home, with_alias(home, make_plan, tmp_path / "two"))
    assert not (tmp_path / "one").is_symlink()
    assert (tmp_path / "two").readlink() == paths.pty
    remove_workspace(home, paths)
    assert not (tmp_path / "two").is_symlink()


def test_an_alias_that_leads_elsewhere_by_now_stays(home: Home, make_plan: MakePlan, tmp_path: Path) -> None:
    place = tmp_path / "one"
    write(home, with_alias(home, make_plan, place))
    place.unlink()
    place.symlink_to("/somebody/else")
    remove_workspace(home, home.node("a"))
    assert place.readlink() == Path("/somebody/else")


def test_nothing_is_overwritten_by_an_alias(home: Home, make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    plan = with_alias(home, make_plan, tmp_path / "there")
    message = f"{tmp_path}/there exists, and is not this node's"
    assert problem_of(home, plan) == ("sol_device", message, "name a place where nothing is")
    (tmp_path / "dead").symlink_to("/no/such/file")
    assert problem_of(home, with_alias(home, make_plan, tmp_path / "dead")) is not None
    plan = with_alias(home, make_plan, tmp_path / "no" / "pty")
    assert problem_of(home, plan) == ("sol_device", f"there is no folder {tmp_path}/no", "")


def test_without_a_serial_line_there_is_nothing_to_name(home: Home, make_plan: MakePlan) -> None:
    assert make_plan(home, "a", "sol_device: /tmp/x\nsol_enable: false\n").aliases == ()
