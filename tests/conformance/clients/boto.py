# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client with boto3, of whatever version is found, and its defaults. Does what it reads, and prints what boto3 made of it.

All settings come from environment variables. First it prints {"version": ...}. Then, for each line {"operation", "members"}, it
prints one line: {"answer"}, {"error"}, or {"unknown"} if this boto3 has no such operation. What JSON has no type for is an
object with one member: "$bytes", in Base64, or "$date", in ISO format.
"""

from __future__ import annotations

import base64
import datetime
import json
import sys
from typing import Any

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError


def from_json(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$bytes"]) if "$bytes" in value else value


def to_json(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    assert isinstance(value, datetime.datetime)
    return {"$date": value.isoformat()}


def result(kms: Any, operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """One call, as the caller sees it."""
    call = getattr(kms, xform_name(operation), None)
    if call is None:
        return {"unknown": operation}
    try:
        answer = call(**members)
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        return {
            "error": {
                "kind": type(error).__name__,
                "code": error.response["Error"]["Code"],
                "message": error.response["Error"]["Message"],
                "status": metadata["HTTPStatusCode"],
                "request_id": metadata["RequestId"],
            }
        }
    answer.pop("ResponseMetadata")
    return {"answer": answer}


def main() -> None:
    kms = boto3.client("kms")
    sys.stdout.write(json.dumps({"version": boto3.__version__}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line, object_hook=from_json)
        sys.stdout.write(json.dumps(result(kms, asked["operation"], asked["members"]), default=to_json) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
