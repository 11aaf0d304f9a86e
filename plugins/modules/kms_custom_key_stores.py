#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_stores
short_description: Connect or disconnect several custom key stores of AWS KMS at the same time
version_added: 0.1.0
description:
  - Brings several custom key stores, of any Regions and accounts, to the connection state that is asked for, all together. It
    takes as long as the slowest of them.
  - Each store is treated as M(keyops.aws.kms_custom_key_store) treats one, with the same states, races and errors.
  - To disconnect is all or nothing at first. Where one of the stores cannot be found, or KMS cannot be asked for it, none is
    touched.
  - To connect is not. A store that cannot be connected does not keep the others from it, and the task fails at the end,
    naming each.
  - KMS is asked for the states of all stores of a Region with one request, so that they do not throttle each other.
author:
  - Contributors to the keyops.aws collection (!UNKNOWN)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - keyops.aws.attributes
  - keyops.aws.attributes.actiongroup_aws
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: The connection state that all of the stores shall have.
    type: str
    required: true
    choices:
      - connected
      - disconnected
  stores:
    description:
      - Which stores. Each needs an id or a name.
      - The connection options of a store are used for it alone. A store that has none is reached with those of the task.
      - A store with O(stores[].profile) or O(stores[].access_key) uses no credentials of the task.
    type: list
    elements: dict
    required: true
    suboptions:
      custom_key_store_id:
        description: The id of the custom key store.
        type: str
        aliases:
          - id
      name:
        description: The friendly name of the custom key store. With an id, the name is not looked at.
        type: str
        aliases:
          - custom_key_store_name
      region:
        description: The Region of the store.
        type: str
        aliases:
          - aws_region
      profile:
        description: A profile of AWS's configuration files, for the account of the store.
        type: str
        aliases:
          - aws_profile
      access_key:
        description: The access key id of a credential for the account of the store.
        type: str
        aliases:
          - aws_access_key_id
      secret_key:
        description: The secret access key that belongs to O(stores[].access_key).
        type: str
        aliases:
          - aws_secret_access_key
      session_token:
        description: The session token of a temporary O(stores[].access_key).
        type: str
        aliases:
          - aws_session_token
      endpoint_url:
        description: Where KMS is, if not at AWS's own address.
        type: str
  verify:
    description:
      - Prove that each connected store of the type C(AWS_CLOUDHSM) works, with a random byte that is made in its cluster. No
        KMS key is touched.
      - It needs the permission C(kms:GenerateRandom). In check mode it is left out.
    type: bool
    default: false
  memory:
    description:
      - A folder on the managed host, in which a lease is kept for each store that is taken out of service, from before that is
        done until the store is C(CONNECTED) again.
      - A later run, should this one be killed before the store is back, is told of it in RV(stores[].remembered).
    type: path
  lease_minutes:
    description:
      - With O(state=disconnected), take the stores out of service for a while only. A process on the managed host, the keeper,
        stays and connects those that were in service, also if nobody asks for it.
      - The keeper connects them when the lease is over, that is after so many minutes. Where Ansible runs on the same host
        (C(connection=local)), the keeper also connects them as soon as Ansible has ended, however that came.
      - A task with O(state=connected) and the same O(memory) takes the stores over from the keeper.
      - The keeper holds the credentials of the task in its memory, and never writes them to disk. What it did is in
        RV(stores[].keeper_report) of the next task, and in the log of the host.
      - It needs O(memory), and cannot be used in a task with C(async).
    type: int
  keeper:
    description:
      - With V(false), there is no keeper. Only a task with O(state=connected) brings the stores back.
    type: bool
    default: true
  include_cloud_hsm_cluster:
    description: Describe the CloudHSM cluster behind each store, as M(keyops.aws.kms_custom_key_store_info) does.
    type: bool
    default: false
  include_keys:
    description:
      - Describe the KMS keys in each store and their last use, as M(keyops.aws.kms_custom_key_store_info) does.
      - It takes a request for each KMS key of the account and Region.
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait for each of the stores; they are waited for at the same time.
      - When the time is up, the task fails, but KMS goes on with what was begun. Running the task again joins the wait.
    type: int
    default: 1800
seealso:
  - module: keyops.aws.kms_custom_key_store
  - module: keyops.aws.kms_custom_key_store_info
notes:
  - The module needs the permissions C(kms:DescribeCustomKeyStores), and C(kms:ConnectCustomKeyStore) or
    C(kms:DisconnectCustomKeyStore), in an IAM policy of the caller.
"""

EXAMPLES = r"""
- name: Disconnect a key store for an hour at most
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    lease_minutes: 60

- name: Connect all key stores of an application, and prove that they work
  keyops.aws.kms_custom_key_stores:
    state: connected
    verify: true
    stores:
      - name: payments
      - name: ledger

- name: Disconnect key stores in two Regions and accounts
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
        region: eu-central-1
      - custom_key_store_id: cks-1234567890abcdef0
        region: us-east-1
        profile: archive
"""

RETURN = r"""
stores:
  description: How it went with each of the stores, in the order in which they were given.
  returned: always
  type: list
  elements: dict
  contains:
    custom_key_store_id:
      description: The id of the custom key store; V(null) where it was not found by its name.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    name:
      description: The friendly name of the custom key store; V(null) where it was not found by its id.
      returned: always
      type: str
      sample: payments
    region:
      description: The Region of the custom key store.
      returned: always
      type: str
      sample: eu-central-1
    failed:
      description: Was there an error with this store?
      returned: always
      type: bool
      sample: false
    msg:
      description: The error.
      returned: when RV(stores[].failed)
      type: str
    transitions:
      description: The connection states that were seen, in order, and when each was first seen.
      returned: always
      type: list
      elements: dict
      contains:
        connection_state:
          description: The connection state.
          returned: always
          type: str
          sample: CONNECTING
        time:
          description: When it was first seen, in ISO 8601.
          returned: always
          type: str
          sample: "2026-01-31T22:00:00+00:00"
    remembered:
      description:
        - What the folder O(memory) told of the store when the task began, with C(custom_key_store_id), C(name), the
          C(connection_state) that it was found in before it was disconnected, the C(time) of that, and C(until), when its lease
          is over, both in ISO 8601.
        - V(null) where it told nothing.
      returned: always
      type: dict
    keeper_report:
      description:
        - What the keeper of an earlier task with O(lease_minutes) did about the store while nobody was there to be told, with
          C(time), C(since) (when the lease began), C(reason), C(connection_state), and C(msg), the error.
        - C(reason) is V(gone) where Ansible had ended, V(over) where the lease was over, and V(ended) where the keeper itself was
          told to end.
        - V(null) where there is nothing to tell. A task tells it once, unless in check mode.
      returned: always
      type: dict
    cloud_hsm_cluster:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].cloud_hsm_cluster).
      returned: when O(include_cloud_hsm_cluster=true), for stores in AWS CloudHSM
      type: dict
    keys:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].keys).
      returned: when O(include_keys=true), and the keys of the account could be listed
      type: list
      elements: dict
    keys_not_described:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:keys_not_described).
      returned: when O(include_keys=true), and the keys of the account could be listed
      type: list
      elements: dict
    keys_problem:
      description: Why the keys of the account could not be listed.
      returned: when O(include_keys=true), and they could not
      type: str
    verified:
      description: Was it proved with O(verify) that the store works?
      returned: always
      type: bool
      sample: true
    changed:
      description: Did KMS accept a mutating operation on this store?
      returned: always
      type: bool
      sample: true
    custom_key_store:
      description:
        - The store as KMS described it last, in the shape of RV(keyops.aws.kms_custom_key_store#module:custom_key_store).
        - In check mode, as it would be.
      returned: always
      type: dict
    operations:
      description: The mutating operations that KMS accepted, in order. In check mode, those that would be made.
      returned: always
      type: list
      elements: str
      sample:
        - ConnectCustomKeyStore
    connection_states:
      description: The connection states that were seen, in order. The first is the one that the store was found in.
      returned: always
      type: list
      elements: str
      sample:
        - DISCONNECTED
        - CONNECTING
        - CONNECTED
    connection_error:
      description:
        - Why the store is C(FAILED), or was at some time during the task, with C(code), C(cause) and C(remedy), in the shape of
          RV(keyops.aws.kms_custom_key_store#module:connection_error).
      returned: when the store is or was C(FAILED)
      type: dict
    error:
      description: The error that AWS returned, with C(code) and C(message).
      returned: when there was one
      type: dict
"""

import gc

if __name__ == "__main__":
    gc.disable()  # while all is imported: none of it is ever freed, and looking for what is takes a tenth of a task's time

import datetime
import threading
from dataclasses import replace
from functools import partial
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Sequence

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.api import Kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.api import place
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import KEEPER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Worker
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import result_of
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import was_read
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import Group
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import Member
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import StoreTask
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Reason
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Report
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import now
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.looks import SharedLooks
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import FOLDER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Ownership
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Permit
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import Progress
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import check_values
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import check_wait_timeout
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.service import client_config
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_NAME
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_VERSION

MODULE = "ansible_collections.keyops.aws.plugins.modules.kms_custom_key_stores"

CREDENTIALS = ("profile", "access_key", "secret_key", "session_token")
CONNECTION = ("region", "endpoint_url", *CREDENTIALS)

PATIENCE = 600
"""Seconds after which a request about a key is not repeated any more."""

LONGEST_LEASE = 7 * 24 * 60
"""Minutes. More than a window takes; and a time that can be reckoned with."""

NO_KEEPER = (
    "Nothing was disconnected, because no keeper could be started. With lease_minutes, a process stays in the background of the"
    " managed host. That is not possible in a task with async, where modules do not run as files (Mitogen), or where the folder"
    " for background jobs (ANSIBLE_ASYNC_DIR) cannot be written to. Change that; or set keeper=false, and nothing brings the"
    " stores back if the play ends early."
)


def argument_spec() -> dict[str, dict[str, Any]]:
    """The options of this module; those of every AWS module are added by C(AnsibleAWSModule)."""
    return {
        "state": {"type": "str", "required": True, "choices": ["connected", "disconnected"]},
        "stores": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "required_one_of": [("custom_key_store_id", "name")],
            "mutually_exclusive": [("profile", "access_key")],
            "required_together": [("access_key", "secret_key")],
            "options": {
                "custom_key_store_id": {"type": "str", "aliases": ["id"]},
                "name": {"type": "str", "aliases": ["custom_key_store_name"]},
                "region": {"type": "str", "aliases": ["aws_region"]},
                "profile": {"type": "str", "aliases": ["aws_profile"]},
                "access_key": {"type": "str", "aliases": ["aws_access_key_id"], "no_log": False},
                "secret_key": {"type": "str", "aliases": ["aws_secret_access_key"], "no_log": True},
                "session_token": {"type": "str", "aliases": ["aws_session_token"], "no_log": True},
                "endpoint_url": {"type": "str"},
            },
        },
        "verify": {"type": "bool", "default": False},
        "memory": {"type": "path"},
        "lease_minutes": {"type": "int"},
        "keeper": {"type": "bool", "default": True},
        "include_cloud_hsm_cluster": {"type": "bool", "default": False},
        "include_keys": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 1800},
    }


class Clients:
    """A client for each way to reach stores, which all stores that are reached in the same way share."""

    def __init__(self, module: AnsibleAWSModule, clock: Clock) -> None:
        self._module = module
        self._clock = clock
        self._clients: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()

    def for_store(self, store: Mapping[str, Any]) -> Any:
        """The client for a store with these options."""
        way = tuple(store[option] for option in CONNECTION)
        if way not in self._clients:
            client = self._with_options_of(store, "kms", timeout=30)
            self._clients[way] = SharedLooks(client, self._clock)
        return self._clients[way]

    def cloud_hsm(self, store: Mapping[str, Any]) -> Any:
        """A client for AWS CloudHSM, reached as the store is."""
        return self._with_options_of(store, "cloudhsmv2", timeout=30)

    def place(self, store: Mapping[str, Any]) -> str:
        """Names Region and account of a store with these options. For any thread."""
        with self._lock:
            sts = self._with_options_of(store, "sts", timeout=2)
        return place(self.for_store(store).meta.region_name, sts)

    def _with_options_of(self, store: Mapping[str, Any], service: str, *, timeout: int) -> Any:
        """amazon.aws makes clients from the options of the task: for a while, those of the store are in their place."""
        of_task = dict(self._module.params)
        own = {option: store[option] for option in CONNECTION if store[option] is not None}
        no_credentials = dict.fromkeys(CREDENTIALS) if any(store[option] for option in CREDENTIALS) else {}
        self._module.params.update({**no_credentials, **own})
        try:
            return self._module.client(service, config=client_config(timeout=timeout))
        finally:
            self._module.params.update(of_task)


def members(module: AnsibleAWSModule, clients: Clients) -> list[Member]:
    """The stores that the task is about.

    Raises:
        CustomKeyStoreError: an option that KMS would refuse.
    """
    params = module.params
    if not params["stores"]:
        raise CustomKeyStoreError("stores is empty: name at least one custom key store.")
    check_wait_timeout(params["wait_timeout"])
    check_lease(params)
    for number, store in enumerate(params["stores"], start=1):
        which = {option: store[option] for option in ("custom_key_store_id", "name") if store[option] is not None}
        try:
            check_values(which)
        except CustomKeyStoreError as error:
            raise CustomKeyStoreError(f"In number {number} of stores: {error.message}") from error
    found = []
    for store in params["stores"]:
        client = clients.for_store(store)
        desired = DesiredStore(
            params["state"], store["custom_key_store_id"], store["name"], wait_timeout=params["wait_timeout"]
        )
        found.append(Member(desired, client, client.meta.region_name, partial(clients.place, store)))
    return found


def check_lease(params: Mapping[str, Any]) -> None:
    """Raises CustomKeyStoreError if the options for a lease cannot be used."""
    minutes = params["lease_minutes"]
    if minutes is None:
        return
    if params["state"] != "disconnected" or params["memory"] is None:
        raise CustomKeyStoreError(
            "lease_minutes needs state=disconnected, and memory, the folder that the leases are kept in."
        )
    if not 1 <= minutes <= LONGEST_LEASE:
        raise CustomKeyStoreError(f"lease_minutes is {minutes}, and must be from 1 to {LONGEST_LEASE}.")


def add_looks(
    module: AnsibleAWSModule, clients: Clients, tasks: Sequence[StoreTask], results: Sequence[dict[str, Any]]
) -> None:
    """Add what is behind each store, and in it, where the task asks for that."""
    if not (module.params["include_cloud_hsm_cluster"] or module.params["include_keys"]):
        return
    from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import inside

    reached: dict[Any, list[int]] = {}
    for number, task in enumerate(tasks):
        if task.store is not None:
            reached.setdefault(task.client, []).append(number)
    for client, numbers in reached.items():
        stores = [tasks[number].store for number in numbers]
        if module.params["include_cloud_hsm_cluster"]:
            inside.add_clusters(
                clients.cloud_hsm(module.params["stores"][numbers[0]]), stores, [results[each] for each in numbers]
            )
        if module.params["include_keys"]:
            kms = Kms(client, Deadline(Clock(), PATIENCE), lambda: "")
            inside.add_keys(kms, stores, [results[each] for each in numbers])


def summary(results: Sequence[Mapping[str, Any]], *, wanted: str) -> dict[str, Any]:
    """The task's result, from those of the stores."""
    outcome: dict[str, Any] = {"changed": any(each["changed"] for each in results)}
    outcome["diff"] = [
        {**each["diff"], "before_header": label(each), "after_header": label(each)}
        for each in results
        if each["changed"]
    ]
    outcome["stores"] = [{name: value for name, value in each.items() if name != "diff"} for each in results]
    failed = [each for each in results if each["failed"]]
    if failed:
        errors = " ".join(f"{label(each)}: {each['msg']}" for each in failed)
        untouched = " None of the stores was changed." if wanted == "disconnected" and not outcome["changed"] else ""
        outcome["msg"] = f"{len(failed)} of {len(results)} custom key stores could not be {wanted}.{untouched} {errors}"
    return outcome


def label(store: Mapping[str, Any]) -> str:
    """A store for a message, with its Region, as names are unique only there."""
    return f"{store['name'] or store['custom_key_store_id']} in {store['region']}"


class Window:
    """What one run of the module does, in the process that Ansible started and in the one that goes on in its place."""

    def __init__(self, module: AnsibleAWSModule, worker: Worker) -> None:
        self._module = module
        self._worker = worker
        self._leases = Leases(module.params["memory"])
        self._permit = Permit(Ownership(FOLDER, worker.run), worker.run)
        self._clients = Clients(module, Clock())
        self._members = members(module, self._clients)

    @property
    def _takes_away(self) -> bool:
        return bool(self._module.params["state"] == "disconnected")

    def run(self) -> None:
        """Do what the task asks for, print the result, and exit.

        Raises:
            CustomKeyStoreError: an option that cannot be used.
        """
        keeper = self._keeper()
        if keeper and self._worker.is_background:
            keeper.listen()
        clock = replace(Clock(), check=keeper.check) if keeper and self._worker.is_background else Clock()
        tasks = self._tasks(self._members, clock, self._worker.progress)
        group = Group(tasks, takes_away=self._takes_away)
        check_mode = self._module.check_mode
        if self._worker.handed_over is None:
            group.plan()
            if not check_mode and not (group.is_done and not (keeper and group.needs_keeper)):
                job = self._worker.hand_over(MODULE, lambda: [task.hand_over() for task in tasks])
                if job:
                    self._module.exit_json(**job)
                if keeper is not None:
                    raise CustomKeyStoreError(NO_KEEPER)
        else:
            for task, seen in zip(tasks, self._worker.handed_over):
                task.resume(seen)
        if not check_mode:
            group.run(until=keeper.until if keeper else None, holder=keeper.holder if keeper else "")
        results = group.to_results(foretold=check_mode)
        add_looks(self._module, self._clients, tasks, results)
        if keeper is not None and not check_mode:
            self._stay(keeper, tasks)
        self._finish(results)

    def _keeper(self) -> Optional[Keeper]:
        params = self._module.params
        if params["lease_minutes"] is None or not params["keeper"]:
            return None
        return Keeper(
            run=self._worker.run,
            until=now() + datetime.timedelta(minutes=params["lease_minutes"]),
            end=self._worker.job().end,
            holder=self._worker.job().end,
            leases=self._leases,
        )

    def _tasks(self, members: Sequence[Member], clock: Clock, progress: Progress) -> list[StoreTask]:
        return [
            StoreTask(
                member,
                verify=self._module.params["verify"],
                leases=self._leases,
                permit=self._permit,
                clock=clock,
                progress=progress,
            )
            for member in members
        ]

    def _stay(self, keeper: Keeper, tasks: Sequence[StoreTask]) -> None:
        """When the result is there, keep the stores until they must come back.

        Both moves are made in the order in which the stores were given: who was disconnected first is connected first.
        """
        kept: dict[str, StoreTask] = {}
        back: dict[str, Member] = {}
        for task, member in zip(tasks, self._members):
            if task.lease is not None:
                kept[task.lease.custom_key_store_id] = task
                back[task.lease.custom_key_store_id] = member
                keeper.stores[task.lease.custom_key_store_id] = task.lease
        # Whatever the keeper may need is imported now: somebody may remove the file with the code meanwhile.
        from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import diagnosis  # noqa: F401

        keeper.in_service = lambda each: kept[each].is_in_service()
        if kept:
            self._worker.afterwards = lambda: self._keep(keeper, back)

    def _keep(self, keeper: Keeper, members: Mapping[str, Member]) -> None:
        """Bring the stores back."""
        reason = keeper.wait()
        if reason is Reason.LEFT:
            return
        job = self._worker.job(stage=KEEPER)
        progress = Progress(job.progress)
        timeout = self._module.params["wait_timeout"]
        back = [
            replace(members[each], desired=DesiredStore("connected", each, wait_timeout=timeout))
            for each in keeper.stores
        ]
        tasks = self._tasks(back, Clock(), progress)
        group = Group(tasks, takes_away=False)
        with result_of(job):
            group.plan()
            group.run()
            results = group.to_results(foretold=False)
            self._report(keeper, results, reason)
            self._finish(results, wanted="connected")
        self.close()
        progress.close()
        if reason is not Reason.ASKED:
            job.discard()
        elif was_read(job, self._worker.run):
            for each in keeper.stores:
                self._leases.forget_report(each)

    def _report(self, keeper: Keeper, results: Sequence[Mapping[str, Any]], reason: Reason) -> None:
        """Leave word of what was done. Where the play has asked for it, it is told by the result, unless it is gone by then."""
        for result in results:
            if not result["operations"] and not result["failed"]:
                continue  # it had not been disconnected yet, or somebody else has connected it
            report = Report(
                custom_key_store_id=result["custom_key_store_id"],
                time=now().isoformat(timespec="seconds"),
                since=keeper.stores[result["custom_key_store_id"]].time,
                reason=(Reason.GONE if reason is Reason.ASKED else reason).value,
                connection_state=result["connection_states"][-1],
                msg=result.get("msg", ""),
            )
            self._leases.write_report(report)
            if reason is not Reason.ASKED:
                self._module.log(f"{label(result)}: {report}")

    def _finish(self, results: Sequence[Mapping[str, Any]], *, wanted: str = "") -> None:
        outcome = summary(results, wanted=wanted or self._module.params["state"])
        if not self._module._diff:
            del outcome["diff"]
        finish = self._module.fail_json if "msg" in outcome else self._module.exit_json
        finish(**outcome)

    def close(self) -> None:
        """End the work on all stores, however that came."""
        self._permit.ownership.release()


def main(worker: Optional[Worker] = None) -> None:
    worker = worker or Worker()
    set_collection_info(COLLECTION_NAME, COLLECTION_VERSION)
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        window = Window(module, worker)
        try:
            window.run()
        finally:
            window.close()
    except CustomKeyStoreError as error:
        module.fail_json(msg=error.message)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
