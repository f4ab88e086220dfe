"""What a node file says to cloud-init in the host, which reads it from a NoCloud seed image.

Source: cloud-init, "NoCloud" and "User-data formats".
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from infrasim.spec.modelling import AfterValidator, BeforeValidator, Field, WrongType
from infrasim.spec.part import Becomes, Part
from infrasim.units import WrongValue

# A text that cloud-init takes says what it is in its first line.
_FIRST_SIGNS = ("#", "Content-Type:", "MIME-Version:")
_FIRST_SIGNS_HINT = "begin with '#cloud-config' or '#!/bin/sh', or name a file with '/' in front"


def is_path(text: str) -> bool:
    """Whether a text names a file that holds what is meant."""
    return text.startswith("/") and "\n" not in text


def given_text(text: str | dict[str, Any]) -> str | dict[str, Any]:
    """A text for cloud-init or the path of a file."""
    if isinstance(text, str) and ("\0" in text or not text.strip()):
        raise WrongValue("is empty or has a zero byte", hint="leave the key out, or name a file")
    return text


def user_data_text(text: str | dict[str, Any]) -> str | dict[str, Any]:
    """User data that cloud-init takes for some."""
    given_text(text)
    if isinstance(text, str) and not is_path(text) and not text.startswith(_FIRST_SIGNS):
        raise WrongValue("does not say what it is", hint=_FIRST_SIGNS_HINT)
    return text


def text_or_mapping(given: object) -> object:
    """What can stand for a document."""
    if not isinstance(given, str | dict):
        raise WrongType(str)
    return given


Document: TypeAlias = Annotated[
    str | dict[str, Any], AfterValidator(given_text), BeforeValidator(text_or_mapping)
]
UserData: TypeAlias = Annotated[
    str | dict[str, Any], AfterValidator(user_data_text), BeforeValidator(text_or_mapping)
]


class CloudInit(Part):
    """What the host's cloud-init does at the first boot."""

    user_data: Annotated[UserData, Becomes("`user-data` of the seed")] | None = Field(
        None,
        description="Configuration or script: a mapping is a `#cloud-config` (where `yes`, `no`, `on` and "
        "`off` are true and false, as for cloud-init), a text stands for itself, a path for what the file "
        "holds. Left out: an empty `#cloud-config`.",
        examples=["/etc/infrasim/user-data.yml"],
    )
    meta_data: Annotated[Document, Becomes("`meta-data` of the seed")] | None = Field(
        None,
        description="The instance: a mapping goes before `instance-id`, the node's UUID, and "
        "`local-hostname`, its name; a text or a path stands for all of it. Left out: these two.",
        examples=["/etc/infrasim/meta-data.yml"],
    )
    network_config: Annotated[Document, Becomes("`network-config` of the seed")] | None = Field(
        None,
        description="Network configuration, version 1 or 2. Left out: cloud-init asks DHCP.",
        examples=["/etc/infrasim/network-config.yml"],
    )

    @property
    def files(self) -> dict[str, str]:
        """The files it names, by key."""
        return {key: text for key, text in self if isinstance(text, str) and is_path(text)}
