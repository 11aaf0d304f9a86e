# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client with the credentials of an IAM role, renewed for as long as a task or a keeper needs them."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from typing import Any

try:
    import botocore
    import botocore.credentials
    import botocore.exceptions
except ImportError:
    pass  # AnsibleAWSModule says which library is missing

from .model import CustomKeyStoreError

SESSION = "keyops-aws"
"""The name of the session, which CloudTrail shows."""


def assume_role(client: Any, sts: Any, role_arn: str) -> Any:
    """Let a client use the credentials of a role. The first request fetches them; a later one renews them before they expire.

    Args:
        client: a boto3 client for any service.
        sts: a boto3 client for AWS STS, with the credentials that assume the role.
        role_arn: of the role.

    Returns:
        The same client.
    """

    def fetch() -> dict[str, str]:
        try:
            answer = sts.assume_role(RoleArn=role_arn, RoleSessionName=SESSION)["Credentials"]
        except botocore.exceptions.ClientError as error:
            code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            raise CustomKeyStoreError(
                f"The role {role_arn} could not be assumed: {code}. Allow sts:AssumeRole on it in an IAM policy of the"
                f' caller, and let its trust policy allow the caller. AWS STS said: "{text}"',
                error={"code": code, "message": text},
            ) from error
        except botocore.exceptions.BotoCoreError as error:
            raise CustomKeyStoreError(f"The role {role_arn} could not be assumed: {str(error).rstrip('.')}.") from error
        return {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
            "expiry_time": answer["Expiration"].isoformat(),
        }

    credentials = botocore.credentials.DeferredRefreshableCredentials(refresh_using=fetch, method="assume-role")
    client._request_signer._credentials = credentials  # boto3 has no public API for a client that amazon.aws has made
    return client
