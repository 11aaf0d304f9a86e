# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis: complete against botocore's model of KMS, and worded for somebody who has to act."""

from __future__ import annotations

import re

import botocore.session
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import address_of
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import diagnose
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import explain_exception
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import runbook_of
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import DOCUMENTATION_URL
from dev.environment import ROOT

KMS = botocore.session.get_session().get_service_model("kms")
CODES: list[str] = KMS.shape_for("ConnectionErrorCodeType").metadata["enum"]
OPERATIONS = ("DescribeCustomKeyStores", "ConnectCustomKeyStore", "DisconnectCustomKeyStore")
EXCEPTIONS = [(shape.name, name) for name in OPERATIONS for shape in KMS.operation_model(name).error_shapes]
LOCKING = {"INVALID_CREDENTIALS", "USER_LOCKED_OUT", "USER_LOGGED_IN", "USER_NOT_FOUND"}


PAGES = ROOT / "docs" / "docsite" / "rst"
EXPLAINED = {
    shape: runbook_of(shape, "CreateCustomKeyStore")
    for shape in (
        *KMS.shape_names,
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "UnrecognizedClientException",
    )
    + ("AccessDeniedException", "InvalidClientTokenId", "InvalidSignatureException")
    if runbook_of(shape, "CreateCustomKeyStore")
}
"""The error codes that have a runbook, each with the name of its page."""


def text_of(page: str) -> str:
    return (PAGES / f"{page}.rst").read_text("utf-8")


def name_of(address: str) -> str:
    """The name of a page by its address."""
    return address.removeprefix(f"{DOCUMENTATION_URL}/docsite/").removesuffix(".html")


def page_at(address: str) -> str:
    assert address == address_of(name_of(address))
    return text_of(name_of(address))


def title_of(page: str) -> str:
    return str(re.findall(r"(?m)^(.+)\n=+$", page)[0])


def sections_of(page: str) -> dict[str, str]:
    """The text of each section, by its title."""
    _before, *parts = re.split(r"(?m)^(.+)\n-+$\n", page)
    return dict(zip(parts[::2], parts[1::2]))


def words_of(text: str) -> str:
    """A text without its marks, on one line."""
    return " ".join(text.replace("``", "").split())


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
    reported = {"code": code, "cause": failure.cause, "remedy": list(failure.remedy), "guide": failure.guide}
    assert failure.to_result() == reported


@pytest.mark.parametrize(("code", "store_type"), [(code, each) for code in CODES for each in store_types(code)])
def test_each_code_has_a_runbook_with_its_cause(code: str, store_type: str) -> None:
    failure = diagnose(code, store_type)
    page = page_at(failure.guide)
    of_type = {"AWS_CLOUDHSM": "CloudHSM key store", "EXTERNAL_KEY_STORE": "external key store"}[store_type]
    assert title_of(page) == (f"{code} ({of_type})" if code == "INVALID_CREDENTIALS" else code)
    assert failure.cause in words_of(sections_of(page)["Meaning"])
    assert str(failure).endswith(f" See {failure.guide}.")


def test_the_guide_lists_the_runbook_of_each_code() -> None:
    """Each code once, but INVALID_CREDENTIALS twice: it means another thing for each type of store."""
    listed = re.findall(
        r"   \* - :ref:`([A-Z_]+)\s+<ansible_collections.keyops.aws.docsite.(\w+)>`\n", text_of("guide_failed")
    )
    wanted = {(code, name_of(diagnose(code, each).guide)) for code in CODES for each in store_types(code)}
    assert len(listed) == len(set(listed)) == 19
    assert set(listed) == wanted


def test_the_guide_lists_the_runbook_of_each_exception() -> None:
    row = r"   \* - :ref:`(\w+)\s+<ansible_collections.keyops.aws.docsite.(\w+)>`\n"
    listed = [(code, page) for code, page in re.findall(row, text_of("guide_failed")) if code not in CODES]
    assert sorted(listed) == sorted(EXPLAINED.items())


@pytest.mark.parametrize(("code", "page"), EXPLAINED.items())
def test_each_exception_with_a_runbook_is_in_its_title(code: str, page: str) -> None:
    text = explain_exception(code, "ConnectCustomKeyStore")
    assert text.endswith(f" See {address_of(page)}.")
    assert code in title_of(text_of(page)).split(", ")


def test_there_is_no_other_runbook() -> None:
    codes = {name_of(diagnose(code, each).guide) for code in CODES for each in store_types(code)}
    assert {path.stem for path in PAGES.glob("runbook_*.rst")} == codes | set(EXPLAINED.values())


def test_a_quota_of_keys_is_not_that_of_stores() -> None:
    assert "See http" not in explain_exception("LimitExceededException", "CreateKey")
    assert "See http" in explain_exception("LimitExceededException", "CreateCustomKeyStore")


def test_the_password_is_changed_by_the_command_line_of_today() -> None:
    """The older one is named once, for those who still have it."""
    texts = [path.read_text("utf-8") for path in (*PAGES.glob("*.rst"), *ROOT.glob("plugins/**/*.py"))]
    assert sum(text.count("changePswd") for text in texts) == 1
    for code in ("INVALID_CREDENTIALS", "USER_LOCKED_OUT"):
        assert "cloudhsm-cli user change-password" in str(diagnose(code, "AWS_CLOUDHSM"))


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


def test_the_page_about_a_code_that_is_newer_is_the_overview() -> None:
    assert diagnose("BRAND_NEW", "EXTERNAL_KEY_STORE").guide == address_of("guide_failed")
