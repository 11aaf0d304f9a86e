// Copyright: Contributors to the keyops.aws collection
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A client with the AWS SDK for JavaScript v3, found by NODE_PATH, and its defaults. It talks as boto.py does.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const sdk = require("@aws-sdk/client-kms");
const { version } = require("@aws-sdk/client-kms/package.json");

function fromJson(_name, value) {
  return value?.$bytes === undefined ? value : new Uint8Array(Buffer.from(value.$bytes, "base64"));
}

// Not by JSON.stringify's replacer, which sees a date as a string already.
function toJson(value) {
  if (value instanceof Uint8Array) {
    return { $bytes: Buffer.from(value).toString("base64") };
  }
  if (value instanceof Date) {
    return { $date: value.toISOString() };
  }
  if (Array.isArray(value)) {
    return value.map(toJson);
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, toJson(member)]));
  }
  return value;
}

async function result(kms, operation, members) {
  const Command = sdk[`${operation}Command`];
  if (Command === undefined) {
    return { unknown: operation };
  }
  try {
    const { $metadata, ...answer } = await kms.send(new Command(members));
    return { answer: toJson(answer) };
  } catch (error) {
    if (!(error instanceof sdk.KMSServiceException)) {
      throw error;
    }
    const { httpStatusCode, requestId } = error.$metadata;
    return {
      error: {
        kind: error.constructor.name,
        code: error.name,
        message: error.message,
        status: httpStatusCode,
        request_id: requestId,
      },
    };
  }
}

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const kms = new sdk.KMSClient();
write({ version });
for await (const line of createInterface({ input: process.stdin })) {
  const { operation, members } = JSON.parse(line, fromJson);
  write(await result(kms, operation, members));
}
