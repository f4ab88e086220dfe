"""The commands of racadm in one table: what each says and does. An unknown one is an error, never silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infrasim.frozen import Frozen
from infrasim.racadm import attributes, controller, events, hwinventory, sensors, system
from infrasim.racadm.layout import lines
from infrasim.racadm.ports import (
    INSUFFICIENT_PRIVILEGE,
    NOT_IN_THIS_STATE,
    BmcRefusal,
    CommandError,
    Session,
)
from infrasim.racadm.storage import storage

_CHASSIS, _APP = 0x00, 0x06
_CONTROL, _IDENTIFY = 0x02, 0x04
_COLD_RESET = 0x02
_LAMP_ON, _LAMP_OFF = b"\0\1", b"\0"

# Source: IPMI 2.0 table 28-4.
_ACTIONS = {"powerdown": 0, "powerup": 1, "powercycle": 2, "hardreset": 3, "nmi": 4, "graceshutdown": 5}
_FAILURE = 1
_STORAGE_PLACEHOLDERS = ("{{storage}}", "{{ storage }}")


class Answer(Frozen):
    """What a command says, and its exit code; ``ends_sessions``: the controller goes away for a while."""

    text: str
    code: int = 0
    ends_sessions: bool = False


class Command(Frozen):
    """``usage`` is what follows the name, each form on a line of its own."""

    summary: str
    usage: tuple[str, ...]
    run: Callable[[Session, list[str]], str]
    ends_sessions: bool = False


def answer(session: Session, words: Sequence[str]) -> Answer:
    """What racadm says to these words, of which the first is a command's name."""
    if not words:
        return Answer(_overview())
    name, rest = words[0].lower(), list(words[1:])
    if name == "help":
        return _help(rest)
    command = COMMANDS.get(name)
    if command is None:
        return Answer(f'ERROR: Invalid subcommand specified: {words[0]}. Run "help" for the list.', _FAILURE)
    try:
        made = command.run(session, rest)
        own = _canned(session, words, made)
    except CommandError as error:
        own = _canned(session, words, "") if command.run in _LOOKING else None
        if own is None:
            return Answer(f"ERROR: {error}", _FAILURE)
    except BmcRefusal as refusal:
        return Answer(f"ERROR: {_reason(refusal)}", _FAILURE)
    return Answer(made if own is None else own, ends_sessions=command.ends_sessions)


def _reason(refusal: BmcRefusal) -> str:
    match refusal.code:
        case code if code == INSUFFICIENT_PRIVILEGE:
            return "The user has insufficient privileges for this operation."
        case code if code == NOT_IN_THIS_STATE:
            return "Unable to perform the requested operation, because the server is powered OFF."
        case None:
            return f"Unable to perform the requested operation. {refusal}"
        case code:
            return f"Unable to perform the requested operation. The controller answers {code:#04x}."


def _canned(session: Session, words: Sequence[str], made: str) -> str | None:
    """The user's own answer to exactly these words, if there is a file for it."""
    name = FILES.get(" ".join(words).lower())
    found = session.canned(name) if name else None
    if found is None:
        return None
    for placeholder in _STORAGE_PLACEHOLDERS:
        if placeholder in found:
            found = found.replace(placeholder, storage(session.server, "pdisks", ["-o"]))
    return found.rstrip("\r\n")


def _overview() -> str:
    own = "help [subcommand]"
    width = max(map(len, (own, *COMMANDS)))
    shown = [f" {name:<{width}} -- {command.summary}" for name, command in sorted(COMMANDS.items())]
    return "\n".join([f" {own:<{width}} -- display usage summary for a subcommand", *shown])


def _help(words: list[str]) -> Answer:
    if not words:
        return Answer(_overview())
    name = words[0].lower()
    command = COMMANDS.get(name)
    if command is None:
        return Answer(f"ERROR: Invalid subcommand specified: {words[0]}", _FAILURE)
    usage = "\n".join(f"  racadm {name} {form}".rstrip() for form in command.usage)
    return Answer(f"{name} -- {command.summary}\n\nUsage:\n\n{usage}")


def _wrong(name: str) -> CommandError:
    return CommandError(f'Invalid command syntax. Run "help {name}" for usage.')


def _no_words(name: str, words: list[str]) -> None:
    if words:
        raise _wrong(name)


# --- looking


def _getsysinfo(session: Session, words: list[str]) -> str:
    letters = frozenset(word.removeprefix("-").lower() for word in words)
    if not letters <= frozenset("dcsw4") or any(not word.startswith("-") for word in words):
        raise _wrong("getsysinfo")
    return system.system_info(session.server, session.bmc, letters)


def _getsvctag(session: Session, words: list[str]) -> str:
    _no_words("getsvctag", words)
    return system.service_tag(session.server)


def _getversion(session: Session, words: list[str]) -> str:
    found = system.versions(session.server, session.bmc)
    match [word.lower() for word in words]:
        case []:
            return system.version_text(pair for pair in found.values() if pair[1])
        case ["-b"] | ["-f", "bios"]:
            return system.version_text([found["bios"]])
        case ["-f", "idrac"]:
            return system.version_text([found["idrac"]])
        case _:
            raise _wrong("getversion")


def _getniccfg(session: Session, words: list[str]) -> str:
    _no_words("getniccfg", words)
    return system.network(session.bmc)


def _getled(session: Session, words: list[str]) -> str:
    _no_words("getled", words)
    return f"LED State: {'Blinking' if controller.lamp_is_lit(session.bmc) else 'Not-Blinking'}"


def _getractime(session: Session, words: list[str]) -> str:
    now = controller.clock(session.bmc)
    match words:
        case []:
            return now.strftime("%a %b %e %H:%M:%S %Y")
        case ["-d"]:
            return now.strftime("%Y%m%d%H%M%S.000000+000")
        case _:
            raise _wrong("getractime")


def _getsensorinfo(session: Session, words: list[str]) -> str:
    _no_words("getsensorinfo", words)
    return sensors.sensor_info(session.bmc)


def _getsel(session: Session, words: list[str]) -> str:
    if words == ["-i"]:
        return lines([("Total Records", events.count(session.bmc))], 13)
    start, most, short = 1, None, False
    rest = list(words)
    while rest:
        option = rest.pop(0)
        if option == "-o":
            short = True
        elif option in ("-s", "-c") and rest and rest[0].isdecimal() and len(rest[0]) < 6:
            number = int(rest.pop(0))
            start, most = (number, most) if option == "-s" else (start, number)
        else:
            raise _wrong("getsel")
    found = events.entries(session.bmc)[max(start - 1, 0) :]
    found = found if most is None else found[:most]
    return "\n".join(each.line for each in found) if short else events.log_text(found)


def _get(session: Session, words: list[str]) -> str:
    if len(words) != 1:
        raise _wrong("get")
    return attributes.get(session, words[0])


def _getconfig(session: Session, words: list[str]) -> str:
    match words:
        case ["-g", group, "-o", name] if (group.lower(), name.lower()) in attributes.OLD_OBJECTS:
            text = attributes.get(session, attributes.OLD_OBJECTS[group.lower(), name.lower()])
            value = text.rpartition("=")[2]
            return str(int(value == "Enabled")) if value in ("Enabled", "Disabled") else value
        case ["-g", _] | ["-g", _, "-o", _]:
            raise CommandError("The specified group or object is not valid.")
        case _:
            raise _wrong("getconfig")


def _hwinventory(session: Session, words: list[str]) -> str:
    match words:
        case []:
            return hwinventory.inventory(session.server, session.bmc)
        case [word] if word.lower() == "nic":
            return hwinventory.cards(session.server)
        case [word] if word.lower().startswith("nic."):
            return hwinventory.card(session.server, word)
        case _:
            raise _wrong("hwinventory")


def _storage(session: Session, words: list[str]) -> str:
    match words:
        case [verb, what, *options] if verb.lower() == "get":
            return storage(session.server, what, options)
        case _:
            raise _wrong("storage")


# --- doing


def _setled(session: Session, words: list[str]) -> str:
    match words:
        case ["-l", "0" | "1" as lit]:
            session.bmc.order(_CHASSIS, _IDENTIFY, _LAMP_ON if lit == "1" else _LAMP_OFF)
            return "LED state changed successfully."
        case _:
            raise _wrong("setled")


def _serveraction(session: Session, words: list[str]) -> str:
    match [word.lower() for word in words]:
        case ["powerstatus"]:
            return f"Server power status: {system.on_off(controller.power_is_on(session.bmc))}"
        case [action] | [action, "-f"] if action in _ACTIONS:
            return _power(session, action)
        case _:
            raise _wrong("serveraction")


def _power(session: Session, action: str) -> str:
    on = controller.power_is_on(session.bmc)
    session.bmc.order(_CHASSIS, _CONTROL, bytes([_ACTIONS[action]]))
    if (action, on) in (("powerup", True), ("powerdown", False)):
        return f"Server is already powered {system.on_off(on)}."
    return "Server power operation successful"


def _clrsel(session: Session, words: list[str]) -> str:
    _no_words("clrsel", words)
    events.clear(session.bmc)
    return "The SEL was cleared successfully."


def _set(session: Session, words: list[str]) -> str:
    if len(words) != 2:
        raise _wrong("set")
    return attributes.put(session, words[0], words[1])


def _config(session: Session, words: list[str]) -> str:
    match words:
        case ["-g", group, "-o", name, value]:
            found = attributes.OLD_OBJECTS.get((group.lower(), name.lower()))
            if found is None:
                raise CommandError("The specified group or object is not valid.")
            attributes.put(session, found, value)
            return "Object value modified successfully"
        case _:
            raise _wrong("config")


def _racreset(session: Session, words: list[str]) -> str:
    if [word for word in words if word.lower() not in ("soft", "hard", "-f")]:
        raise _wrong("racreset")
    session.bmc.order(_APP, _COLD_RESET)
    return (
        "RAC reset operation initiated successfully. It may take a few\n"
        "minutes for the RAC to come online again."
    )


COMMANDS: dict[str, Command] = {
    "clrsel": Command("clear the System Event Log (SEL)", ("",), _clrsel),
    "config": Command("modify a property", ("-g <group> -o <object> <value>",), _config),
    "get": Command("display properties", ("<group>", "<group>.<object>"), _get),
    "getconfig": Command("display a property", ("-g <group> -o <object>",), _getconfig),
    "getled": Command("get the state of the LED on a module", ("",), _getled),
    "getniccfg": Command("display current network settings", ("",), _getniccfg),
    "getractime": Command("display the current RAC time", ("", "-d"), _getractime),
    "getsel": Command(
        "display records from the System Event Log (SEL)", ("[-s <start>] [-c <count>] [-o]", "-i"), _getsel
    ),
    "getsensorinfo": Command("display system sensors", ("",), _getsensorinfo),
    "getsvctag": Command("display service tag information", ("",), _getsvctag),
    "getsysinfo": Command(
        "display general RAC and system information", ("[-d] [-c] [-4] [-s] [-w]",), _getsysinfo
    ),
    "getversion": Command("display the current version details", ("", "-b", "-f bios|idrac"), _getversion),
    "hwinventory": Command("display hardware inventory", ("", "nic", "<NIC FQDD>"), _hwinventory),
    "racreset": Command(
        "perform a RAC reset operation", ("[soft|hard] [-f]",), _racreset, ends_sessions=True
    ),
    "raid": Command(
        "the same as storage", ("get pdisks|controllers|vdisks [-o [-p <property>,...]]",), _storage
    ),
    "serveraction": Command(
        "perform system power management operations",
        (f"{'|'.join(_ACTIONS)} [-f]", "powerstatus"),
        _serveraction,
    ),
    "set": Command("modify a property", ("<group>.<object> <value>",), _set),
    "setled": Command("set the state of the LED on a module", ("-l 0|1",), _setled),
    "storage": Command(
        "display storage", ("get pdisks|controllers|vdisks [-o [-p <property>,...]]",), _storage
    ),
}
# Those that only look: a file of the user's can answer what they do not know.
_LOOKING = frozenset({_getled, _getsysinfo, _get, _hwinventory, _storage})

# Files of the user's folder by the words they answer. Source: the reference system.
FILES = {
    "getled": "getled",
    "getsysinfo": "getsysinfo",
    "setled -l 0": "setled_l_0",
    "setled -l 1": "setled_l_1",
    "get bios": "get_bios",
    "get bios.memsettings": "get_bios_mem_setting",
    "get idrac": "get_idrac",
    "get lifecyclecontroller": "get_life_cycle_controller",
    "get lifecyclecontroller.lcattributes": "get_life_cycle_controller_lc_attributes",
    "hwinventory": "hwinventory",
    "hwinventory nic": "hwinventory_nic",
    **{
        f"hwinventory nic.integrated.1-{number}-1": f"hwinventory_nic_integrated_1-{number}-1"
        for number in range(1, 5)
    },
}
