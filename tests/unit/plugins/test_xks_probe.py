# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host tells of the proxy of an external key store, and of its VPC endpoint service, before KMS connects."""

from __future__ import annotations

import builtins
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import xks_probe
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Outcome
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.xks_probe import Limits
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.xks_probe import ProxyCredential
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.xks_probe import check_proxy
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.xks_probe import check_vpc_service
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.xks_probe import judge_time
from tests.proxy import Certificate
from tests.proxy import Keys
from tests.proxy import Proxy
from tests.proxy import error
from tests.proxy import health_of
from tests.proxy import listener
from tests.proxy import proxy

REGION = "eu-central-1"
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz/ABCDEF+GHI="
KEYS = Keys("ABCDEFGHIJKLMNOPQRST", SECRET)
CREDENTIAL = ProxyCredential(KEYS.access_key_id, SECRET)
VPC = "VPC_ENDPOINT_SERVICE"
SUFFIX = " KMS comes through the VPC endpoint service: check that this host, by this name, reaches the same proxy."


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Bench:
    """Runs a proxy, and looks at it."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def serve_and_probe(self, *, checked_with: ProxyCredential | None = CREDENTIAL, **options: Any) -> dict[str, Check]:
        looking = {name: options.pop(name) for name in ("connectivity", "now", "limits") if name in options}
        with proxy(self.folder, **{"credential": KEYS, **options}) as running:
            return self.probe(running, checked_with, **looking)

    def probe(
        self,
        running: Proxy,
        checked_with: ProxyCredential | None = CREDENTIAL,
        *,
        connectivity: str = "PUBLIC_ENDPOINT",
        now: Callable[[], datetime] = utc_now,
        limits: Limits | None = None,
    ) -> dict[str, Check]:
        self.monkeypatch.setenv("SSL_CERT_FILE", str(running.ca_file))
        return named(
            check_proxy(
                running.configuration(connectivity),
                checked_with,
                region=REGION,
                now=now,
                port=running.port,
                limits=limits,
            )
        )


def named(checks: list[Check]) -> dict[str, Check]:
    """By name, each of which is there once, and as it must be: a code for a failure, and no secret."""
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    for check in checks:
        assert bool(check.code) == (check.outcome is Outcome.FAILED), check
        assert SECRET not in str(check)
        assert check.text.endswith((".", '"')), check.text
        assert "{" not in check.text, check.text
    return found


def failed(checks: dict[str, Check]) -> Check:
    """The one check that failed."""
    (found,) = [check for check in checks.values() if check.outcome is Outcome.FAILED]
    return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # KMS uses no HTTP proxy, and neither does the probe; were it to use this one, each test would fail.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    return Bench(tmp_path, monkeypatch)


def test_all_is_well(bench: Bench) -> None:
    with proxy(bench.folder, credential=KEYS, health=["ACTIVE", "ACTIVE"]) as running:
        checks = bench.probe(running)
    assert {check.outcome for check in checks.values()} == {Outcome.PASSED}
    assert list(checks) == [
        "Connection to the proxy",
        "TLS of the proxy",
        "Certificate of the proxy",
        "Time of the proxy",
        "URI path of the proxy",
        "Credential of the proxy",
        "External key managers",
    ]
    assert checks["Connection to the proxy"].text == f"127.0.0.1 accepts connections on port {running.port}."
    assert checks["TLS of the proxy"].text == "The proxy speaks TLSv1.3."
    assert "is valid for 365 days more, until 20" in checks["Certificate of the proxy"].text
    assert "its issuer, Test Authority; KMS goes by the list" in checks["Certificate of the proxy"].text
    assert "the proxy answers in" in checks["Time of the proxy"].text
    assert checks["URI path of the proxy"].text == "The proxy answers at /kms/xks/v1/health."
    assert checks["Credential of the proxy"].text == "The proxy takes the credential."
    assert checks["External key managers"].text == (
        "The proxy, Test Proxy 1.0 of Example Corp, reports 2 external key managers of Example Vaults (Vault 2), ACTIVE."
    )


def test_request_is_as_of_kms(bench: Bench) -> None:
    with proxy(bench.folder, credential=KEYS) as running:
        bench.probe(running)
    request = running.requests[0]
    assert (request.method, request.path) == ("POST", "/kms/xks/v1/health")
    metadata = json.loads(request.body)["requestMetadata"]
    assert metadata["kmsOperation"] == "KmsHealthCheck"
    assert len(metadata["kmsRequestId"]) == 36
    assert f"/{REGION}/kms-xks-proxy/aws4_request" in request.headers["Authorization"]
    assert "SignedHeaders=host;x-amz-date," in request.headers["Authorization"]
    assert request.headers["Host"] == f"127.0.0.1:{running.port}"
    assert len(running.requests) == 1  # one that is fast is enough


def test_port_443_is_not_named_in_what_is_signed(bench: Bench) -> None:
    try:
        with proxy(bench.folder, address="127.0.0.9", port=443, credential=KEYS) as running:
            bench.monkeypatch.setenv("SSL_CERT_FILE", str(running.ca_file))
            checks = named(check_proxy(running.configuration(), CREDENTIAL, region=REGION, now=utc_now))
    except PermissionError:
        pytest.skip("This user may not listen on port 443.")
    except OSError as problem:
        pytest.skip(f"Port 443 of 127.0.0.9 is not to be had: {problem}")
    assert running.requests[0].headers["Host"] == "127.0.0.9"
    assert {check.outcome for check in checks.values()} == {Outcome.PASSED}


def test_path_with_prefix_and_capitals_of_host(bench: Bench) -> None:
    with proxy(bench.folder, host="localhost", path="/stores/One_2/kms/xks/v1", credential=KEYS) as running:
        running.host = "LocalHost"
        checks = bench.probe(running)
    assert {check.outcome for check in checks.values()} == {Outcome.PASSED}


# The way


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def probe_nothing(endpoint: str, port: int, *, connectivity: str = "PUBLIC_ENDPOINT", **limits: float) -> list[Check]:
    configuration = {"Connectivity": connectivity, "UriEndpoint": endpoint, "UriPath": "/kms/xks/v1"}
    checks = check_proxy(
        configuration, CREDENTIAL, region=REGION, now=utc_now, port=port, limits=Limits(**limits) if limits else None
    )
    return list(named(checks).values())


def test_nothing_listens() -> None:
    port = closed_port()
    (check,) = probe_nothing("https://127.0.0.1", port)
    assert (check.outcome, check.code) == (Outcome.FAILED, "XKS_PROXY_NOT_REACHABLE")
    assert check.text == (
        f"This host cannot connect to 127.0.0.1, port {port} (Connection refused). Check that the proxy runs, and what a firewall"
        " or load balancer before it lets in; if that is KMS and not this host, do the check on a host that may connect."
    )


def test_nothing_listens_behind_a_vpc_endpoint_service() -> None:
    (check,) = probe_nothing("https://127.0.0.1", closed_port(), connectivity=VPC)
    assert check.outcome is Outcome.UNKNOWN
    assert (
        "(Connection refused). This alone is not an error: KMS connects through the VPC endpoint service." in check.text
    )


def test_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_more: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (check,) = probe_nothing("https://xks.example.com", 443)
    assert check.outcome is Outcome.UNKNOWN
    assert check.text == (
        "This host cannot resolve the name xks.example.com (Name or service not known). The proxy was not checked. Check"
        " the URI endpoint of the store, and the DNS entry of the proxy."
    )
    (check,) = probe_nothing("https://xks.example.com", 443, connectivity=VPC)
    assert check.outcome is Outcome.UNKNOWN
    assert (
        "run the check on a host that resolves the name and reaches the proxy, such as a host in its VPC." in check.text
    )


def test_connection_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*_arguments: Any) -> None:
        raise socket.timeout("timed out")

    monkeypatch.setattr(xks_probe, "_connect", drop)
    (check,) = probe_nothing("https://127.0.0.1", 443)
    assert check.outcome is Outcome.UNKNOWN
    assert check.text.startswith(
        "This host cannot connect to 127.0.0.1, port 443 (timed out). The proxy was not checked."
    )


def test_resolver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_more: done.wait(10))
    (check,) = probe_nothing("https://xks.example.com", 443, resolve=0.05)
    done.set()
    assert "cannot resolve the name xks.example.com (timed out)." in check.text


@pytest.mark.parametrize("host", [".", "..", "a..b", ".x", "-", "x" * 300, "1", "256.256.256.256", "a" * 64 + ".b"])
def test_odd_host(host: str) -> None:
    (check,) = probe_nothing(f"https://{host}", closed_port(), resolve=0.2, connect=0.2)
    assert check.outcome is Outcome.UNKNOWN
    assert "The proxy was not checked." in check.text


@pytest.mark.parametrize(
    "endpoint",
    [None, "", "xks.example.com", "http://a.b", "https://", "https://a:1", "https://a b", "https://ü", "https://[", 7],
)
def test_endpoint_is_none(endpoint: Any) -> None:
    (check,) = probe_nothing(endpoint, 443)
    assert check.code == "XKS_PROXY_NOT_REACHABLE"
    assert check.text.startswith("The URI endpoint of the store is not https:// and a host name.")


@pytest.mark.parametrize("path", [None, "", "kms/xks/v1", "/a b/kms/xks/v1", "/a\r\nX: y", "/ü"])
def test_path_is_none(path: Any) -> None:
    configuration = {"UriEndpoint": "https://127.0.0.1", "UriPath": path}
    (check,) = check_proxy(configuration, None, region=REGION, now=utc_now, port=closed_port())
    assert check.code == "XKS_PROXY_INVALID_CONFIGURATION"
    assert check.text.startswith("The URI path of the store is not one that KMS takes.")


# TLS


@pytest.mark.parametrize(
    ("fault", "host", "text"),
    [
        (Certificate.EXPIRED, "", "The certificate of the proxy has expired. Renew it, and check that"),
        (
            Certificate.EXPIRED_CHAIN,
            "",
            "Another certificate in the chain that the proxy serves has expired, not its own.",
        ),
        (
            Certificate.NOT_YET_VALID,
            "",
            "The certificate of the proxy is not valid yet. Have the proxy serve one that is;",
        ),
        (
            Certificate.WRONG_HOST,
            "",
            "The certificate of the proxy does not name 127.0.0.1. Have one made for this name,",
        ),
        (Certificate.WRONG_HOST, "localhost", "The certificate of the proxy does not name localhost. Have one made"),
        (Certificate.UNKNOWN_AUTHORITY, "", "This host does not know the certificate authority that issued"),
        (
            Certificate.SELF_SIGNED,
            "",
            "The certificate of the proxy is self-signed. KMS trusts only certificates of public",
        ),
        (
            Certificate.INCOMPLETE_CHAIN,
            "",
            "The certificate of the proxy leads to no certificate authority that this host knows.",
        ),
    ],
)
def test_certificate_is_refused(bench: Bench, fault: Certificate, host: str, text: str) -> None:
    checks = bench.serve_and_probe(certificate=fault, host=host)
    check = failed(checks)
    assert (check.name, check.code) == ("Certificate of the proxy", "XKS_PROXY_INVALID_TLS_CONFIGURATION")
    assert check.text.startswith(text)
    assert list(checks) == ["Connection to the proxy", "Certificate of the proxy"]
    names = "other.example.com" if fault is Certificate.WRONG_HOST else host or "127.0.0.1"
    assert f", names {names}, and was issued by O=Test " in check.text


def test_dates_of_an_expired_certificate(bench: Bench) -> None:
    day = (utc_now() + timedelta(days=-2, hours=1)).date()  # tests.proxy adds an hour
    assert f" to {day.isoformat()}, names" in failed(bench.serve_and_probe(certificate=Certificate.EXPIRED)).text


def test_certificate_is_refused_and_cryptography_is_missing(bench: Bench) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "cryptography":
            raise ImportError(name)
        return original(name, *arguments, **more)

    with proxy(bench.folder, certificate=Certificate.EXPIRED) as running:
        bench.monkeypatch.setattr(builtins, "__import__", without)
        check = failed(bench.probe(running))
    assert check.text.endswith(
        "To see the dates and names in it, install the Python library cryptography on this host."
    )


def test_certificate_is_refused_and_then_cannot_be_read(bench: Bench) -> None:
    bench.monkeypatch.setattr(socket, "create_connection", lambda *_arguments, **_more: 1 / 0)
    check = failed(bench.serve_and_probe(certificate=Certificate.EXPIRED))
    assert check.text.endswith("The dates and names in it could not be read.")


def test_certificate_expires_soon(bench: Bench) -> None:
    check = bench.serve_and_probe(certificate=Certificate.EXPIRES_SOON)["Certificate of the proxy"]
    day = (utc_now() + timedelta(days=10, hours=1)).date().isoformat()
    assert check.outcome is Outcome.WARNING
    assert check.text == (
        f"The certificate of the proxy expires on {day}, in 10 days. Renew it, and check that the proxy serves the new one."
    )


@pytest.mark.parametrize(
    ("days", "outcome", "text"),
    [
        (30, Outcome.PASSED, "is valid for 30 days more"),
        (29, Outcome.WARNING, "in 29 days."),
        (1, Outcome.WARNING, "in 1 day."),
        (0, Outcome.WARNING, "in 0 days."),
        (-1, Outcome.FAILED, "The certificate of the proxy expired on"),
    ],
)
def test_days_are_counted_from_the_time_that_is_passed_in(bench: Bench, days: int, outcome: Outcome, text: str) -> None:
    check = bench.serve_and_probe(days=100, now=lambda: utc_now() + timedelta(days=100 - days))[
        "Certificate of the proxy"
    ]
    assert check.outcome is outcome
    assert text in check.text
    assert check.code == ("XKS_PROXY_INVALID_TLS_CONFIGURATION" if outcome is Outcome.FAILED else "")


def test_tls_is_too_old(bench: Bench) -> None:
    check = failed(bench.serve_and_probe(highest=ssl.TLSVersion.TLSv1_1))
    assert (check.name, check.code) == ("TLS of the proxy", "XKS_PROXY_INVALID_TLS_CONFIGURATION")
    assert check.text.startswith(
        "The proxy speaks no TLS 1.2 or 1.3, and KMS speaks nothing older. Turn TLS 1.2 or 1.3 on"
    )


def test_tls_is_too_old_for_openssl_of_the_proxy(bench: Bench) -> None:
    bench.monkeypatch.setattr(ssl, "HAS_TLSv1_1", False)
    assert failed(bench.serve_and_probe(highest=ssl.TLSVersion.TLSv1_1)).text.startswith(
        "The proxy speaks no TLS 1.2 or 1.3,"
    )


def test_tls_1_2_is_enough(bench: Bench) -> None:
    checks = bench.serve_and_probe(highest=ssl.TLSVersion.TLSv1_2)
    assert checks["TLS of the proxy"].text == "The proxy speaks TLSv1.2."
    assert {check.outcome for check in checks.values()} == {Outcome.PASSED}


def test_no_tls(bench: Bench) -> None:
    check = failed(bench.serve_and_probe(certificate=Certificate.NONE))
    assert check.code == "XKS_PROXY_INVALID_TLS_CONFIGURATION"
    assert "does not speak TLS" in check.text


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_is_asked_for(bench: Bench, highest: ssl.TLSVersion) -> None:
    """Only KMS has it, so nothing has failed."""
    checks = bench.serve_and_probe(highest=highest, mutual=True)
    check = list(checks.values())[-1]
    assert check.outcome is Outcome.UNKNOWN
    assert "It may ask for a client certificate, which only KMS has" in check.text
    assert not [check for check in checks.values() if check.outcome is Outcome.FAILED]


def test_handshake_hangs() -> None:
    with listener() as port:
        (check,) = probe_nothing("https://127.0.0.1", port, handshake=0.1)
    assert check.code == "XKS_PROXY_TIMED_OUT"
    assert check.text.startswith("127.0.0.1 accepts connections, but closes them during the TLS handshake (timed out).")


@pytest.mark.parametrize("connectivity", ["PUBLIC_ENDPOINT", VPC])
def test_handshake_is_broken_off(connectivity: str) -> None:
    with listener(reads=True) as port:
        (check,) = probe_nothing("https://127.0.0.1", port, connectivity=connectivity)
    assert "closes them during the TLS handshake (" in check.text
    if connectivity == VPC:
        assert check.outcome is Outcome.UNKNOWN
    else:
        assert check.code == "XKS_PROXY_NOT_REACHABLE"
        assert "the load balancer before it has a healthy target" in check.text


def test_failure_behind_a_vpc_endpoint_service_says_what_kms_sees(bench: Bench) -> None:
    assert failed(bench.serve_and_probe(certificate=Certificate.EXPIRED, connectivity=VPC)).text.endswith(SUFFIX)


# Time


def test_slow_proxy(bench: Bench) -> None:
    with proxy(bench.folder, credential=KEYS, seconds=0.45) as running:
        checks = bench.probe(running)
    check = failed(checks)
    assert (check.name, check.code) == ("Time of the proxy", "XKS_PROXY_TIMED_OUT")
    assert (
        "milliseconds; KMS waits 250 milliseconds. The network is not the cause: the TLS handshake took" in check.text
    )
    assert len(running.requests) == 3
    assert checks["External key managers"].outcome is Outcome.PASSED


def test_far_proxy() -> None:
    check = judge_time(0.4, 0.2, is_of_health=True)
    assert check.outcome is Outcome.WARNING
    assert check.text == (
        "Seen from this host, the proxy answers in 400 milliseconds; KMS waits 250 milliseconds, and reports XKS_PROXY_TIMED_OUT"
        " after that. The network from here takes up to 200 milliseconds of it: do the check on a host in the Region, to see what"
        " KMS sees."
    )


@pytest.mark.parametrize(
    ("shortest", "handshake", "outcome"),
    [
        (0.25, 0.0, Outcome.PASSED),
        (0.26, 0.02, Outcome.WARNING),
        (0.26, 0.0, Outcome.FAILED),
        (1.0, 0.7, Outcome.FAILED),
    ],
)
def test_limits_of_time(shortest: float, handshake: float, outcome: Outcome) -> None:
    assert judge_time(shortest, handshake, is_of_health=True).outcome is outcome


def test_no_answer(bench: Bench) -> None:
    check = failed(bench.serve_and_probe(seconds=0.5, limits=Limits(answer=0.2)))
    assert (check.name, check.code) == ("Time of the proxy", "XKS_PROXY_TIMED_OUT")
    assert check.text == (
        "The proxy gave no answer within 0.2 seconds; KMS waits 250 milliseconds. Find out what slows it down; ask its vendor."
    )


def test_body_does_not_wait_for_the_headers() -> None:
    """Else each answer seems to take 40 milliseconds more, which is what TCP waits before it confirms."""
    with listener() as port:
        addresses = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
        with xks_probe._connect(addresses, 1) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_all_limits_together_are_bounded() -> None:
    limits = Limits()
    assert limits.resolve + limits.connect + limits.handshake + max(limits.handshake, limits.answer) <= 15


# The answer


def test_secret_is_wrong(bench: Bench) -> None:
    wrong = ProxyCredential(KEYS.access_key_id, "x" * 43)
    check = failed(bench.serve_and_probe(checked_with=wrong))
    assert (check.name, check.code) == ("Credential of the proxy", "INVALID_CREDENTIALS")
    assert check.text == (
        "The proxy refuses the signature that was made with the credential for the Region eu-central-1 (401"
        " AuthenticationFailedException). Compare the access key id and the secret with those in the proxy, make them the same"
        " there, or tell KMS those of the proxy."
    )


def test_access_key_id_is_wrong(bench: Bench) -> None:
    assert failed(bench.serve_and_probe(checked_with=ProxyCredential("B" * 20, SECRET))).code == "INVALID_CREDENTIALS"


def test_clocks_differ(bench: Bench) -> None:
    """The proxy is right to refuse, whatever the credential is."""
    status, body = error(401, "AuthenticationFailedException")
    checks = bench.serve_and_probe(status=status, body=body, headers={"Date": "Mon, 06 Jul 2020 10:00:00 GMT"})
    check = checks["Credential of the proxy"]
    assert check.outcome is Outcome.UNKNOWN
    assert "its clock and that of this host are" in check.text


@pytest.mark.parametrize("secret", ["", None, 5, "ü", "\ud800"])
def test_secret_that_can_be_none(bench: Bench, secret: Any) -> None:
    checks = bench.serve_and_probe(checked_with=ProxyCredential(KEYS.access_key_id, secret))
    assert checks["Credential of the proxy"].outcome in (Outcome.UNKNOWN, Outcome.FAILED)


def test_secret_is_in_no_report(bench: Bench) -> None:
    checks = bench.serve_and_probe(checked_with=None)
    assert not [check for check in checks.values() if check.outcome is Outcome.FAILED]
    assert checks["URI path of the proxy"].outcome is Outcome.PASSED
    assert checks["Credential of the proxy"].outcome is Outcome.UNKNOWN
    assert checks["Credential of the proxy"].text == (
        "You did not give the secret of the credential, so it is not known whether the proxy accepts the store's. It"
        " refuses a request without a signature, as it should."
    )
    assert checks["Time of the proxy"].outcome is Outcome.UNKNOWN
    assert checks["Time of the proxy"].text.startswith("The proxy refuses in ")


def test_proxy_takes_what_nobody_signed(bench: Bench) -> None:
    check = bench.serve_and_probe(checked_with=None, credential=None)["Credential of the proxy"]
    assert check.outcome is Outcome.WARNING
    assert check.text.startswith(
        "The proxy answers a request without a signature, so anyone who reaches it can use it."
    )


@pytest.mark.parametrize("checked_with", [CREDENTIAL, None])
def test_path_is_wrong(bench: Bench, checked_with: ProxyCredential | None) -> None:
    with proxy(bench.folder, credential=KEYS) as running:
        configuration = {**running.configuration(), "UriPath": "/other/kms/xks/v1"}
        bench.monkeypatch.setenv("SSL_CERT_FILE", str(running.ca_file))
        checks = check_proxy(configuration, checked_with, region=REGION, now=utc_now, port=running.port)
    check = failed(named(checks))
    assert (check.name, check.code) == ("URI path of the proxy", "XKS_PROXY_INVALID_CONFIGURATION")
    assert check.text == (
        "The proxy does not serve the path /other/kms/xks/v1/health (404 InvalidUriPathException). Compare the URI path of the"
        " store with the one that the proxy serves, and fix the one that is wrong."
    )


def test_not_found_without_a_name(bench: Bench) -> None:
    check = failed(bench.serve_and_probe(status=404, body=b"<html>Not found"))
    assert check.code == "XKS_PROXY_INVALID_CONFIGURATION"
    assert "(404, without an errorName)" in check.text
    assert check.text.endswith("Without an errorName, KMS may call it XKS_PROXY_INVALID_RESPONSE.")


def test_access_is_denied(bench: Bench) -> None:
    check = failed(bench.serve_and_probe(denied=True))
    assert (check.name, check.code) == ("Authorization at the proxy", "XKS_PROXY_ACCESS_DENIED")
    assert check.text == (
        "The proxy does not allow the request (403 AccessDeniedException). In the proxy, check the authorization rules for KMS"
        " and this key store."
    )


@pytest.mark.parametrize(
    ("status", "name", "code", "text"),
    [
        (429, "ThrottlingException", "XKS_PROXY_NOT_REACHABLE", "because it gets too many (429 ThrottlingException)."),
        (500, "InternalException", "XKS_PROXY_INVALID_RESPONSE", "reports an internal error (500 InternalException)."),
        (503, "DependencyTimeoutException", "XKS_PROXY_TIMED_OUT", "got no answer from its key manager (503 Dep"),
        (
            400,
            "InvalidStateException",
            "XKS_PROXY_INVALID_CONFIGURATION",
            "this key store is disabled or blocked (400 ",
        ),
        (
            501,
            "UnsupportedOperationException",
            "XKS_PROXY_INVALID_RESPONSE",
            "answers with an error that KMS does not expect",
        ),
        (
            400,
            "ValidationException",
            "XKS_PROXY_INVALID_RESPONSE",
            "(400 ValidationException). Check that the proxy runs",
        ),
        (404, "KeyNotFoundException", "XKS_PROXY_INVALID_RESPONSE", "(404 KeyNotFoundException)."),
        (500, "InvalidUriPathException", "XKS_PROXY_INVALID_CONFIGURATION", "(500 InvalidUriPathException)."),
        (418, "Teapot\u00fc\n{status}", "XKS_PROXY_INVALID_RESPONSE", "(418 Teapot"),
    ],
)
def test_error(bench: Bench, status: int, name: str, code: str, text: str) -> None:
    body = error(status, name, "Ask the operator")[1].replace(b"{status}", b"[status]")
    check = failed(bench.serve_and_probe(status=status, body=body))
    assert check.code == code
    assert text in check.text
    assert check.text.endswith(' It says: "Ask the operator".')


@pytest.mark.parametrize("status", [500, 502, 503, 429, 400, 201, 204])
def test_error_without_a_name(bench: Bench, status: int) -> None:
    """KMS cannot interpret it: it often is of a load balancer that reaches no proxy."""
    checks = bench.serve_and_probe(status=status, body=b"<html>Sorry" if status != 204 else b"")
    check = failed(checks)
    assert check.code == "XKS_PROXY_INVALID_RESPONSE"
    assert f"({status}, without an errorName)" in check.text
    assert "URI path of the proxy" not in checks


def test_redirect_is_not_followed(bench: Bench) -> None:
    with proxy(bench.folder, status=307, headers={"Location": "/elsewhere{x}"}) as running:
        checks = check_with(running, bench)
    check = failed(checks)
    assert check.code == "XKS_PROXY_INVALID_RESPONSE"
    assert (
        "The proxy redirects the request to /elsewhere{x} (307, without an errorName), which no proxy may."
        in check.text
    )
    assert [request.path for request in running.requests] == ["/kms/xks/v1/health"]


def check_with(running: Proxy, bench: Bench) -> dict[str, Check]:
    """As bench.serve_and_probe(), where a text may have a brace."""
    bench.monkeypatch.setenv("SSL_CERT_FILE", str(running.ca_file))
    checks = check_proxy(running.configuration(), CREDENTIAL, region=REGION, now=utc_now, port=running.port)
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "it is no JSON object"),
        (b"OK", "it is no JSON object"),
        (b"\xff\xfe", "it is no JSON object"),
        (b"[1]", "it is no JSON object"),
        (b"[" * 100_000, "it is no JSON object"),
        (b"x" * (1024 * 1024 + 1), "it is longer than 1048576 bytes"),
    ],
)
def test_answer_is_no_json(bench: Bench, body: bytes, text: str) -> None:
    check = failed(bench.serve_and_probe(status=200, body=body))
    assert (check.name, check.code) == ("Answer of the proxy", "XKS_PROXY_INVALID_RESPONSE")
    assert check.text == f"KMS cannot use what the proxy answers: {text}. Report it to the vendor of the proxy."


MANAGER = {"id": "a", "model": "b", "healthStatus": "ACTIVE"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"xksProxyVendor": None}, "xksProxyVendor is missing"),
        ({"xksProxyModel": 3, "ekmVendor": ""}, "xksProxyModel is missing; ekmVendor is missing"),
        ({"xksProxyFleetSize": 0}, "xksProxyFleetSize is no whole number above 0"),
        ({"xksProxyFleetSize": "2"}, "xksProxyFleetSize is no whole number above 0"),
        ({"ekmFleetDetails": None}, "ekmFleetDetails does not list one to ten key managers"),
        ({"ekmFleetDetails": []}, "ekmFleetDetails does not list one to ten key managers"),
        ({"ekmFleetDetails": [MANAGER] * 11}, "ekmFleetDetails does not list one to ten key managers"),
        ({"ekmFleetDetails": ["ACTIVE"]}, "a key manager in ekmFleetDetails has no id or no model"),
        ({"ekmFleetDetails": [{**MANAGER, "id": None}]}, "a key manager in ekmFleetDetails has no id or no model"),
        (
            {"ekmFleetDetails": [{**MANAGER, "healthStatus": "FINE"}]},
            "a healthStatus in ekmFleetDetails is none of ACTIVE,",
        ),
        (
            {"ekmFleetDetails": [{**MANAGER, "healthStatus": []}]},
            "a healthStatus in ekmFleetDetails is none of ACTIVE,",
        ),
    ],
)
def test_answer_lacks_something(bench: Bench, change: dict[str, Any], text: str) -> None:
    check = failed(bench.serve_and_probe(status=200, body=json.dumps({**health_of(["ACTIVE"]), **change}).encode()))
    assert check.code == "XKS_PROXY_INVALID_RESPONSE"
    assert f"KMS cannot use what the proxy answers: {text}" in check.text


@contextlib.contextmanager
def raw(bench: Bench, answer: bytes) -> Iterator[int]:
    """A TLS server that sends these bytes for an answer."""
    with proxy(bench.folder, credential=KEYS) as running:
        bench.monkeypatch.setenv("SSL_CERT_FILE", str(running.ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bench.folder / "proxy.pem")

    def run() -> None:
        with contextlib.suppress(OSError):
            connection, _address = server.accept()
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                secure.recv(65536)  # the headers and the body come one after the other
                for each in (answer[number : number + 1] for number in range(len(answer))):
                    secure.sendall(each)
                    if answer.startswith(b"HTTP/1.1 2"):
                        time.sleep(0.02)
                secure.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (
            b"",
            "XKS_PROXY_NOT_REACHABLE",
            "The proxy ends the connection and answers nothing (Remote end closed connection",
        ),
        (b"hello\r\n\r\n", "XKS_PROXY_INVALID_RESPONSE", "What the proxy answers is no HTTP (BadStatusLine)."),
        (b"HTTP/1.1 200 OK\r\n", "XKS_PROXY_TIMED_OUT", "The proxy gave no answer within 0.2 seconds;"),
    ],
)
def test_answer_is_no_http(bench: Bench, answer: bytes, code: str, text: str) -> None:
    """The last one comes byte by byte, so that no single byte is late."""
    with raw(bench, answer) as port:
        check = probe_nothing("https://127.0.0.1", port, answer=0.2 if answer.startswith(b"HTTP") else 5)[-1]
    assert check.code == code
    assert check.text.startswith(text)


# The key managers


def test_no_key_manager_is_available(bench: Bench) -> None:
    check = failed(bench.serve_and_probe(health=["UNAVAILABLE", "UNAVAILABLE"]))
    assert (check.name, check.code) == ("External key managers", "XKS_PROXY_NOT_REACHABLE")
    assert check.text == (
        "The proxy reaches none of its 2 external key managers: manager-1 is UNAVAILABLE, manager-2 is UNAVAILABLE. Check that"
        " they run, and that the proxy reaches them."
    )


@pytest.mark.parametrize("state", ["UNAVAILABLE", "DEGRADED"])
def test_some_key_managers_ail(bench: Bench, state: str) -> None:
    check = bench.serve_and_probe(health=["ACTIVE", state])["External key managers"]
    assert check.outcome is Outcome.WARNING
    assert check.text == (
        f"Of 2 external key managers, not all are healthy: manager-2 is {state}. Check that they run, and that the proxy reaches"
        " them."
    )


def test_all_key_managers_are_degraded(bench: Bench) -> None:
    check = bench.serve_and_probe(health=["DEGRADED"])["External key managers"]
    assert check.outcome is Outcome.WARNING


# The secret


def test_proxy_that_returns_the_secret(bench: Bench) -> None:
    content = {**health_of(["DEGRADED"]), "xksProxyModel": SECRET}
    content["ekmFleetDetails"][0]["id"] = "x" * 180 + SECRET
    for status, body in [
        (200, json.dumps(content).encode()),
        error(500, "InternalException", f"It should have been {SECRET}"),
        error(500, "InternalException", "x" * 180 + SECRET),
        error(500, SECRET),
    ]:
        checks = bench.serve_and_probe(status=status, body=body)
        assert SECRET[:12] not in str(checks)


def test_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(CREDENTIAL)
    assert SECRET not in str([CREDENTIAL])


# The VPC endpoint service

SERVICE = "com.amazonaws.vpce.eu-central-1.vpce-svc-0123456789abcdef0"
GOOD_SERVICE = {
    "ServiceName": SERVICE,
    "ServiceType": [{"ServiceType": "Interface"}],
    "AvailabilityZones": ["eu-central-1a", "eu-central-1b"],
    "AcceptanceRequired": False,
    "PrivateDnsName": "xks.example.com",
    "PrivateDnsNameVerificationState": "verified",
}


def ask_ec2(
    *,
    services: list[dict[str, Any]] | None = None,
    error: str = "",
    owner: str = "111122223333",
    account: str = "111122223333",
) -> Check:
    ec2 = boto3.client("ec2", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    configuration = {
        "Connectivity": VPC,
        "UriEndpoint": "https://XKS.example.com",
        "UriPath": "/kms/xks/v1",
        "VpcEndpointServiceName": SERVICE,
        "VpcEndpointServiceOwner": owner,
    }
    with Stubber(ec2) as stubber:
        if error:
            stubber.add_client_error("describe_vpc_endpoint_services", error, "You may not", 400)
        else:
            parameters = {"ServiceNames": [SERVICE]}
            stubber.add_response("describe_vpc_endpoint_services", {"ServiceDetails": services or []}, parameters)
        (check,) = check_vpc_service(ec2, configuration, store_account=account)
    assert check.name == "VPC endpoint service"
    named([check])
    return check


def test_service_is_good() -> None:
    check = ask_ec2(services=[GOOD_SERVICE])
    assert check.outcome is Outcome.PASSED
    assert check.text == (
        f"The VPC endpoint service {SERVICE} is as KMS needs it, as far as EC2 shows. Not seen: whether it allows the KMS"
        " principal of the Region (cks.kms.REGION.amazonaws.com)."
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"AcceptanceRequired": True}, "it requires that connections are accepted, and must not"),
        ({"AvailabilityZones": ["eu-central-1a"]}, "it is in 1 Availability Zone (eu-central-1a), and must be in two"),
        ({"AvailabilityZones": []}, "it is in 0 Availability Zones, and must be in two"),
        (
            {"PrivateDnsName": "other.example.com"},
            "its private DNS name is other.example.com, and must be xks.example.com, the host of the URI endpoint",
        ),
        ({"PrivateDnsName": ""}, "it has no private DNS name"),
        (
            {"PrivateDnsNameVerificationState": "pendingVerification"},
            "the domain of its private DNS name is pendingVerification, and must be verified",
        ),
        (
            {"ServiceType": [{"ServiceType": "GatewayLoadBalancer"}]},
            "it is a service of the type GatewayLoadBalancer, and must be Interface",
        ),
        (
            {"AcceptanceRequired": True, "PrivateDnsNameVerificationState": "failed"},
            "it requires that connections are accepted, and must not; the domain of its private DNS name is failed, and must be"
            " verified",
        ),
    ],
)
def test_service_is_at_fault(change: dict[str, Any], text: str) -> None:
    check = ask_ec2(services=[{**GOOD_SERVICE, **change}])
    assert check.code == "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION"
    assert check.text == f"The VPC endpoint service {SERVICE} is not as KMS needs it: {text}. Fix it in Amazon VPC."


@pytest.mark.parametrize("answer", [{"error": "InvalidServiceName"}, {"services": []}])
def test_service_is_missing(answer: dict[str, Any]) -> None:
    check = ask_ec2(**answer)
    assert check.outcome is Outcome.UNKNOWN
    assert check.text == (
        f"EC2 does not return the VPC endpoint service {SERVICE} to this caller. If there is no such service in this Region, a"
        " connect fails with XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND: create the service, or give the key store the name of the"
        " service of its proxy. If there is such a service, and only this caller cannot see it, nothing is wrong."
    )


@pytest.mark.parametrize("account", ["111122223333", ""])
def test_service_of_another_account_is_not_seen(account: str) -> None:
    check = ask_ec2(error="InvalidServiceName", owner="444455556666", account=account)
    assert check.outcome is Outcome.UNKNOWN
    assert "is in the account 444455556666, and does not show itself to the caller." in check.text


def test_zones_of_a_service_of_another_account() -> None:
    """EC2 returns only those that both accounts use."""
    check = ask_ec2(services=[{**GOOD_SERVICE, "AvailabilityZones": ["eu-central-1a"]}], owner="444455556666")
    assert check.outcome is Outcome.PASSED
    assert (
        "whether it is in two Availability Zones, as EC2 returns only those that this account also uses." in check.text
    )


def test_ec2_does_not_permit_it() -> None:
    check = ask_ec2(error="UnauthorizedOperation")
    assert check.outcome is Outcome.UNKNOWN
    assert check.text == (
        f"EC2 was asked for the VPC endpoint service {SERVICE}, but: UnauthorizedOperation. Check that the caller has"
        " ec2:DescribeVpcEndpointServices, and that the managed host reaches EC2."
    )


def test_ec2_is_not_reached() -> None:
    class Ec2:
        def describe_vpc_endpoint_services(self, **_arguments: Any) -> None:
            raise EndpointConnectionError(endpoint_url="https://ec2.example.com")

    (check,) = check_vpc_service(Ec2(), {"VpcEndpointServiceName": SERVICE})
    assert check.outcome is Outcome.UNKNOWN
    assert "Could not connect to the endpoint URL" in check.text
