# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of the role key_store_maintenance.

What one step finds out, the next one needs. It is kept out of Ansible's variables, where the tasks of the user, their facts and
their extra variables could change it: in a file of the temporary folder that this run of Ansible has for itself. Secrets are not
in it; the keeper on the managed host has them in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from contextlib import suppress
from typing import Any
from typing import Mapping

from ansible import constants
from ansible.errors import AnsibleError
from ansible.playbook.task_include import TaskInclude

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import KEEPER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.plugin_utils import maintenance
from ansible_collections.keyops.aws.plugins.plugin_utils.tasks_file import TasksFileError
from ansible_collections.keyops.aws.plugins.plugin_utils.tasks_file import ends_of_play
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import LOCAL
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import WaitingAction

MODULE = "keyops.aws.kms_custom_key_stores"

NOT_CHECKED = (
    "Nothing was disconnected, because the window was not checked before. Do not leave its first task out (--skip-tags preflight,"
    " --start-at-task, --step). To bring back what an earlier run has left, use --tags reconnect."
)

NOT_BEGUN = (
    "The maintenance tasks were not run, because the key stores were not disconnected before. Do not leave that task out"
    " (--step)."
)

NOT_ENDED = (
    "Nothing was disconnected. With --skip-tags reconnect the key stores would not be connected at the end, so leave"
    " that out."
)


class ActionModule(WaitingAction):
    """Does the step of a window that its option C(step) names."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the step.

        Returns:
            The result of the task, see C(maintenance_window) in C(plugins/modules).
        """
        outcome: dict[str, Any] = super(WaitingAction, self).run(tmp, task_vars)
        variables = task_vars or {}
        self._host = str(variables.get("inventory_hostname", ""))
        steps = {
            "check": self._check,
            "show": self._show,
            "disconnect": self._disconnect,
            "work": self._work,
            "note": self._note,
            "reconnect": self._reconnect,
            "report": self._report,
        }
        try:
            self._given = self._options()
            step = steps[self._given.step]
        except (maintenance.InputError, KeyError) as error:
            return {**outcome, "failed": True, "msg": str(error)}
        outcome.update(**step(variables))
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return outcome

    # ---- what is known between the steps

    @property
    def _path(self) -> str:
        """A file for this window: each time that the role is included has blocks of its own, and each host a window."""
        within, parts = self._task._parent, [self._host]
        if self._task.args.get("step") == "work":
            # It is in a file of its own, so that it is included with the user's tasks: the blocks are those of the include.
            while not isinstance(within, TaskInclude):
                within = within._parent
            within = within._parent
        while within is not None:
            parts.append(str(within._uuid))
            within = within._parent
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return os.path.join(constants.DEFAULT_LOCAL_TMP, f"keyops-aws-window-{name}.json")

    def _options(self) -> maintenance.Options:
        """Those of the first step count for the whole window: later ones may come from variables that were changed since.

        Raises:
            InputError: one of them cannot be used.
        """
        arguments = self._task.args
        window = None if arguments.get("step") == "check" else self._load()
        if window is None or not window.options:
            return maintenance.Options.of(arguments)
        return maintenance.Options.of({**arguments, **window.options})

    def _load(self) -> maintenance.Window | None:
        try:
            with open(self._path, encoding="utf-8") as file:
                return maintenance.Window(**json.load(file))
        except FileNotFoundError:
            return None

    def _save(self, window: maintenance.Window) -> None:
        draft = f"{self._path}.tmp"
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(window.__dict__, file)
        os.replace(draft, self._path)

    # ---- steps

    def _check(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Look whether the window may begin."""
        window = maintenance.Window(options=self._given.fixed(), connections=self._connections())
        if self._leaves_out(variables, "reconnect"):
            return self._fail(window, NOT_ENDED)
        try:
            limits = self._given.limits()
        except maintenance.InputError as error:
            return self._refuse(window, [str(error)])
        refusals = self._refusals_of_tasks(variables)
        looks = self._stores(
            variables,
            {"state": "disconnected", "stores": self._given.stores, **self._lease(), **self._looks()},
            look=True,
        )
        if "stores" not in looks:
            return self._refuse(window, [*refusals, looks.get("msg", "The key stores could not be described.")])
        plan = maintenance.plan_window(looks["stores"], limits)
        window.plans = plan["stores"]
        refusals += plan["refusals"]
        if refusals:
            return self._refuse(window, refusals)
        window.checked = True
        sees_play = self._connection.transport in LOCAL
        window.lease = [*self._given.lease_text(sees_play=sees_play, now=maintenance.now()), *plan.pop("notes")]
        self._save(window)
        return {"changed": False, **plan}

    def _show(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Show the plan, or how it went."""
        window = self._load()
        if window is None or not window.plans:
            return {"skipped": True, "changed": False}
        if window.summary is not None:
            if self._task.check_mode or not (window.disconnected or window.connected):
                return {"skipped": True, "changed": False}
            return self._shown(maintenance.summary_table(window.summary))
        return self._shown(maintenance.plan_table(window.plans, window.lease))

    def _disconnect(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Take the stores out of service."""
        window = self._load()
        if window is None or not window.checked:
            window = window or maintenance.Window()
            return self._fail(window, NOT_CHECKED)
        if self._leaves_out(variables, "reconnect"):
            return self._fail(window, NOT_ENDED)
        leaving = [plan for plan in window.plans if plan["disconnects"]]
        window.begun = True
        self._save(window)
        if not leaving:
            return {"skipped": True, "changed": False}
        options = {
            "state": "disconnected",
            "stores": window.targets(leaving, self._given.stores),
            "verify": self._given.verify,
            **self._lease(),
        }
        done = self._stores(variables, options, job_of=window)
        window.disconnected = done.get("stores", [])
        window.leave_to_others(leaving)
        if done.get("failed"):
            if done.get("changed") is False:  # the module itself says so; a result that was lost says nothing
                window.begun = False  # another window may have the stores: they are not for this one to connect
            return {**self._fail(window, str(done.get("msg", ""))), "changed": done.get("changed", False)}
        self._save(window)
        return {"changed": done.get("changed", False), **_shown_by_ansible(done)}

    def _work(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Keep the user's tasks from running while the stores are in service."""
        window = self._load()
        if window is None or not window.checked:
            return self._fail(window or maintenance.Window(), NOT_CHECKED)
        if not window.begun:
            return self._fail(window, NOT_BEGUN)
        return {"changed": False}

    def _note(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Keep in mind what failed: of the user's tasks, as the other steps do that by themselves."""
        window = self._load() or maintenance.Window()
        if not window.failure:
            window.failure = maintenance.failure_of(
                variables.get("ansible_failed_task"), variables.get("ansible_failed_result")
            )
            self._save(window)
        return {"changed": False}

    def _reconnect(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Bring back what was in service, whatever has happened since."""
        window = self._load() or self._left_by_another(variables)
        returning = window.returning()
        done: dict[str, Any] = {}
        if returning:
            if window.job is not None:
                done = self._by_keeper(Job(**window.job), variables)
            if not any(store["operations"] or not store["failed"] for store in done.get("stores", [])):
                done = self._by_ourselves(window, returning, variables)
            elif left := _without(returning, done["stores"]):  # the keeper has left them to others
                done = _together(done, self._by_ourselves(window, left, variables))
            window.connected = done.get("stores", [])
            window.connect_failure = _failure_of_connect(done, returning)
        window.summary = maintenance.summarise(window.plans, window.disconnected, window.connected, maintenance.now())
        self._save(window)
        told = {"changed": bool(done.get("changed")), "summary": window.summary, **_shown_by_ansible(done)}
        return told if returning else {**told, "skipped": True}

    def _report(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Fail where anything has."""
        window = self._load() or maintenance.Window()
        with suppress(OSError):
            os.unlink(self._path)
        failures = [window.failure, window.connect_failure]
        if any(failures):
            return {"failed": True, "msg": " ".join(filter(None, failures))}
        return {"changed": False}

    # ---- what the steps need

    def _refuse(self, window: maintenance.Window, refusals: list[str]) -> dict[str, Any]:
        """Fail before anything is disconnected, telling all that is wrong at once."""
        told = f"Nothing was disconnected. {' '.join(refusals)}"
        return {**self._fail(window, told), "stores": window.plans, "refusals": refusals}

    def _fail(self, window: maintenance.Window, message: str) -> dict[str, Any]:
        window.failure = message
        self._save(window)
        return {"failed": True, "changed": False, "msg": message}

    def _leaves_out(self, variables: Mapping[str, Any], tag: str) -> bool:
        return tag in variables.get("ansible_skip_tags", ())

    def _connections(self) -> list[dict[str, Any]]:
        """How each store is reached, without secrets."""
        return [maintenance.without_secrets(store) for store in self._given.stores]

    def _lease(self) -> dict[str, Any]:
        """Who brings the stores back if the play does not."""
        return {"lease_minutes": self._given.lease_minutes, "keeper": self._given.keeper, **self._role()}

    def _role(self) -> dict[str, Any]:
        """With it, leases in AWS are made, found, and ended."""
        return {"lease_role_arn": self._given.lease_role_arn} if self._given.lease_role_arn else {}

    def _looks(self) -> dict[str, Any]:
        credentials = self._given.xks_proxy_credentials
        return {
            "predict_connect": self._given.predict_connect,
            **({"xks_proxy_credentials": credentials} if credentials else {}),
            "include_cloud_hsm_cluster": self._given.min_active_hsms > 0,
            "include_keys": self._given.max_recent_use_minutes > 0,
        }

    def _refusals_of_tasks(self, variables: Mapping[str, Any]) -> list[str]:
        """What can be seen to be wrong with the user's tasks."""
        if not self._given.tasks_file:
            return []
        path = os.path.join(str(variables["playbook_dir"]), self._given.tasks_file)
        if not os.path.isfile(path):
            return [
                f"There is no file {path}, which key_store_maintenance_tasks_file names; a relative path begins at the playbook."
            ]
        try:
            ends = ends_of_play(path, self._task, self._loader)
        except TasksFileError as error:
            return [f"The tasks in {path} cannot be read. {error}"]
        if not ends:
            return []
        return [
            f"The key stores would not be connected at the end, because Ansible ends the play, or leaves the role, at"
            f" {' and at '.join(ends)}. Use a condition (when) to leave out what should not be done."
        ]

    def _left_by_another(self, variables: dict[str, Any]) -> maintenance.Window:
        """What an earlier run has left out of service, where this one does nothing but bring it back."""
        window = maintenance.Window(connections=self._connections())
        looks = self._stores(variables, {"state": "connected", "stores": self._given.stores, **self._role()}, look=True)
        if "stores" not in looks:
            window.failure = str(looks.get("msg", "The key stores could not be described."))
        else:
            plan = maintenance.plan_window(
                looks["stores"], maintenance.Limits(now=maintenance.now(), min_active_hsms=0)
            )
            window.plans, window.failure = plan["stores"], " ".join(plan["refusals"])
        return window

    def _by_keeper(self, job: Job, variables: dict[str, Any]) -> dict[str, Any]:
        """Ask the keeper to bring the stores back.

        Returns:
            The module's result; empty where there is no keeper any more, as after the end of the lease.
        """
        if self._low_level_execute_command(f"touch {shlex.quote(job.end)}")["rc"] != 0:
            return {}  # somebody has removed its folder
        done = self._wait(Job.at(job.end.removesuffix(".end"), job.pid, began=job.began, stage=KEEPER), variables)
        return done if "stores" in done else {}

    def _by_ourselves(
        self, window: maintenance.Window, returning: list[dict[str, Any]], variables: dict[str, Any]
    ) -> dict[str, Any]:
        options = {
            "state": "connected",
            "stores": window.targets(returning, self._given.stores),
            "verify": self._given.verify,
            # Another window may have these stores by now. Without a first step in this play, the user asks for them at any rate.
            "even_in_use": not window.options,
            **self._role(),
        }
        return self._stores(variables, options)

    def _stores(
        self,
        variables: dict[str, Any],
        options: Mapping[str, Any],
        *,
        look: bool = False,
        job_of: maintenance.Window | None = None,
    ) -> dict[str, Any]:
        """Run the module for several stores, reached as the options, defaults and environment of this task say.

        Args:
            variables: see there.
            options: of the module.
            look: predict only.
            job_of: is told of the job, should the module go on in the background.
        """

        def began(job: Job) -> None:
            if job_of is not None:
                job_of.job = job.__dict__
                self._save(job_of)

        arguments = {
            **self._module_defaults(),
            **self._given.connection,
            "memory": self._given.memory,
            "wait_timeout": self._given.wait_timeout,
            **options,
        }
        module: dict[str, Any] = {"module_name": MODULE, "module_args": arguments}
        check_mode, diff = self._task.check_mode, self._task.diff
        self._task.check_mode, self._task.diff = check_mode or look, diff and not look
        try:
            if self._task.check_mode:
                return self._run_module(variables, **module)
            return self._execute_with_progress(variables, began=began, **module)
        finally:
            self._task.check_mode, self._task.diff = check_mode, diff

    def _module_defaults(self) -> dict[str, Any]:
        """Those for the module alone. Those of the action group reach this task as its own options."""
        defaults: dict[str, Any] = {}
        for each in self._task.module_defaults or ():
            defaults.update(each.get(MODULE, {}))
        templated: dict[str, Any] = self._templar.template(defaults)
        return templated

    def _shown(self, lines: list[str]) -> dict[str, Any]:
        """Lines of text as a block, where the callback shows them so; else as a list, so that each is readable."""
        shows_blocks = False
        with suppress(AnsibleError):
            option = constants.config.get_config_value("result_format", plugin_type="callback", plugin_name="default")
            shows_blocks = option == "yaml"
        return {"changed": False, "msg": "\n".join(lines) if shows_blocks else lines, "_ansible_verbose_always": True}


def _failure_of_connect(done: Mapping[str, Any], returning: list[dict[str, Any]]) -> str:
    """Why not all stores could be connected; empty if they could. A result that was lost names no store."""
    if not done.get("failed"):
        return ""
    message = str(done.get("msg", ""))
    if "stores" in done:
        return message
    names = ", ".join(f"{plan['name']} ({plan['custom_key_store_id']})" for plan in returning)
    return f"{message} These key stores may be out of service: {names}. Run the playbook again with --tags reconnect."


def _without(plans: list[dict[str, Any]], stores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plans of the stores that are not among these."""
    known = {store["custom_key_store_id"] for store in stores}
    return [plan for plan in plans if plan["custom_key_store_id"] not in known]


def _together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two results of the module as one."""
    messages = [str(each["msg"]) for each in (first, second) if each.get("failed")]
    return {
        **first,
        "changed": bool(first.get("changed") or second.get("changed")),
        "stores": [*first["stores"], *second.get("stores", [])],
        **({"failed": True, "msg": " ".join(messages)} if messages else {}),
    }


def _shown_by_ansible(result: Mapping[str, Any]) -> dict[str, Any]:
    """What Ansible itself shows of the result of a module."""
    return {name: result[name] for name in ("diff", "warnings", "deprecations") if name in result}
