# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option with every kind of bad value: one clear sentence that names the option, and no request to KMS."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import _RULES
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_stores
from tests.unit.harness import ModuleRunner

XKS = "xks_proxy_configuration"
ANYTHING = ("custom_key_store_id", "name", "trust_anchor_certificate", "key_store_password")
"""Options for which KMS's model has lengths, and no pattern."""

PADDING = "x" * 400


def texts(option: str) -> dict[str, str]:
    """Bad values for an option that is a text, by what is bad about them."""
    rule = _RULES[option]
    bad = {"empty": "", "too long": "x" * (rule.longest + 1)}
    if rule.shortest > 1:
        bad["too short"] = "x" * (rule.shortest - 1)
    if option not in ANYTHING:
        forms = {"wrong pattern": "!", "non-ASCII": "\u00fc\u4e2d", "newline": "a\n", "template": "{{ secret }}"}
        bad.update({what: (text + PADDING)[: rule.shortest + 1] for what, text in forms.items()})
    return bad


TEXTS = [(option, what) for option in _RULES for what in texts(option)]


def task(option: str, value: Any) -> dict[str, Any]:
    """Options with this one bad value; those of the proxy under their own name."""
    parent, _dot, key = option.partition(".")
    options = {parent: {key: value} if key else value}
    if option == f"{XKS}.raw_secret_access_key":
        options[parent]["access_key_id"] = "ABCDEFGHIJKLMNOPQRST"
    return {"name": "payments", **options}


def test_each_text_option_has_a_rule() -> None:
    """A new option cannot be forgotten here."""
    spec = kms_custom_key_store.argument_spec()
    nested = {f"{XKS}.{key}": option for key, option in spec[XKS]["options"].items()}
    texts = {name for name, option in {**spec, **nested}.items() if option["type"] == "str" and "choices" not in option}
    assert texts == set(_RULES)


@pytest.mark.parametrize(("option", "what"), TEXTS)
def test_a_text_that_kms_would_refuse(run: ModuleRunner, option: str, what: str) -> None:
    value = texts(option)[what]
    result = run(**task(option, value))
    assert result["failed"] is True
    assert result["msg"].startswith(
        f"{option} must have " if len(value) not in length(option) else f"{option} has characters"
    )
    assert result["msg"].endswith(".")
    assert result["msg"].count(". ") == 0
    assert not value or value not in result["msg"]
    assert run.calls == []


def length(option: str) -> range:
    return range(_RULES[option].shortest, _RULES[option].longest + 1)


@pytest.mark.parametrize("option", ANYTHING)
@pytest.mark.parametrize(
    "value", ["\u00fc\u4e2d", "a\nb", "{{ secret }}", " "], ids=["non-ASCII", "newline", "template", "space"]
)
def test_a_text_that_kms_takes(run: ModuleRunner, option: str, value: str) -> None:
    """Whether it is sensible is not ours to say: a store may have such a name."""
    result = run(**task(option, value.ljust(_RULES[option].shortest, "x")))
    assert run.calls[0] == "DescribeCustomKeyStores"
    assert "must have" not in result["msg"]


WRONG = {
    "bool": ("maybe", "not a valid boolean"),
    "int": ("soon", "cannot be converted to an int"),
    "dict": ("text", "dictionary requested"),
    "list": (7, "must be a list, not "),
}
MODULES: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "kms_custom_key_store": (kms_custom_key_store, {"name": "payments"}),
    "kms_custom_key_store_info": (kms_custom_key_store_info, {}),
    "kms_custom_key_stores": (kms_custom_key_stores, {"state": "connected", "stores": [{"name": "payments"}]}),
}
TYPED = [
    (module, option, spec)
    for module, (content, _needed) in MODULES.items()
    for option, spec in content.argument_spec().items()
    if spec["type"] in WRONG or "choices" in spec
]


@pytest.mark.parametrize(
    ("module", "option", "spec"), TYPED, ids=[f"{module}-{option}" for module, option, _spec in TYPED]
)
def test_a_wrong_type_or_choice(run: ModuleRunner, module: str, option: str, spec: dict[str, Any]) -> None:
    run.module, needed = MODULES[module]
    value, words = WRONG.get(
        spec["type"], ("nonsense", f"value of {option} must be one of: {', '.join(spec.get('choices', []))}")
    )
    result = run(**{**needed, option: value})
    assert result["failed"] is True
    assert option in result["msg"] or spec["type"] == "dict"  # in Ansible's own words, which do not name it
    assert words in result["msg"]
    assert "Traceback" not in result["msg"]
    assert run.calls == []


@pytest.mark.parametrize("option", ["key_store_password", "name", f"{XKS}.uri_path"])
@pytest.mark.parametrize("value", [["CanaryInAList1"], {"CanaryAsAKey1": 1}], ids=["list", "dict"])
def test_a_structure_instead_of_a_text(run: ModuleRunner, option: str, value: Any) -> None:
    """Ansible makes a text of it, which KMS would take for a name; as a password it must not be told."""
    result = run(**task(option, value))
    assert result["failed"] is True
    assert "Traceback" not in result["msg"]
    if option == "key_store_password":
        assert "Canary" not in result["msg"]


@pytest.mark.parametrize("value", [0, -1, -1800])
def test_no_time_at_all(run: ModuleRunner, value: int) -> None:
    result = run(name="payments", wait_timeout=value)
    assert result["msg"] == (
        f"wait_timeout must be at least 1 second, but is {value}: to return without waiting for the end state, set wait=false."
    )
    assert run.calls == []


@pytest.mark.parametrize("option", ["custom_key_store_id", "name"])
@pytest.mark.parametrize("what", ["empty", "too long"])
@pytest.mark.parametrize("module", ["kms_custom_key_store_info", "kms_custom_key_stores"])
def test_which_store_in_the_other_modules(run: ModuleRunner, module: str, option: str, what: str) -> None:
    run.module, needed = MODULES[module]
    which = {option: texts(option)[what]}
    options = {**needed, "stores": [which]} if "stores" in needed else which
    result = run(**options)
    assert result["failed"] is True
    assert f"{option} must have " in result["msg"]
    assert run.calls == []
