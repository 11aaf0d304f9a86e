# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A maintenance window of the role key_store_maintenance: the plan for each store, and the summary.

All functions are pure: they turn options and results of modules into plain data for the steps of the role.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Sequence

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import remedy_of_state
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Report

Store = Mapping[str, Any]
"""One of C(stores) of the result of M(keyops.aws.kms_custom_key_stores)."""

SECRETS = ("secret_key", "aws_secret_access_key", "session_token", "aws_session_token")
"""The options of a store that are never written to a file."""

ADDRESS = ("custom_key_store_id", "id", "name", "custom_key_store_name")
"""The options that select a store; the others are its connection options."""

USE_IS_RECORDED_WITHIN = 60
"""Minutes."""

IN_SERVICE = ("CONNECTED", "CONNECTING")
IN_TRANSITION = ("CONNECTING", "DISCONNECTING")


class InputError(Exception):
    """An option has an invalid value: one sentence for the user."""


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


@dataclass(frozen=True)
class Options:
    """The options of a step: the variables of the role without their prefix.

    Attributes:
        step: see C(maintenance_window) in C(plugins/modules).
        stores: as the user gave them. They may hold secrets.
        xks_proxy_credentials: of the proxies of external stores. They hold secrets.
        connection: the other options of the step: the connection options for stores without their own. It may hold secrets.
    """

    step: str
    stores: Sequence[Mapping[str, Any]] = ()
    tasks_file: str = ""
    not_before: str = ""
    not_after: str = ""
    min_active_hsms: int = 1
    max_recent_use_minutes: int = 0
    verify: bool = True
    wait_timeout: int = 1800
    memory: str = "~/.keyops-aws/maintenance"
    keeper: bool = True
    lease_minutes: int = 240
    lease_role_arn: str = ""
    predict_connect: bool = True
    xks_proxy_credentials: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    connection: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Options:
        """Read the arguments of a task. Before ansible-core 2.19, a number from a template is a string.

        Raises:
            InputError: an argument has the wrong type.
        """
        kinds = {each.name: each.type for each in fields(cls) if each.name != "connection"}
        own = {name: _typed(name, arguments[name], kinds[name]) for name in kinds if arguments.get(name) is not None}
        others = {name: value for name, value in arguments.items() if name not in kinds}
        return cls(**{"step": "", **own}, connection=others)

    def fixed(self) -> dict[str, Any]:
        """The options that stay the same from the first step of a window to the last. Without secrets, stores and connections."""
        others = ("step", "stores", "xks_proxy_credentials", "connection")
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in others}

    def limits(self) -> Limits:
        """Raises InputError for an invalid time."""
        return Limits(
            now=now(),
            not_before=parse_time(self.not_before, "key_store_maintenance_not_before"),
            not_after=parse_time(self.not_after, "key_store_maintenance_not_after"),
            min_active_hsms=self.min_active_hsms,
            max_recent_use_minutes=self.max_recent_use_minutes,
        )

    def lease_text(self, *, sees_play: bool, now: datetime.datetime) -> list[str]:
        """What reconnects the stores if the play does not: sentences for the user, at the beginning of a window.

        Args:
            sees_play: does the keeper run on the same host as Ansible?
            now: the time.
        """
        until = (now + datetime.timedelta(minutes=self.lease_minutes)).strftime("%m-%d %H:%M")
        in_aws = self.stores_with_lease_in_aws()
        if not self.keeper and not in_aws:
            return ["There is no keeper: if this play ends early, run it again with --tags reconnect."]
        sentences = []
        if self.keeper:
            early = "as soon as Ansible has ended, or " if sees_play else ""
            sentences.append(
                f"If this play ends early, a keeper connects the stores again {early}at {until} (UTC) at the latest."
            )
        if in_aws:
            which = "them" if in_aws == len(self.stores) else f"{in_aws} of {len(self.stores)} stores"
            reason = "is lost together with its host" if self.keeper else "ends early"
            sentences.append(f"If the play {reason}, AWS connects {which} within two minutes after {until} (UTC).")
        return sentences

    def stores_with_lease_in_aws(self) -> int:
        """How many stores also have a lease in AWS."""
        return sum(1 for store in self.stores if store.get("lease_role_arn") or self.lease_role_arn)


def _typed(name: str, value: Any, kind: Any) -> Any:
    try:
        if kind == "int":
            return int(value)
        if kind.startswith("Sequence"):  # a user may have passed any value, and the window already knows its stores
            return [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else []
        return boolean(value) if kind == "bool" else value
    except (TypeError, ValueError) as error:
        words = {"int": "a whole number", "bool": "true or false"}
        raise InputError(f'key_store_maintenance_{name} is "{value}", but must be {words[str(kind)]}.') from error


@dataclass
class Window:
    """The state of one window on one host, from its first step to its last. Without secrets.

    Attributes:
        options: those of the first step, see C(Options.fixed()).
        connections: for each of the user's stores, in order, the connection options without secrets.
        plans: a C(StorePlan) for each store.
        lease: what reconnects the stores if the play does not, in sentences.
        checked: may the stores be disconnected?
        begun: has the disconnect begun?
        job: the C(Job) of the disconnect, which stays as the keeper; None if there is none.
        failure: what failed first; empty if nothing did.
        disconnected: the result of the disconnect of each store.
        connected: the result of the connect of each store.
        connect_failure: why not all could be connected.
        summary: a C(Row) for each store; None until the window has ended.
    """

    options: dict[str, Any] = field(default_factory=dict)
    connections: list[dict[str, Any]] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)
    lease: list[str] = field(default_factory=list)
    checked: bool = False
    begun: bool = False
    job: Optional[dict[str, Any]] = None
    failure: str = ""
    disconnected: list[dict[str, Any]] = field(default_factory=list)
    connected: list[dict[str, Any]] = field(default_factory=list)
    connect_failure: str = ""
    summary: Optional[list[dict[str, Any]]] = None

    def returning(self) -> list[dict[str, Any]]:
        """The plans of the stores to connect: all that this window disconnects, or that an earlier one has left with a lease."""
        return [plan for plan in self.plans if plan["connects"] and (self.begun or plan["leased"])]

    def leave_to_others(self, leaving: Sequence[dict[str, Any]]) -> None:
        """At the end, do not connect a store that another user had disconnected on purpose when the disconnect began.

        Args:
            leaving: the plans of the stores to disconnect, in the order of C(disconnected).
        """
        for plan, store in zip(leaving, self.disconnected):
            is_of_a_window = store["remembered"] or plan["leased"]
            if store["connection_states"][:1] in (["DISCONNECTED"], ["DISCONNECTING"]) and not is_of_a_window:
                plan["connects"] = False

    def targets(self, plans: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The option C(stores) of M(keyops.aws.kms_custom_key_stores), by id: the name of a store may change in a window.

        Args:
            plans: of the stores.
            given: the present option C(stores), only for its secrets. Other changes in it are ignored.
        """
        reached = [self.connections[plan["number"]] for plan in plans]
        return [
            {"custom_key_store_id": plan["custom_key_store_id"], **how, **_secrets_for(how, given)}
            for plan, how in zip(plans, reached)
        ]


def without_secrets(store: Mapping[str, Any]) -> dict[str, Any]:
    """The connection options of a store that may be written to a file."""
    return {name: value for name, value in store.items() if name not in (*ADDRESS, *SECRETS)}


def _secrets_for(how: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The secrets of the same access key."""
    access_key = how.get("access_key", how.get("aws_access_key_id"))
    for store in given if access_key is not None else ():
        if access_key == store.get("access_key", store.get("aws_access_key_id")):
            return {name: store[name] for name in SECRETS if name in store}
    return {}


def failure_of(task: Any, result: Any) -> str:
    """The name of the failed task and its message, for each item of a loop. Without a task, another host has failed."""
    if task is None:
        return "The maintenance tasks were ended because of a failure on another host (any_errors_fatal)."
    task, result = (each if isinstance(each, Mapping) else {} for each in (task, result))
    items = [each for each in result.get("results") or [] if isinstance(each, Mapping) and each.get("failed")]
    messages = dict.fromkeys(str(each.get("msg", "no message")) for each in items or [result])
    return f"{task.get('name') or task.get('action') or 'A task'}: {' '.join(messages)}"


@dataclass(frozen=True)
class Limits:
    """The conditions of a disconnect.

    Attributes:
        now: the time.
        not_before: no disconnect before this time; None for no limit.
        not_after: no disconnect after this time; None for no limit.
        min_active_hsms: how many active HSMs a cluster needs; 0 to check no cluster.
        max_recent_use_minutes: refuse if a key was used less than this ago; 0 to check no key.
    """

    now: datetime.datetime
    not_before: Optional[datetime.datetime] = None
    not_after: Optional[datetime.datetime] = None
    min_active_hsms: int = 1
    max_recent_use_minutes: int = 0

    @property
    def earliest_use(self) -> Optional[datetime.datetime]:
        """A key that was used after this is in use; None if keys are not checked."""
        if self.max_recent_use_minutes <= 0:
            return None
        return self.now - datetime.timedelta(minutes=self.max_recent_use_minutes)


@dataclass(frozen=True)
class StorePlan:
    """The plan of the window for one store.

    Attributes:
        number: its index in C(key_store_maintenance_stores).
        custom_key_store_id: its id.
        name: its name.
        region: its Region.
        type: its type.
        found: its connection state before the window.
        unavailable_from: since when an unfinished earlier window has disconnected it; or None.
        leased: is there a lease from an earlier window?
        disconnects: does this window disconnect it?
        connects: does this window connect it at its end, unless it is connected then?
        reports: what the user should know about the state before the window.
    """

    number: int
    custom_key_store_id: str
    name: str
    region: str
    type: str
    found: str
    unavailable_from: Optional[str]
    leased: bool
    disconnects: bool
    connects: bool
    reports: Sequence[str] = field(default_factory=tuple)

    def to_result(self) -> dict[str, Any]:
        """For tasks: each attribute by its name."""
        return {**self.__dict__, "reports": list(self.reports)}

    def __str__(self) -> str:
        return f"{self.name} ({self.custom_key_store_id}) in {self.region}"


def plan_window(stores: Sequence[Store], limits: Limits) -> dict[str, Any]:
    """Plan the window.

    Args:
        stores: the results of M(keyops.aws.kms_custom_key_stores) in check mode for a disconnect, in the order of the user, with
            the clusters and keys if the limits need them.
        limits: see C(Limits).

    Returns:
        C(stores), a C(StorePlan) each; C(refusals), sentences that say why nothing may be disconnected; C(notes), others for the
        user.
    """
    found = [(_store_plan(number, store), store) for number, store in enumerate(stores) if store["custom_key_store_id"]]
    refusals = [
        f"{store['name'] or store['custom_key_store_id']}: {store['msg']}" for store in stores if store["failed"]
    ]
    leaving = [(plan, store) for plan, store in found if plan.disconnects]
    if any(plan.found in IN_SERVICE for plan, _store in leaving):
        refusals += _time_refusals(limits)
    for plan, store in leaving:
        connect = _cluster_refusals(plan, store, limits) or _check_refusals(plan, store, limits)
        refusals += [f"{plan}: {reason}" for reason in [*connect, *_use_refusals(store, limits)]]
    missing = [reason for _plan, store in leaving for reason in _missing_key_refusals(store, limits)]
    unknown = [reason for _plan, store in leaving for reason in store.get("lease_not_checked", [])]
    checks = [note for plan, store in leaving for note in _notes_on_checks(plan, store)]
    notes = [*_notes_on_use(limits), *unknown, *checks]
    return {
        "stores": [plan.to_result() for plan, _store in found],
        "refusals": [*refusals, *dict.fromkeys(missing)],
        "notes": list(dict.fromkeys(notes)),
    }


def _store_plan(number: int, store: Store) -> StorePlan:
    found = store["connection_states"][0] if store["connection_states"] else "UNKNOWN"
    note = store["remembered"] if found != "CONNECTED" else None
    takes_part = (found in IN_SERVICE or note is not None) and not store["failed"]
    return StorePlan(
        number=number,
        custom_key_store_id=store["custom_key_store_id"],
        name=store["name"],
        region=store["region"],
        type=store["custom_key_store"].get("custom_key_store_type", "AWS_CLOUDHSM"),
        found=found,
        unavailable_from=note["time"] if note else None,
        leased=store["remembered"] is not None,
        disconnects=takes_part,
        connects=takes_part,
        reports=_reports(store, found, note),
    )


def _reports(store: Store, found: str, note: Optional[Mapping[str, str]]) -> list[str]:
    report = store.get("keeper_report")
    reports = [] if report is None else [str(Report(**report))]
    if note is not None:
        reports.append(
            f"It was in service until {note['time']}. Then a window began that did not reconnect it. This window reconnects it at"
            " its end."
        )
    elif found in IN_TRANSITION:
        ends = "connected" if found == "CONNECTING" else "left disconnected"
        reports.append(f"Somebody else is just {found.lower()} it; at the end of the window it is {ends}.")
    if found == "DISCONNECTED" and note is None:
        reports.append(
            "No lease says that a window has disconnected it, so it is left as it is. If an earlier window did, in a container or"
            " on a host that is gone, connect it yourself."
        )
    if found == "FAILED":
        error = store.get("connection_error", {})
        reports.append(f"Its last connect failed with {error.get('code')}: {error.get('cause')}")
        reports.append("It is connected at the end of the window." if note else "The window leaves it as it is.")
    return reports


def _time_refusals(limits: Limits) -> list[str]:
    now = f"It is {limits.now.isoformat(timespec='minutes')}"
    if limits.not_before is not None and limits.now < limits.not_before:
        return [f"{now}, and nothing may be disconnected before {limits.not_before.isoformat(timespec='minutes')}."]
    if limits.not_after is not None and limits.now > limits.not_after:
        return [f"{now}, and nothing may be disconnected after {limits.not_after.isoformat(timespec='minutes')}."]
    return []


def _cluster_refusals(plan: StorePlan, store: Store, limits: Limits) -> list[str]:
    """Could the store be connected again (R20)? An unknown cluster forbids the disconnect, too."""
    if limits.min_active_hsms <= 0 or plan.type != "AWS_CLOUDHSM":
        return []
    cluster = store.get("cloud_hsm_cluster")
    if cluster is None:
        return ["its cluster was not described, so it is not known whether it could connect the store again."]
    which = f"cluster {cluster['cluster_id']}"
    if cluster.get("problem"):
        return [f"whether {which} could connect it again is not known. {cluster['problem']}"]
    if cluster["state"] != "ACTIVE":
        state = cluster["state"]
        return [f"{which} is {state}, and could not connect it again: it must be ACTIVE. {remedy_of_state(state)}"]
    if cluster["active_hsms"] < limits.min_active_hsms:
        return [
            f"{which} has {cluster['active_hsms']} active HSMs, and needs {limits.min_active_hsms} to connect it again."
            " Add HSMs to the cluster first."
        ]
    return []


def _check_refusals(plan: StorePlan, store: Store, limits: Limits) -> list[str]:
    """The reasons why a connect at the end of the window would fail."""
    if limits.min_active_hsms <= 0 and plan.type == "AWS_CLOUDHSM":
        return []  # the user has disabled the checks of clusters
    checks = store.get("connect_prediction", {}).get("checks", [])
    failed = [check for check in checks if check["outcome"] == "failed"]
    return [
        f"KMS could not connect it again{' (' + check['code'] + ')' if check['code'] else ''}. {check['text']}"
        for check in failed
    ]


def _notes_on_checks(plan: StorePlan, store: Store) -> list[str]:
    """The warnings about a connect, and what could not be checked."""
    checks = store.get("connect_prediction", {}).get("checks", [])
    unknown = [check["name"] for check in checks if check["outcome"] == "unknown"]
    notes = [f"{plan.name}: {check['text']}" for check in checks if check["outcome"] == "warning"]
    if unknown:
        notes.append(
            f"{plan.name}: not checked from this host: {', '.join(unknown)}. The playbook keyops.aws.preflight says why."
        )
    return notes


def _use_refusals(store: Store, limits: Limits) -> list[str]:
    """Is any key of the store in use? A key with an unknown use counts as used."""
    earliest = limits.earliest_use
    if earliest is None:
        return []
    if store.get("keys") is None:
        return [f"its keys could not be listed. {store.get('keys_problem', '')}".strip()]
    return [reason for key in store["keys"] for reason in _use_of_key(key, earliest, limits)]


def _notes_on_use(limits: Limits) -> list[str]:
    if not 0 < limits.max_recent_use_minutes < USE_IS_RECORDED_WITHIN:
        return []
    return [
        f"key_store_maintenance_max_recent_use_minutes is {limits.max_recent_use_minutes}: KMS may record a use up to an hour"
        f" late, so a limit under {USE_IS_RECORDED_WITHIN} minutes can miss one."
    ]


def _use_of_key(key: Mapping[str, Any], earliest: datetime.datetime, limits: Limits) -> list[str]:
    last = key["last_usage"]
    names = f" ({', '.join(key['aliases'])})" if key["aliases"] else ""
    if last is None:
        return []
    if "unknown" in last:
        return [f"when its key {key['key_id']}{names} was last used is not known. {last['unknown']}"]
    if datetime.datetime.fromisoformat(last["timestamp"]) <= earliest:
        return []
    return [
        f"its key {key['key_id']}{names} was used at {last['timestamp']} ({last['operation']}), less than"
        f" {limits.max_recent_use_minutes} minutes ago."
    ]


def _missing_key_refusals(store: Store, limits: Limits) -> list[str]:
    """Keys that could not be described."""
    missing = store.get("keys_not_described", [])
    if limits.earliest_use is None or not missing:
        return []
    return [
        f"{len(missing)} KMS keys could not be described, so that it is not known whether they are in these stores and in use."
        f" {missing[0]['reason']}"
    ]


@dataclass(frozen=True)
class Row:
    """The summary of the window for one store; the names are those of the result.

    Attributes:
        before: the connection state before the window.
        during: the connection state while the user's tasks ran.
        after: the connection state at the end.
        unavailable_from: when KMS first reported that it had left CONNECTED, in ISO 8601; None if it did not.
        unavailable_until: when KMS reported CONNECTED again; None if it did not.
        minutes_unavailable: between the two, or until now if it is not CONNECTED again; None if it did not leave CONNECTED.
        verified: was it verified that the store works?
        verification: how it was verified, or why it could not be tried; None if it was not requested, or failed.
        error: the error of the store; None if there is none.
        remedy: what to do, step by step.
        reports: see C(StorePlan).
    """

    custom_key_store_id: str
    name: str
    region: str
    before: str
    during: str
    after: str
    unavailable_from: Optional[str]
    unavailable_until: Optional[str]
    minutes_unavailable: Optional[float]
    verified: bool
    verification: Optional[str]
    error: Optional[str]
    remedy: Sequence[str]
    reports: Sequence[str]


def summarise(
    plans: Sequence[Mapping[str, Any]],
    disconnected: Sequence[Store],
    connected: Sequence[Store],
    now: datetime.datetime,
) -> list[dict[str, Any]]:
    """Summarize the window.

    Args:
        plans: C(stores) of plan_window().
        disconnected: the results of the disconnect.
        connected: the results of the connect.
        now: the time.

    Returns:
        A C(Row) for each store.
    """
    by_id = {
        kind: {store["custom_key_store_id"]: store for store in stores}
        for kind, stores in (("disconnected", disconnected), ("connected", connected))
    }
    return [
        _row(
            plan,
            by_id["disconnected"].get(plan["custom_key_store_id"]),
            by_id["connected"].get(plan["custom_key_store_id"]),
            now,
        ).__dict__
        for plan in plans
    ]


def _row(
    plan: Mapping[str, Any], disconnected: Optional[Store], connected: Optional[Store], now: datetime.datetime
) -> Row:
    during = _last_state(disconnected) or plan["found"]
    left = plan["unavailable_from"] or _left_service(disconnected)
    back = _back_in_service(connected) if left else None
    broken = next((store for store in (connected, disconnected) if store is not None and store["failed"]), None)
    return Row(
        custom_key_store_id=plan["custom_key_store_id"],
        name=plan["name"],
        region=plan["region"],
        before=plan["found"],
        during=during,
        after=_last_state(connected) or during,
        unavailable_from=left,
        unavailable_until=back,
        minutes_unavailable=_minutes(left, back, now),
        verified=bool(connected and connected["verified"]),
        verification=connected.get("verification") if connected else None,
        error=broken["msg"] if broken else None,
        remedy=broken.get("connection_error", {}).get("remedy", []) if broken else [],
        reports=[*plan["reports"], *_keeper_reports(connected)],
    )


def _keeper_reports(connected: Optional[Store]) -> list[str]:
    """The reports about the keeper, or the lease in AWS, in the middle of the window."""
    report, lease_report = ((connected or {}).get(name) for name in ("keeper_report", "lease_report"))
    return ([] if report is None else [str(Report(**report))]) + ([] if lease_report is None else [lease_report])


def _last_state(store: Optional[Store]) -> Optional[str]:
    return store["connection_states"][-1] if store and store["connection_states"] else None


def _left_service(store: Optional[Store]) -> Optional[str]:
    """When KMS first reported that it had left CONNECTED."""
    moves = store["transitions"] if store else []
    return next((move["time"] for move in moves if move["connection_state"] != "CONNECTED"), None)


def _back_in_service(store: Optional[Store]) -> Optional[str]:
    if store is None or _last_state(store) != "CONNECTED":
        return None
    report = store.get("keeper_report")
    if report is not None and not store["operations"]:
        return str(report["time"])  # the keeper has connected it before
    return str(store["transitions"][-1]["time"])


def _minutes(left: Optional[str], back: Optional[str], now: datetime.datetime) -> Optional[float]:
    if left is None:
        return None
    until = datetime.datetime.fromisoformat(back) if back else now
    return round((until - datetime.datetime.fromisoformat(left)).total_seconds() / 60, 1)


def plan_table(plans: Sequence[Mapping[str, Any]], lease: Sequence[str] = ()) -> list[str]:
    """The plan of the window, as lines of text, in columns.

    Args:
        plans: a C(StorePlan) of each store.
        lease: what reconnects the stores if the play does not, in sentences.
    """
    cells = [["store", "id", "region", "found", "in this window"]]
    for plan in plans:
        done = "disconnect, work, connect" if plan["disconnects"] else "left as it is"
        cells.append([plan["name"], plan["custom_key_store_id"], plan["region"], plan["found"], done])
    lease_lines = list(lease) if any(plan["disconnects"] for plan in plans) else []
    return _columns(cells) + _reported(plans) + lease_lines


def summary_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The summary of the window, as lines of text, in columns."""
    heads = ["store", "region", "before", "during", "after", "unavailable (UTC)", "minutes", "verified"]
    not_verified = [
        f"{row['name']}: not verified. {row['verification']}"
        for row in rows
        if row["verification"] and not row["verified"]
    ]
    errors = [f"{row['name']}: {row['error']}" for row in rows if row["error"]]
    lines = _columns([heads, *([str(cell) for cell in _cells(row)] for row in rows)])
    return lines + _reported(rows) + not_verified + errors


def _columns(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]


def _reported(stores: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{store['name']}: {report}" for store in stores for report in store["reports"]]


def _cells(row: Mapping[str, Any]) -> list[Any]:
    left, back, minutes = row["unavailable_from"], row["unavailable_until"], row["minutes_unavailable"]
    span = f"{_clock(left)} - {_clock(back) if back else 'now'}" if left else "-"
    verified = "yes" if row["verified"] else "no" if row["error"] else "not checked"
    states = [row["before"], row["during"], row["after"]]
    return [row["name"], row["region"], *states, span, "-" if minutes is None else minutes, verified]


def _clock(time: str) -> str:
    return datetime.datetime.fromisoformat(time).strftime("%m-%d %H:%M:%S")


def parse_time(value: Optional[str], name: str) -> Optional[datetime.datetime]:
    """Parse a time of the user.

    Args:
        value: in ISO 8601, with its offset from UTC; None or empty for no time.
        name: of the variable, for the error.

    Raises:
        InputError: it is not such a time.
    """
    if not value:
        return None
    try:
        time = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        time = datetime.datetime.min
    if time.tzinfo is None:
        raise InputError(
            f'{name} is "{value}", but must be a date and time in ISO 8601 with its distance from UTC, such as'
            " 2026-01-31T22:00:00+01:00."
        )
    return time
