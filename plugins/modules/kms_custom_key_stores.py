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
      - A folder on the managed host, in which each store that is taken out of service is noted before that is done, with the
        time. The note is removed when the store is C(CONNECTED) again.
      - A later run, should this one be killed before the store is back, is told of it in RV(stores[].remembered).
    type: path
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
          C(connection_state) that it was found in before it was disconnected, and the C(time) of that, in ISO 8601.
        - V(null) where it told nothing.
      returned: always
      type: dict
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

import threading
from functools import partial
from typing import Any
from typing import Mapping
from typing import Sequence

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import background
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.api import client_config
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.api import place
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import Member
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import bring_about
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.looks import SharedLooks
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.notes import Notes
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import Progress
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import check_values
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import check_wait_timeout
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_NAME
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_VERSION

CREDENTIALS = ("profile", "access_key", "secret_key", "session_token")
CONNECTION = ("region", "endpoint_url", *CREDENTIALS)


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


def run_task(progress: Progress) -> None:
    """Do what the task asks for, print the result, and exit."""
    set_collection_info(COLLECTION_NAME, COLLECTION_VERSION)
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    clock = Clock()
    try:
        group = members(module, Clients(module, clock))
        results = bring_about(
            group,
            verify=module.params["verify"],
            notes=Notes(module.params["memory"]),
            clock=clock,
            progress=progress,
            check_mode=module.check_mode,
        )
    except CustomKeyStoreError as error:
        module.fail_json(msg=error.message)
    finally:
        progress.close()
    outcome = summary(results, wanted=module.params["state"])
    if not module._diff:
        del outcome["diff"]
    finish = module.fail_json if "msg" in outcome else module.exit_json
    finish(**outcome)


def main() -> None:
    background.run(run_task)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
