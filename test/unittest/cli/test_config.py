"""``infrasim config``: what it prints, where, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infrasim.cli import config, main
from infrasim.errors import HostError
from infrasim.host import probe
from infrasim.host.facts import HostFacts, KvmVerdict
from infrasim.paths import HOME_VARIABLE, Home
from infrasim.runtime import node_map

OLD = "name: n\ncompute:\n  networks: [{network_name: br0}]\n"
FACTS = HostFacts("/q", (7,), "/i", "/s", KvmVerdict(False, "no KVM"), machine_id="m", memory_free_mib=900)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yml").write_text("name: good\n")
    (tmp_path / "old.yml").write_text(OLD)
    (tmp_path / "bad.yml").write_text(
        "name: bad\nsol_enabled: true\nbmc: {password: hunter2hunter2hunter2}\n"
    )
    monkeypatch.setattr(probe, "gather_facts", lambda cache, with_kvm: FACTS)
    return Home.from_environment()


@pytest.fixture
def infrasim(home: Home, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main.run(["config", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_life(infrasim: Run, home: Home) -> None:
    file = home.map_file("n")
    assert infrasim("list") == (0, "No node file is registered yet. Run: infrasim init\n", "")
    assert infrasim("add", "n", "good.yml") == (0, f"Node n registered: {file}\n", "")
    assert infrasim("list") == (0, f"NODE  TYPE        FILE\nn     quanta_d51  {file}\n", "")
    assert infrasim("show", "n") == (0, "name: n\n", "")
    assert infrasim("check", "n") == (0, "n: ok (node n, type quanta_d51)\n", "")
    assert infrasim("update", "n", "good.yml") == (0, f"Node n unchanged: {file}\n", "")
    Path("good.yml").write_text("name: n\ntype: quanta_d51\n")
    assert infrasim("update", "n", "good.yml") == (0, f"Node n updated: {file}\n", "")
    assert infrasim("delete", "n") == (0, f"Node n removed: {file}\n", "")
    assert home.registered() == ()


def test_errors_are_on_stderr_with_their_exit_code(infrasim: Run, home: Home) -> None:
    infrasim("add", "default", "good.yml")
    assert infrasim("add", "default", "good.yml") == (
        2,
        "",
        f"infrasim: node 'default' is registered already: {home.map_file('default')}\n"
        "hint: replace its file with: infrasim config update default good.yml\n",
    )
    assert infrasim("show", "default2") == (
        2,
        "",
        f"infrasim: no node file is registered as 'default2' in {home.root}\nhint: did you mean 'default'?\n",
    )
    assert infrasim("add", "n", "nonesuch.yml") == (
        2,
        "",
        "infrasim: cannot read nonesuch.yml: No such file or directory\n",
    )
    assert infrasim("add", "n", "bad.yml") == (
        2,
        "",
        "bad.yml:2:1: sol_enabled: unknown key 'sol_enabled' (did you mean 'sol_enable'?)\n"
        "bad.yml:3:17: bmc.password: is 21 characters long (at most 20)\n",
    )
    assert infrasim("delete", "a/b")[0] == 2
    assert infrasim("add", "n")[0] == 2


def test_errors_are_json_when_asked(infrasim: Run) -> None:
    code, out, err = infrasim("add", "n", "bad.yml", "--json")
    assert (code, out) == (2, "")
    assert [problem["path"] for problem in json.loads(err)["problems"]] == ["sol_enabled", "bmc.password"]


def test_warnings_are_on_stderr(infrasim: Run, home: Home) -> None:
    place = "3:15: compute.networks[0].network_name: is ignored (has no effect with network_mode nat)"
    assert infrasim("add", "n", "old.yml") == (
        0,
        f"Node n registered: {home.map_file('n')}\n",
        f"warning: old.yml:{place}\n",
    )
    assert infrasim("check", "n")[2] == f"warning: {home.map_file('n')}:{place}\n"


def test_check_looks_at_everything_before_it_fails(infrasim: Run, home: Home) -> None:
    infrasim("add", "n", "good.yml")
    assert infrasim("check", "bad.yml", "n", "good.yml") == (
        2,
        "bad.yml: 2 problems\nn: ok (node n, type quanta_d51)\ngood.yml: ok (node good, type quanta_d51)\n"
        "3 checked: 2 fine, 0 with warnings, 1 with problems\n",
        "bad.yml:2:1: sol_enabled: unknown key 'sol_enabled' (did you mean 'sol_enable'?)\n"
        "bad.yml:3:17: bmc.password: is 21 characters long (at most 20)\n",
    )


def test_check_without_arguments_is_for_every_registered_file(infrasim: Run, home: Home) -> None:
    assert infrasim("check") == (
        2,
        "",
        "infrasim: there is nothing to check\nhint: name a file, or run: infrasim init\n",
    )
    infrasim("add", "a", "good.yml")
    infrasim("add", "b", "good.yml")
    home.map_file("b").write_text("- x\n")
    assert infrasim("check") == (
        2,
        "a: ok (node a, type quanta_d51)\nb: 1 problem\n"
        "2 checked: 1 fine, 0 with warnings, 1 with problems\n",
        f"{home.map_file('b')}:1:1: the file is a list, not 'key: value' lines\n",
    )


def test_warnings_are_told_apart_and_are_no_failure_unless_strict(infrasim: Run) -> None:
    Path("big.yml").write_text("name: big\ncompute: {memory: {size: 4096}}\n")
    said = (
        "warning: big.yml:2:26: compute.memory.size: 4096 MiB is more than is free on this machine now, "
        "900 MiB (a host takes only what it uses, so it may run for a while)\n"
    )
    fine = "big.yml: ok (node big, type quanta_d51), 1 warning\n"
    assert infrasim("check", "big.yml") == (0, fine, said)
    assert infrasim("check", "-W", "big.yml") == (2, fine, said)
    assert infrasim("check", "--file-only", "-W", "big.yml")[0] == 0
    assert infrasim("check", "-W", "big.yml", "--set", "compute.memory.size=512")[0] == 0


def test_what_cannot_be_compared_is_no_failure_unless_strict(
    infrasim: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(cache: Path, *, with_kvm: bool) -> HostFacts:
        raise HostError("socat is not installed")

    monkeypatch.setattr(probe, "gather_facts", missing)
    fine = "good.yml: ok (node good, type quanta_d51)\n"
    said = "good.yml: not compared with this machine: socat is not installed\n"
    assert infrasim("check", "good.yml") == (0, fine, said)
    assert infrasim("check", "-W", "good.yml") == (2, fine, said)
    assert infrasim("check", "-W", "--file-only", "good.yml") == (0, fine, "")


def test_a_setting_is_checked_like_the_file(infrasim: Run) -> None:
    assert infrasim("check", "good.yml", "--set", "compute.memory.size=4") == (
        2,
        "good.yml: 1 problem\n",
        "--set compute.memory.size: wanted 16 to 16777216, got 4\n",
    )
    infrasim("add", "n", "good.yml")
    shown = json.loads(infrasim("show", "n", "--json", "--set", "compute.memory.size=64")[1])
    assert shown["node"]["compute"]["memory"]["size"] == 64
    assert infrasim("show", "n", "--json", "--set", "x")[0] == 2


def test_origins(infrasim: Run) -> None:
    code, out, err = infrasim("show", "--origin", "./good.yml", "--set", "compute.memory.size=64")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["KEY", "VALUE", "FROM"]
    assert lines[1].split() == ["name", "good", "good.yml:1"]
    assert "compute.memory.size" in out
    assert [line.split() for line in lines if line.startswith("compute.memory.size")] == [
        ["compute.memory.size", "64", "--set"]
    ]
    assert len({line.index(line.split()[1]) for line in lines[1:-1]}) == 1, "columns are aligned"
    assert lines[-1].endswith("more keys have no value; --json lists all.")
    shown = json.loads(infrasim("show", "--origin", "./good.yml", "--json")[1])
    assert (shown["name"], shown["file"], shown["unchecked"]) == ("good", "good.yml", "")
    assert {"key": "sol_enable", "value": True, "source": "built-in", "place": ""} in shown["keys"]
    assert infrasim("show", "--origin", "bad.yml")[0] == 2
    infrasim("add", "n", "good.yml")
    assert infrasim("show", "n", "--set", "name=n")[0] == 2, "the text has no settings"


def test_the_schema_is_printed(infrasim: Run) -> None:
    code, out, _ = infrasim("schema")
    assert (code, json.loads(out)["$schema"]) == (0, "https://json-schema.org/draft/2020-12/schema")


def test_check_of_nothing_known(infrasim: Run) -> None:
    assert infrasim("check", "x") == (
        2,
        "",
        "infrasim: 'x' is neither a file nor a registered node\nhint: registered nodes: none\n",
    )


def test_a_registered_name_goes_before_a_file_of_that_name(infrasim: Run) -> None:
    Path("n").write_text("- x\n")
    infrasim("add", "n", "good.yml")
    assert infrasim("check", "n")[0] == 0
    assert infrasim("check", "./n")[0] == 2


def test_json(infrasim: Run, home: Home) -> None:
    file = str(home.map_file("n"))
    assert json.loads(infrasim("list", "--json")[1]) == []
    added = json.loads(infrasim("add", "n", "old.yml", "--json")[1])
    assert (added["name"], added["result"], added["file"]) == ("n", "registered", file)
    assert [warning["line"] for warning in added["warnings"]] == [3]
    assert json.loads(infrasim("list", "--json")[1]) == [
        {"name": "n", "type": "quanta_d51", "file": file, "error": ""}
    ]
    shown = json.loads(infrasim("show", "n", "--json")[1])
    assert (shown["name"], shown["file"]) == ("n", file)
    assert shown["node"]["compute"]["memory"]["size"] == 1024
    assert shown["node"]["compute"]["networks"][0]["network_mode"] == "nat"
    code, out, err = infrasim("check", "n", "bad.yml", "--json")
    assert (code, err) == (2, "")
    first, second = json.loads(out)
    assert (first["target"], first["valid"], first["problems"], len(first["warnings"])) == ("n", True, [], 1)
    assert (second["target"], second["valid"], len(second["problems"])) == ("bad.yml", False, 2)
    assert json.loads(infrasim("update", "n", "good.yml", "--json")[1])["result"] == "updated"
    assert json.loads(infrasim("delete", "n", "--json")[1])["result"] == "removed"


def test_list_shows_a_file_that_cannot_be_read(infrasim: Run, home: Home) -> None:
    infrasim("add", "n", "good.yml")
    home.map_file("n").write_text("a: [\n")
    code, out, err = infrasim("list")
    assert (code, out.splitlines()[1].split()) == (0, ["n", "?", str(home.map_file("n"))])
    assert err.startswith(f"{home.map_file('n')}:2:1: not YAML")
    assert json.loads(infrasim("list", "--json")[1])[0]["error"] == err.strip()
    assert infrasim("show", "n")[:2] == (0, "a: [\n")
    assert infrasim("show", "n", "--json")[0] == 2


def test_a_workspace_that_stays_is_named(infrasim: Run, home: Home) -> None:
    workspace = home.node("n").workspace
    infrasim("add", "n", "good.yml")
    workspace.mkdir()
    assert (
        "It takes effect at the next start: infrasim node restart n\n"
        in infrasim("update", "n", "old.yml")[1]
    )
    out = infrasim("delete", "n")[1]
    assert f"Its workspace {workspace} stays; remove it with: infrasim node destroy n\n" in out
    assert workspace.is_dir()


# --- edit


@pytest.fixture
def editors(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What was run instead of an editor; it writes ``TEXT`` each time."""
    calls: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> int:
        calls.append(argv)
        Path(argv[-1]).write_text(f"name: n # {len(calls)}\n")
        return 0

    monkeypatch.setattr(node_map, "run_interactive", run)
    for variable in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(variable, raising=False)
    return calls


@pytest.mark.parametrize(
    ("variables", "argv"),
    [
        ({"VISUAL": "code --wait", "EDITOR": "nano"}, ["code", "--wait"]),
        ({"VISUAL": " ", "EDITOR": "'/opt/my editor' -x"}, ["/opt/my editor", "-x"]),
        ({"EDITOR": "vi; touch /tmp/x"}, ["vi;", "touch", "/tmp/x"]),
    ],
)
def test_the_users_editor(
    infrasim: Run,
    editors: list[Sequence[str]],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    argv: list[str],
) -> None:
    infrasim("add", "n", "good.yml")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert infrasim("edit", "n")[0] == 0
    assert list(editors[0][:-1]) == argv
    assert infrasim("show", "n")[1] == "name: n # 1\n"


def test_an_editor_is_found(
    infrasim: Run, editors: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    infrasim("add", "n", "good.yml")
    asked: list[str] = []
    monkeypatch.setattr("infrasim.host.process.find_program", lambda name: asked.append(name))
    assert infrasim("edit", "n") == (
        4,
        "",
        "infrasim: no editor was found\nhint: set EDITOR, for instance: EDITOR=nano infrasim config edit\n",
    )
    assert asked == list(config.EDITORS)
    monkeypatch.setattr(
        "infrasim.host.process.find_program", lambda name: f"/bin/{name}" if name == "vi" else None
    )
    assert infrasim("edit", "n")[0] == 0
    assert editors[0][0] == "/bin/vi"


def test_an_editor_that_is_no_command(
    infrasim: Run, editors: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    infrasim("add", "n", "good.yml")
    monkeypatch.setenv("EDITOR", "vi '")
    assert infrasim("edit", "n") == (2, "", 'infrasim: EDITOR="vi \'" is no command: no closing quotation\n')
    assert editors == []


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_the_user_may_go_on(
    infrasim: Run, home: Home, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    infrasim("add", "n", "good.yml")
    texts = iter(["naem: x\n", "name: n # right\n"])

    def run(argv: Sequence[str]) -> int:
        Path(argv[-1]).write_text(next(texts))
        return 0

    monkeypatch.setattr(node_map, "run_interactive", run)
    monkeypatch.setenv("EDITOR", "vi")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_args, **_options: answer)
    code, _out, err = infrasim("edit", "n")
    assert "1:1: naem: unknown key 'naem' (did you mean 'name'?)" in err
    assert code == (0 if answer else 2)
    assert home.map_file("n").read_text() == ("name: n # right\n" if answer else "name: n\n")
    assert ("hint: your text is kept in" in err) is not answer
    assert err.count("unknown key") == 1


def test_without_a_terminal_nobody_is_asked(infrasim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    infrasim("add", "n", "good.yml")
    monkeypatch.setattr(node_map, "run_interactive", lambda argv: Path(argv[-1]).write_text("- x\n") and 0)
    monkeypatch.setattr("click.confirm", lambda *_args, **_options: pytest.fail("asked"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setenv("EDITOR", "vi")
    assert infrasim("edit", "n")[0] == 2
