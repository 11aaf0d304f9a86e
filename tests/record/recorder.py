# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a recording: asks the user, runs the scenario, brings the key store back, and writes what is not private."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore
from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError

from tests.record.account import Account
from tests.record.account import find
from tests.record.back import Back
from tests.record.back import NotBackError
from tests.record.interrupts import Interrupts
from tests.record.player import Player
from tests.record.player import Step
from tests.record.player import StoppedError
from tests.record.recording import FORMAT
from tests.record.recording import Recording
from tests.record.recording import as_text
from tests.record.recording import write
from tests.record.requests import renamed
from tests.record.scenario import Scenario

MINUTES = {"AWS_CLOUDHSM": "up to 20 minutes, and in bad cases 30", "EXTERNAL_KEY_STORE": "about 10 minutes"}

WARNING = """
This makes a recording of AWS KMS with the custom key store {name} ({store_type}, {region}), in your own account.

  - It DISCONNECTS the key store and connects it again. That takes {minutes}.
  - Until it is connected, NO KMS KEY IN IT CAN BE USED. Whatever needs one fails meanwhile, such as the start of an instance with
    an encrypted volume, or the read of an encrypted object. No key, cluster, proxy or data is changed or deleted.
  - It renames the key store to {renamed} and back, twice, for some seconds each. Whatever finds it by its name fails then.
  - It sends requests on which AWS's documents disagree, such as to connect a key store that is connected.
{more}
However this program ends, it brings the key store back. If the machine fails, or the program is killed, do it yourself:

  aws kms connect-custom-key-store --region {region} --custom-key-store-id {store_id}

Nothing is sent to anybody. The recording is a file, which you read before you give it away.
"""

OF_CLUSTERS = "  - The connect gives kmsuser in the cluster a new password, as each connect does.\n"

Ask = Callable[[str], str]


@dataclass
class Time:
    """Time, which tests pass in."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    poll: float = 2.0
    today: Callable[[], datetime.date] = datetime.date.today


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def warning(account: Account) -> str:
    """What the user must know before."""
    store = account.store
    return WARNING.format(
        name=store["CustomKeyStoreName"],
        renamed=renamed(store["CustomKeyStoreName"]),
        store_type=store["CustomKeyStoreType"],
        store_id=store["CustomKeyStoreId"],
        region=account.region,
        minutes=MINUTES[store["CustomKeyStoreType"]],
        more=OF_CLUSTERS if "CloudHsmClusterId" in store else "",
    )


def agreed(name: str, given: Sequence[str], ask: Ask | None) -> bool:
    """Did the user name the key store twice? Given: by options; ask: asks on a terminal, None where there is none."""
    if given or ask is None:
        return list(given) == [name, name]
    return all(ask(text) == name for text in ("The name of the key store: ", "Once more, its name: "))


def ask_on_terminal() -> Ask | None:
    """What asks the user; None without a terminal."""
    return input if sys.stdin.isatty() and sys.stdout.isatty() else None


def progress(step: Step) -> None:
    """Tell of a step."""
    if "left_out" in step:
        outcome = f"left out: {step['left_out']}"
    elif "states" in step:
        outcome = " -> ".join(step["states"])
    else:
        outcome = step.get("outcome", "seen" if step.get("seen") else "not seen")
    say(f"  {step['step']:<28} {outcome}")


class Recorder:
    """Makes one recording."""

    def __init__(self, account: Account, moments: Time) -> None:
        self._account = account
        self._disguise = account.disguise()
        self._player = Player(
            account.reading,
            account.changing,
            account.store,
            self._disguise,
            moments.sleep,
            moments.clock,
            moments.poll,
            tell=progress,
            waiting=lambda state, seconds: say(f"    {state}, {seconds:.0f} seconds"),
        )
        self._today = moments.today
        self._back = Back(self._player, say)
        self._interrupts = Interrupts(
            lambda: say("The key store is being brought back. This program ends when that is done.")
        )

    def run(self) -> Recording:
        """Run the scenario. The key store is brought back, however this ends: NotBackError says that it is not."""
        scenario = Scenario(self._player)
        with self._interrupts:
            try:
                try:
                    scenario.before_the_window()
                    # While the key store is still in service: could the recording be given away?
                    self.check(self._recording())
                    scenario.window()
                finally:
                    self._bring_back()
            finally:
                # Once more, should a signal have come right before the line above.
                self._bring_back()
        recording = self._recording()
        self.check(recording)
        return recording

    def _bring_back(self) -> None:
        self._interrupts.held = True
        self._back.bring()

    def check(self, recording: Recording) -> None:
        """Is nothing private left? Raises StoppedError."""
        leaks = self._disguise.leaks(as_text(recording))
        if leaks:
            what = "; ".join(dict.fromkeys(leaks))
            raise StoppedError(f"Something private would be in the recording, so it is not written: {what}.")

    def _recording(self) -> Recording:
        took = {step["step"]: step["seconds"] for step in self._player.steps if "until" in step}
        return {
            "format": FORMAT,
            "recorded": self._today().isoformat(),
            "partition": self._account.partition,
            "store_type": self._account.store["CustomKeyStoreType"],
            "sdk": f"botocore {botocore.__version__}",
            "seconds": {
                "disconnect": _sum(took, "begins-disconnecting", "disconnected"),
                "connect": _sum(took, "begins-connecting", "connected"),
            },
            "steps": self._player.steps,
        }


def _sum(took: dict[str, float], *names: str) -> float | None:
    return round(sum(took[name] for name in names), 1) if set(names) <= set(took) else None


def record(
    name: str,
    folder: Path,
    *,
    given: Sequence[str] = (),
    ask: Ask | None = None,
    session: Any = None,
    moments: Time | None = None,
) -> int:
    """Make a recording of the key store with a name.

    Returns:
        The exit code.
    """
    try:
        account = find(name, session)
    except (StoppedError, BotoCoreError, ClientError) as error:
        say(str(error))
        return 2
    say(warning(account))
    if not agreed(name, given, ask):
        why = "There is no terminal to ask on" if ask is None and not given else "That is not its name, twice"
        say(f"{why}. Nothing was done.")
        return 2
    return _record(Recorder(account, moments or Time()), account, folder)


def _record(recorder: Recorder, account: Account, folder: Path) -> int:
    try:
        recording = recorder.run()
    except NotBackError as error:
        say(not_back(account, str(error)))
        return 3
    except (StoppedError, BotoCoreError, ClientError, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        say(f"\n{'It was interrupted.' if interrupted else error}")
        say("There is no recording. The key store is CONNECTED, and has its name.")
        return 130 if interrupted else 1
    path = write(recording, folder)
    say(f"\n{as_text(recording)}")
    say(f"The key store is CONNECTED, and has its name. The recording, as it stands above, is {path}")
    say("Nothing was sent to anybody. Read it before you give it away. To hold the emulator against it:\n")
    say(f"  make replay RECORDING={path}")
    return 0


def not_back(account: Account, why: str) -> str:
    """What the user must do now."""
    store = account.store
    name = store["CustomKeyStoreName"]
    of_it = f"--region {account.region} --custom-key-store-id {store['CustomKeyStoreId']}"
    return (
        f"\nTHE KEY STORE {name} IS NOT AS IT WAS. {why}\n"
        "Look at it. Connect it if it is DISCONNECTED, and give it its name back:\n\n"
        f"  aws kms describe-custom-key-stores {of_it}\n"
        f"  aws kms connect-custom-key-store {of_it}\n"
        f"  aws kms update-custom-key-store {of_it} --new-custom-key-store-name '{name}'\n"
    )
