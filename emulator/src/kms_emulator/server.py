# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator as an HTTP server: moto's server, with custom key stores, the control API, and dropped connections."""

from __future__ import annotations

import datetime
import functools
import inspect
import json
import socket
import threading
from collections.abc import Callable
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import Any
from typing import TextIO

from botocore.exceptions import ConnectionClosedError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.moto_server.werkzeug_app import MotoRequestHandler
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import BaseWSGIServer
from werkzeug.serving import make_server
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response

from .client import CONTROL_PATH
from .control import Control
from .handling import LISTENER
from .journal import Record
from .models import install
from .ticker import Ticker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIEnvironment


SUBJECTS = ("CustomKeyStoreId", "CustomKeyStoreName", "Name")
"""Members that identify the subject of a request in the log. A schedule has a Name."""


class Dispatcher(DomainDispatcherApplication):
    """moto's dispatcher with a cache: moto searches the file system for the service of a host name on each request."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self.get_backend_for_host = functools.lru_cache(maxsize=1000)(super().get_backend_for_host)


class EmulatorApplication:
    """A WSGI application around moto's. Log: receives one line for each request to KMS or about a schedule."""

    def __init__(self, log: TextIO | None = None) -> None:
        self._moto = Dispatcher()
        self._log = log

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(CONTROL_PATH):
            return control(Request(environ))(environ, start_response)
        if self._log is not None:
            environ[LISTENER] = functools.partial(write_line, self._log)
        try:
            answer: Iterable[bytes] = self._moto(environ, start_response)
            return answer
        except ConnectionClosedError:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            # werkzeug handles this like a client that disconnected: it sends and logs nothing.
            raise ConnectionAbortedError from None


def write_line(log: TextIO, record: Record) -> None:
    """Log a request: time, operation, id or name of the store, or name of the schedule (if any), outcome."""
    timestamp = datetime.datetime.fromtimestamp(record["time"], datetime.timezone.utc).isoformat(
        timespec="milliseconds"
    )
    parameters = record["parameters"]
    subject = next((parameters[name] for name in SUBJECTS if parameters.get(name)), "-")
    log.write(f"{timestamp} {record['operation']} {subject} {record['outcome']}\n")
    log.flush()


def control(request: Request) -> Response:
    """Handle a request of the control API: POST .../<method-with-dashes>?account=...&region=... with arguments in JSON.

    GET is for commands that only read, such as .../requests. Returns {"result": ...}. If the input is invalid, returns HTTP 400
    and {"message": ...}.
    """
    name = request.path.removeprefix(CONTROL_PATH)
    try:
        result = _call(name, request)
    except (ValueError, TypeError) as error:
        return _json({"message": f"{name}: {str(error).rstrip('.')}."}, status=400)
    return _json({"result": result}, status=200)


def _call(name: str, request: Request) -> Any:
    unknown = sorted(set(request.args) - {"account", "region"})
    if unknown:
        raise ValueError(f"there is no query parameter {unknown[0]!r}; there are: account, region")
    target = Control(
        account_id=request.args.get("account", DEFAULT_ACCOUNT_ID), region_name=request.args.get("region", "us-east-1")
    )
    method = getattr(target, name.replace("-", "_"), None)
    if method is None or not getattr(method, "is_command", False):
        members = [member for owner in Control.__mro__ for member in vars(owner).items()]
        names = [key for key, value in members if getattr(value, "is_command", False)]
        raise ValueError(f"there is no such command; there are: {', '.join(names).replace('_', '-')}")
    if request.method != "POST" and not (request.method == "GET" and _only_reads(method)):
        raise ValueError("use POST")
    return method(**_arguments(request))


def _only_reads(method: Callable[..., Any]) -> bool:
    signature = inspect.signature(method)
    return not signature.parameters and signature.return_annotation != "None"


def _arguments(request: Request) -> dict[str, Any]:
    try:
        arguments = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise ValueError("the body must be a JSON object, with an argument for each parameter")
    return arguments


def _json(content: dict[str, Any], *, status: int) -> Response:
    return Response(json.dumps(content) + "\n", status=status, content_type="application/json")


class QuietRequestHandler(MotoRequestHandler):
    """A request handler without an access log, and without delays between small packets of persistent connections."""

    disable_nagle_algorithm = True

    def send_response(self, code: int, message: str | None = None) -> None:
        """Omit the date: KMS's responses have the date of the emulator's clock."""
        self.send_response_only(code, message)
        self.send_header("Server", self.version_string())

    def end_headers(self) -> None:
        """Set the date of the wall clock in other responses."""
        if not any(line.lower().startswith(b"date:") for line in self._headers_buffer):
            self.send_header("Date", self.date_time_string())
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing: EmulatorApplication logs KMS's requests."""


class EmulatorServer:
    """KMS with custom key stores, and all other services of moto, at a URL. A context manager, or start() and stop().

    Args: host, port (0: any free port); default durations of connects and disconnects, in seconds; log: receives one line
    for each request to KMS or about a schedule. All servers in a process share one KMS.
    Schedules run when they are due, even without requests.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        connect_seconds: float = 2.0,
        disconnect_seconds: float = 2.0,
        log: TextIO | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._durations = {"connect_seconds": connect_seconds, "disconnect_seconds": disconnect_seconds}
        self._log = log
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._ticker = Ticker()

    @property
    def url(self) -> str:
        """The URL of the server. Raises RuntimeError if it is not started."""
        if self._server is None:
            raise RuntimeError("The emulator is not started.")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.port}"

    def start(self) -> None:
        """Start the server in separate threads. Raises OSError if it cannot listen, for example if the port is in use."""
        install(**self._durations)
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # Bind here: if the bind fails in werkzeug, it ends the process.
        with socket.create_server((self._host, self._port), family=family, backlog=128) as listener:
            self._server = make_server(
                self._host,
                self._port,
                EmulatorApplication(self._log),
                threaded=True,
                request_handler=QuietRequestHandler,
                fd=listener.fileno(),
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="emulator", daemon=True
        )
        self._thread.start()
        self._ticker.start()

    def stop(self) -> None:
        """Stop the server. Idempotent."""
        self._ticker.stop()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> EmulatorServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
