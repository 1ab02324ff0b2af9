#!/usr/bin/env python3
"""Tests that, on a terminal, `flexgate verify` asks before it creates a user, and continues only if the answer is
yes.
"""

import json
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

FLEXGATE = str(Path(sys.argv[1]) / "flexgate")
QUESTION = b"Type yes to go on: "


def answered(answer: bytes, environment: dict[str, str], folder: Path) -> tuple[int, bytes]:
    """Runs verify on a pseudo-terminal, and types the answer. Returns the exit code and everything after the
    question.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen([FLEXGATE, "verify"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder)
    os.close(theirs)
    said = b""
    while QUESTION not in said:
        said += os.read(ours, 65536)
    assert b"may bill this user" in said, said
    os.write(ours, answer + b"\n")
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not some:
            break
        said += some
    os.close(ours)
    return process.wait(60), said.split(QUESTION)[1]


def main(folder: Path) -> None:
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "twilio.json").write_text(json.dumps({"accountSid": "AC" + "1" * 32, "authToken": "x" * 32}))
    # Nothing listens at this Twilio URL. So the command finds no simulator there, and must ask for consent.
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8",
        "TWILIO_ACCOUNT_SID": "AC" + "1" * 32, "TWILIO_INSTANCE_SID": "GO" + "1" * 32, "TWILIO_SECRET_ID": "twilio",
        "FLEXGATE_SECRETS": f"files:{secrets}", "FLEXGATE_TWILIO_URL": "http://127.0.0.1:1",
        "FLEXGATE_PUBLIC_URL": "http://localhost:9000", "FLEXGATE_STORE": f"sqlite:{folder}/flexgate.db",
    }
    for answer in [b"", b"no", b"y", b"YES"]:
        code, said = answered(answer, environment, folder)
        assert code == 1 and b"nothing was changed" in said and b"cannot be reached" not in said, (answer, code, said)
    code, said = answered(b"yes", environment, folder)
    assert code == 1 and b"Twilio cannot be reached" in said and b"nothing was changed" not in said, (code, said)
    print("cli: verify goes on only after yes")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
