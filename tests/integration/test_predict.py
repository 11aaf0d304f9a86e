# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep KMS from connecting is told before anything is disconnected, against a proxy over real TLS."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.guides import all_blocks
from tests.integration.windows import CONNECT
from tests.integration.windows import DISCONNECT
from tests.integration.windows import Place
from tests.proxy import Certificate
from tests.proxy import Keys
from tests.proxy import Proxy
from tests.proxy import proxy

PREFLIGHT = "keyops.aws.preflight"
KEYS = Keys("A" * 20, "CanaryOfTheProxyWith43CharactersOrMore01234")
DONE = {"name": "Work", "ansible.builtin.file": {"path": "{{ playbook_dir }}/done", "state": "touch"}}


def own_address() -> str:
    """An address of this machine for one process of tests, as KMS knows no port but 443."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return f"127.0.9.{int(worker) + 1}"


def port_443_is_ours() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((own_address(), 443))
            return True
    return False


pytestmark = pytest.mark.skipif(not port_443_is_ours(), reason="needs port 443 of a loopback address")


@contextlib.contextmanager
def store_behind(place: Place, **options: Any) -> Iterator[Proxy]:
    """A connected store, receipts, with a proxy; and no other store."""
    with proxy(place.ansible.folder / "proxy", address=own_address(), port=443, credential=KEYS, **options) as running:
        place.ansible.control.reset()
        place.ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=1)
        place.ids.clear()
        place.ids["receipts"] = place.ansible.control.create_store(
            custom_key_store_name="receipts",
            custom_key_store_type="EXTERNAL_KEY_STORE",
            connection_state="CONNECTED",
            parameters={
                "XksProxyUriEndpoint": running.endpoint,
                "XksProxyUriPath": running.path,
                "XksProxyAuthenticationCredential": {
                    "AccessKeyId": KEYS.access_key_id,
                    "RawSecretAccessKey": KEYS.raw_secret_access_key,
                },
            },
        )
        place.ansible.environment["SSL_CERT_FILE"] = str(running.ca_file)
        yield running


def credentials(secret: str = KEYS.raw_secret_access_key) -> list[dict[str, str]]:
    return [{"access_key_id": KEYS.access_key_id, "raw_secret_access_key": secret}]


def preflight(place: Place, *arguments: str, secret: str = "") -> tuple[int, str]:
    """Run it, with the secret of the proxy's credential if there is one. Returns the exit code, and what it printed."""
    if secret:
        path = place.write("credentials.yml", {"xks_proxy_credentials": credentials(secret)})
        arguments = ("-e", f"@{path}", *arguments)
    done = place.ansible.run(PREFLIGHT, *arguments)
    assert KEYS.raw_secret_access_key not in done.output
    return done.exit_code, " ".join(done.output.split())


# ---- the playbook


def test_a_store_that_would_connect(place: Place) -> None:
    with store_behind(place) as running:
        exit_code, reported = preflight(place, "-vvvv", secret=KEYS.raw_secret_access_key)
        assert exit_code == 0, reported
        assert "CONNECTED: nothing was found that would keep KMS from connecting it." in reported
        for name in (
            "Connection to the proxy",
            "Certificate of the proxy",
            "Credential of the proxy",
            "External key managers",
        ):
            assert f"passed {name}:" in reported
        assert [request.path for request in running.requests] == [f"{running.path}/health"]
    assert place.asked_for(DISCONNECT) == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "secret", "code", "text"),
    [
        ({"certificate": Certificate.EXPIRED}, "", "XKS_PROXY_INVALID_TLS_CONFIGURATION", "has expired. Renew it"),
        ({"certificate": Certificate.WRONG_HOST}, "", "XKS_PROXY_INVALID_TLS_CONFIGURATION", "does not name 127.0.9."),
        ({"health": ["UNAVAILABLE"]}, KEYS.raw_secret_access_key, "XKS_PROXY_NOT_REACHABLE", "reaches none of its"),
        ({"denied": True}, KEYS.raw_secret_access_key, "XKS_PROXY_ACCESS_DENIED", "check the authorization rules"),
        ({}, "Another" + KEYS.raw_secret_access_key[7:], "INVALID_CREDENTIALS", "refuses the signature"),
        ({"status": 200, "body": b"{}"}, "", "XKS_PROXY_INVALID_RESPONSE", "KMS cannot use what the proxy answers"),
    ],
)
def test_what_a_connect_would_fail_with(
    place: Place, options: dict[str, Any], secret: str, code: str, text: str
) -> None:
    with store_behind(place, **options):
        exit_code, reported = preflight(place, secret=secret)
    assert exit_code == 2, reported
    assert f"CONNECTED: a connect would fail with {code}." in reported
    assert text in reported
    assert "A connect would fail: receipts. The lines above say why." in reported


@pytest.mark.long
def test_stores_that_are_chosen_and_such_as_are_not_there(place: Place) -> None:
    place.store("ledger")
    found = place.ansible.kms().describe_custom_key_stores(CustomKeyStoreName="ledger")["CustomKeyStores"]
    place.ansible.control.set_cluster(found[0]["CloudHsmClusterId"], active_hsms=0)
    exit_code, reported = preflight(place, "-e", "stores=payments")
    assert exit_code == 0, reported
    assert "ledger" not in reported
    assert f"payments ({place.ids['payments']}), CONNECTED: nothing was found" in reported
    assert (
        "unknown kmsuser in the CloudHSM cluster: kmsuser could not be described: cloudhsm-cli is not on this host"
        in reported
    )
    exit_code, reported = preflight(place)
    assert exit_code == 2
    assert "CONNECTED: a connect would fail with INSUFFICIENT_CLOUDHSM_HSMS." in reported
    exit_code, reported = preflight(place, "-e", f"stores={place.ids['payments']},peyments")
    assert exit_code == 2
    assert "There is no custom key store peyments. Check the name, the Region and the account." in reported
    place.ansible.control.reset()
    exit_code, reported = preflight(place)
    assert exit_code == 0, reported
    assert "There is no custom key store." in reported


# ---- windows


def test_a_window_whose_proxy_has_an_expired_certificate_is_refused(place: Place) -> None:
    with store_behind(place, certificate=Certificate.EXPIRED):
        assert place.play(place.window([DONE])) == 2
        assert "Nothing was disconnected. receipts" in place.output
        assert "could not connect it again (XKS_PROXY_INVALID_TLS_CONFIGURATION). The certificate" in place.output
        assert not (place.ansible.folder / "done").exists()
        assert place.asked_for(DISCONNECT) == 0


@pytest.mark.long
def test_in_an_emergency_it_is_disconnected_nevertheless(place: Place) -> None:
    with store_behind(place, certificate=Certificate.EXPIRED):
        assert place.play(place.window([DONE], predict_connect=False)) == 0, place.output
        assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
        place.assert_back()


@pytest.mark.long
def test_a_window_that_is_proved_with_a_key_of_the_store(place: Place) -> None:
    with store_behind(place, certificate=Certificate.EXPIRES_SOON) as running:
        path = place.window([DONE], xks_proxy_credentials=credentials())
        assert place.play(path, "-vvvv") == 0, place.output
        assert "receipts: The certificate of the proxy expires on" in place.output
        assert (
            "receipts: not verified. There is no KMS key in it, so there is nothing to encrypt under." in place.output
        )
        assert KEYS.raw_secret_access_key not in place.output
        place.ansible.kms().create_key(
            Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=place.ids["receipts"], XksKeyId="receipts-2026"
        )
        assert place.play(path) == 0, place.output
        assert "not verified" not in place.output
        assert " yes " in place.output.replace("\n", " ")
        assert place.asked_for("Encrypt") == 1
        assert len(running.requests) == 2
        place.assert_back()


@pytest.mark.long
def test_what_cannot_be_checked_from_here_forbids_nothing(place: Place) -> None:
    place.ansible.control.create_store(
        custom_key_store_name="elsewhere", custom_key_store_type="EXTERNAL_KEY_STORE", connection_state="CONNECTED"
    )
    place.ids = {"elsewhere": ""}
    assert place.play(place.window([DONE])) == 0, place.output
    assert (
        "elsewhere: not checked from this host: Connection to the proxy. The playbook keyops.aws.preflight says why."
        in place.output
    )


# ---- a change


@pytest.mark.long
def test_a_new_proxy_is_checked_before_the_disconnect(place: Place) -> None:
    store_id = place.ansible.control.create_store(
        custom_key_store_name="archive", custom_key_store_type="EXTERNAL_KEY_STORE", connection_state="CONNECTED"
    )
    with proxy(
        place.ansible.folder / "proxy", address=own_address(), port=443, certificate=Certificate.SELF_SIGNED
    ) as running:
        place.ansible.environment["SSL_CERT_FILE"] = str(running.ca_file)
        result = place.ansible.module(
            "-vvvv",
            custom_key_store_id=store_id,
            allow_disconnect=True,
            xks_proxy_configuration={"uri_endpoint": running.endpoint, "uri_path": running.path},
        )
    assert '("archive") was left CONNECTED, because KMS could not connect it after the change (XKS_' in result["msg"]
    assert result["changed"] is False
    assert place.asked_for(DISCONNECT) == 0


# ---- the guide


@pytest.mark.long
def test_the_blocks_of_the_guide(place: Place) -> None:
    shell, check, with_credential, window = all_blocks("guide_predict")
    with store_behind(place):
        program, *arguments = shell.text.split()
        assert program == "ansible-playbook"
        assert place.ansible.run(*arguments).exit_code == 0
        place.store("payments")
        place.ansible.kms().create_key(
            Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=place.ids["receipts"], XksKeyId="receipts-2026"
        )
        key = place.ansible.kms().list_keys()["Keys"][0]["KeyId"]
        place.ansible.kms().create_alias(AliasName="alias/receipts", TargetKeyId=key)
        play = "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        for block in (check, with_credential):
            tasks = "".join(f"    {line}\n" if line else "\n" for line in block.text.splitlines())
            place.write("play.yml", play + tasks)
            variables = f"proxy_access_key_id={KEYS.access_key_id} proxy_secret_access_key={KEYS.raw_secret_access_key}"
            done = place.ansible.run("play.yml", "-e", variables)
            assert done.exit_code == 0, done.output
        place.write("window.yml", window.text)
        assert place.play("window.yml") == 0, place.output
        assert " yes " in place.output.replace("\n", " ")
