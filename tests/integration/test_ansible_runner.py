# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that ansible-runner runs, as Automation Platform and AWX do, and the pattern for Automation Platform."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.environment import BIN
from dev.environment import ROOT
from tests.integration.harness import MODULE
from tests.integration.test_lease_in_aws import another_machine
from tests.integration.test_lease_in_aws import schedules
from tests.integration.test_lease_in_aws import window
from tests.integration.ways import environment_of
from tests.integration.windows import CONNECT
from tests.integration.windows import DISCONNECT
from tests.integration.windows import SLOW
from tests.integration.windows import Place
from tests.integration.windows import shell
from tests.integration.windows import until

PROGRESS = re.compile(r"custom key store cks-\w+ \(\"payments\"\) is [A-Z]+, \d+ of at most \d+ seconds")
DONE = shell("touch done")

PATTERN = ROOT / "extensions" / "patterns" / "maintenance_window"


@contextlib.contextmanager
def runner(place: Place, playbook: str, identifier: str, **variables: Any) -> Iterator[subprocess.Popen[str]]:
    """ansible-runner with a playbook and progress lines each second. It has ended afterwards."""
    programs = environment_of("runner", "ansible-runner==2.4.3")
    given = json.dumps({"keyops_aws_progress_seconds": 1, **variables})
    place.write("runner/env/extravars", given)
    command = ["run", "runner", "--project-dir", str(place.ansible.folder), "-p", playbook, "--ident", identifier]
    with subprocess.Popen(
        [str(programs / "ansible-runner"), *command],
        env={**place.ansible.environment, "PATH": f"{BIN}{os.pathsep}{place.ansible.environment['PATH']}"},
        cwd=place.ansible.folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as running:
        yield running
        output, _nothing = running.communicate(timeout=120)
        (place.ansible.folder / f"output-{identifier}").write_text(output)


def run(place: Place, playbook: str, identifier: str, **variables: Any) -> str:
    """Run a playbook to its end, which must be a good one. Returns what was told."""
    with runner(place, playbook, identifier, **variables) as running:
        pass
    reported = (place.ansible.folder / f"output-{identifier}").read_text()
    assert running.returncode == 0, reported
    return " ".join(reported.split())


def events(place: Place, identifier: str) -> list[dict[str, Any]]:
    folder = place.ansible.folder / "runner" / "artifacts" / identifier / "job_events"
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return sorted(found, key=lambda event: int(event["counter"]))


def cancelled_during_the_work(place: Place, playbook: str) -> None:
    """As somebody does who cancels a job."""
    with runner(place, playbook, "first") as running:
        until((place.ansible.folder / "working").exists)
        running.send_signal(signal.SIGTERM)
    (place.ansible.folder / "working").unlink()
    place.write("work.yml", [DONE])
    status = (place.ansible.folder / "runner" / "artifacts" / "first" / "status").read_text()
    assert status == "canceled"


@pytest.mark.long
def test_events_of_a_task_and_its_progress(place: Place) -> None:
    place.ansible.control.set_transitions(disconnect_seconds=6)
    task = {"name": "Out", MODULE: {"name": "payments", "state": "disconnected"}}
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
    place.write("play.yml", [play])
    reported = run(place, "play.yml", "task")
    (result,) = (event for event in events(place, "task") if event["event"] == "runner_on_ok")
    assert result["event_data"]["res"]["operations"] == [DISCONNECT]
    assert result["event_data"]["res"]["custom_key_store"]["connection_state"] == "DISCONNECTED"
    lines = PROGRESS.findall("\n".join(event["stdout"] for event in events(place, "task")))
    assert len(lines) >= 2
    assert len(lines) == len(set(lines))
    assert PROGRESS.findall(reported) == lines


@pytest.mark.long
def test_a_window(place: Place) -> None:
    place.ansible.control.set_transitions(connect_seconds=4, disconnect_seconds=4)
    run(place, place.window([DONE]), "window")
    found = events(place, "window")
    summary = [event for event in found if event.get("event_data", {}).get("task") == "Set the summary"][-1]
    (row,) = summary["event_data"]["res"]["ansible_facts"]["key_store_maintenance_summary"]
    assert (row["before"], row["during"], row["after"]) == ("CONNECTED", "DISCONNECTED", "CONNECTED")
    lines = PROGRESS.findall("\n".join(event["stdout"] for event in found))
    assert {line.split(" is ")[1].split(",")[0] for line in lines} == {"DISCONNECTING", "CONNECTING"}
    assert len(lines) == len(set(lines))
    place.assert_back()


@pytest.mark.long
def test_cancelled_on_a_host_that_stays(place: Place) -> None:
    """The keeper is no child of what the cancel kills."""
    cancelled_during_the_work(place, path := place.window([SLOW]))
    place.assert_back()
    assert [report["reason"] for report in place.reports()] == ["gone"]
    assert "The keeper connected it at 20" in run(place, path, "second")
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 2
    place.assert_back()


def lose_container(place: Place, playbook: str) -> None:
    """Run a window, and end its container while it does its work: all processes are gone."""
    with runner(place, playbook, "first"):
        until((place.ansible.folder / "working").exists)
        place.ansible.kill_all()
    (place.ansible.folder / "working").unlink()
    place.write("work.yml", [DONE])
    until(lambda: not place.process_ids(), 20)
    assert place.state() == "DISCONNECTED"


@pytest.mark.long
def test_a_container_that_is_lost_and_a_home_that_stays(place: Place) -> None:
    lose_container(place, path := place.window([SLOW]))
    assert "It was in service until 20" in run(place, path, "second")
    assert (place.ansible.folder / "done").exists()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    assert place.is_back()


@pytest.mark.long
def test_a_container_that_is_lost_and_an_empty_home(place: Place) -> None:
    """Nobody remembers the window: the next one says so, and leaves the store."""
    lose_container(place, path := place.window([SLOW]))
    another_machine(place)
    reported = run(place, path, "second")
    assert "No lease says that a window has disconnected it, so it is left as it is." in reported
    assert place.state() == "DISCONNECTED"
    assert place.asked_for(CONNECT) == 0


@pytest.mark.long
def test_a_container_that_is_lost_and_a_lease_in_aws(place: Place) -> None:
    lose_container(place, path := window(place, [SLOW]))
    another_machine(place)
    assert "It was in service until 20" in run(place, path, "second")
    assert (place.ansible.folder / "done").exists()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    assert schedules(place) == []
    assert place.is_back()


# ---- the pattern


def pattern() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PATTERN / "meta" / "pattern.json").read_text("utf-8"))
    return content


def templates() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pattern()["aap_resources"]["controller_job_templates"]
    return found


def questions(template: dict[str, Any]) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = template["survey"]["spec"] if "survey" in template else []
    return asked


def options_of_role() -> dict[str, Any]:
    specification = yaml.safe_load(
        (ROOT / "roles" / "key_store_maintenance" / "meta" / "argument_specs.yml").read_text()
    )
    options: dict[str, Any] = specification["argument_specs"]["main"]["options"]
    return options


def options_of_playbook(name: str) -> dict[str, Any]:
    specification = yaml.safe_load((PATTERN / "playbooks" / f"{Path(name).stem}.meta.yml").read_text())
    (argument_spec,) = specification["argument_specs"].values()
    options: dict[str, Any] = argument_spec["options"]
    return options


def test_the_pattern_has_the_form_that_automation_platform_reads() -> None:
    """That of version 3.0.0 of the schema in the repository of the pattern service."""
    content = pattern()
    assert content["name"] == PATTERN.name
    assert re.fullmatch(r"[a-z0-9_]{1,64}", content["name"])
    assert len(content["title"]) <= 64
    assert not content["short_description"].endswith(".")
    resources = content["aap_resources"]
    assert {"name", "description"} == set(resources["controller_project"])
    assert {"name", "description", "image_name", "pull"} == set(resources["controller_execution_environment"])
    assert [template.get("primary", False) for template in templates()].count(True) == 1
    for template in templates():
        assert (PATTERN / "playbooks" / template["playbook"]).is_file()
        assert template["execution_environment"] == resources["controller_execution_environment"]["name"]
        assert set(template["labels"]) <= set(resources["controller_labels"])
        for question in questions(template):
            assert question["type"] in ("text", "textarea", "password", "integer", "float", "multiplechoice")
            assert {"question_name", "question_description", "variable", "required"} <= set(question)
            assert isinstance(question.get("default", ""), str)
            assert ("choices" in question) == (question["type"] == "multiplechoice")
            assert question.get("default", "") in ["", *question.get("choices", [question.get("default", "")])]
    assert (PATTERN / "README.md").is_file()


def test_the_survey_asks_for_options_of_the_role_and_begins_with_check_mode() -> None:
    own = {"window_check_mode", "key_store_names", "region"}
    (main,) = (template for template in templates() if template.get("primary"))
    asked = {question["variable"]: question for question in questions(main)}
    assert next(iter(asked)) == "window_check_mode"
    assert asked["window_check_mode"]["default"] == "yes"
    assert asked.keys() - own <= options_of_role().keys()
    for name in asked.keys() - own:
        assert asked[name]["default"] == str(options_of_role()[name]["default"]), name
    for template in templates():
        declared = options_of_playbook(template["playbook"])
        assert {question["variable"] for question in questions(template)} == set(declared)
        playbook = (PATTERN / "playbooks" / template["playbook"]).read_text()
        for question in questions(template):
            if question["variable"] in own:
                assert question["variable"] in playbook
            assert question["required"] == declared[question["variable"]].get("required", False)


def test_the_workflow_shows_the_plan_first_and_waits_for_an_approval() -> None:
    setup = yaml.safe_load((PATTERN / "setup.yml").read_text())
    names = {template["name"] for template in templates()}
    (workflow,) = setup["controller_workflows"]
    nodes = {node["identifier"]: node for node in workflow["simplified_workflow_nodes"]}
    for node in nodes.values():
        assert ("approval_node" in node) != (node.get("unified_job_template") in names), node
        followers = [each for kind in ("success", "failure", "always") for each in node.get(f"{kind}_nodes", [])]
        assert set(followers) <= nodes.keys()
    plan, approval, real = (nodes[name] for name in ("plan", "approve", "window"))
    assert plan["extra_data"] == {"window_check_mode": "yes"}
    assert plan["success_nodes"] == ["approve"]
    assert approval["success_nodes"] == ["window"]
    assert real["extra_data"] == {"window_check_mode": "no"}
    assert real["failure_nodes"] == ["reconnect"]
    defined = {template["name"]: template for template in setup["controller_templates"]}
    assert defined.keys() == names
    for template in templates():
        given = defined[template["name"]]
        assert given["playbook"] == f"extensions/patterns/{PATTERN.name}/playbooks/{template['playbook']}"
        assert given["description"] == template["description"]


def answers(template: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The variables of a job whose survey was answered so, and with its defaults."""
    own = {question["variable"]: question.get("default", "") for question in questions(template)}
    numbers = [question["variable"] for question in questions(template) if question["type"] == "integer"]
    return {**own, **{name: int(own[name]) for name in numbers}, **given}


@pytest.mark.long
@pytest.mark.parametrize("check", ["yes", "no"])
def test_the_pattern_is_run_with_the_answers_of_its_survey(place: Place, check: str) -> None:
    place.store("ledger")
    (main,) = (template for template in templates() if template.get("primary"))
    given = answers(main, key_store_names="payments\n\n ledger\n", region="us-east-1", window_check_mode=check)
    reported = run(place, str(PATTERN / "playbooks" / main["playbook"]), "window", **given)
    assert "disconnect, work, connect" in reported
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == (2 if check == "no" else 0)
    place.assert_back()


@pytest.mark.long
def test_a_job_of_the_type_check_stays_one_whatever_the_survey_says(place: Place) -> None:
    (main,) = (template for template in templates() if template.get("primary"))
    given = json.dumps(answers(main, key_store_names="payments", region="us-east-1", window_check_mode="no"))
    path = str(PATTERN / "playbooks" / main["playbook"])
    assert place.play(path, "--check", "-e", given) == 0, place.output
    assert "disconnect, work, connect" in place.output
    assert place.asked_for(DISCONNECT) == 0


@pytest.mark.long
def test_the_other_template_of_the_pattern_brings_stores_back(place: Place) -> None:
    lose_container(place, window(place, [SLOW]))
    another_machine(place)
    (other,) = (template for template in templates() if not template.get("primary"))
    reported = run(
        place, str(PATTERN / "playbooks" / other["playbook"]), "reconnect", **answers(other, region="us-east-1")
    )
    assert "payments in us-east-1 is CONNECTED." in reported
    assert schedules(place) == []
    assert place.is_back()
