# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the role key_store_maintenance; each is documented in the YAML file of its name."""

from __future__ import annotations

import datetime
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.keyops.aws.plugins.plugin_utils import maintenance


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def maintenance_plan(
    looks: Sequence[Mapping[str, Any]],
    infos: Sequence[Mapping[str, Any]],
    *,
    not_before: Optional[str] = None,
    not_after: Optional[str] = None,
    min_active_hsms: int = 1,
    max_recent_use_minutes: int = 0,
) -> dict[str, Any]:
    """See C(maintenance_plan.yml)."""
    try:
        limits = maintenance.Limits(
            now=now(),
            not_before=maintenance.moment(not_before, "key_store_maintenance_not_before"),
            not_after=maintenance.moment(not_after, "key_store_maintenance_not_after"),
            min_active_hsms=min_active_hsms,
            max_recent_use_minutes=max_recent_use_minutes,
        )
    except maintenance.InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return maintenance.plan_window(looks, infos, limits)


def maintenance_targets(
    stores: Sequence[Mapping[str, Any]], plans: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """See C(maintenance_targets.yml)."""
    return maintenance.targets(stores, plans)


def maintenance_summary(
    plans: Sequence[Mapping[str, Any]],
    disconnected: Sequence[Mapping[str, Any]],
    connected: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """See C(maintenance_summary.yml)."""
    return maintenance.summarise(plans, disconnected, connected, now())


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "maintenance_plan": maintenance_plan,
            "maintenance_plan_table": maintenance.plan_table,
            "maintenance_summary": maintenance_summary,
            "maintenance_summary_table": maintenance.summary_table,
            "maintenance_targets": maintenance_targets,
        }
