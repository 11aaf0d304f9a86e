# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the modules that predict a connect, documented in one place."""

from __future__ import annotations


class ModuleDocFragment:
    """See C(prediction_options) in C(plugins/module_utils/_custom_key_store/prediction.py)."""

    DOCUMENTATION = r"""
options:
  predict_connect:
    description:
      - Predict whether KMS could connect each key store, now or after a disconnect. The prediction changes nothing.
      - For a key store in AWS CloudHSM, the module checks the state of the cluster, its HSMs, subnets, and security group. If
        C(cloudhsm-cli) is on the managed host, it also checks C(kmsuser).
      - For an external key store, the module requests the health status of the proxy from the managed host. It checks the
        address, TLS, certificate, path, credential, time, and key managers of the proxy, and the VPC endpoint service in front
        of it.
      - If the module cannot make a check from the managed host, the outcome of that check is C(unknown), with the reason. The
        result of a connect can differ from the prediction.
    type: bool
    default: false
  xks_proxy_credentials:
    description:
      - The credentials of external key store proxies. With O(predict_connect=true), the module signs its requests to a proxy
        with them. KMS does not return their secrets.
      - For each key store, the module uses the credential with the C(access_key_id) of the key store. If you do not give this
        credential, the module sends the request without a signature. Whether the proxy accepts the credential of KMS is then
        C(unknown).
    type: list
    elements: dict
    suboptions:
      access_key_id:
        description: The access key ID, as KMS describes it in C(xks_proxy_configuration).
        type: str
        required: true
      raw_secret_access_key:
        description: The secret that belongs to O(xks_proxy_credentials[].access_key_id).
        type: str
        required: true
"""
