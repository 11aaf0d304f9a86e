# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A maintenance window, as the role key_store_maintenance sees it: what to do with each store, and how it went.

Everything here is pure: options and results of modules in, plain data out, for the steps of the role.
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
"""The options of a store that are never written down."""

ADDRESS = ("custom_key_store_id", "id", "name", "custom_key_store_name")
"""The options of a store that say which it is; the others say how it is reached."""

USE_IS_RECORDED_WITHIN = 60
"""Minutes."""

IN_SERVICE = ("CONNECTED", "CONNECTING")
IN_TRANSITION = ("CONNECTING", "DISCONNECTING")


class InputError(Exception):
    """A value of the user that cannot be used: one sentence for the user."""


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


@dataclass(frozen=True)
class Options:
    """What the user asks for: the options of a step, which are the variables of the role without their prefix.

    Attributes:
        step: see C(maintenance_window) in C(plugins/modules).
        stores: as the user gave them. They may hold secrets.
        xks_proxy_credentials: of the proxies of external stores. They hold secrets.
        connection: what else the step was given: how to reach stores that do not say it themselves. It may hold secrets.
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
        """Read the arguments of a task. Before ansible-core 2.19, a number that comes out of a template is a text.

        Raises:
            InputError: one of them has another type.
        """
        kinds = {each.name: each.type for each in fields(cls) if each.name != "connection"}
        own = {name: _typed(name, arguments[name], kinds[name]) for name in kinds if arguments.get(name) is not None}
        others = {name: value for name, value in arguments.items() if name not in kinds}
        return cls(**{"step": "", **own}, connection=others)

    def fixed(self) -> dict[str, Any]:
        """What counts from the first step of a window to the last. It holds no secret, and neither stores nor connections."""
        others = ("step", "stores", "xks_proxy_credentials", "connection")
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in others}

    def limits(self) -> Limits:
        """Raises InputError if a time is none."""
        return Limits(
            now=now(),
            not_before=parse_time(self.not_before, "key_store_maintenance_not_before"),
            not_after=parse_time(self.not_after, "key_store_maintenance_not_after"),
            min_active_hsms=self.min_active_hsms,
            max_recent_use_minutes=self.max_recent_use_minutes,
        )

    def lease_text(self, *, sees_play: bool, now: datetime.datetime) -> list[str]:
        """Who brings the stores back if the play does not: sentences for the user, at the beginning of a window.

        Args:
            sees_play: does the keeper run on the same host as Ansible?
            now: the time.
        """
        until = (now + datetime.timedelta(minutes=self.lease_minutes)).strftime("%m-%d %H:%M")
        in_aws = self.stores_with_lease_in_aws()
        if not self.keeper and not in_aws:
            return ["There is no keeper: if this play ends early, run it again with --tags reconnect."]
        told = []
        if self.keeper:
            early = "as soon as Ansible has ended, or " if sees_play else ""
            told.append(
                f"If this play ends early, a keeper connects the stores again {early}at {until} (UTC) at the latest."
            )
        if in_aws:
            which = "them" if in_aws == len(self.stores) else f"{in_aws} of {len(self.stores)} stores"
            reason = "is lost together with its host" if self.keeper else "ends early"
            told.append(f"If the play {reason}, AWS connects {which} within two minutes after {until} (UTC).")
        return told

    def stores_with_lease_in_aws(self) -> int:
        """Of how many stores the lease is kept in AWS, too."""
        return sum(1 for store in self.stores if store.get("lease_role_arn") or self.lease_role_arn)


def _typed(name: str, value: Any, kind: Any) -> Any:
    try:
        if kind == "int":
            return int(value)
        if kind.startswith(
            "Sequence"
        ):  # somebody may have put anything there, and the stores of a window are known by then
            return [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else []
        return boolean(value) if kind == "bool" else value
    except (TypeError, ValueError) as error:
        words = {"int": "a whole number", "bool": "true or false"}
        raise InputError(f'key_store_maintenance_{name} is "{value}", but must be {words[str(kind)]}.') from error


@dataclass
class Window:
    """What the steps of one window on one host know, from the first to the last. It holds no secret.

    Attributes:
        options: those of the first step, see C(Options.fixed()).
        connections: for each of the user's stores, in their order, the options that say how it is reached, without secrets.
        plans: C(StorePlan) of each.
        lease: who brings the stores back if the play does not, in sentences.
        checked: may the stores be disconnected?
        begun: were they to be?
        job: the C(Job) that did it and stays as the keeper; None where there is none.
        failure: what failed first; empty if nothing did.
        disconnected: what came of the disconnect of each store.
        connected: what came of the connect of each store.
        connect_failure: why not all could be connected.
        summary: C(Row) of each; None as long as the window is not over.
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
        """The plans of the stores to connect: of all that this window takes, or that an earlier one has left with a lease."""
        return [plan for plan in self.plans if plan["connects"] and (self.begun or plan["leased"])]

    def leave_to_others(self, leaving: Sequence[dict[str, Any]]) -> None:
        """Connect no store at the end that somebody else had disconnected, on purpose, when the disconnect began.

        Args:
            leaving: the plans of the stores that were to be disconnected, in the order of C(disconnected).
        """
        for plan, store in zip(leaving, self.disconnected):
            is_of_a_window = store["remembered"] or plan["leased"]
            if store["connection_states"][:1] in (["DISCONNECTED"], ["DISCONNECTING"]) and not is_of_a_window:
                plan["connects"] = False

    def targets(self, plans: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Stores for M(keyops.aws.kms_custom_key_stores), by their ids: a window may give a store another name.

        Args:
            plans: of the stores.
            given: the user's stores as they are now, for the secrets alone. Whatever else was changed meanwhile does not count.
        """
        reached = [self.connections[plan["number"]] for plan in plans]
        return [
            {"custom_key_store_id": plan["custom_key_store_id"], **how, **_secrets_for(how, given)}
            for plan, how in zip(plans, reached)
        ]


def without_secrets(store: Mapping[str, Any]) -> dict[str, Any]:
    """How a store is reached, in so far as that may be written down."""
    return {name: value for name, value in store.items() if name not in (*ADDRESS, *SECRETS)}


def _secrets_for(how: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The secrets that belong to an access key."""
    access_key = how.get("access_key", how.get("aws_access_key_id"))
    for store in given if access_key is not None else ():
        if access_key == store.get("access_key", store.get("aws_access_key_id")):
            return {name: store[name] for name in SECRETS if name in store}
    return {}


def failure_of(task: Any, result: Any) -> str:
    """What failed: the name of the task and what it said, of each item where it has a loop. Another host where there is none."""
    if task is None:
        return "The maintenance tasks were ended because of a failure on another host (any_errors_fatal)."
    task, result = (each if isinstance(each, Mapping) else {} for each in (task, result))
    items = [each for each in result.get("results") or [] if isinstance(each, Mapping) and each.get("failed")]
    messages = dict.fromkeys(str(each.get("msg", "no message")) for each in items or [result])
    return f"{task.get('name') or task.get('action') or 'A task'}: {' '.join(messages)}"


@dataclass(frozen=True)
class Limits:
    """What is checked before anything is disconnected.

    Attributes:
        now: the time.
        not_before: no disconnect before this time; None for no limit.
        not_after: no disconnect after this time; None for no limit.
        min_active_hsms: how many active HSMs a cluster needs; 0 to look at no cluster.
        max_recent_use_minutes: refuse when a key was used less than this ago; 0 to look at no key.
    """

    now: datetime.datetime
    not_before: Optional[datetime.datetime] = None
    not_after: Optional[datetime.datetime] = None
    min_active_hsms: int = 1
    max_recent_use_minutes: int = 0

    @property
    def earliest_use(self) -> Optional[datetime.datetime]:
        """A key that was used after this is in use; None where that is not looked at."""
        if self.max_recent_use_minutes <= 0:
            return None
        return self.now - datetime.timedelta(minutes=self.max_recent_use_minutes)


@dataclass(frozen=True)
class StorePlan:
    """What the window does with one store.

    Attributes:
        number: its place in C(key_store_maintenance_stores), from 0.
        custom_key_store_id: its id.
        name: its name.
        region: its Region.
        type: its type.
        found: the connection state in which it was found.
        unavailable_from: since when it is out of service because of an earlier window that was not ended; or None.
        leased: has an earlier window left a lease of it?
        disconnects: does this window disconnect it?
        connects: is it connected at the end, if it is not, or was disconnected, by then?
        reports: what the user should know about the state it was found in.
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
        """For tasks: each attribute under its name."""
        return {**self.__dict__, "reports": list(self.reports)}

    def __str__(self) -> str:
        return f"{self.name} ({self.custom_key_store_id}) in {self.region}"


def plan_window(looks: Sequence[Store], limits: Limits) -> dict[str, Any]:
    """Decide what the window does.

    Args:
        looks: what M(keyops.aws.kms_custom_key_stores) predicted of a disconnect of each store, in the order of the user, with
            what is behind it and in it, where the limits need that.
        limits: see there.

    Returns:
        C(stores), a C(StorePlan) each; C(refusals), sentences that say why nothing may be disconnected; C(notes), others that the
        user should know.
    """
    found = [(_store_plan(number, look), look) for number, look in enumerate(looks) if look["custom_key_store_id"]]
    refusals = [f"{look['name'] or look['custom_key_store_id']}: {look['msg']}" for look in looks if look["failed"]]
    leaving = [(plan, look) for plan, look in found if plan.disconnects]
    if any(plan.found in IN_SERVICE for plan, _look in leaving):
        refusals += _outside(limits)
    for plan, look in leaving:
        connect = _cluster(plan, look, limits) or _failed_checks(plan, look, limits)
        refusals += [f"{plan}: {reason}" for reason in [*connect, *_use(look, limits)]]
    missing = [reason for _plan, look in leaving for reason in _missing(look, limits)]
    unknown = [reason for _plan, look in leaving for reason in look.get("lease_not_checked", [])]
    checks = [note for plan, look in leaving for note in _notes_of_checks(plan, look)]
    notes = [*_late_use(limits), *unknown, *checks]
    return {
        "stores": [plan.to_result() for plan, _look in found],
        "refusals": [*refusals, *dict.fromkeys(missing)],
        "notes": list(dict.fromkeys(notes)),
    }


def _store_plan(number: int, look: Store) -> StorePlan:
    found = look["connection_states"][0] if look["connection_states"] else "UNKNOWN"
    note = look["remembered"] if found != "CONNECTED" else None
    takes_part = (found in IN_SERVICE or note is not None) and not look["failed"]
    return StorePlan(
        number=number,
        custom_key_store_id=look["custom_key_store_id"],
        name=look["name"],
        region=look["region"],
        type=look["custom_key_store"].get("custom_key_store_type", "AWS_CLOUDHSM"),
        found=found,
        unavailable_from=note["time"] if note else None,
        leased=look["remembered"] is not None,
        disconnects=takes_part,
        connects=takes_part,
        reports=_reports(look, found, note),
    )


def _reports(look: Store, found: str, note: Optional[Mapping[str, str]]) -> list[str]:
    report = look.get("keeper_report")
    reports = [] if report is None else [str(Report(**report))]
    if note is not None:
        reports.append(
            f"It was in service until {note['time']}, when a window began that has not brought it back: this one will."
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
        error = look.get("connection_error", {})
        reports.append(f"Its last connect failed with {error.get('code')}: {error.get('cause')}")
        reports.append("It is connected at the end of the window." if note else "The window leaves it as it is.")
    return reports


def _outside(limits: Limits) -> list[str]:
    now = f"It is {limits.now.isoformat(timespec='minutes')}"
    if limits.not_before is not None and limits.now < limits.not_before:
        return [f"{now}, and nothing may be disconnected before {limits.not_before.isoformat(timespec='minutes')}."]
    if limits.not_after is not None and limits.now > limits.not_after:
        return [f"{now}, and nothing may be disconnected after {limits.not_after.isoformat(timespec='minutes')}."]
    return []


def _cluster(plan: StorePlan, look: Store, limits: Limits) -> list[str]:
    """Could the store be connected again (R20)? What was not seen forbids it, too."""
    if limits.min_active_hsms <= 0 or plan.type != "AWS_CLOUDHSM":
        return []
    cluster = look.get("cloud_hsm_cluster")
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


def _failed_checks(plan: StorePlan, look: Store, limits: Limits) -> list[str]:
    """What a connect at the end of the window would fail with."""
    if limits.min_active_hsms <= 0 and plan.type == "AWS_CLOUDHSM":
        return []  # the user does not want its cluster to be looked at
    checks = look.get("connect_prediction", {}).get("checks", [])
    failed = [check for check in checks if check["outcome"] == "failed"]
    return [
        f"KMS could not connect it again{' (' + check['code'] + ')' if check['code'] else ''}. {check['text']}"
        for check in failed
    ]


def _notes_of_checks(plan: StorePlan, look: Store) -> list[str]:
    """What may keep a connect from working soon, and what is not known."""
    checks = look.get("connect_prediction", {}).get("checks", [])
    unknown = [check["name"] for check in checks if check["outcome"] == "unknown"]
    notes = [f"{plan.name}: {check['text']}" for check in checks if check["outcome"] == "warning"]
    if unknown:
        notes.append(
            f"{plan.name}: not checked from this host: {', '.join(unknown)}. The playbook keyops.aws.preflight says why."
        )
    return notes


def _use(look: Store, limits: Limits) -> list[str]:
    """Is any key of the store in use? What was not seen counts as used."""
    earliest = limits.earliest_use
    if earliest is None:
        return []
    if look.get("keys") is None:
        return [f"its keys could not be listed. {look.get('keys_problem', '')}".strip()]
    return [reason for key in look["keys"] for reason in _use_of_key(key, earliest, limits)]


def _late_use(limits: Limits) -> list[str]:
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


def _missing(look: Store, limits: Limits) -> list[str]:
    """Keys that could not be described."""
    missing = look.get("keys_not_described", [])
    if limits.earliest_use is None or not missing:
        return []
    return [
        f"{len(missing)} KMS keys could not be described, so that it is not known whether they are in these stores and in use."
        f" {missing[0]['reason']}"
    ]


@dataclass(frozen=True)
class Row:
    """How the window went for one store; the names are those of the summary.

    Attributes:
        before: the connection state in which it was found.
        during: that while the user's tasks ran.
        after: that at the end.
        unavailable_from: when it was seen to leave CONNECTED, in ISO 8601; None if it did not.
        unavailable_until: when it was seen CONNECTED again; None if it was not.
        minutes_unavailable: between the two, or until now if it is not back; None if it did not leave CONNECTED.
        verified: was it shown that it works?
        verification: how that was proved, or why it could not be tried; None if it was not asked for, or failed.
        error: why it is not as it should be; None if it is.
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
    """Tell how the window went.

    Args:
        plans: C(stores) of plan_window().
        disconnected: what came of the disconnect of each store that was to be.
        connected: the same of the connect.
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
        reports=[*plan["reports"], *_of_keeper(connected)],
    )


def _of_keeper(connected: Optional[Store]) -> list[str]:
    """What the keeper, or the lease in AWS, did in the middle of the window."""
    report, lease_report = ((connected or {}).get(name) for name in ("keeper_report", "lease_report"))
    return ([] if report is None else [str(Report(**report))]) + ([] if lease_report is None else [lease_report])


def _last_state(store: Optional[Store]) -> Optional[str]:
    return store["connection_states"][-1] if store and store["connection_states"] else None


def _left_service(store: Optional[Store]) -> Optional[str]:
    """When it was first seen to have left CONNECTED."""
    moves = store["transitions"] if store else []
    return next((move["time"] for move in moves if move["connection_state"] != "CONNECTED"), None)


def _back_in_service(store: Optional[Store]) -> Optional[str]:
    if store is None or _last_state(store) != "CONNECTED":
        return None
    report = store.get("keeper_report")
    if report is not None and not store["operations"]:
        return str(report["time"])  # found so: the keeper has connected it
    return str(store["transitions"][-1]["time"])


def _minutes(left: Optional[str], back: Optional[str], now: datetime.datetime) -> Optional[float]:
    if left is None:
        return None
    until = datetime.datetime.fromisoformat(back) if back else now
    return round((until - datetime.datetime.fromisoformat(left)).total_seconds() / 60, 1)


def plan_table(plans: Sequence[Mapping[str, Any]], lease: Sequence[str] = ()) -> list[str]:
    """What the window does, as lines of text, in columns.

    Args:
        plans: see there.
        lease: who brings the stores back if the play does not, in sentences.
    """
    cells = [["store", "id", "region", "found", "in this window"]]
    for plan in plans:
        done = "disconnect, work, connect" if plan["disconnects"] else "left as it is"
        cells.append([plan["name"], plan["custom_key_store_id"], plan["region"], plan["found"], done])
    told = list(lease) if any(plan["disconnects"] for plan in plans) else []
    return _columns(cells) + _reported(plans) + told


def summary_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the window went, as lines of text, in columns."""
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
    """A time of the user's.

    Args:
        value: in ISO 8601, with its distance from UTC; None or empty for none.
        name: of the variable, for the error.

    Raises:
        InputError: it is no such time.
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
