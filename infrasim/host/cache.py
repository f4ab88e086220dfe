"""What was asked of programs and is worth keeping: small JSON files in the home's cache.

Any of them can be removed at any time; what cannot be read is as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infrasim.host.files import make_dir, write_atomic


def read_cache(path: Path) -> dict[str, Any]:
    """What is kept at ``path``; empty if nothing is."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write_cache(path: Path, value: Mapping[str, object]) -> None:
    """Keep ``value`` at ``path``."""
    make_dir(path.parent)
    write_atomic(path, json.dumps(value))
