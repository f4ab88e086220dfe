"""What few node files say of the racadm shell of a Dell node's management controller."""

from __future__ import annotations

from typing import Annotated

from infrasim.spec import checks, racadm_checks
from infrasim.spec.modelling import AfterValidator, Field, model_validator
from infrasim.spec.part import Address, Becomes, Part


class Racadm(Part):
    """A racadm shell over SSH, as an iDRAC has one; `{}` is enough. For Dell's server types only."""

    interface: Annotated[str, AfterValidator(checks.interface), Becomes("the SSH socket")] | None = Field(
        None,
        description="Network interface of this machine whose address it listens on.",
        examples=["eth1"],
    )
    address: Annotated[Address, Becomes("the SSH socket")] | None = Field(
        None,
        description="IPv4 or IPv6 address of this machine it listens on; `0.0.0.0` or `::` for all. "
        "Left out (and no `interface`): that of the BMC.",
        examples=["192.0.2.10"],
    )
    port: Annotated[int | None, Becomes("the SSH socket")] = Field(
        None,
        ge=1,
        le=65535,
        description="TCP port. Left out: 10022, or the next free one.",
        examples=[10022],
    )
    username: Annotated[str, AfterValidator(racadm_checks.ssh_word), Becomes("the SSH login")] | None = Field(
        None,
        description="User who may log in, with all rights; needs `password`. Left out: the users of the BMC, "
        "each with their rights.",
        examples=["root"],
    )
    password: Annotated[str, AfterValidator(racadm_checks.ssh_word), Becomes("the SSH login")] | None = Field(
        None, repr=False, description="The user's password; needs `username`.", examples=["calvin"]
    )
    data: Annotated[str, AfterValidator(racadm_checks.racadm_folder), Becomes("answers")] | None = Field(
        None,
        description="Folder with answers of one's own, such as `getsysinfo` or `hwinventory_nic`, which go "
        "before those made of the node. Left out, or `auto`: there is none.",
        examples=["/srv/racadm"],
    )

    @model_validator(mode="after")
    def _whole(self) -> None:
        checks.one_place_to_listen(interface=self.interface, address=self.address)
        racadm_checks.whole_login(username=self.username, password=self.password)
