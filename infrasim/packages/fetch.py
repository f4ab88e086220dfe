"""Downloads: resumed, tried again, verified, and in place only when whole and right.

A file grows as ``<name>.part`` and is renamed when its digest is right, so that a file under its
own name was right once; it is verified again before each use all the same.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path

import requests

from infrasim.errors import HostError
from infrasim.frozen import Frozen
from infrasim.host.files import make_dir, sha256_file
from infrasim.packages.progress import ProgressReporter

ATTEMPTS = 5
_FIRST_PAUSE_S = 1.0
_CONNECT_TIMEOUT_S = 15
_READ_TIMEOUT_S = 60
# What urllib3 has of an unfinished chunk is lost when a connection breaks: so not too much.
_CHUNK_BYTES = 64 * 1024
# Answers that may be different in a moment. Source: RFC 9110, 15.5.9 and 15.6; RFC 6585, 4.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class RemoteFile(Frozen):
    """A file and what it must be. ``sha256`` is 64 hex digits; ``size_bytes`` None when not known."""

    url: str
    name: str
    sha256: str
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could be written outside the folder, or verified by nothing."""
        if "/" in self.name or self.name.startswith(".") or not self.name:
            raise HostError(f"{self.url}: {self.name!r} cannot be a file name")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise HostError(f"{self.url}: {self.sha256!r} is no SHA-256 (64 hex digits)")


class Network(Frozen):
    """How to reach servers: ``proxies`` as requests takes them; ``pause`` waits between attempts."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    attempts: int = ATTEMPTS
    pause: Callable[[float], None] = time.sleep


class FileGoneError(HostError):
    """The server has no such file; what named it may be out of date."""


class _TryAgain(Exception):
    """This attempt failed in a way that the next one may not; the text says how."""


def fetch(remote: RemoteFile, folder: Path, *, report: ProgressReporter, network: Network) -> Path:
    """Return ``folder / remote.name`` with the right content, downloaded unless it is there.

    Raises:
        FileGoneError: the server does not have it.
        HostError: no network, a wrong digest, a wrong size, a full disk; nothing is left under the name.
    """
    make_dir(folder)
    target = folder / remote.name
    if target.is_file():
        if sha256_file(target) == remote.sha256:
            return target
        report.step(f"{target} is not what it should be; downloading it again")
        target.unlink()
    part = folder / f"{remote.name}.part"
    check_space(folder, remote)
    _download(remote, part, report=report, network=network)
    part.replace(target)
    return target


def check_space(folder: Path, remote: RemoteFile) -> None:
    """Refuse to begin what cannot fit.

    Raises:
        HostError: the disk has less free than the file's size.
    """
    free_bytes = shutil.disk_usage(folder).free
    if remote.size_bytes is not None and remote.size_bytes > free_bytes:
        raise _disk_full(remote, folder, free_bytes)


def _download(remote: RemoteFile, part: Path, *, report: ProgressReporter, network: Network) -> None:
    """Leave the right content in ``part``."""
    pause_s, reasons = _FIRST_PAUSE_S, list[str]()
    for attempt in range(1, network.attempts + 1):
        try:
            _one_attempt(remote, part, report, network)
            return
        except _TryAgain as exc:
            reasons.append(str(exc))
            if attempt < network.attempts:
                report.step(f"{remote.name}: {exc}; trying again in {pause_s:g} s")
                network.pause(pause_s)
                pause_s *= 2
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                part.unlink(missing_ok=True)
                raise _disk_full(remote, part.parent, shutil.disk_usage(part.parent).free) from exc
            raise HostError(f"cannot write {part}: {exc.strerror or exc}") from exc
    raise HostError(
        f"cannot download {remote.url}: {reasons[-1]} (tried {network.attempts} times)",
        hint="is there a network? without one: infrasim init --from DIR, with a folder that "
        "'infrasim init --download-only' filled elsewhere",
    )


def _one_attempt(remote: RemoteFile, part: Path, report: ProgressReporter, network: Network) -> None:
    """Fetch what ``part`` lacks and verify the whole."""
    have_bytes = part.stat().st_size if part.exists() else 0
    if remote.size_bytes is not None and have_bytes >= remote.size_bytes:
        _verify(remote, part, resumed=True)
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have_bytes}-"} if have_bytes else {})
    try:
        with requests.get(
            remote.url,
            headers=headers,
            stream=True,
            timeout=(_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S),
            proxies=dict(network.proxies),
        ) as response:
            resumed = _check_answer(remote, part, response, have_bytes)
            _receive(remote, part, response, have_bytes if resumed else 0, report)
    except requests.exceptions.SSLError as exc:
        raise HostError(f"cannot download {remote.url}: {_network_reason(exc)}: {exc}") from exc
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as exc:
        raise _TryAgain(_network_reason(exc)) from exc
    except requests.RequestException as exc:
        raise HostError(f"cannot download {remote.url}: {exc}") from exc
    _verify(remote, part, resumed=resumed)


def _check_answer(remote: RemoteFile, part: Path, response: requests.Response, have_bytes: int) -> bool:
    """Whether the answer goes on after ``have_bytes``, which are in ``part``; False if it begins anew."""
    status = response.status_code
    if status == 200:
        return False
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have_bytes}-"):
        return True
    if status in (206, 416):
        part.unlink(missing_ok=True)
        raise _TryAgain(f"the server does not resume at byte {have_bytes}")
    if status in _PASSING_STATUS:
        raise _TryAgain(f"the server answered {status} {response.reason}")
    if status in (404, 410):
        raise FileGoneError(f"cannot download {remote.url}: the server has no such file ({status})")
    raise HostError(f"cannot download {remote.url}: the server answered {status} {response.reason}")


def _receive(
    remote: RemoteFile, part: Path, response: requests.Response, done_bytes: int, report: ProgressReporter
) -> None:
    """Append the answer's body to ``part``, beginning anew when ``done_bytes`` is 0."""
    length = response.headers.get("Content-Length")
    announced = done_bytes + int(length) if length and length.isdigit() else None
    total_bytes = remote.size_bytes if remote.size_bytes is not None else announced
    with part.open("ab" if done_bytes else "wb") as stream:
        report.advance(remote.name, done_bytes, total_bytes)
        for chunk in response.iter_content(_CHUNK_BYTES):
            stream.write(chunk)
            done_bytes += len(chunk)
            report.advance(remote.name, done_bytes, total_bytes)
            if total_bytes is not None and done_bytes > total_bytes:
                break
    if total_bytes is not None and done_bytes < total_bytes:
        raise _TryAgain(f"the connection ended after {done_bytes} of {total_bytes} bytes")


def _verify(remote: RemoteFile, part: Path, *, resumed: bool) -> None:
    """Compare size and digest; what is wrong is removed."""
    size_bytes, digest = part.stat().st_size, sha256_file(part)
    if digest == remote.sha256:
        return
    part.unlink()
    if resumed:
        raise _TryAgain("what was resumed does not fit together")
    wanted = remote.sha256 if remote.size_bytes is None else f"{remote.sha256} in {remote.size_bytes} bytes"
    raise HostError(
        f"{remote.url}: wrong content: got SHA-256 {digest} in {size_bytes} bytes, wanted {wanted}",
        hint="a proxy or mirror may have altered it; nothing was installed",
    )


def _network_reason(exc: requests.RequestException) -> str:
    """What failed, without the layers of Python objects around it."""
    text = str(exc)
    for pattern, reason in (
        (
            r"Name or service not known|Temporary failure in name resolution|NameResolutionError",
            "name not found",
        ),
        (r"Connection refused", "connection refused"),
        (r"Network is unreachable|No route to host", "no route to the server"),
        (r"[Tt]imed? ?out", "no answer in time"),
        (r"certificate|SSL", "the server's certificate is not trusted"),
        (r"IncompleteRead|Connection aborted|reset by peer|broken", "the connection broke"),
    ):
        if re.search(pattern, text):
            return reason
    return text


def _disk_full(remote: RemoteFile, folder: Path, free_bytes: int) -> HostError:
    size = "more" if remote.size_bytes is None else f"{remote.size_bytes / 2**20:.1f} MiB"
    free = f"{free_bytes / 2**20:.1f} MiB"
    return HostError(
        f"the disk that holds {folder} is full: {remote.name} needs {size}, {free} are free",
        hint="free some space, or point INFRASIM_HOME at another disk",
    )
