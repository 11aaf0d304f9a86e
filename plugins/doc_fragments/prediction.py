# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the modules that predict a connect, described once."""

from __future__ import annotations


class ModuleDocFragment:
    """See C(prediction_options) in C(plugins/module_utils/_custom_key_store/prediction.py)."""

    DOCUMENTATION = r"""
options:
  predict_connect:
    description:
      - Check whether KMS could connect each store, now or after a disconnect, without a change.
      - Of a store in AWS CloudHSM, the state of the cluster, its HSMs, subnets and security group are checked, and C(kmsuser) if
        C(cloudhsm-cli) is on the managed host.
      - Of an external store, the proxy is asked for its health from the managed host. Its address, TLS, certificate, path,
        credential, time and key managers are checked, and the VPC endpoint service before it.
      - What cannot be checked from the managed host is C(unknown), and says why. KMS has the last word.
    type: bool
    default: false
  xks_proxy_credentials:
    description:
      - The credentials of external key store proxies, to sign the requests of O(predict_connect=true) with. KMS does not return
        their secrets.
      - A store is checked with the credential that has its C(access_key_id). Without one, its proxy is asked without a
        signature, and whether it accepts the credential of KMS is unknown.
    type: list
    elements: dict
    suboptions:
      access_key_id:
        description: The access key id, as KMS describes it in C(xks_proxy_configuration).
        type: str
        required: true
      raw_secret_access_key:
        description: The secret that belongs to O(xks_proxy_credentials[].access_key_id).
        type: str
        required: true
"""
