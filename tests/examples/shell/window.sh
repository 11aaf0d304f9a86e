#!/usr/bin/env bash
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# A test of a playbook as a shell script. Needs curl, ansible-playbook, and kms-emulator.
set -eu
cd "$(dirname "$0")"
unset AWS_PROFILE # which would be used instead of the credentials below

folder=$(mktemp -d)
kms-emulator --port 0 --ready-file "$folder/url" &
emulator=$!
trap 'kill "$emulator" || true; wait; rm -r "$folder"' EXIT
until [ -e "$folder/url" ]; do
  kill -0 "$emulator" # else it has ended
  sleep 0.1
done
url=$(cat "$folder/url")
control=$url/moto-api/kms/custom-key-stores

export AWS_URL=$url AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=anything AWS_SECRET_ACCESS_KEY=anything
curl -fsS -X POST "$control/create-store" -d '{"custom_key_store_name": "payments", "connection_state": "CONNECTED"}'
curl -fsS -X POST "$control/set-transitions" -d '{"connect_seconds": 0.5, "disconnect_seconds": 0.5}'

ansible-playbook ../window.yml -e key_store=payments

curl -fsS "$control/requests" > "$folder/requests"
for operation in DisconnectCustomKeyStore ConnectCustomKeyStore; do
  grep --quiet "\"$operation\"" "$folder/requests" || { echo "KMS was not asked for $operation" >&2; exit 1; }
done
echo "The store was disconnected and connected."
