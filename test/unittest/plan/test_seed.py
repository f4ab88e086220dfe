"""The seed image of a node: what cloud-init finds in it, and that it changes only when that does."""

from __future__ import annotations

import io
import time
from uuid import UUID

import pytest
import yaml
from pycdlib import PyCdlib

from infrasim.plan.seed import seed_files, seed_image
from infrasim.spec.cloud_init import CloudInit

NODE_UUID = UUID("3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21")


def files(texts: dict[str, bytes] | None = None, **given: object) -> dict[str, bytes]:
    return seed_files(CloudInit.model_validate(given), texts or {}, node="node-0", uuid=NODE_UUID)


def read(image: bytes) -> tuple[str, dict[str, bytes]]:
    """Volume id and files of an image, by the names that Linux shows."""
    parsed = PyCdlib()
    parsed.open_fp(io.BytesIO(image))
    found = {}
    for child in parsed.list_children(joliet_path="/"):
        if child.is_dot() or child.is_dotdot():
            continue
        name = child.file_identifier().decode("utf-16-be")
        content = io.BytesIO()
        parsed.get_file_from_iso_fp(content, joliet_path=f"/{name}")
        found[name] = content.getvalue()
    volume = parsed.pvd.volume_identifier.decode().strip()
    parsed.close()
    return volume, found


def test_a_seed_without_anything_names_the_instance() -> None:
    found = files()
    assert yaml.safe_load(found["meta-data"]) == {"instance-id": str(NODE_UUID), "local-hostname": "node-0"}
    assert found["user-data"].startswith(b"#cloud-config\n")
    assert yaml.safe_load(found["user-data"]) == {}
    assert set(found) == {"meta-data", "user-data"}


def test_mappings_stay_what_they_are() -> None:
    config = {"bootcmd": ["echo on", "0351"], "fqdn": "café.example", "timezone": None, "n": 1, "on": True}
    network = {"version": 2, "ethernets": {"e0": {"dhcp4": True}}}
    found = files(user_data=config, network_config=network, meta_data={"local-hostname": "other", "x": "no"})
    assert found["user-data"].partition(b"\n")[0] == b"#cloud-config"
    assert yaml.safe_load(found["user-data"]) == config
    assert yaml.safe_load(found["network-config"]) == network
    assert yaml.safe_load(found["meta-data"]) == {
        "instance-id": str(NODE_UUID),
        "local-hostname": "other",
        "x": "no",
    }


def test_texts_and_files_are_taken_as_they_are() -> None:
    script = "#!/bin/sh\necho hello\n"
    texts = {"/srv/meta": b"instance-id: i\r\n\xff"}
    found = files(texts, user_data=script, meta_data="/srv/meta", network_config="version: 1\n")
    assert found == {
        "user-data": script.encode(),
        "meta-data": texts["/srv/meta"],
        "network-config": b"version: 1\n",
    }


def test_which_files_are_named() -> None:
    given = {"user_data": "/a", "meta_data": "#/b", "network_config": {"version": 2}}
    assert CloudInit.model_validate(given).files == {"user_data": "/a"}


@pytest.mark.parametrize("size", [0, 1, 2048, 5000, 300_000])
def test_an_image_holds_its_files(size: int) -> None:
    given = {"user-data": b"#" * size, "meta-data": b"x: 1\n", "network-config": b"version: 2\n"}
    assert read(seed_image(given)) == ("CIDATA", given)


def test_the_same_files_are_the_same_image_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"user-data": b"#cloud-config\n", "meta-data": b"x: 1\n"}
    first = seed_image(given)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert seed_image(given) == first
    assert seed_image({**given, "meta-data": b"x: 2\n"}) != first
