#!/usr/bin/env python3
"""Tests `flexgate users import` with 5,000 rows while Twilio answers one request in ten with 429. Kills the import
before it is finished, and resumes it. Then checks the requests that the simulator has received.
"""

import collections
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

TARGET = Path(sys.argv[1])
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
SIMULATOR, TLS = 19610, 19643
URL = f"http://localhost:{SIMULATOR}"
TMUX = ["tmux", "-L", f"flexgate-{os.getpid()}"]


def call(method: str, path: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def take_journal() -> list[dict]:
    """Returns and deletes the simulator's list of requests, which contains at most the last 10,000 requests."""
    entries = call("GET", "/__sim/requests?service=flex-api")["requests"]
    assert len(entries) < 10_000, "the journal has overflowed"
    call("DELETE", "/__sim/requests")
    return entries


def until(what: str, found, seconds: float = 900):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def listening() -> bool:
    try:
        return call("GET", "/__sim/users") is not None
    except OSError:
        return False


def username(entry: dict, names: dict[str, str]) -> str:
    """Returns the username in a request. `names` maps SIDs to usernames."""
    if entry["body"]:
        return json.loads(entry["body"])["username"]
    query = urllib.parse.parse_qs(entry["raw_query"] or "")
    return query["Username"][0] if "Username" in query else names[entry["path"].rsplit("/", 1)[1]]


def main(folder: Path) -> None:
    people = folder / "people.csv"
    people.write_text("username,email,full_name,roles\n" + "".join(
        f"u{n},u{n}@example.com,Person {n},agent\n" for n in range(ROWS)))
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "twilio.json").write_text(json.dumps(
        {"accountSid": "AC" + "1".zfill(32), "authToken": "fa4efa4e" * 4}))
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8",
        "TWILIO_ACCOUNT_SID": "AC" + "1".zfill(32), "TWILIO_INSTANCE_SID": "GO" + "1".zfill(32),
        "TWILIO_SECRET_ID": "twilio", "FLEXGATE_SECRETS": f"files:{secrets}", "FLEXGATE_TWILIO_URL": URL,
        "FLEXGATE_PUBLIC_URL": "http://localhost:9000", "FLEXGATE_STORE": f"sqlite:{folder}/flexgate.db",
    }
    call("POST", "/__sim/faults", {
        "service": "flex-api", "kind": "status", "status": 429, "times": "always", "probability": 0.1})
    flexgate = str(TARGET / "flexgate")
    journal = Path(f"{people}.journal")

    def noted() -> set[str]:
        return set(journal.read_text().splitlines()[1:]) if journal.exists() else set()

    # Start the import in a terminal. Kill it before it is finished.
    shell = f"'{flexgate}' users import '{people}' & echo $! > '{folder}/pid'; wait; sleep 600"
    subprocess.run([*TMUX, "new-session", "-d", "-x", "110", "-y", "24", shell], env=environment, check=True)
    until("a third of the rows", lambda: len(noted()) > ROWS // 3)
    bar = until("the bar", lambda: next((
        line for line in subprocess.run([*TMUX, "capture-pane", "-p"], capture_output=True, text=True,
                                        check=True).stdout.splitlines() if "=>" in line), None), 10)
    print(f"in the terminal: {bar}")
    assert f"/{ROWS} rows" in bar and "/s," in bar and " left" in bar, bar
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    # Wait until the simulator has answered the pending requests of the killed import.
    requests = lambda: len(call("GET", "/__sim/requests?service=flex-api")["requests"])
    settled = lambda: requests() == (time.sleep(1), requests())[1]
    until("the last answer of the simulator", settled, 60)
    finished = len(noted())
    assert ROWS // 3 < finished < ROWS, f"killed in the middle: {finished}"
    before = take_journal()

    # Resume the import, with piped output.
    began = time.monotonic()
    resumed = subprocess.run([flexgate, "users", "import", str(people)], env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=1800)
    print(f"resumed after {finished} rows, in {time.monotonic() - began:.0f} s:\n{resumed.stdout}")
    assert resumed.returncode == 0
    assert "\x1b" not in resumed.stdout and "\r" not in resumed.stdout, "plain lines when piped"
    assert f"{ROWS} of {ROWS} rows" in resumed.stdout and f"0 failed, {finished} finished before" in resumed.stdout
    after = take_journal()

    users = call("GET", "/__sim/users")["users"]
    assert len({user["username"] for user in users}) == len(users) == ROWS, len(users)
    names = {user["flex_user_sid"]: user["username"] for user in users}
    sent = [entry for entry in before + after if entry["path"].endswith("/Provision")]
    succeeded = collections.Counter(username(entry, names) for entry in sent if entry["status"] in (200, 201))
    assert len(succeeded) == ROWS and set(succeeded.values()) == {1}, "a row was sent after it succeeded"
    done: set[str] = set()
    for entry in sent:
        assert username(entry, names) not in done, f"{username(entry, names)} was sent after it succeeded"
        if entry["status"] in (200, 201):
            done.add(username(entry, names))
    asked = {username(entry, names) for entry in after if "Users" in entry["path"]}
    assert len(asked) <= ROWS - finished, "a finished row was even looked up"
    refused = sum(entry["status"] == 429 for entry in before + after)
    share = refused / len(before + after)
    assert 0.05 < share < 0.2, share
    print(f"cli: {ROWS} users, each sent successfully once; {refused} of {len(before + after)} requests were answered 429")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        simulator = subprocess.Popen(
            [TARGET / "examples" / "serve", f"127.0.0.1:{SIMULATOR}", f"127.0.0.1:{TLS}"], stdout=subprocess.DEVNULL)
        try:
            until("the simulator", listening, 20)
            main(Path(name))
        finally:
            subprocess.run([*TMUX, "kill-server"], check=False, stderr=subprocess.DEVNULL)
            simulator.kill()
            simulator.wait()
