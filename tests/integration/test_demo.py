# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, as a new user sees it, and that it leaves nothing behind, however it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from dev.environment import ROOT

DEMO = [sys.executable, "-m", "dev.demo"]


def emulator_is_gone(output: str) -> bool:
    """Does nothing listen any more at the address that the demo told?"""
    port = re.search(r"http://127\.0\.0\.1:(\d+)", output)
    assert port is not None, output
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port[1]))) != 0


def all_have_ended(process_group: int) -> bool:
    """Do all processes of the group end within ten seconds?"""
    for _turn in range(100):
        left = subprocess.run(["pgrep", "-g", str(process_group)], capture_output=True, text=True, check=False)
        if left.stdout == "":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.long
def test_the_demo_shows_a_window_over_three_stores() -> None:
    done = subprocess.run(
        DEMO, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    for name in ("payments", "ledger", "invoices"):
        assert re.search(rf"{name} +us-east-1  CONNECTED  DISCONNECTED  CONNECTED", done.stdout)
        assert re.search(rf'\("{name}"\) is CONNECTING, \d+ of at most 1800 seconds', done.stdout)
    assert "Working on payments, ledger, invoices." in done.stdout
    killed, _line, after = done.stdout.partition("ansible-playbook was killed with SIGKILL")
    for name in ("payments", "ledger", "invoices"):
        assert re.search(rf" s  {name} +DISCONNECTED\n", after)
        assert re.search(rf" s  {name} +CONNECTED\n", after)
    assert "TASK [keyops.aws.key_store_maintenance : Work that takes long]" in killed
    assert " was not closed: its play had ended. The keeper connected it at 20" in " ".join(after.split())
    assert "  DisconnectCustomKeyStore (3)\n  ConnectCustomKeyStore (3)\n" in done.stdout
    assert emulator_is_gone(done.stdout)


@pytest.mark.long
def test_ctrl_c_ends_the_demo_and_the_emulator() -> None:
    with subprocess.Popen(
        DEMO, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        output = ""
        while ": Disconnect the key stores]" not in output:
            line = demo.stdout.readline()
            assert line, output
            output += line
        # A terminal sends it to all processes in the foreground.
        subprocess.run(["kill", "-s", "INT", "--", f"-{demo.pid}"], check=True)
        output += demo.stdout.read()
        assert demo.wait(30) not in (0, -signal.SIGKILL)
    assert "dev/demo.py" not in output  # ansible-playbook itself may print a traceback when it is interrupted
    assert emulator_is_gone(output)
    assert all_have_ended(demo.pid)
