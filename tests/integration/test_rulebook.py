# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook for Event-Driven Ansible, run by ansible-rulebook on the events of the emulator's CloudTrail.

C(make rulebook) makes the environment that it needs.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from dev.environment import ROOT
from tests.integration.guides import blocks
from tests.integration.test_lease_in_aws import window
from tests.integration.windows import CONNECT
from tests.integration.windows import UNTIL_DONE
from tests.integration.windows import Place
from tests.integration.windows import until

PROGRAMS = ROOT / ".venv" / "rulebook" / "bin"
RULEBOOK = ROOT / "extensions" / "eda" / "rulebooks" / "watch.yml"
INVENTORY = "inventory.yml"

needs_rulebook = pytest.mark.skipif(
    not (PROGRAMS / "ansible-rulebook").exists() or shutil.which("java") is None,
    reason="needs ansible-rulebook in .venv/rulebook, which make rulebook installs, and Java 17",
)


@contextmanager
def listening(place: Place, **variables: Any) -> Iterator[None]:
    """ansible-rulebook with the rulebook, asking CloudTrail each second, on the host of the place."""
    (inventory,) = (block for block in blocks("guide_watch", "yaml") if block.startswith("all:"))
    place.write(INVENTORY, inventory)
    place.write("watch-vars.yml", {"watch_seconds": 1, **variables})
    (command,) = (block for block in blocks("guide_watch", "shell") if block.startswith("ansible-rulebook "))
    path = f"{PROGRAMS}{os.pathsep}{place.ansible.environment['PATH']}"
    with (place.ansible.folder / "output").open("wb") as output:
        running = subprocess.Popen(
            [str(PROGRAMS / "ansible-rulebook"), *shlex.split(command)[1:]],
            env={**place.ansible.environment, "PATH": path, "ANSIBLE_NOCOLOR": "1"},
            cwd=place.ansible.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: place.asked_for("LookupEvents") >= 6)
            yield
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait(20)


def reported(place: Place) -> str:
    """What ansible-rulebook has said so far."""
    return " ".join((place.ansible.folder / "output").read_text().split())


def until_reported(place: Place, *texts: str) -> None:
    """Wait until it has said all that, and the play is over."""
    try:
        until(lambda: all(text in reported(place) for text in texts))
    except AssertionError:
        pytest.fail(f"{texts} is not in: {reported(place)}")


# ---- without ansible-rulebook


def test_the_rulebook_runs_the_playbook_with_variables_that_it_has() -> None:
    (ruleset,) = yaml.safe_load(RULEBOOK.read_text())
    runs = [
        action["run_playbook"] for rule in ruleset["rules"] for action in rule["actions"] if "run_playbook" in action
    ]
    assert len(runs) == len(ruleset["rules"]) == 2
    playbook = (ROOT / "playbooks" / "watch.yml").read_text()
    for run in runs:
        assert run["name"] == "keyops.aws.watch"
        for name in run["extra_vars"]:
            assert re.search(rf"\b{name} \| default\(", playbook), name
    found = {
        attribute["AttributeValue"]
        for source in ruleset["sources"]
        for attribute in source["amazon.aws.aws_cloudtrail"]["lookup_attributes"]
    }
    assert found == {
        name for rule in ruleset["rules"] for name in re.findall(r'"(\w+CustomKeyStore)"', rule["condition"])
    }
    explained = set(re.findall(r"(?m)^#   (watch_\w+): ", RULEBOOK.read_text()))
    assert explained == set(re.findall(r"{{ (watch_\w+) ", RULEBOOK.read_text()))


def test_the_rule_of_the_guide_starts_a_job_template_with_the_same_variables() -> None:
    """ansible-rulebook judges it by its own schema, where it is there."""
    (rule,) = (yaml.safe_load(block) for block in blocks("guide_watch", "yaml") if "run_job_template" in block)
    (ruleset,) = yaml.safe_load(RULEBOOK.read_text())
    action = rule["actions"][0]["run_job_template"]
    assert rule["condition"].split() == ruleset["rules"][0]["condition"].split()
    assert (
        action["job_args"]["extra_vars"].items()
        <= ruleset["rules"][0]["actions"][1]["run_playbook"]["extra_vars"].items()
    )
    if (PROGRAMS / "python").exists():
        ruleset["rules"] = [rule]
        code = "import sys, yaml; from ansible_rulebook.validators import Validate; Validate.rulebook(yaml.safe_load(sys.stdin))"
        done = subprocess.run(
            [str(PROGRAMS / "python"), "-c", code],
            input=yaml.safe_dump([ruleset]),
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


# ---- with it


@needs_rulebook
@pytest.mark.long
def test_changes_that_no_window_announced_are_reported(place: Place) -> None:
    kms, store_id = place.ansible.kms(), place.ids["payments"]
    with listening(place):
        kms.update_custom_key_store(CustomKeyStoreId=store_id, NewCustomKeyStoreName="renamed")
        until_reported(
            place,
            f"UpdateCustomKeyStore of {store_id} by arn:aws:sts::123456789012:user/moto from 127.0.0.1 at 20",
            "is CONNECTED, and was updated, and no maintenance window has announced it.",
            "PLAY RECAP",
        )
        kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
        until_reported(
            place,
            f"DisconnectCustomKeyStore of {store_id} by arn:aws:sts::123456789012:user/moto",
            f"renamed ({store_id}) in us-east-1 is DISCONNECTED, and no maintenance window has announced it.",
        )
        until(lambda: place.state("renamed") == "DISCONNECTED")
        kms.delete_custom_key_store(CustomKeyStoreId=store_id)
        until_reported(
            place,
            f"DeleteCustomKeyStore of {store_id} by arn:aws:sts::123456789012:user/moto",
            f"There is no custom key store {store_id} in us-east-1.",
        )
    assert place.asked_for(CONNECT) == 0


@needs_rulebook
@pytest.mark.long
@pytest.mark.parametrize("in_aws", [False, True])
def test_it_connects_where_it_is_asked_to_and_never_in_a_window(place: Place, in_aws: bool) -> None:
    path = window(place, [UNTIL_DONE]) if in_aws else place.window([UNTIL_DONE])
    with listening(place, watch_reconnect=True, watch_leases_in_aws=in_aws):
        with place.playing(path, expected=0):
            try:
                until((place.ansible.folder / "working").exists)
                until_reported(
                    place, "in us-east-1 is DISCONNECTED: a maintenance window has it since 20", "PLAY RECAP"
                )
                assert place.state() == "DISCONNECTED"
                assert place.asked_for(CONNECT) == 0
            finally:
                place.write("done", "")
        assert place.is_back()
        assert place.asked_for(CONNECT) == 1  # by the window itself
        place.ansible.kms().disconnect_custom_key_store(CustomKeyStoreId=place.ids["payments"])
        until_reported(place, "It is CONNECTED again.")
    assert place.is_back()
    assert place.asked_for(CONNECT) == 2
