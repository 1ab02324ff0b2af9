#!/usr/bin/env python3
"""Tests that commands print colour only on a terminal, and only without NO_COLOR."""

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FLEXGATE = str(Path(sys.argv[1]) / "flexgate")
# Matches escape sequences for colours and styles. It does not match cursor movements, which the progress bar uses.
LOOKS = re.compile(rb"\x1b\[[0-9;]*m")


def on_a_terminal(command: list[str], environment: dict[str, str], folder: Path) -> bytes:
    """Runs the command on a pseudo-terminal. Returns its output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder)
    os.close(theirs)
    said = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not some:
            break
        said += some
    os.close(ours)
    process.wait(60)
    return said


def main(folder: Path) -> None:
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "twilio.json").write_text(json.dumps({"accountSid": "AC" + "1" * 32, "authToken": "x" * 32}))
    (folder / "people.csv").write_text("username,email,full_name,roles\nada,ada@example.com,Ada,agent\n")
    # Nothing listens at this Twilio URL, so commands fail, and the test covers error messages too.
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "xterm-256color",
        "TWILIO_ACCOUNT_SID": "AC" + "1" * 32, "TWILIO_INSTANCE_SID": "GO" + "1" * 32, "TWILIO_SECRET_ID": "twilio",
        "FLEXGATE_SECRETS": f"files:{secrets}", "FLEXGATE_TWILIO_URL": "http://127.0.0.1:1",
        "FLEXGATE_PUBLIC_URL": "http://localhost:9000", "FLEXGATE_STORE": f"sqlite:{folder}/flexgate.db",
    }
    commands = [["demo"], ["doctor"], ["users", "import", "people.csv"], ["--help"], ["users", "--help"], ["no-such-command"]]
    for arguments in commands:
        command = [FLEXGATE, *arguments]
        painted = on_a_terminal(command, environment, folder)
        assert LOOKS.search(painted), f"{arguments}: no colour on a terminal: {painted!r}"
        plain = on_a_terminal(command, {**environment, "NO_COLOR": "1"}, folder)
        assert plain and not LOOKS.search(plain), f"{arguments}: colour although NO_COLOR is set: {plain!r}"
        piped = subprocess.run(command, env=environment, cwd=folder, capture_output=True)
        assert b"\x1b" not in piped.stdout + piped.stderr, f"{arguments}: colour in a pipe"
    print(f"cli: {len(commands)} commands paint on a terminal, and not where NO_COLOR is set or nobody looks")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
