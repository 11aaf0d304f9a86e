# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs of the emulator's EventBridge Scheduler, for moto in process and as a server."""

from __future__ import annotations

from moto.scheduler.urls import url_bases
from moto.scheduler.urls import url_paths as moto_paths

from .responses import SchedulerResponse

__all__ = ["url_bases", "url_paths"]

url_paths = {
    # Before moto's, so that an invalid name gets a response.
    "{0}/schedules/(?P<name>.+)$": SchedulerResponse.dispatch,
    **dict.fromkeys(moto_paths, SchedulerResponse.dispatch),
}
