# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy of an external key store, over real TLS, that answers requests for its health and can be made to fail.

It listens on a loopback address of this host, and has certificates that are made when it starts::

    with proxy(folder, credential=KEYS, health=["ACTIVE", "DEGRADED"]) as p:
        environment["SSL_CERT_FILE"] = str(p.ca_file)
        ask(p.endpoint, p.port)
        p.health = ["UNAVAILABLE"]

On port 443, which KMS uses, C(proxy(folder, address="127.0.0.9", port=443)) needs the rights for that port.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
import warnings
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Sequence

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.proxy.certificates import Certificate
from tests.proxy.certificates import make_certificates

__all__ = ["Certificate", "Keys", "Proxy", "Request", "health_of", "proxy"]

SERVICE = "kms-xks-proxy"
SECONDS_OF_SKEW = 300
PATH = "/kms/xks/v1"

PROTOCOL_VERSION_ALERT = bytes.fromhex("15 0301 0002 02 46")
"""What a server says in TLS that speaks none of the versions that it was offered: a fatal alert with the number 70."""


@dataclass(frozen=True)
class Keys:
    """A credential that a proxy accepts."""

    access_key_id: str
    raw_secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class Request:
    """A request that came, whatever was answered."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Proxy:
    """A running proxy. What it is asked next, it answers by what its attributes are then.

    Attributes:
        host: by which it is to be reached; the certificate names it, unless that is at fault.
        port: on which it listens.
        ca_file: the certificate of the authority behind its own, for C(SSL_CERT_FILE).
        path: what it serves, without C(/health).
        credential: what a signature must be made with. None accepts each request, signed or not.
        health: the state of each external key manager.
        denied: refuse what is signed well, by an authorization rule.
        status: answer with this status and C(body). None: as the rest says.
        body: what to answer with C(status).
        headers: more headers of each answer.
        seconds: how long each answer takes.
        requests: those that came.
    """

    host: str
    port: int
    ca_file: Path
    path: str
    credential: Optional[Keys]
    health: Sequence[str]
    denied: bool
    status: Optional[int]
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    requests: list[Request] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """C(UriEndpoint) of a store; KMS adds port 443."""
        return f"https://{self.host}"

    def configuration(self, connectivity: str = "PUBLIC_ENDPOINT") -> dict[str, str]:
        """C(XksProxyConfiguration) of a store with this proxy, as KMS describes it."""
        access_key_id = self.credential.access_key_id if self.credential else "A" * 20
        return {
            "Connectivity": connectivity,
            "AccessKeyId": access_key_id,
            "UriEndpoint": self.endpoint,
            "UriPath": self.path,
        }

    def answer(self, request: Request) -> tuple[int, bytes]:
        """The status and the body for a request."""
        if self.seconds:
            time.sleep(self.seconds)
        if self.status is not None:
            return self.status, self.body
        if request.method != "POST" or request.path != f"{self.path}/health":
            return error(404, "InvalidUriPathException")
        if self.credential and not is_signed(request, self.credential):
            return error(401, "AuthenticationFailedException")
        if self.denied:
            return error(403, "AccessDeniedException")
        return 200, json.dumps(health_of(self.health)).encode()


def health_of(states: Sequence[str]) -> dict[str, Any]:
    """The health of a proxy whose key managers have these states."""
    managers = [
        {"id": f"manager-{number}", "model": "Vault 2", "healthStatus": state}
        for number, state in enumerate(states, start=1)
    ]
    return {
        "xksProxyFleetSize": 1,
        "xksProxyVendor": "Example Corp",
        "xksProxyModel": "Test Proxy 1.0",
        "ekmVendor": "Example Vaults",
        "ekmFleetDetails": managers,
    }


def error(status: int, name: str, message: str = "") -> tuple[int, bytes]:
    """An error in the form that the specification of the proxy has for it."""
    return status, json.dumps({"errorName": name, **({"errorMessage": message} if message else {})}).encode()


def is_signed(request: Request, credential: Keys) -> bool:
    """Is the request signed with this credential, for the service, and not long ago? The Region may be any."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    kind, _space, rest = headers.get("authorization", "").partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    scope = parts.get("Credential", "").split("/")
    if kind != "AWS4-HMAC-SHA256" or len(scope) != 5 or scope[0] != credential.access_key_id or scope[3] != SERVICE:
        return False
    stamp = headers.get("x-amz-date", "")
    try:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    if abs((datetime.now(timezone.utc) - signed).total_seconds()) > SECONDS_OF_SKEW:
        return False
    names = parts.get("SignedHeaders", "").split(";")
    auth = SigV4Auth(Credentials(credential.access_key_id, credential.raw_secret_access_key), SERVICE, scope[2])
    again = AWSRequest(
        request.method,
        f"https://{headers.get('host')}{request.path}",
        headers={name: headers.get(name, "") for name in names},
        data=request.body,
    )
    again.context["timestamp"] = stamp
    signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return {"host", "x-amz-date"} <= set(names) and signature == parts.get("Signature")


class _Server(ThreadingHTTPServer):
    """An HTTPS server whose handshakes are done by the thread of each request, so that none holds up another."""

    def __init__(self, address: tuple[str, int], context: Optional[ssl.SSLContext], is_old: bool) -> None:
        super().__init__(address, _Handler)
        self.proxy: Proxy
        self._context = context
        self._is_old = is_old

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # that of HTTPServer looks up the name of this host, which may take long

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(
            OSError
        ):  # the other side ends the handshake or the connection: that is what is tested
            if self._is_old:
                request.recv(4096)
                request.sendall(PROTOCOL_VERSION_ALERT)
            elif self._context is None:
                _Handler(request, client_address, self)
            else:
                with self._context.wrap_socket(request, server_side=True) as secure:
                    _Handler(secure, client_address, self)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 milliseconds

    def do_POST(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def _handle(self) -> None:
        assert isinstance(self.server, _Server)
        running = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, dict(self.headers.items()), body)
        running.requests.append(request)
        status, content = running.answer(request)
        self.send_response_only(status)
        headers = {"Date": formatdate(usegmt=True), "Content-Type": "application/json", **running.headers}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Write nothing."""


def _context(certificate: Certificate, chain: Path, ca_file: Path, highest: ssl.TLSVersion, mutual: bool) -> Any:
    if certificate is Certificate.NONE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if highest < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL takes its digests for too weak otherwise
    with warnings.catch_warnings():  # of old versions, which is what is asked for
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min(highest, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = highest
    context.load_cert_chain(chain)
    if mutual:
        context.load_verify_locations(ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def proxy(
    folder: Path,
    *,
    certificate: Certificate = Certificate.GOOD,
    days: int = 365,
    host: str = "",
    address: str = "127.0.0.1",
    port: int = 0,
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    mutual: bool = False,
    path: str = PATH,
    credential: Optional[Keys] = None,
    health: Sequence[str] = ("ACTIVE",),
    denied: bool = False,
    status: Optional[int] = None,
    body: bytes = b"",
    headers: Optional[Mapping[str, str]] = None,
    seconds: float = 0.0,
) -> Iterator[Proxy]:
    """Run a proxy in threads of this process. What is not told here is told at C(Proxy).

    Args:
        folder: for its certificates and the key.
        certificate: what is wrong with its certificate.
        days: until its certificate expires, where that is not what is wrong.
        host: by which clients reach it, and which its certificate names; as a rule, the address.
        address: on which it listens.
        port: on which it listens; 0 for any that is free.
        highest: the highest version of TLS that it speaks. Where OpenSSL cannot speak one before 1.2, it only says that it
            does not know the version that it is offered.
        mutual: it wants a certificate of the client, of the same authority.
    """
    host = host or address
    ca_file, chain = make_certificates(folder, certificate, host=host, days=days)
    is_old = highest < ssl.TLSVersion.TLSv1_2 and not ssl.HAS_TLSv1_1
    context = None if is_old else _context(certificate, chain, ca_file, highest, mutual)
    server = _Server((address, port), context, is_old)
    server.proxy = Proxy(
        host=host,
        port=int(server.server_address[1]),
        ca_file=ca_file,
        path=path,
        credential=credential,
        health=health,
        denied=denied,
        status=status,
        body=body,
        headers=headers or {},
        seconds=seconds,
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.socket.close()  # not server_close(), which waits for answers that nobody waits for
        thread.join()


@contextlib.contextmanager
def listener(*, reads: bool = False) -> Iterator[int]:
    """A port that takes connections and never answers; with C(reads), it reads a little and ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with contextlib.suppress(OSError):
                while reads:
                    connection, _address = server.accept()
                    with connection:
                        connection.recv(1024)

        threading.Thread(target=run, daemon=True).start()
        yield int(server.getsockname()[1])
