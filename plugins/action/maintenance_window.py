# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of the role key_store_maintenance.

The state between the steps is in a file in the temporary folder of this run of Ansible. It is not in Ansible's variables, because
the tasks of the user, their facts and extra variables could change it there. The file has no secrets; the keeper on the managed
host has them in memory.
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
    "Nothing was disconnected. With --skip-tags reconnect, the play would not reconnect the key stores. Run it without"
    " --skip-tags reconnect."
)


class ActionModule(WaitingAction):
    """Runs the step of a window that the option C(step) selects."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the step.

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

    # ---- the state between the steps

    @property
    def _path(self) -> str:
        """The file of this window: each include of the role has its own blocks, and each host has its own window."""
        within, parts = self._task._parent, [self._host]
        if self._task.args.get("step") == "work":
            # This step is in its own file, included with the user's tasks: the parents are the blocks of that include.
            while not isinstance(within, TaskInclude):
                within = within._parent
            within = within._parent
        while within is not None:
            parts.append(str(within._uuid))
            within = within._parent
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return os.path.join(constants.DEFAULT_LOCAL_TMP, f"keyops-aws-window-{name}.json")

    def _options(self) -> maintenance.Options:
        """The options of the window. Those of the first step are used until its end: variables may have changed since.

        Raises:
            InputError: an option is invalid.
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
        """Check whether the window may begin."""
        window = maintenance.Window(options=self._given.fixed(), connections=self._connections())
        if self._skips_tag(variables, "reconnect"):
            return self._fail(window, NOT_ENDED)
        try:
            limits = self._given.limits()
        except maintenance.InputError as error:
            return self._refuse(window, [str(error)])
        refusals = self._refusals_of_tasks(variables)
        predicted = self._stores(
            variables,
            {"state": "disconnected", "stores": self._given.stores, **self._lease(), **self._prediction_options()},
            predict_only=True,
        )
        if "stores" not in predicted:
            return self._refuse(window, [*refusals, predicted.get("msg", "The key stores could not be described.")])
        plan = maintenance.plan_window(predicted["stores"], limits)
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
        """Show the plan, or the summary."""
        window = self._load()
        if window is None or not window.plans:
            return {"skipped": True, "changed": False}
        if window.summary is not None:
            if self._task.check_mode or not (window.disconnected or window.connected):
                return {"skipped": True, "changed": False}
            return self._lines_as_result(maintenance.summary_table(window.summary))
        return self._lines_as_result(maintenance.plan_table(window.plans, window.lease))

    def _disconnect(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Disconnect the stores."""
        window = self._load()
        if window is None or not window.checked:
            window = window or maintenance.Window()
            return self._fail(window, NOT_CHECKED)
        if self._skips_tag(variables, "reconnect"):
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
            if done.get("changed") is False:  # the module reports that; a lost result does not
                window.begun = False  # another window may have the stores: this one must not connect them
            return {**self._fail(window, str(done.get("msg", ""))), "changed": done.get("changed", False)}
        self._save(window)
        return {"changed": done.get("changed", False), **_ansible_values(done)}

    def _work(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Refuse to run the user's tasks while the stores are in service."""
        window = self._load()
        if window is None or not window.checked:
            return self._fail(window or maintenance.Window(), NOT_CHECKED)
        if not window.begun:
            return self._fail(window, NOT_BEGUN)
        return {"changed": False}

    def _note(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Record the failure of the user's tasks. The other steps record their own."""
        window = self._load() or maintenance.Window()
        if not window.failure:
            window.failure = maintenance.failure_of(
                variables.get("ansible_failed_task"), variables.get("ansible_failed_result")
            )
            self._save(window)
        return {"changed": False}

    def _reconnect(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Reconnect the stores that were in service, in all cases."""
        window = self._load() or self._left_by_another(variables)
        returning = window.returning()
        done: dict[str, Any] = {}
        if returning:
            if window.job is not None:
                done = self._connect_by_keeper(Job(**window.job), variables)
            if not any(store["operations"] or not store["failed"] for store in done.get("stores", [])):
                done = self._connect_by_module(window, returning, variables)
            elif left := _plans_without(returning, done["stores"]):  # the keeper has left these to other windows
                done = _merged(done, self._connect_by_module(window, left, variables))
            window.connected = done.get("stores", [])
            window.connect_failure = _failure_of_connect(done, returning)
        window.summary = maintenance.summarise(window.plans, window.disconnected, window.connected, maintenance.now())
        self._save(window)
        outcome = {"changed": bool(done.get("changed")), "summary": window.summary, **_ansible_values(done)}
        return outcome if returning else {**outcome, "skipped": True}

    def _report(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Fail if any step has failed."""
        window = self._load() or maintenance.Window()
        with suppress(OSError):
            os.unlink(self._path)
        failures = [window.failure, window.connect_failure]
        if any(failures):
            return {"failed": True, "msg": " ".join(filter(None, failures))}
        return {"changed": False}

    # ---- helpers of the steps

    def _refuse(self, window: maintenance.Window, refusals: list[str]) -> dict[str, Any]:
        """Fail before any disconnect, with all refusals in one message."""
        message = f"Nothing was disconnected. {' '.join(refusals)}"
        return {**self._fail(window, message), "stores": window.plans, "refusals": refusals}

    def _fail(self, window: maintenance.Window, message: str) -> dict[str, Any]:
        window.failure = message
        self._save(window)
        return {"failed": True, "changed": False, "msg": message}

    def _skips_tag(self, variables: Mapping[str, Any], tag: str) -> bool:
        return tag in variables.get("ansible_skip_tags", ())

    def _connections(self) -> list[dict[str, Any]]:
        """The connection options of each store, without secrets."""
        return [maintenance.without_secrets(store) for store in self._given.stores]

    def _lease(self) -> dict[str, Any]:
        """The options of the keeper and the lease, which reconnect the stores if the play does not."""
        return {"lease_minutes": self._given.lease_minutes, "keeper": self._given.keeper, **self._role()}

    def _role(self) -> dict[str, Any]:
        """The role with which leases in AWS are created, found, and ended."""
        return {"lease_role_arn": self._given.lease_role_arn} if self._given.lease_role_arn else {}

    def _prediction_options(self) -> dict[str, Any]:
        credentials = self._given.xks_proxy_credentials
        return {
            "predict_connect": self._given.predict_connect,
            **({"xks_proxy_credentials": credentials} if credentials else {}),
            "include_cloud_hsm_cluster": self._given.min_active_hsms > 0,
            "include_keys": self._given.max_recent_use_minutes > 0,
        }

    def _refusals_of_tasks(self, variables: Mapping[str, Any]) -> list[str]:
        """The faults in the user's tasks that can be found before they run."""
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
        """The window that an earlier run has left open, for a run that only reconnects."""
        window = maintenance.Window(connections=self._connections())
        described = self._stores(
            variables, {"state": "connected", "stores": self._given.stores, **self._role()}, predict_only=True
        )
        if "stores" not in described:
            window.failure = str(described.get("msg", "The key stores could not be described."))
        else:
            plan = maintenance.plan_window(
                described["stores"], maintenance.Limits(now=maintenance.now(), min_active_hsms=0)
            )
            window.plans, window.failure = plan["stores"], " ".join(plan["refusals"])
        return window

    def _connect_by_keeper(self, job: Job, variables: dict[str, Any]) -> dict[str, Any]:
        """Request the reconnect from the keeper.

        Returns:
            The module's result; empty if the keeper no longer runs, as after the end of the lease.
        """
        if self._low_level_execute_command(f"touch {shlex.quote(job.end)}")["rc"] != 0:
            return {}  # a user has removed its folder
        done = self._wait(Job.at(job.end.removesuffix(".end"), job.pid, began=job.began, stage=KEEPER), variables)
        return done if "stores" in done else {}

    def _connect_by_module(
        self, window: maintenance.Window, returning: list[dict[str, Any]], variables: dict[str, Any]
    ) -> dict[str, Any]:
        options = {
            "state": "connected",
            "stores": window.targets(returning, self._given.stores),
            "verify": self._given.verify,
            # Another window may have these stores now. If this play had no first step, the user explicitly asks for them.
            "even_in_use": not window.options,
            **self._role(),
        }
        return self._stores(variables, options)

    def _stores(
        self,
        variables: dict[str, Any],
        options: Mapping[str, Any],
        *,
        predict_only: bool = False,
        job_of: maintenance.Window | None = None,
    ) -> dict[str, Any]:
        """Run the module for several stores, with the connection options, defaults and environment of this task.

        Args:
            variables: of the task.
            options: of the module.
            predict_only: run the module in check mode.
            job_of: the window that records the job, if the module continues in the background.
        """

        def record(job: Job) -> None:
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
        self._task.check_mode, self._task.diff = check_mode or predict_only, diff and not predict_only
        try:
            if self._task.check_mode:
                return self._run_module(variables, **module)
            return self._execute_with_progress(variables, on_job=record, **module)
        finally:
            self._task.check_mode, self._task.diff = check_mode, diff

    def _module_defaults(self) -> dict[str, Any]:
        """The defaults for the module. Those for the action group are already in the options of this task."""
        defaults: dict[str, Any] = {}
        for each in self._task.module_defaults or ():
            defaults.update(each.get(MODULE, {}))
        templated: dict[str, Any] = self._templar.template(defaults)
        return templated

    def _lines_as_result(self, lines: list[str]) -> dict[str, Any]:
        """Lines of text as a block, if the callback shows blocks; otherwise as a list, so that each line is readable."""
        shows_blocks = False
        with suppress(AnsibleError):
            option = constants.config.get_config_value("result_format", plugin_type="callback", plugin_name="default")
            shows_blocks = option == "yaml"
        return {"changed": False, "msg": "\n".join(lines) if shows_blocks else lines, "_ansible_verbose_always": True}


def _failure_of_connect(done: Mapping[str, Any], returning: list[dict[str, Any]]) -> str:
    """Why not all stores could be connected; empty if they could. A lost result names no store."""
    if not done.get("failed"):
        return ""
    message = str(done.get("msg", ""))
    if "stores" in done:
        return message
    names = ", ".join(f"{plan['name']} ({plan['custom_key_store_id']})" for plan in returning)
    return f"{message} These key stores may be out of service: {names}. Run the playbook again with --tags reconnect."


def _plans_without(plans: list[dict[str, Any]], stores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plans without those of the given stores."""
    known = {store["custom_key_store_id"] for store in stores}
    return [plan for plan in plans if plan["custom_key_store_id"] not in known]


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Merge two results of the module."""
    messages = [str(each["msg"]) for each in (first, second) if each.get("failed")]
    return {
        **first,
        "changed": bool(first.get("changed") or second.get("changed")),
        "stores": [*first["stores"], *second.get("stores", [])],
        **({"failed": True, "msg": " ".join(messages)} if messages else {}),
    }


def _ansible_values(result: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a module's result that Ansible itself shows."""
    return {name: result[name] for name in ("diff", "warnings", "deprecations") if name in result}
