# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis: complete against botocore's model of KMS, and worded for somebody who has to act."""

from __future__ import annotations

import botocore.session
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import diagnose
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import explain_exception
from tests.environment import ROOT

KMS = botocore.session.get_session().get_service_model("kms")
CODES: list[str] = KMS.shape_for("ConnectionErrorCodeType").metadata["enum"]
OPERATIONS = ("DescribeCustomKeyStores", "ConnectCustomKeyStore", "DisconnectCustomKeyStore")
EXCEPTIONS = [(shape.name, name) for name in OPERATIONS for shape in KMS.operation_model(name).error_shapes]
LOCKING = {"INVALID_CREDENTIALS", "USER_LOCKED_OUT", "USER_LOGGED_IN", "USER_NOT_FOUND"}


def store_types(code: str) -> list[str]:
    """Which types of store a code of the model concerns."""
    if code in ("INTERNAL_ERROR", "NETWORK_ERRORS", "INVALID_CREDENTIALS"):
        return ["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]
    return ["EXTERNAL_KEY_STORE" if code.startswith("XKS") else "AWS_CLOUDHSM"]


def test_the_model_has_the_18_codes() -> None:
    assert len(CODES) == 18


@pytest.mark.parametrize(("code", "store_type"), [(code, each) for code in CODES for each in store_types(code)])
def test_each_code_has_a_cause_and_a_remedy(code: str, store_type: str) -> None:
    failure = diagnose(code, store_type)
    assert "does not know" not in failure.cause
    assert all(sentence.endswith(".") for sentence in (failure.cause, *failure.remedy))
    assert any("(state=connected)" in step for step in failure.remedy)
    assert failure.may_lock_kmsuser == (store_type == "AWS_CLOUDHSM" and code in LOCKING)
    assert failure.to_result() == {"code": code, "cause": failure.cause, "remedy": list(failure.remedy)}


@pytest.mark.parametrize(("code", "store_type"), [(code, each) for code in CODES for each in store_types(code)])
def test_the_guide_has_each_code_with_its_cause_and_its_remedy(code: str, store_type: str) -> None:
    guide = ROOT / "docs" / "docsite" / "rst" / "guide_failed.rst"
    text = " ".join(guide.read_text("utf-8").split())
    if len(store_types(code)) == 1 or code == "INVALID_CREDENTIALS":
        title = {"AWS_CLOUDHSM": "For stores in AWS CloudHSM ---", "EXTERNAL_KEY_STORE": "For external stores ---"}
        text = text.partition(title[store_type])[2]
    failure = diagnose(code, store_type)
    wanted = " ".join([f"``{code}``", failure.cause, *(f"#. {step}" for step in failure.remedy)])
    assert wanted in text, f"{guide.name} does not have: {wanted}"


def test_the_remedy_of_wrong_credentials_depends_on_the_type() -> None:
    assert "kmsuser" in diagnose("INVALID_CREDENTIALS", "AWS_CLOUDHSM").cause
    assert "proxy" in diagnose("INVALID_CREDENTIALS", "EXTERNAL_KEY_STORE").cause


def test_a_code_that_is_newer_than_the_collection_is_passed_on() -> None:
    assert str(diagnose("BRAND_NEW", "AWS_CLOUDHSM")).startswith(
        "BRAND_NEW: KMS gives a reason that this version of keyops.aws does not know. What to do: (1) Look the code up"
    )


@pytest.mark.parametrize(("code", "operation"), EXCEPTIONS)
def test_each_exception_of_the_operations_is_explained(code: str, operation: str) -> None:
    assert explain_exception(code, operation) != explain_exception("SomethingNew", operation)


def test_a_missing_permission_is_named() -> None:
    text = explain_exception("AccessDeniedException", "ConnectCustomKeyStore")
    assert "Allow kms:ConnectCustomKeyStore in an IAM policy of the caller." in text
