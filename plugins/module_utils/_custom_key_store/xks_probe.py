# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether KMS could connect to the proxy of an external key store, with a request from this host like that of KMS.

The public specification of the proxy says how KMS handles an answer: xks_proxy_api_spec.md in aws/aws-kms-xksproxy-api-spec on
GitHub, C(the specification) below. It has the exceptions that KMS raises. The C(ConnectionErrorCode) for each exception is
inferred from the description of the codes in the API reference of KMS.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http.client
import json
import re
import socket
import ssl
import threading
import time
import uuid
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import TypeVar

from .prediction import Check
from .prediction import Outcome

with contextlib.suppress(ImportError):  # AnsibleAWSModule says which library is missing
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    import botocore.exceptions

VPC_ENDPOINT_SERVICE = "VPC_ENDPOINT_SERVICE"

SERVICE = "kms-xks-proxy"
"""The service name in the signature of KMS."""

SECONDS_OF_KMS = 0.25
"""How long KMS waits for an answer."""

DAYS_LEFT = 30
"""If a certificate expires sooner, the check warns."""

MOST_BYTES = 1024 * 1024
"""The maximum that is read of an answer."""

MOST_REQUESTS = 3
"""The maximum of requests to a slow proxy: the shortest time counts, so that one slow answer does not matter."""

SECONDS_OF_SKEW = 300
"""The specification lets a proxy refuse a request whose signature is older, or as much in the future."""

NOT_REACHABLE = "XKS_PROXY_NOT_REACHABLE"
TIMED_OUT = "XKS_PROXY_TIMED_OUT"
INVALID_TLS = "XKS_PROXY_INVALID_TLS_CONFIGURATION"
INVALID_CONFIGURATION = "XKS_PROXY_INVALID_CONFIGURATION"
INVALID_RESPONSE = "XKS_PROXY_INVALID_RESPONSE"
INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
ACCESS_DENIED = "XKS_PROXY_ACCESS_DENIED"
SERVICE_NOT_FOUND = "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND"
SERVICE_INVALID = "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION"

CONNECTION = "Connection to the proxy"
TLS = "TLS of the proxy"
CERTIFICATE = "Certificate of the proxy"
TIME = "Time of the proxy"
PATH = "URI path of the proxy"
CREDENTIAL = "Credential of the proxy"
ACCESS = "Authorization at the proxy"
ANSWER = "Answer of the proxy"
MANAGERS = "External key managers"
VPC_SERVICE = "VPC endpoint service"

# As in the model of KMS, which allows no port.
_ENDPOINT = re.compile(r"https://([a-zA-Z0-9.-]+)")
_URI_PATH = re.compile(r"/[a-zA-Z0-9/_-]+")

_T = TypeVar("_T")


@dataclass(frozen=True)
class ProxyCredential:
    """The credential with which KMS signs its requests to a proxy.

    Attributes:
        access_key_id: the id of the secret.
        raw_secret_access_key: the secret; it is not in any C(repr), text or exception.
    """

    access_key_id: str
    raw_secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class Limits:
    """The timeout of each step, in seconds. Together they limit C(check_proxy) to about 15 seconds."""

    resolve: float = 3.0
    connect: float = 3.0
    handshake: float = 3.0
    answer: float = 5.0


def check_proxy(
    configuration: Mapping[str, Any],
    credential: Optional[ProxyCredential],
    *,
    region: str,
    now: Callable[[], datetime.datetime],
    port: int = 443,
    limits: Optional[Limits] = None,
) -> list[Check]:
    """Request the health of the proxy of an external key store from this host, as KMS does when it connects the store.

    A step that fails ends the checks, because the later steps need it. Raises nothing: every failure is a check.

    Args:
        configuration: C(XksProxyConfiguration) as KMS describes it.
        credential: that of the store, if its secret is known. None sends a request without a signature.
        region: the Region of KMS, for the signature.
        now: returns the time, with a timezone, for the expiry of certificates.
        port: of the proxy. KMS uses 443 only.
        limits: see C(Limits).
    """
    matched = _ENDPOINT.fullmatch(str(configuration.get("UriEndpoint")))
    if matched is None:
        text = (
            "The URI endpoint of the store is not https:// and a host name. Give the store the endpoint of its proxy."
        )
        return [Check(CONNECTION, Outcome.FAILED, text, NOT_REACHABLE)]
    path = str(configuration.get("UriPath"))
    if _URI_PATH.fullmatch(path) is None:
        text = "The URI path of the store is not one that KMS takes. Give the store the path that its proxy serves."
        return [Check(PATH, Outcome.FAILED, text, INVALID_CONFIGURATION)]
    probe = _Probe(
        host=matched.group(1).lower(),  # as in the signature
        port=port,
        path=f"{path}/health",
        is_vpc=configuration.get("Connectivity") == VPC_ENDPOINT_SERVICE,
        credential=credential,
        region=region,
        now=now,
        limits=limits or Limits(),
    )
    probe.probe()
    return probe.found


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """Do work that may hang, and abandon it after a timeout.

    The timeout of a socket limits neither the resolution of a name nor an answer that comes byte by byte; a thread does.

    Raises:
        socket.timeout: the work took too long.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except FutureTimeoutError:
        raise socket.timeout("timed out") from None


@dataclass(frozen=True)
class _Answer:
    """An answer of the proxy. C(seconds): from the first byte of the request to the last of the answer."""

    status: int
    body: bytes
    seconds: float
    location: str = ""
    skew: float = 0.0

    def content(self) -> Any:
        """The JSON of the body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def error_name(self) -> str:
        content = self.content()
        name = content.get("errorName") if isinstance(content, dict) else None
        return name if isinstance(name, str) else ""


@dataclass
class _Probe:
    """The checks of one proxy; C(found) has them in order."""

    host: str
    port: int
    path: str
    is_vpc: bool
    credential: Optional[ProxyCredential]
    region: str
    now: Callable[[], datetime.datetime]
    limits: Limits
    found: list[Check] = field(default_factory=list)

    def probe(self) -> None:
        connection = self._reach()
        if connection is None:
            return
        # Read the certificates of this host before the time measurement starts. SSL_CERT_FILE names others.
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        begun = time.monotonic()
        try:
            secure = _within(self.limits.handshake, lambda: context.wrap_socket(connection, server_hostname=self.host))
        except (OSError, ValueError) as error:
            self._record_failed_handshake(error)
            return
        handshake = time.monotonic() - begun
        self._record_reachable()
        self._record_certificate(secure)
        answers, fault = self._ask(secure)
        if answers:
            self._judge(answers, handshake)
        else:
            self._record_no_answer(fault)

    def _record(self, name: str, outcome: Outcome, text: str) -> None:
        self.found.append(Check(name, outcome, self._without_secret(text)))

    def _fail(self, name: str, code: str, text: str) -> None:
        if self.is_vpc:
            text += " KMS comes through the VPC endpoint service: check that this host, by this name, reaches the same proxy."
        self.found.append(Check(name, Outcome.FAILED, self._without_secret(text), code))

    def _without_secret(self, text: str) -> str:
        """Mask the secret: the proxy knows it, and its answer, which is quoted here, may contain it."""
        secret = self.credential.raw_secret_access_key if self.credential else ""
        return text.replace(str(secret), "********") if secret else text

    def _quote(self, value: Any) -> str:
        """Text of the proxy, for a sentence. The secret is masked before the text is cut: a part of it would not be found."""
        return _printable(self._without_secret(str(value)))

    # 1. The connection

    def _reach(self) -> Optional[socket.socket]:
        """Open a TCP connection. KMS uses no HTTP proxy, so the proxies of the environment are not used here."""
        try:
            addresses = _within(
                self.limits.resolve, lambda: socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            )
        except (OSError, ValueError) as error:
            self._record_unreachable(
                f"This host cannot resolve the name {self.host} ({_reason(error)}).",
                "Check the URI endpoint of the store, and the DNS entry of the proxy.",
                is_of_proxy=False,
            )
            return None
        try:
            connection = _connect(addresses, self.limits.connect)
        except (OSError, ValueError) as error:
            self._record_unreachable(
                f"This host cannot connect to {self.host}, port {self.port} ({_reason(error)}).",
                "Check that the proxy runs, and what a firewall or load balancer before it lets in; if that is KMS and not this"
                " host, do the check on a host that may connect.",
                is_of_proxy=isinstance(error, ConnectionRefusedError),
            )
            return None
        return connection

    def _record_reachable(self) -> None:
        self._record(CONNECTION, Outcome.PASSED, f"{self.host} accepts connections on port {self.port}.")

    def _record_unreachable(
        self, fault: str, remedy: str, *, is_of_proxy: bool = True, code: str = NOT_REACHABLE
    ) -> None:
        """Record why the proxy is not reached.

        Args:
            fault: what failed.
            remedy: what to do.
            is_of_proxy: would KMS probably have the same fault? It resolves names elsewhere, and a firewall that blocks this host
                may allow it.
            code: of the failed connect of KMS.
        """
        if self.is_vpc:
            self._record(
                CONNECTION,
                Outcome.UNKNOWN,
                f"{fault} This alone is not an error: KMS connects through the VPC endpoint service. The proxy was not checked."
                " To check it, run the check on a host that resolves the name and reaches the proxy, such as a host in its VPC.",
            )
        elif is_of_proxy:
            self._fail(CONNECTION, code, f"{fault} {remedy}")
        else:
            self._record(CONNECTION, Outcome.UNKNOWN, f"{fault} The proxy was not checked. {remedy}")

    # 2. TLS

    def _record_failed_handshake(self, error: Exception) -> None:
        if not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            self._record_unreachable(
                f"{self.host} accepts connections, but closes them during the TLS handshake ({_reason(error)}).",
                "Check that the proxy runs, that the load balancer before it has a healthy target, and what a firewall lets in.",
                code=TIMED_OUT if isinstance(error, socket.timeout) else NOT_REACHABLE,
            )
            return
        self._record_reachable()
        reason = getattr(error, "reason", None) or ""
        if isinstance(error, ssl.SSLCertVerificationError):
            self._record_bad_certificate(error)
        elif reason in _NO_CLIENT_CERTIFICATE:
            self._record_client_certificate(TLS, reason)
        else:
            self._fail(TLS, INVALID_TLS, _TLS_FAULTS.get(reason, _other_tls_fault(error)))

    def _record_client_certificate(self, name: str, reason: str) -> None:
        self._record(
            name,
            Outcome.UNKNOWN,
            f"The proxy closes the connection ({reason}). It may ask for a client certificate, which only KMS has, so more"
            " cannot be seen from here. If the proxy asks for none, compare the TLS versions and ciphers that it takes.",
        )

    def _record_bad_certificate(self, error: ssl.SSLCertVerificationError) -> None:
        certificate = _read_certificate(self.host, self.port, self.limits)
        kind = _CERTIFICATE_FAULTS.get(error.verify_code)
        is_of_chain = (
            kind == _EXPIRED and certificate.expiry is not None and certificate.expiry > self.now().timestamp()
        )
        text = (_EXPIRED_CHAIN if is_of_chain else kind or _OTHER_CERTIFICATE).format(
            host=self.host, reason=self._quote(error.verify_message)
        )
        self._fail(CERTIFICATE, INVALID_TLS, f"{text} {certificate.text}")

    def _record_certificate(self, secure: ssl.SSLSocket) -> None:
        self._record(TLS, Outcome.PASSED, f"The proxy speaks {secure.version()}.")
        certificate = secure.getpeercert() or {}
        expiry = ssl.cert_time_to_seconds(str(certificate.get("notAfter")))
        day = datetime.datetime.fromtimestamp(expiry, datetime.timezone.utc).date().isoformat()
        days = int((expiry - self.now().timestamp()) // 86400)
        renew = "Renew it, and check that the proxy serves the new one."
        if days < 0:
            self._fail(CERTIFICATE, INVALID_TLS, f"The certificate of the proxy expired on {day}. {renew}")
        elif days < DAYS_LEFT:
            text = f"The certificate of the proxy expires on {day}, in {_count(days, 'day')}. {renew}"
            self._record(CERTIFICATE, Outcome.WARNING, text)
        else:
            issuer = dict(pair for group in certificate.get("issuer", ()) for pair in group)  # type: ignore[misc]
            name = self._quote(issuer.get("organizationName") or issuer.get("commonName"))
            self._record(
                CERTIFICATE,
                Outcome.PASSED,
                f"The certificate of the proxy names {self.host}, and is valid for {days} days more, until {day}. This host"
                f" trusts its issuer, {name}; KMS goes by the list of certificate authorities that AWS publishes.",
            )

    # 3. and 4. The request

    def _ask(self, secure: ssl.SSLSocket) -> tuple[list[_Answer], Optional[Exception]]:
        """The answers, and the error if there are none."""
        answers: list[_Answer] = []

        def ask() -> None:
            secure.settimeout(self.limits.answer)
            # An existing connection. http.client follows no redirect, and uses no proxy of the environment.
            connection = http.client.HTTPConnection(self.host, self.port)
            connection.auto_open = 0  # another connection would not use TLS
            connection.sock = secure
            with contextlib.closing(connection):
                while self._ask_once(connection, answers):
                    pass

        try:
            _within(self.limits.answer, ask)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return answers, error  # answers before the error count
        except _NotSigned as error:
            return [], error
        return answers, None

    def _ask_once(self, connection: http.client.HTTPConnection, answers: list[_Answer]) -> bool:
        """Send a request. Returns whether to repeat it: not after a fast answer, an invalid one, or a very slow one."""
        body = json.dumps(
            {"requestMetadata": {"kmsRequestId": str(uuid.uuid4()), "kmsOperation": "KmsHealthCheck"}}
        ).encode()
        headers = self._headers(body)
        begun = time.monotonic()
        try:
            connection.request("POST", self.path, body, headers)
        except OSError:
            # With TLS 1.3, a proxy that requires a client certificate sends an alert after the handshake, and closes: read it.
            connection.sock.recv(1)
            raise
        response = connection.getresponse()
        content = response.read(MOST_BYTES + 1)
        seconds = time.monotonic() - begun
        answers.append(
            _Answer(
                response.status,
                content,
                seconds,
                response.getheader("Location") or "",
                _skew(response.getheader("Date")),
            )
        )
        is_of_use = response.status in (200, 401) and len(content) <= MOST_BYTES and not response.will_close
        return is_of_use and len(answers) < MOST_REQUESTS and SECONDS_OF_KMS < seconds < self.limits.answer / 4

    def _headers(self, body: bytes) -> dict[str, str]:
        """Sign C(host) and C(x-amz-date) and nothing else, as KMS does.

        Raises:
            _NotSigned: the credential cannot sign. Without the reason, which may contain a secret.
        """
        host = self.host if self.port == 443 else f"{self.host}:{self.port}"
        headers = {"Host": host, "Content-Type": "application/json"}
        if self.credential is None:
            return headers
        try:
            keys = botocore.credentials.Credentials(
                self.credential.access_key_id, self.credential.raw_secret_access_key
            )
            request = botocore.awsrequest.AWSRequest("POST", f"https://{host}{self.path}", data=body)
            botocore.auth.SigV4Auth(keys, SERVICE, self.region).add_auth(request)
        except (AttributeError, TypeError, ValueError, botocore.exceptions.BotoCoreError):
            raise _NotSigned from None
        return {**headers, **{name: str(value) for name, value in request.headers.items()}}

    def _record_no_answer(self, error: Optional[Exception]) -> None:
        reason = getattr(error, "reason", None) or ""
        if isinstance(error, _NotSigned):
            self._record(
                CREDENTIAL,
                Outcome.UNKNOWN,
                "The request could not be signed with the credential that you gave, so the proxy was not asked. Check that the"
                " access key id and the secret are complete.",
            )
        elif isinstance(error, socket.timeout):
            self._fail(
                TIME,
                TIMED_OUT,
                f"The proxy gave no answer within {self.limits.answer:g} seconds; KMS waits {_milliseconds(SECONDS_OF_KMS)}. Find"
                " out what slows it down; ask its vendor.",
            )
        elif reason in _NO_CLIENT_CERTIFICATE:
            self._record_client_certificate(ANSWER, reason)
        elif isinstance(error, OSError):  # including http.client.RemoteDisconnected
            self._fail(
                ANSWER,
                NOT_REACHABLE,
                f"The proxy ends the connection and answers nothing ({_reason(error)}). Check that it runs, and read its log.",
            )
        else:
            self._fail(
                ANSWER,
                INVALID_RESPONSE,
                f"What the proxy answers is no HTTP ({type(error).__name__}). See what listens there; report it to its vendor.",
            )

    def _judge(self, answers: Sequence[_Answer], handshake: float) -> None:
        shortest = min(answer.seconds for answer in answers)
        answer = answers[-1]
        self.found.append(judge_time(shortest, handshake, is_of_health=answer.status == 200))
        if answer.status == 200:
            self._judge_health(answer)
        else:
            self._judge_refusal(answer)

    # 4. The answer

    def _judge_refusal(self, answer: _Answer) -> None:
        error_name = answer.error_name()
        # KMS uses the errorName. Without one, each of these statuses has only one possible name for a health request.
        name = error_name or _NAMES.get(answer.status, "")
        is_unsigned = self.credential is None and name in _OF_UNSIGNED
        if name == "InvalidUriPathException":
            self._refused(PATH, INVALID_CONFIGURATION, _WRONG_PATH, answer, path=self.path)
        elif name:  # otherwise something in front of the proxy may have answered
            self._record(PATH, Outcome.PASSED, f"The proxy answers at {self.path}.")
        if self.credential is None:
            self._record_unsigned(is_refused=is_unsigned)
        if name == "InvalidUriPathException" or is_unsigned:
            return
        if name == "AuthenticationFailedException":
            self._judge_signature(answer)
        elif 300 <= answer.status < 400:
            self._refused(ANSWER, INVALID_RESPONSE, _REDIRECT, answer, location=self._quote(answer.location))
        else:
            self._refused(*_REFUSALS.get(name, _OTHER_REFUSAL), answer)

    def _refused(self, check: str, code: str, text: str, answer: _Answer, **values: str) -> None:
        content = answer.content()
        name = answer.error_name()
        status = f"{answer.status} {self._quote(name)}" if name else f"{answer.status}, without an errorName"
        message = content.get("errorMessage") if name and isinstance(content, dict) else None
        quote = f' It says: "{self._quote(message)}".' if message else ""
        if not name and code != INVALID_RESPONSE:
            quote = f" Without an errorName, KMS may call it {INVALID_RESPONSE}."
        self._fail(check, code, f"{text.format(status=status, **values)}{quote}")

    def _record_unsigned(self, *, is_refused: bool) -> None:
        text = (
            "You did not give the secret of the credential, so it is not known whether the proxy accepts the store's."
        )
        if is_refused:
            text += " It refuses a request without a signature, as it should."
        self._record(CREDENTIAL, Outcome.UNKNOWN, text)

    def _judge_signature(self, answer: _Answer) -> None:
        if abs(answer.skew) <= SECONDS_OF_SKEW:
            self._refused(CREDENTIAL, INVALID_CREDENTIALS, _WRONG_CREDENTIAL, answer, region=self.region)
            return
        minutes = _count(round(abs(answer.skew) / 60), "minute")
        self._record(
            CREDENTIAL,
            Outcome.UNKNOWN,
            f"The proxy refuses the signature, but its clock and that of this host are {minutes} apart, which is reason enough."
            " Set the clock that is wrong; if it is that of the proxy, KMS is refused, too.",
        )

    # 5. The key managers

    def _judge_health(self, answer: _Answer) -> None:
        flaws = [f"it is longer than {MOST_BYTES} bytes"] if len(answer.body) > MOST_BYTES else _flaws(answer.content())
        if flaws:  # it may not be a proxy, and may have ignored path and signature
            faults = "; ".join(flaws)
            text = f"KMS cannot use what the proxy answers: {faults}. Report it to the vendor of the proxy."
            self._fail(ANSWER, INVALID_RESPONSE, text)
            return
        self._record(PATH, Outcome.PASSED, f"The proxy answers at {self.path}.")
        if self.credential is None:
            self._record(
                CREDENTIAL,
                Outcome.WARNING,
                "The proxy answers a request without a signature, so anyone who reaches it can use it. In the proxy, turn on the"
                " verification of SigV4 signatures. It is not known whether it accepts the credential of the store.",
            )
        else:
            self._record(CREDENTIAL, Outcome.PASSED, "The proxy takes the credential.")
        self._judge_managers(answer.content())

    def _judge_managers(self, content: Mapping[str, Any]) -> None:
        managers = content["ekmFleetDetails"]
        ailing = [each for each in managers if each["healthStatus"] != "ACTIVE"]
        states = ", ".join(f"{self._quote(each['id'])} is {each['healthStatus']}" for each in ailing)
        count = _count(len(managers), "external key manager")
        if all(each["healthStatus"] == "UNAVAILABLE" for each in managers):
            self._fail(MANAGERS, NOT_REACHABLE, f"The proxy reaches none of its {count}: {states}. {_FIX_MANAGERS}")
        elif ailing:
            self._record(MANAGERS, Outcome.WARNING, f"Of {count}, not all are healthy: {states}. {_FIX_MANAGERS}")
        else:
            proxy = f"{self._quote(content['xksProxyModel'])} of {self._quote(content['xksProxyVendor'])}"
            models = ", ".join(sorted({self._quote(each["model"]) for each in managers}))
            self._record(
                MANAGERS,
                Outcome.PASSED,
                f"The proxy, {proxy}, reports {count} of {self._quote(content['ekmVendor'])} ({models}), ACTIVE.",
            )


class _NotSigned(Exception):
    """A request could not be signed."""


def judge_time(shortest: float, handshake: float, *, is_of_health: bool) -> Check:
    """Check whether the proxy is as fast as KMS needs it.

    KMS measures from its own hosts, which may be nearer to the proxy than this one. A TLS handshake takes at least one round
    trip, so the rest of the time of an answer is spent by the proxy, wherever the request comes from.

    Args:
        shortest: the time of the fastest answer, in seconds, on an open connection.
        handshake: the time of the TLS handshake, in seconds.
        is_of_health: does the answer report the health? A refusal may be faster.
    """
    took, limit = _milliseconds(shortest), _milliseconds(SECONDS_OF_KMS)
    if shortest - handshake > SECONDS_OF_KMS:
        text = (
            f"The proxy answers in {took}; KMS waits {limit}. The network is not the cause: the TLS handshake took"
            f" {_milliseconds(handshake)}. Find out what slows the proxy down; ask its vendor."
        )
        return Check(TIME, Outcome.FAILED, text, TIMED_OUT)
    if shortest > SECONDS_OF_KMS:
        text = (
            f"Seen from this host, the proxy answers in {took}; KMS waits {limit}, and reports {TIMED_OUT} after that. The"
            f" network from here takes up to {_milliseconds(handshake)} of it: do the check on a host in the Region, to see what"
            " KMS sees."
        )
        return Check(TIME, Outcome.WARNING, text)
    if not is_of_health:
        text = f"The proxy refuses in {took}. How long a full answer takes, for which KMS waits {limit}, is not known."
        return Check(TIME, Outcome.UNKNOWN, text)
    return Check(TIME, Outcome.PASSED, f"Seen from this host, the proxy answers in {took}; KMS waits {limit}.")


def _connect(addresses: Sequence[Any], seconds: float) -> socket.socket:
    """Connect to the first address that answers; each gets the same part of the timeout."""
    error: OSError = OSError("no address")
    for family, kind, protocol, _name, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(seconds / len(addresses))
        try:
            connection.connect(address)
        except OSError as failed:
            connection.close()
            error = failed
        else:
            connection.settimeout(seconds)
            # As http.client does for its own connections. Otherwise the body waits 40 milliseconds for the headers' ACK.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise error


def _reason(error: Exception) -> str:
    """The reason of a failure, in a few words. C(ValueError) comes from an invalid name."""
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, OSError):
        return str(error.strerror or error or type(error).__name__).rstrip(".")
    return "this is no host name"


def _printable(text: str) -> str:
    return "".join(each for each in text if " " <= each <= "~")[:200].strip() or "nothing"


def _milliseconds(seconds: float) -> str:
    return _count(round(seconds * 1000), "millisecond")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _skew(date: Optional[str]) -> float:
    """How many seconds the clock of the proxy, in its header C(Date), is ahead of the clock of this host."""
    try:
        time_of_proxy = email.utils.parsedate_to_datetime(date or "")
        return time_of_proxy.timestamp() - time.time()
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


# --- TLS: faults and remedies

_NO_CLIENT_CERTIFICATE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",  # the alert of TLS 1.2, which also covers ciphers: the two cannot be distinguished
    "SSLV3_ALERT_BAD_CERTIFICATE",
}

_OLD = (
    "The proxy speaks no TLS 1.2 or 1.3, and KMS speaks nothing older. Turn TLS 1.2 or 1.3 on in the proxy, or in the load"
    " balancer before it."
)

_NO_TLS = "What listens on the port of the proxy does not speak TLS. Check that the proxy serves HTTPS there."

_TLS_FAULTS: Mapping[str, str] = {
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
}


def _other_tls_fault(error: Exception) -> str:
    reason = getattr(error, "reason", None) or type(error).__name__
    return f"The TLS handshake with the proxy fails ({reason}). Check the TLS settings of the proxy: KMS needs TLS 1.2 or 1.3."


_EXPIRED = "The certificate of the proxy has expired. Renew it, and check that the proxy serves the new one."

_EXPIRED_CHAIN = (
    "Another certificate in the chain that the proxy serves has expired, not its own. Have the proxy serve the chain that its"
    " certificate authority gives out now."
)

_NOT_YET = (
    "The certificate of the proxy is not valid yet. Have the proxy serve one that is; if its dates are right, set the clock of"
    " this host."
)

_WRONG_HOST = (
    "The certificate of the proxy does not name {host}. Have one made for this name, or give the store the endpoint that the"
    " certificate names."
)

_UNKNOWN_AUTHORITY = (
    "This host does not know the certificate authority that issued the certificate of the proxy. KMS trusts only public"
    " authorities, which AWS lists; this host goes by its own list. Use a certificate of an authority on the list of AWS."
)

_SELF_SIGNED = (
    "The certificate of the proxy is self-signed. KMS trusts only certificates of public authorities, which AWS lists. Use one of"
    " those."
)

_INCOMPLETE = (
    "The certificate of the proxy leads to no certificate authority that this host knows. Either the chain that the proxy"
    " serves is incomplete: have it serve the intermediate certificates, too. Or the authority is unknown: KMS trusts only"
    " public ones, which AWS lists, while this host goes by its own list."
)

_OTHER_CERTIFICATE = "The certificate of the proxy cannot be verified: {reason}. Have the proxy serve one that can."

# By the codes of OpenSSL, X509_V_ERR_...
_CERTIFICATE_FAULTS: Mapping[int, str] = {
    9: _NOT_YET,
    10: _EXPIRED,
    18: _SELF_SIGNED,
    19: _UNKNOWN_AUTHORITY,  # the server also sends its own root certificate
    20: _INCOMPLETE,
    21: _INCOMPLETE,
    62: _WRONG_HOST,
    64: _WRONG_HOST,  # an address instead of a name
}


@dataclass(frozen=True)
class _Certificate:
    """A certificate that was not verified: its names and dates, in a sentence, and when it expires, if known."""

    text: str
    expiry: Optional[float] = None


def _read_certificate(host: str, port: int, limits: Limits) -> _Certificate:
    """Read a certificate that could not be verified. No data is sent over this connection."""
    try:
        from cryptography import x509
    except ImportError:
        return _Certificate("To see the dates and names in it, install the Python library cryptography on this host.")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def fetch() -> bytes:
        connection = socket.create_connection((host, port), timeout=limits.handshake)
        with context.wrap_socket(connection, server_hostname=host) as secure:
            return secure.getpeercert(binary_form=True) or b""

    try:
        certificate = x509.load_der_x509_certificate(_within(limits.handshake, fetch))
        begin, end = (_utc(certificate, name) for name in ("not_valid_before", "not_valid_after"))
        text = (
            f"The one of the proxy is dated {begin.date().isoformat()} to {end.date().isoformat()}, names"
            f" {_printable(_names(certificate, x509))}, and was issued by {_printable(certificate.issuer.rfc4514_string())}."
        )
        return _Certificate(text, end.timestamp())
    except Exception:  # any error in an unreadable certificate: the fault is reported without its details
        return _Certificate("The dates and names in it could not be read.")


def _utc(certificate: Any, name: str) -> datetime.datetime:
    """A time of the certificate. Before cryptography 42, it has no timezone."""
    aware: Optional[datetime.datetime] = getattr(certificate, f"{name}_utc", None)
    return aware or getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)


def _names(certificate: Any, x509: Any) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no host"
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return ", ".join(found[:3]) + (" and more" if len(found) > 3 else "") if found else "no host"


# --- The answer: faults and remedies

_NAMES: Mapping[int, str] = {
    401: "AuthenticationFailedException",
    403: "AccessDeniedException",
    404: "InvalidUriPathException",
}

_OF_UNSIGNED = ("AuthenticationFailedException", "AccessDeniedException", "ValidationException")
"""The errors of a proxy for a request without a signature. They do not show how it would answer KMS."""

_WRONG_PATH = (
    "The proxy does not serve the path {path} ({status}). Compare the URI path of the store with the one that the proxy"
    " serves, and fix the one that is wrong."
)

_WRONG_CREDENTIAL = (
    "The proxy refuses the signature that was made with the credential for the Region {region} ({status}). Compare the access"
    " key id and the secret with those in the proxy, make them the same there, or tell KMS those of the proxy."
)

_REDIRECT = (
    "The proxy redirects the request to {location} ({status}), which no proxy may. Give the store the endpoint that answers"
    " itself."
)

_FIX_MANAGERS = "Check that they run, and that the proxy reaches them."

# By errorName. The specification, C(Error codes), has the exception that KMS raises when it creates or updates a store.
_REFUSALS: Mapping[str, tuple[str, str, str]] = {
    "AccessDeniedException": (
        ACCESS,
        ACCESS_DENIED,
        "The proxy does not allow the request ({status}). In the proxy, check the authorization rules for KMS and this key"
        " store.",
    ),
    # XksProxyUriUnreachableException, as for a late answer: the message of KMS is the same for both.
    "DependencyTimeoutException": (
        ANSWER,
        TIMED_OUT,
        "The proxy got no answer from its key manager ({status}). Check that the key manager runs and that the proxy reaches it.",
    ),
    # XksProxyUriUnreachableException.
    "ThrottlingException": (
        ANSWER,
        NOT_REACHABLE,
        "The proxy refuses the request because it gets too many ({status}). Find out who sends them, or raise its limit; then"
        " check again.",
    ),
    # XksProxyInvalidResponseException, though KMS says that the proxy does not reach its key manager.
    "InternalException": (
        ANSWER,
        INVALID_RESPONSE,
        "The proxy reports an internal error ({status}). Check that its key manager runs and that the proxy reaches it; read the"
        " log of the proxy.",
    ),
    # The specification allows it for health, too, without an exception for that; the proxy itself decides what it disables.
    "InvalidStateException": (
        ANSWER,
        INVALID_CONFIGURATION,
        "In the proxy, this key store is disabled or blocked ({status}). Enable it there.",
    ),
}

# No other errorName is valid for health. Without one, KMS reports that it cannot interpret the answer.
_OTHER_REFUSAL = (
    ANSWER,
    INVALID_RESPONSE,
    "The proxy, or a load balancer before it, answers with an error that KMS does not expect ({status}). Check that the proxy"
    " runs; read its log, or report it to its vendor.",
)


def _flaws(content: Any) -> list[str]:
    """The faults of an answer that reports the health. The specification requires all of this."""
    if not isinstance(content, dict):
        return ["it is no JSON object"]
    flaws = [
        f"{name} is missing"
        for name in ("xksProxyVendor", "xksProxyModel", "ekmVendor")
        if not _is_text(content.get(name))
    ]
    size = content.get("xksProxyFleetSize")
    if not isinstance(size, int) or size < 1:
        flaws.append("xksProxyFleetSize is no whole number above 0")
    managers = content.get("ekmFleetDetails")
    if not isinstance(managers, list) or not 1 <= len(managers) <= 10:
        return [*flaws, "ekmFleetDetails does not list one to ten key managers"]
    if not all(
        isinstance(each, dict) and _is_text(each.get("id")) and _is_text(each.get("model")) for each in managers
    ):
        return [*flaws, "a key manager in ekmFleetDetails has no id or no model"]
    states = [each.get("healthStatus") for each in managers]
    if any(state not in ("ACTIVE", "DEGRADED", "UNAVAILABLE") for state in states):
        flaws.append("a healthStatus in ekmFleetDetails is none of ACTIVE, DEGRADED, UNAVAILABLE")
    return flaws


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


# --- The VPC endpoint service


def check_vpc_service(ec2: Any, configuration: Mapping[str, Any], *, store_account: str = "") -> list[Check]:
    """Check whether the VPC endpoint service of a proxy is as KMS needs it. Raises nothing: every failure is a check.

    Args:
        ec2: a boto3 client for EC2, in the Region of the store.
        configuration: C(XksProxyConfiguration) as KMS describes it, with connectivity C(VPC_ENDPOINT_SERVICE).
        store_account: the account id of the store. Empty if unknown: then the service may belong to another account.
    """
    name = str(configuration.get("VpcEndpointServiceName") or "")
    owner = str(configuration.get("VpcEndpointServiceOwner") or "")
    other = owner if owner and owner != store_account else ""
    try:
        services = ec2.describe_vpc_endpoint_services(ServiceNames=[name]).get("ServiceDetails", [])
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code != "InvalidServiceName":
            return [_unknown_service(name, code or str(error).rstrip("."))]
        services = []
    service = next((each for each in services if each.get("ServiceName") == name), None)
    if service is None:
        return [_missing_service(name, other)]
    return [_judge_service(service, configuration, name, is_of_other=bool(other))]


def _unknown_service(name: str, reason: str) -> Check:
    text = (
        f"EC2 was asked for the VPC endpoint service {name}, but: {reason}. Check that the caller has"
        " ec2:DescribeVpcEndpointServices, and that the managed host reaches EC2."
    )
    return Check(VPC_SERVICE, Outcome.UNKNOWN, text)


def _missing_service(name: str, other: str) -> Check:
    if other:
        text = (
            f"The VPC endpoint service {name} is in the account {other}, and does not show itself to the caller. It is enough"
            " that it allows KMS; check it with credentials of that account."
        )
        return Check(VPC_SERVICE, Outcome.UNKNOWN, text)
    # AWS's documents do not say whether EC2 shows a service that allows only KMS to its own account.
    text = (
        f"EC2 does not return the VPC endpoint service {name} to this caller. If there is no such service in this Region, a"
        f" connect fails with {SERVICE_NOT_FOUND}: create the service, or give the key store the name of the service of its"
        " proxy. If there is such a service, and only this caller cannot see it, nothing is wrong."
    )
    return Check(VPC_SERVICE, Outcome.UNKNOWN, text)


def _judge_service(
    service: Mapping[str, Any], configuration: Mapping[str, Any], name: str, *, is_of_other: bool
) -> Check:
    zones = set(service.get("AvailabilityZones") or service.get("AvailabilityZoneIds") or ())
    types = {str(each.get("ServiceType")) for each in service.get("ServiceType", ())}
    faults = []
    if "Interface" not in types:
        faults.append(f"it is a service of the type {', '.join(sorted(types)) or 'unknown'}, and must be Interface")
    if service.get("AcceptanceRequired"):
        faults.append("it requires that connections are accepted, and must not")
    # To another account, EC2 reports only the zones that both use.
    if len(zones) < 2 and not is_of_other:
        names = f" ({', '.join(zones)})" if zones else ""
        faults.append(f"it is in {_count(len(zones), 'Availability Zone')}{names}, and must be in two")
    faults += _dns_faults(service, configuration)
    if faults:
        text = f"The VPC endpoint service {name} is not as KMS needs it: {'; '.join(faults)}. Fix it in Amazon VPC."
        return Check(VPC_SERVICE, Outcome.FAILED, text, SERVICE_INVALID)
    unknown = "whether it allows the KMS principal of the Region (cks.kms.REGION.amazonaws.com)"
    if len(zones) < 2:
        unknown += (
            ", and whether it is in two Availability Zones, as EC2 returns only those that this account also uses"
        )
    text = f"The VPC endpoint service {name} is as KMS needs it, as far as EC2 shows. Not seen: {unknown}."
    return Check(VPC_SERVICE, Outcome.PASSED, text)


def _dns_faults(service: Mapping[str, Any], configuration: Mapping[str, Any]) -> list[str]:
    matched = _ENDPOINT.fullmatch(str(configuration.get("UriEndpoint")))
    host = matched.group(1).lower() if matched else ""
    entries = [service, *service.get("PrivateDnsNames", ())]
    names = sorted({str(each["PrivateDnsName"]).lower() for each in entries if each.get("PrivateDnsName")})
    if not names:
        return ["it has no private DNS name"]
    faults = []
    if host not in names:
        faults.append(f"its private DNS name is {', '.join(names)}, and must be {host}, the host of the URI endpoint")
    state = service.get("PrivateDnsNameVerificationState", "verified")
    if state != "verified":
        faults.append(f"the domain of its private DNS name is {state}, and must be verified")
    return faults
