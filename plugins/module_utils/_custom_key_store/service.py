# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to a service of AWS: retries, lost answers, and errors with a remedy."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from typing import Callable
from typing import ClassVar
from typing import Mapping
from typing import Optional
from typing import Type

try:
    import botocore
    import botocore.config
    import botocore.exceptions
    import botocore.parsers
except ImportError:
    pass  # AnsibleAWSModule says which library is missing

from .clock import Deadline
from .model import CustomKeyStoreError

THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "LimitExceeded")
"""Throttled: the request had no effect."""

FAULTS = (
    "KMSInternalException",
    "DependencyTimeoutException",
    "InternalFailure",
    "InternalError",
    "InternalServerException",
    "ServiceUnavailable",
)
"""Faults of the service: it is unknown whether the request had an effect."""

CONNECTIONS = 16
"""How many requests about keys run at once. The client keeps one more connection, for another request meanwhile."""

UNANSWERED_ATTEMPTS = 5
"""The attempts for an endpoint that has never answered. If it has answered before, the retries end at the deadline."""


class ServiceError(CustomKeyStoreError):
    """A service refused an operation for good, or did not answer.

    Attributes:
        maybe_applied: did an attempt of the request get no answer, so that it may have had its effect?
    """

    maybe_applied = False


def client_config(timeout: int = 30) -> Any:
    """The botocore configuration that C(Service) needs: it does the retries itself, because it must know each lost answer.

    Args:
        timeout: seconds to wait for an answer.
    """
    return botocore.config.Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=min(timeout, 10),
        read_timeout=timeout,
        max_pool_connections=CONNECTIONS + 1,
    )


class Service:
    """A service of AWS, with a boto3 client made with C(client_config()).

    Args:
        deadline: until when to retry a request that the service throttled or did not answer.

    Attributes:
        name: of the service.
        error: the exception for a refusal.
        errors: the exceptions for some error codes.
        naming: the members of a request that name its object, and are not secret.
        is_unclear: may the request that is being retried have had its effect?
        answered_at: the time of the last answer by the clock of the service, as in the HTTP header; None if unknown.
    """

    name: ClassVar[str]
    error: ClassVar[Type[ServiceError]]
    errors: ClassVar[Mapping[str, Type[ServiceError]]] = {}
    naming: ClassVar[tuple[str, ...]]

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._answered = False
        self.is_unclear = False
        self.answered_at: Optional[str] = None

    def now(self) -> datetime.datetime:
        """The time by the service's clock, as of its last answer. Without an answer, the time of the host, which may be wrong."""
        reported = self.answered_at
        return parsedate_to_datetime(reported) if reported else datetime.datetime.now(datetime.timezone.utc)

    def explain(self, code: str, operation: str, text: str) -> str:
        """The meaning of an error code and the remedy, in sentences."""
        raise NotImplementedError

    def _call(
        self,
        operation: str,
        method: Callable[..., dict[str, Any]],
        arguments: Mapping[str, Any],
        *,
        repeats_unclear: bool = True,
    ) -> dict[str, Any]:
        """Send a request until the service has answered it, or the deadline has passed.

        Args:
            repeats_unclear: retry even if an earlier attempt may have had its effect?
        """
        self.is_unclear = maybe_applied = False
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = method(**arguments)
                self._note_answer(answer)
                return answer
            except botocore.exceptions.ClientError as error:
                self._note_answer(error.response)
                maybe_applied = maybe_applied or _maybe_applied(error)
                settled = maybe_applied and not repeats_unclear
                if error.response["Error"]["Code"] not in THROTTLED + FAULTS or settled or self._deadline.passed():
                    raise self._refused(operation, arguments, error, maybe_applied) from error
            except (
                botocore.exceptions.HTTPClientError,
                botocore.exceptions.ConnectionError,
                botocore.parsers.ResponseParserError,
            ) as error:
                # The connection broke, or could not be opened, or something between, such as a proxy, answered for AWS.
                maybe_applied = maybe_applied or not isinstance(error, botocore.exceptions.ConnectionError)
                if self._gives_up(attempt) or (maybe_applied and not repeats_unclear):
                    raise self._no_answer(operation, error, maybe_applied) from error
            except botocore.exceptions.BotoCoreError as error:
                raise self._not_sent(operation, error) from error
            self.is_unclear = maybe_applied
            self._deadline.back_off(attempt)

    def _note_answer(self, answer: Mapping[str, Any]) -> None:
        self._answered = True
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.answered_at = headers.get("date", self.answered_at)

    def _gives_up(self, attempt: int) -> bool:
        never_answered = not self._answered and attempt >= UNANSWERED_ATTEMPTS
        return never_answered or self._deadline.passed()

    def _refused(self, operation: str, arguments: Mapping[str, Any], error: Any, maybe_applied: bool) -> ServiceError:
        code = error.response["Error"]["Code"]
        text = error.response["Error"].get("Message", "")
        # Only the name of the store or key: other members may be secrets.
        of_which = next((f" of {arguments[name]}" for name in self.naming if name in arguments), "")
        quote = f' {self.name} said: "{text}"' if text else ""
        problem = self.errors.get(code, self.error)(
            f"{operation}{of_which} failed with {code}. {self.explain(code, operation, text)}{quote}",
            error={"code": code, "message": text},
        )
        problem.maybe_applied = maybe_applied
        return problem

    def _no_answer(self, operation: str, error: Exception, maybe_applied: bool) -> ServiceError:
        problem = self.error(
            f"{operation} got no answer from {self.name}: {str(error).rstrip('.')}. Check region and endpoint_url, and that the"
            " managed host reaches that address (network, proxy, VPC endpoint, firewall, TLS certificates)."
        )
        problem.maybe_applied = maybe_applied
        return problem

    def _not_sent(self, operation: str, error: Exception) -> ServiceError:
        hint = "Check the connection options of the task."
        if isinstance(error, (botocore.exceptions.NoCredentialsError, botocore.exceptions.CredentialRetrievalError)):
            hint = (
                "Give access_key and secret_key, or profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                " on the managed host, or give it an instance role."
            )
        return self.error(f"{operation} could not be sent to {self.name}: {str(error).rstrip('.')}. {hint}")


def _maybe_applied(error: Any) -> bool:
    """A fault may come after the effect. Retries by botocore, if the user's aws_config enables them, hide a lost answer."""
    retried = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
    return retried or error.response["Error"]["Code"] in FAULTS
