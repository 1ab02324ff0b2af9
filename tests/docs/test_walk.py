"""A newcomer's walk: every command of the README and the quick start, in order, in a fresh copy of the
repository, prints what the page says it prints.

`cargo` is a stand-in that runs the binary already built (FLEXGATE_BIN) instead of building it once more, on ports of the
test's own. The text block after a command is what it prints: `…` stands for anything, a date for any date. `bash tests/run`
is not run from within itself: that it is there and lists its steps is looked at.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ["FLEXGATE_BIN"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z")
PATIENCE = 60

CARGO = """#!/usr/bin/env bash
# Stands in for cargo: `cargo run` and `cargo run -- ARGUMENTS`, nothing else.
[ "$1" = run ] || { echo "the walk knows no cargo $1" >&2; exit 2; }
shift; [ "$1" != -- ] || shift
case "$1" in ''|serve) set -- "$@" --port PORT --simulator-port SIMULATOR --tls-port TLS ;; esac
exec BINARY "$@"
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def steps(page):
    """Each command block, with the text block that follows it directly, if there is one."""
    blocks = [(m.group(1), m.group(2), m.start(), m.end()) for m in BLOCK.finditer(page)]
    for number, (language, text, _, end) in enumerate(blocks):
        if language != "sh":
            continue
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        shown = following if following and following[0] == "text" and not page[end : following[2]].strip() else None
        yield text, shown[1] if shown else None


def matches(shown, said):
    """Whether `said` holds `shown`, where `…` is anything and a date any date."""
    shown = DATE.sub("…", shown.strip())
    pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
    return re.search(pattern, said, re.S) is not None


class Walk(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="flexgate-walk-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.copy = self.folder / "flexgate"
        # What a clone would hold, were everything committed.
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (self.copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.copy / name)
        self.ports = dict(zip(("9000", "9010", "9443"), free_ports(3)))
        cargo = self.folder / "bin" / "cargo"
        cargo.parent.mkdir()
        text = CARGO.replace("BINARY", BINARY).replace("--port PORT", f"--port {self.ports['9000']}")
        text = text.replace("SIMULATOR", self.ports["9010"]).replace("TLS", self.ports["9443"])
        cargo.write_text(text)
        cargo.chmod(0o755)
        path = f"{cargo.parent}:{os.environ['PATH']}"
        self.environment = {"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8"}
        # One shell, so that a variable set in one block is there in the next.
        self.variables = self.folder / "variables"
        self.variables.write_text("")
        self.served = None

    def tearDown(self):
        if self.served:
            self.served.send_signal(signal.SIGTERM)
            self.assertEqual(self.served.wait(PATIENCE), 0, "cargo run, after Ctrl-C")

    def moved(self, text):
        return re.sub(r"localhost:(9000|9010|9443)", lambda found: f"localhost:{self.ports[found.group(1)]}", text)

    def serve(self):
        """`cargo run` goes on: what it has printed once it answers."""
        log = open(self.folder / "served.log", "w+b")
        self.addCleanup(log.close)
        self.served = subprocess.Popen(
            ["bash", "-c", "exec cargo run"], cwd=self.copy, env=self.environment, stdout=log, stderr=log
        )
        until = time.monotonic() + PATIENCE
        while "Ctrl-C" not in (said := (self.folder / "served.log").read_text()):
            self.assertIsNone(self.served.poll(), f"cargo run ended:\n{said}")
            self.assertLess(time.monotonic(), until, f"cargo run does not start:\n{said}")
            time.sleep(0.05)
        with urllib.request.urlopen(f"http://localhost:{self.ports['9000']}/", timeout=10) as page:
            self.assertEqual(page.status, 200)
        return said

    def run_block(self, commands):
        script = f'. "{self.variables}"\nset -euo pipefail\n{commands}\ndeclare -p BEARER >"{self.variables}" 2>/dev/null || :\n'
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.copy, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 0, f"{commands}\n{done.stdout}{done.stderr}")
        return done.stdout

    def walk(self, name):
        walked = 0
        for commands, shown in steps((ROOT / name).read_text()):
            said = ""
            for line in re.split(r"(?<!\\)\n", commands.strip()):
                bare = re.sub(r"\s+#.*", "", line).strip()
                with self.subTest(page=name, command=bare):
                    if bare == "cargo run":
                        said += self.serve()
                    elif bare.startswith("bash tests/run"):
                        said += self.run_block("bash tests/run --list")
                        self.assertIn("test\n", said)
                    elif bare:
                        said += self.run_block(self.moved(line))
                walked += 1
            if shown is not None:
                with self.subTest(page=name, output_of=commands):
                    self.assertTrue(matches(self.moved(shown), said), f"{commands}\nprinted\n{said}\nand not\n{shown}")
        return walked

    def test_the_readme_is_true(self):
        self.assertGreaterEqual(self.walk("README.md"), 3)

    def test_the_quick_start_is_true(self):
        self.assertGreaterEqual(self.walk("docs/quick-start.md"), 8)


class TheWalkItself(unittest.TestCase):
    def test_an_output_that_is_not_printed_is_noticed(self):
        self.assertFalse(matches("ok    sso …\nok    done", "ok    sso x\nFAILED done"))
        self.assertTrue(matches("until 2026-11-24T07:35:34Z", "until 2031-01-01T00:00:00.5Z"))
        self.assertTrue(matches('{"a":"…","b":1}', '{"a":"x","b":1}'))

    def test_text_that_follows_later_belongs_to_no_command(self):
        page = "```sh\na\n```\n\nwords\n\n```text\nb\n```\n\n```sh\nc\n```\n\n```text\nd\n```\n"
        self.assertEqual(list(steps(page)), [("a\n", None), ("c\n", "d\n")])


if __name__ == "__main__":
    unittest.main()
