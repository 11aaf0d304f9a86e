# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One task for several stores: its options, its stores, their keeper, and its result."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Sequence

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from .background import KEEPER
from .background import Worker
from .background import result_of
from .background import was_read
from .clients import CREDENTIALS
from .clients import Clients
from .clients import Store
from .clock import Clock
from .clock import Deadline
from .group import Group
from .group import Member
from .group import Seen
from .group import StoreTask
from .keeper import Keeper
from .keeper import Reason
from .kms_stores import Kms
from .lease import Leases
from .lease import Report
from .lease import now
from .model import CustomKeyStoreError
from .model import DesiredStore
from .owner import FOLDER
from .owner import Ownership
from .owner import Permit
from .progress import Progress
from .properties import check_values
from .properties import check_wait_timeout
from .properties import refuse_two_identities
from .renewal import Renewal
from .schedule import ROLE_ARN
from .terminal import Terminal

if TYPE_CHECKING:
    from .predict import Predictor

PATIENCE = 600
"""How long to retry a request about a key, in seconds."""

LONGEST_LEASE = 7 * 24 * 60
"""Minutes. Longer than any window, and short enough for date arithmetic."""

NO_KEEPER = (
    "Nothing was disconnected, because no keeper could be started. With lease_minutes, a process stays in the background of the"
    " managed host. That is not possible in a task with async, where modules do not run as files (Mitogen), or where the folder"
    " for background jobs (ANSIBLE_ASYNC_DIR) cannot be written to. Change that; or set keeper=false, and nothing on the host"
    " brings the stores back if the play ends early."
)


def check_options(params: Mapping[str, Any]) -> None:
    """Raises CustomKeyStoreError for invalid options, or options that exclude each other."""
    check_wait_timeout(params["wait_timeout"])
    _check_stores(params)
    if not params["stores"] or any(not any(store[option] for option in CREDENTIALS) for store in params["stores"]):
        refuse_two_identities(params)  # a store with its own credentials does not use these
    _check_lease(params)
    if params["xks_proxy_credentials"]:
        from .predict import credentials_of

        credentials_of(params)
    for number, store in enumerate(params["stores"] or [], start=1):
        try:
            check_values({name: store[name] for name in ("custom_key_store_id", "name") if store[name] is not None})
            for option in ("assume_role_arn", "lease_role_arn"):
                _check_role_arn(store[option], option)
        except CustomKeyStoreError as error:
            raise CustomKeyStoreError(f"In number {number} of stores: {error.message}") from error


def _check_stores(params: Mapping[str, Any]) -> None:
    if not params["leased"]:
        if not params["stores"]:
            raise CustomKeyStoreError("stores is empty: name at least one custom key store.")
        return
    if params["stores"]:
        raise CustomKeyStoreError("leased=true finds the stores by their leases: leave stores out.")
    if params["state"] != "connected":
        raise CustomKeyStoreError("leased=true needs state=connected.")
    if params["memory"] is None and not params["leases_in_aws"]:
        raise CustomKeyStoreError("leased=true needs memory, the folder of the leases, or leases_in_aws=true.")


def _check_lease(params: Mapping[str, Any]) -> None:
    _check_role_arn(params["lease_role_arn"])
    minutes = params["lease_minutes"]
    if minutes is None:
        if params["extend_lease"] or (params["lease_role_arn"] and params["state"] == "disconnected"):
            raise CustomKeyStoreError("lease_minutes is missing: say after how many minutes the lease ends.")
        return
    in_aws = params["lease_role_arn"] or params["leases_in_aws"]
    if params["state"] != "disconnected" or (params["memory"] is None and not in_aws):
        raise CustomKeyStoreError(
            "lease_minutes needs state=disconnected, and memory, the folder that the leases are kept in, or lease_role_arn."
        )
    if params["memory"] is None and params["keeper"] and not params["extend_lease"]:
        raise CustomKeyStoreError(
            "The keeper needs memory, the folder that the leases are kept in; or set keeper=false."
        )
    if not 1 <= minutes <= LONGEST_LEASE:
        raise CustomKeyStoreError(f"lease_minutes is {minutes}, and must be from 1 to {LONGEST_LEASE}.")


def _check_role_arn(arn: Optional[str], option: str = "lease_role_arn") -> None:
    if arn and not ROLE_ARN.fullmatch(arn):
        raise CustomKeyStoreError(
            f'{option} is "{arn}", and must be the ARN of an IAM role, such as'
            " arn:aws:iam::123456789012:role/keyops-aws-lease."
        )


@dataclass
class Chosen:
    """The stores of a task, for the process that continues in the background. Without secrets.

    Attributes:
        leased: the stores found by their leases, as C(stores) of the options; None if the options name the stores.
        left_alone: the other stores with a lease, for the result.
        in_aws: the ids of stores found by leases in AWS.
        problem: why the leases in AWS could not be listed; empty if they could.
    """

    leased: Optional[list[dict[str, Any]]] = None
    left_alone: Sequence[Mapping[str, Any]] = ()
    in_aws: Sequence[str] = ()
    problem: str = ""


class Window:
    """One run of the module, in the process that Ansible started and in the one that continues it.

    Args:
        module: the Ansible module.
        worker: see C(Worker).
        module_name: the Python name of the module, for the process that continues.
        clock: see C(Clock).

    Raises:
        CustomKeyStoreError: an option is invalid.
    """

    def __init__(self, module: AnsibleAWSModule, worker: Worker, module_name: str, clock: Clock) -> None:
        self._module = module
        self._params = module.params
        self._worker = worker
        self._module_name = module_name
        self._clock = clock
        self._leases = Leases(module.params["memory"])
        self._permit = Permit(Ownership(FOLDER, worker.run), worker.run)
        check_options(module.params)
        self._clients = Clients(module, clock)
        self._handed_over: Optional[list[Seen]] = None
        self._terminal: Optional[Terminal] = None
        if worker.handed_over is None:
            self._chosen = self._choose()
        else:
            self._chosen, self._handed_over = worker.handed_over
        self._members = [self._member(store) for store in self._stores]

    @property
    def _stores(self) -> Sequence[Store]:
        stores: Sequence[Store] = self._params["stores"] if self._chosen.leased is None else self._chosen.leased
        return stores

    def _choose(self) -> Chosen:
        if not self._params["leased"]:
            return Chosen()
        from .leased import leased_stores  # few tasks need it

        in_aws = self._clients.leases_in_aws({}) if self._params["leases_in_aws"] else None
        return Chosen(*leased_stores(self._leases, in_aws, even_in_use=self._even_in_use))

    @property
    def _even_in_use(self) -> bool:
        """Does the user also want stores that a window still works on?"""
        asked: Optional[bool] = self._params["even_in_use"]
        return not self._params["leased"] if asked is None else asked

    def _member(self, store: Store) -> Member:
        params = self._params
        client = self._clients.for_store(store)
        desired = DesiredStore(
            params["state"], store["custom_key_store_id"], store.get("name"), wait_timeout=params["wait_timeout"]
        )
        role_arn = store.get("lease_role_arn") or params["lease_role_arn"] or ""
        in_aws = bool(role_arn) or params["leases_in_aws"]
        return Member(
            desired,
            client,
            client.meta.region_name,
            partial(self._clients.place, store),
            partial(self._clients.leases_in_aws, store, role_arn=role_arn),
            reads_leases_in_aws=in_aws,
            makes_lease_in_aws=bool(role_arn),
            reached=self._clients.reached(store),
            verify_key_id=store.get("verify_key_id"),
        )

    @property
    def _disconnects(self) -> bool:
        return bool(self._params["state"] == "disconnected")

    def run(self) -> None:
        """Run the task, print the result, and exit."""
        keeper = self._keeper()
        clock = self._clock
        if keeper and self._worker.is_background:
            keeper.listen()
            self._terminal = Terminal(
                self._worker.run
            )  # now, so that it also reports after Ctrl-C during the disconnect
            clock = replace(clock, check=keeper.check)
        tasks = self._tasks(self._members, clock, self._worker.progress)
        if self._params["extend_lease"]:
            self._extend(tasks)
        group = Group(tasks, disconnects=self._disconnects)
        check_mode = self._module.check_mode
        if self._handed_over is None:
            group.plan()
            if not check_mode and not (group.is_done and not (keeper and group.needs_keeper)):
                self._hand_over(tasks, keeper)
        else:
            for task, handed_over in zip(tasks, self._handed_over):
                task.resume(handed_over)
        if not check_mode:
            group.run(
                until=keeper.until if keeper else None,
                minutes=self._params["lease_minutes"] or 0,
                holder=keeper.holder if keeper else "",
            )
        results = group.to_results(predicted=check_mode)
        self._add_descriptions(tasks, results)
        if keeper is not None and not check_mode:
            self._run_keeper(keeper, tasks)
        self._finish(results)

    def _hand_over(self, tasks: Sequence[StoreTask], keeper: Optional[Keeper]) -> None:
        job = self._worker.hand_over(self._module_name, lambda: (self._chosen, [task.hand_over() for task in tasks]))
        if job:
            self._module.exit_json(**job)
        if keeper is not None:
            self._module.fail_json(msg=NO_KEEPER, changed=False)

    def _keeper(self) -> Optional[Keeper]:
        params = self._params
        if params["lease_minutes"] is None or not params["keeper"] or params["extend_lease"]:
            return None
        return Keeper(
            run=self._worker.run,
            until=now() + datetime.timedelta(minutes=params["lease_minutes"]),
            end=self._worker.job().end,
            holder=self._worker.job().end,
            leases=self._leases,
        )

    def _tasks(
        self, members: Sequence[Member], clock: Clock, progress: Progress, *, by_keeper: bool = False
    ) -> list[StoreTask]:
        return [
            StoreTask(
                member,
                verify=self._params["verify"],
                leases=self._leases,
                permit=self._permit,
                clock=clock,
                progress=progress,
                read_only=self._module.check_mode,
                extends=self._params["extend_lease"],
                may_be_gone=member.desired.custom_key_store_id in self._chosen.in_aws,
                leaves_to_windows=member.desired.state == "connected" and (by_keeper or not self._even_in_use),
            )
            for member in members
        ]

    def _extend(self, tasks: Sequence[StoreTask]) -> None:
        """Let the leases of the stores expire later, or earlier. The stores stay as they are."""
        for task in tasks:
            task.plan()
        if not self._module.check_mode and all(task.error is None for task in tasks):
            for task in tasks:
                task.extend_lease(self._params["lease_minutes"])
        for task in tasks:
            task.hold_back()
        self._finish([task.to_result(predicted=False) for task in tasks])

    def _run_keeper(self, keeper: Keeper, tasks: Sequence[StoreTask]) -> None:
        """After the result is written, run the keeper until it must reconnect the stores.

        Both moves are made in the order of the option C(stores): the store that was disconnected first is connected first.
        """
        kept: dict[str, StoreTask] = {}
        back: dict[str, Member] = {}
        for task, member in zip(tasks, self._members):
            if task.lease is not None:
                kept[task.lease.custom_key_store_id] = task
                back[task.lease.custom_key_store_id] = member
                keeper.stores[task.lease.custom_key_store_id] = task.lease
        # Import all that the keeper may need now: a user may remove the file with the code meanwhile.
        from . import diagnosis  # noqa: F401

        keeper.in_service = lambda each: kept[each].is_in_service()
        in_aws = {}
        for each, member in back.items():
            lease = kept[each].lease_in_aws
            if member.leases_in_aws is not None and lease is not None:
                in_aws[each] = (member.leases_in_aws, lease)
        renewal = Renewal(keeper, in_aws)
        if kept:
            self._worker.afterwards = lambda: self._reconnect_stores(keeper, renewal, back)

    def _reconnect_stores(self, keeper: Keeper, renewal: Renewal, members: Mapping[str, Member]) -> None:
        """Reconnect the stores."""
        with renewal.going_on():
            reason = keeper.wait()
        if reason is Reason.LEFT:
            return
        if reason is Reason.GONE:
            names = ", ".join(sorted(lease.name for lease in keeper.stores.values()))
            self._write_line(
                f"The play has ended, and these key stores are out of service: {names}. Their keeper connects them now."
            )
        timeout = self._params["wait_timeout"]
        renewal.put_off(seconds=timeout)
        job = self._worker.job(stage=KEEPER)
        progress = Progress(job.progress)
        back = [
            replace(members[each], desired=DesiredStore("connected", each, wait_timeout=timeout))
            for each in keeper.stores
        ]
        tasks = self._tasks(back, self._clock, progress, by_keeper=True)
        group = Group(tasks, disconnects=False)
        with result_of(job):
            group.plan()
            group.run()
            results = group.to_results(predicted=False)
            self._report(keeper, results, reason)
            for result in results if reason is Reason.GONE else ():
                self._write_line(f"{_label(result)} is {_last_state(result)}. {result.get('msg', '')}".rstrip())
            self._finish(results, wanted="connected")
        self.close()
        progress.close()
        if reason is not Reason.ASKED:
            job.discard()
        elif was_read(job, self._worker.run):
            for each in keeper.stores:
                self._leases.forget_report(each)

    def _write_line(self, line: str) -> None:
        """Report to the user who has ended the play."""
        if self._terminal is not None:
            self._terminal.write_line(line)

    def _report(self, keeper: Keeper, results: Sequence[Mapping[str, Any]], reason: Reason) -> None:
        """Write a report for each store. If the play requested the reconnect, it gets the result, unless it has ended by then."""
        for result in results:
            if not result["operations"] and not result["failed"]:
                continue  # it was not disconnected yet, or another user has connected it
            report = Report(
                custom_key_store_id=result["custom_key_store_id"],
                time=now().isoformat(timespec="seconds"),
                since=keeper.stores[result["custom_key_store_id"]].time,
                reason=(Reason.GONE if reason is Reason.ASKED else reason).value,
                connection_state=_last_state(result),
                msg=" ".join(filter(None, [result["msg"], result["lease_report"]])) if result["failed"] else "",
            )
            self._leases.write_report(report)
            if reason is not Reason.ASKED:
                self._module.log(f"{_label(result)}: {report}")

    def _add_descriptions(self, tasks: Sequence[StoreTask], results: Sequence[dict[str, Any]]) -> None:
        """Add the cluster and the keys of each store, and the checks of its connect and its lease, if the task asks for them."""
        self._check_roles(tasks, results)
        wanted = [self._params[option] for option in ("include_cloud_hsm_cluster", "include_keys", "predict_connect")]
        if not any(wanted):
            return
        from . import inside

        reached: dict[Any, list[int]] = {}
        for number, task in enumerate(tasks):
            if task.store is not None:
                reached.setdefault(task.client, []).append(number)
        for client, numbers in reached.items():
            stores: list[Any] = [tasks[number].store for number in numbers]
            of_these = [results[number] for number in numbers]
            connection = self._stores[numbers[0]]
            clusters = None
            if self._params["include_cloud_hsm_cluster"]:
                clusters = inside.add_clusters(self._clients.for_service(connection, "cloudhsmv2"), stores, of_these)
            if self._params["predict_connect"]:
                predictions = self._predictor(connection).predict(stores, client.meta.region_name, clusters)
                for result, prediction in zip(of_these, predictions):
                    result["connect_prediction"] = prediction
            if self._params["include_keys"]:
                inside.add_keys(Kms(client, Deadline(Clock(), PATIENCE), lambda: ""), stores, of_these)

    def _predictor(self, connection: Store) -> Predictor:
        """The predictor for stores with the connection options of this one."""
        from .predict import Predictor  # few tasks need it
        from .predict import credentials_of

        return Predictor(partial(self._clients.for_service, connection, timeout=10), credentials_of(self._params))

    def _check_roles(self, tasks: Sequence[StoreTask], results: Sequence[dict[str, Any]]) -> None:
        """In check mode, check the role if a lease in AWS would be created. In a real run, the creation itself shows faults."""
        if not self._module.check_mode:
            return
        for task, store, result in zip(tasks, self._stores, results):
            role_arn = store.get("lease_role_arn") or self._params["lease_role_arn"]
            if not role_arn or task.to_lease is None:
                continue
            from .lease_role import check_role

            check = check_role(
                role_arn,
                store_id=task.to_lease.custom_key_store_id,
                client=self._clients.leases_in_aws(store).client,
                iam=self._clients.for_service(store, "iam", timeout=5),
                sts=self._clients.for_service(store, "sts", timeout=5),
            )
            result["lease_not_checked"] = check.unknown
            if check.problems:
                result.update(failed=True, msg=" ".join(check.problems))

    def _finish(self, results: Sequence[Mapping[str, Any]], *, wanted: str = "") -> None:
        outcome = summary(results, wanted=wanted or self._params["state"])
        if self._params["leased"]:
            outcome["left_alone"] = list(self._chosen.left_alone)
        if self._chosen.problem:
            outcome["leases_problem"] = self._chosen.problem
            outcome["msg"] = f"{self._chosen.problem} {outcome.get('msg', '')}".rstrip()
        if not self._module._diff:
            del outcome["diff"]
        finish = self._module.fail_json if "msg" in outcome else self._module.exit_json
        finish(**outcome)

    def close(self) -> None:
        """Release all stores, however the task ends."""
        self._permit.ownership.release()


def summary(results: Sequence[Mapping[str, Any]], *, wanted: str) -> dict[str, Any]:
    """The task's result, from the results of the stores."""
    outcome: dict[str, Any] = {"changed": any(each["changed"] for each in results)}
    outcome["diff"] = [
        {**each["diff"], "before_header": _label(each), "after_header": _label(each)}
        for each in results
        if each["changed"]
    ]
    outcome["stores"] = [{name: value for name, value in each.items() if name != "diff"} for each in results]
    failed = [each for each in results if each["failed"]]
    if failed:
        errors = " ".join(f"{_label(each)}: {each['msg']}" for each in failed)
        untouched = " None of the stores was changed." if wanted == "disconnected" and not outcome["changed"] else ""
        outcome["msg"] = f"{len(failed)} of {len(results)} custom key stores could not be {wanted}.{untouched} {errors}"
    return outcome


def _last_state(result: Mapping[str, Any]) -> str:
    """The connection state that KMS reported last; UNKNOWN if it reported none."""
    return result["connection_states"][-1] if result["connection_states"] else "UNKNOWN"


def _label(store: Mapping[str, Any]) -> str:
    """A store for a message, with its Region, because names are unique only in a Region."""
    return f"{store['name'] or store['custom_key_store_id']} in {store['region']}"
