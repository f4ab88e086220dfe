"""The text of node files and of the files they include: read here, and nowhere else."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from infrasim.errors import HostError, UsageError
from infrasim.spec.document import Included, decode

# A node file is text somebody wrote; more than this is a wrong file.
MAX_FILE_BYTES = 1024 * 1024


def read_text(path: Path) -> str:
    """The text of a file, line ends as they are.

    Raises:
        InvalidNodeFile: it is not UTF-8.
        UsageError: there is no such file, it is a folder, or is larger than a node file can be.
        HostError: it cannot be read.
    """
    return decode(read_bytes(path), file=str(path))


class Includes:
    """Finds what ``!include`` names, relative to the file it stands in; each file is read once.

    ``digests`` has the SHA-256, in hex, of every file that was read.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self._found: dict[str, Included] = {}

    def __call__(self, wanted: str, *, by: str) -> Included:
        """The file that is called ``wanted`` in the file ``by``.

        Raises:
            InvalidNodeFile: it is not UTF-8.
            UsageError: there is no such file, or it cannot be one of a node file's.
            HostError: it cannot be read.
        """
        if not wanted or "\0" in wanted:
            raise UsageError("a file's name is missing", hint="write: !include FILE")
        path = Path(by).parent / wanted
        if str(path) not in self._found:
            self._found[str(path)] = self._look_at(path)
        return self._found[str(path)]

    def _look_at(self, path: Path) -> Included:
        try:
            # A pipe would be waited for, and a device has no end.
            is_file = stat.S_ISREG(path.stat().st_mode)
        except OSError as exc:
            raise UsageError(f"cannot read {path}: {exc.strerror}") from None
        if not is_file:
            raise UsageError(f"cannot include {path}: it is not a regular file")
        data = read_bytes(path)
        place = str(path.absolute())
        self.digests[place] = hashlib.sha256(data).hexdigest()
        return Included(str(path), decode(data, file=str(path)), os.path.realpath(path))


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        UsageError: there is no such file, it is a folder, or is larger than a node file can be.
        HostError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from None
    except OSError as exc:
        raise HostError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes", hint="is it a node file?")
    return data
