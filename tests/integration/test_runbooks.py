# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each runbook is followed, block by block, in the very failure that it is about, until the key store works again.

The commands are those of the page. A repair that no command of the page can do, such as a setting of a proxy's vendor, is done to
what stands for it here, between Diagnosis and What to do.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import boto3
import pytest

from tests.integration.guides import GUIDES
from tests.integration.guides import Reader
from tests.integration.guides import all_blocks
from tests.integration.guides import blocks_of
from tests.integration.harness import Ansible

SECTIONS = ["Meaning", "Impact", "Diagnosis", "What to do"]
PAGES = sorted(path.stem for path in GUIDES.glob("runbook_*.rst"))
SECRETS = {"ADMIN_PASSWORD": "CanaryOfTheAdmin8642", "KMSUSER_PASSWORD": "CanaryOfKmsUser8642"}


def text_of(page: str) -> str:
    return (GUIDES / f"{page}.rst").read_text("utf-8")


def sections(page: str) -> dict[str, str]:
    """The text of each section of a page, by its title, in order."""
    _before, *parts = re.split(r"(?m)^(.+)\n-+$\n", text_of(page))
    return dict(zip(parts[::2], parts[1::2]))


class Scene:
    """What a runbook takes for granted: the key stores payments and invoices, which were in service, and an operator."""

    def __init__(self, ansible: Ansible) -> None:
        self.ansible = ansible
        self.control = ansible.control
        self.control.set_transitions(connect_seconds=0.1, disconnect_seconds=0.1)
        self.kms = ansible.kms()
        self.cluster_id = self.control.create_cluster(network=True)
        self.ids = {
            "payments": self.control.create_store(
                custom_key_store_name="payments", parameters={"CloudHsmClusterId": self.cluster_id}
            )
        }
        self.reader = self._reader()

    def _reader(self) -> Reader:
        folder = self.ansible.folder
        self.ansible.environment |= SECRETS
        (folder / "cluster").write_text(self.cluster_id)
        (folder / "etc").mkdir()
        servers = [{"hostname": hsm["EniIp"], "port": 2223, "enable": True} for hsm in self.cluster()["Hsms"]]
        configured = {"clusters": [{"type": "hsm1", "cluster": {"servers": servers}}]}
        (folder / "etc" / "cloudhsm-cli.cfg").write_text(json.dumps(configured))
        return Reader(self.ansible, {}, {"cluster-2a34b5cdefg": self.cluster_id})

    def client(self, service: str) -> Any:
        """A boto3 client for the emulator."""
        environment = self.ansible.environment
        return boto3.client(
            service,
            endpoint_url=environment["AWS_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def cluster(self) -> dict[str, Any]:
        """The cluster of payments, as CloudHSM describes it."""
        found = self.client("cloudhsmv2").describe_clusters(Filters={"clusterIds": [self.cluster_id]})
        return dict(found["Clusters"][0])

    def store(self, name: str) -> dict[str, Any]:
        """A key store, as KMS describes it."""
        return dict(self.kms.describe_custom_key_stores(CustomKeyStoreName=name)["CustomKeyStores"][0])

    def connect(self, name: str) -> dict[str, Any]:
        """Connect a store as KMS does. Returns it as it then is."""
        self.kms.connect_custom_key_store(CustomKeyStoreId=self.ids[name])
        for _look in range(100):
            if self.store(name)["ConnectionState"] != "CONNECTING":
                return self.store(name)
            time.sleep(0.05)
        raise AssertionError(f"{name} does not stop connecting.")

    def say_of_kmsuser(self, **told: Any) -> None:
        """What cloudhsm-cli tells of kmsuser that is unusual."""
        (self.ansible.folder / "kmsuser.json").write_text(json.dumps(told))


def nothing(_scene: Scene) -> None:
    """The page has all that is to be done."""


@dataclass(frozen=True)
class Case:
    """How a page is followed.

    Attributes:
        break_: brings about what the failure comes from.
        repair: what the page has somebody do where no command of this test reaches.
        seen: what the diagnosis shows, which the page tells to look for.
        store: the name of the store.
        code: the connection error code, for a page about one.
    """

    break_: Callable[[Scene], None]
    repair: Callable[[Scene], None] = nothing
    seen: tuple[str, ...] = field(default_factory=tuple)
    store: str = "payments"
    code: str = ""


def lock_kmsuser(scene: Scene) -> None:
    scene.control.change_kmsuser_password(scene.cluster_id, "NobodyToldKms1")
    for _login in range(5):
        scene.connect("payments")
        scene.kms.disconnect_custom_key_store(CustomKeyStoreId=scene.ids["payments"])
        while scene.store("payments")["ConnectionState"] != "DISCONNECTED":
            time.sleep(0.05)
    scene.say_of_kmsuser(locked="true")


CASES = {
    "runbook_user_locked_out": Case(lock_kmsuser, seen=('"locked": "true"',), code="USER_LOCKED_OUT"),
}

IN_MAKE_TEST = ("runbook_user_locked_out", "runbook_xks_proxy_invalid_tls_configuration")
"""One of each type of store. The others take make test too long."""


@pytest.fixture
def scene(ansible: Ansible) -> Iterator[Scene]:
    with contextlib.ExitStack():
        yield Scene(ansible)


def tolerant(text: str) -> str:
    """Commands for a shell, which may fail: a diagnosis finds something, and says so."""
    return f"set +e\n{text}\nset -e"


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in IN_MAKE_TEST else pytest.mark.long) for page in CASES]
)
def test_a_runbook_brings_the_store_back(scene: Scene, page: str) -> None:
    case, parts = CASES[page], sections(page)
    case.break_(scene)
    if case.code:
        assert scene.connect(case.store)["ConnectionErrorCode"] == case.code
    output = "".join(scene.reader.shell(tolerant(block.text)) for block in blocks_of(parts["Diagnosis"]))
    for seen in case.seen:
        assert f"``{seen}``" in " ".join(parts["Diagnosis"].split()), seen
        assert seen in output, output
    case.repair(scene)
    print(output)
    done = "".join(scene.reader.shell(block.text) for block in blocks_of(parts["What to do"]))
    print(done)
    assert scene.store(case.store)["ConnectionState"] == "CONNECTED", done
    for secret in SECRETS.values():
        assert secret not in output + done


@pytest.mark.parametrize("page", PAGES)
def test_a_runbook_has_four_sections(page: str) -> None:
    parts = sections(page)
    assert list(parts) == SECTIONS
    assert all(text.strip() for text in parts.values())
    assert f".. _ansible_collections.keyops.aws.docsite.{page}:\n" in text_of(page)
    for title in ("Diagnosis", "What to do"):
        assert blocks_of(parts[title]), title


def test_all_of_each_runbook_is_followed() -> None:
    assert sorted(CASES) == PAGES
    for page in PAGES:
        assert {block.kind for block in all_blocks(page)} <= {"shell", "file"}, page
        assert text_of(page).count(".. code-block::") == len(all_blocks(page)), page
