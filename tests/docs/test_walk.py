"""Runs every command of the README and of the pages in docs/, on a clean clone, and compares the output with the page.

A text block directly after a command is the command's expected output. In it, `…` matches any text, and a date matches
any date. The clone shares this repository's build folder.

The test does not run blocks with a label such as `needs-aws`. It only checks their syntax, and that their commands
match the label. `tests/run watch` tests the blocks with the label needs-cargo-lambda. Blocks with the label
needs-a-quiet-machine would take too long. For a block with `bash tests/run`, the test runs only the fast steps.
"""

import hashlib
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
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
BLOCK = re.compile(r"^ *```(\w+)([^\n]*)\n(.*?)^ *```$", re.M | re.S)
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z")
PATIENCE = 60
BUILD = 1800  # the first build compiles the clone's own packages
PORTS = ("9000", "9010", "9443")

# The test does not run a command block that has one of these labels. It only checks that the block's commands match the
# label's pattern.
NEEDS = {
    "needs-aws": re.compile(r"\b(aws|sam) "),
    "needs-github": re.compile(r"\bgh "),
    "needs-twilio": re.compile(r"--live\b"),
    "needs-idp": re.compile(r"https://gate\.example\.com\b.*\$TOKEN"),
    "needs-session": re.compile(r"\bflexgate sessions (list|end|lock)\b"),
    "needs-a-quiet-machine": re.compile(r"\A *tests/bench/run "),
    "needs-cargo-lambda": re.compile(r"^cargo lambda (watch|invoke) ", re.M),
}


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError:
            return False
    return True


def steps(page):
    """Yields each command block: its label, its commands, and the text block directly after it, or None."""
    blocks = [(m.group(1), m.group(2).strip(), m.group(3), m.start(), m.end()) for m in BLOCK.finditer(page)]
    for number, (language, needs, text, _, end) in enumerate(blocks):
        if language != "sh":
            continue
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        shown = following if following and following[0] == "text" and not page[end : following[3]].strip() else None
        yield needs, text, shown[2] if shown else None


def matches(shown, said):
    """Whether `said` contains `shown`. In `shown`, `…` matches any text, and a date matches any date."""
    shown = DATE.sub("…", shown.strip())
    pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
    return re.search(pattern, said, re.S) is not None


class Walk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Always clone to the same path. With a new path, cargo would compile all packages again.
        place = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
        cls.folder = Path(tempfile.gettempdir()) / f"flexgate-walk-{place}"
        shutil.rmtree(cls.folder, ignore_errors=True)
        cls.folder.mkdir(mode=0o700)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.clone = cls.folder / "flexgate"
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(cls.clone)], check=True)
        subprocess.run(["git", "checkout", "--quiet", "--detach", head], cwd=cls.clone, check=True)
        TARGET.mkdir(exist_ok=True)
        (cls.clone / "target").symlink_to(TARGET)
        home = Path(os.environ["HOME"])
        cls.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(cls.folder),
            "LANG": "C.UTF-8",
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(home / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
        }
        cls.move_ports()

    @classmethod
    def move_ports(cls):
        """Chooses free ports for the three servers if another process uses one of their usual ports."""
        cls.ports = dict(zip(PORTS, PORTS))
        if all(map(free, PORTS)):
            return
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        cls.ports = {port: str(opened.getsockname()[1]) for port, opened in zip(PORTS, sockets)}
        for opened in sockets:
            opened.close()
        gateway, simulator, tls = cls.ports.values()
        cargo = cls.folder / "bin" / "cargo"
        cargo.parent.mkdir()
        cargo.write_text(
            f'#!/usr/bin/env bash\n[ "$*" != run ] || set -- run -- --port {gateway} --simulator-port {simulator} --tls-port {tls}\n'
            f'exec "{shutil.which("cargo")}" "$@"\n'
        )
        cargo.chmod(0o755)
        cls.environment["PATH"] = f"{cargo.parent}:{cls.environment['PATH']}"

    def setUp(self):
        # Each command block runs in a separate shell. The state file passes variables and functions from one shell to
        # the next.
        self.state = self.folder / "shell-state"
        self.state.write_text("")
        shutil.rmtree(self.clone / ".flexgate", ignore_errors=True)
        self.served = None
        self.addCleanup(self.stop)

    def stop(self):
        if self.served:
            os.killpg(self.served.pid, signal.SIGINT)
            self.assertEqual(self.served.wait(PATIENCE), 0, "cargo run, after Ctrl-C")
            self.served = None

    def moved(self, text):
        return re.sub(r"localhost:(9000|9010|9443)", lambda found: f"localhost:{self.ports[found.group(1)]}", text)

    def serve(self):
        """Starts `cargo run` in the background, and waits until Flexgate is ready. Returns the output."""
        with open(self.folder / "served.log", "wb") as log:
            self.served = subprocess.Popen(
                ["cargo", "run"], cwd=self.clone, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + BUILD
        while "Ctrl-C" not in (said := (self.folder / "served.log").read_text()):
            self.assertIsNone(self.served.poll(), f"cargo run ended:\n{said}")
            self.assertLess(time.monotonic(), until, f"cargo run does not start:\n{said}")
            time.sleep(0.05)
        with urllib.request.urlopen(f"http://localhost:{self.ports['9000']}/", timeout=10) as page:
            self.assertEqual(page.status, 200)
        return said

    def shell(self, commands, patience=PATIENCE):
        script = (
            f'. "{self.state}" 2>/dev/null\nset -euo pipefail\n{commands}\n'
            f'{{ declare -p | grep -v "^declare -[a-zA-Z]*r"; declare -f; }} >"{self.state}"\n'
        )
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.clone, env=self.environment, capture_output=True, text=True, timeout=patience
        )
        self.assertEqual(done.returncode, 0, f"{commands}\n{done.stdout}{done.stderr}")
        return done.stdout

    def block(self, commands):
        """Runs a block and returns its output. The lines `cargo run` and `bash tests/run` run separately, before the
        other lines.
        """
        said, rest = "", []
        for line in commands.split("\n"):
            bare = re.sub(r"\s+#.*", "", line).strip()
            if bare == "cargo run":
                said += self.serve()
            elif bare == "bash tests/run":
                said += self.shell("bash tests/run rules format", BUILD)
                self.assertIn("steps: 2 passed, 0 failed", said)
            else:
                rest.append(line)
        return said + (self.shell(self.moved("\n".join(rest)), BUILD) if "".join(rest).strip() else "")

    def walk(self, name):
        page = (self.clone / name).read_text()
        blocks = list(steps(page))
        if not any(commands.strip().startswith("cargo run  ") or commands.strip() == "cargo run" for _, commands, _ in blocks):
            # A page without `cargo run` expects a running Flexgate.
            self.serve()
            self.shell('export PATH="$PWD/target/debug:$PATH"')
        walked = 0
        for needs, commands, shown in blocks:
            with self.subTest(page=name, block=commands):
                if needs:
                    self.assertIn(needs, NEEDS, "an unknown mark")
                    self.assertRegex(commands, NEEDS[needs], f"marked {needs}, and can be run")
                    subprocess.run(["bash", "-n", "-c", commands], check=True)
                    continue
                said = self.block(commands)
                walked += 1
                if shown is not None:
                    self.assertTrue(matches(self.moved(shown), said), f"{commands}\nprinted\n{said}\nand not\n{shown}")
        return walked

    def test_the_readme_is_true(self):
        self.assertGreaterEqual(self.walk("README.md"), 2)

    def test_the_quick_start_is_true(self):
        self.assertGreaterEqual(self.walk("docs/quick-start.md"), 9)

    def test_every_other_page_is_true(self):
        pages = sorted(path.relative_to(self.clone) for path in (self.clone / "docs").glob("**/*.md"))
        self.assertGreater(len(pages), 10)
        walked = {}
        for page in map(str, pages):
            if page != "docs/quick-start.md" and any(True for _ in steps((self.clone / page).read_text())):
                walked[page] = self.walk(page)
                self.stop()
                self.setUp()
        self.assertGreaterEqual(walked["docs/operators.md"], 10)
        self.assertGreaterEqual(walked["docs/webhooks.md"], 4)


class TheWalkItself(unittest.TestCase):
    def test_an_output_that_is_not_printed_is_noticed(self):
        self.assertFalse(matches("ok    sso …\nok    done", "ok    sso x\nFAILED done"))
        self.assertTrue(matches("until 2026-11-24T07:35:34Z", "until 2031-01-01T00:00:00.5Z"))
        self.assertTrue(matches('{"a":"…","b":1}', '{"a":"x","b":1}'))

    def test_text_that_follows_later_belongs_to_no_command(self):
        page = "```sh\na\n```\n\nwords\n\n```text\nb\n```\n\n```sh needs-aws\nc\n```\n\n```text\nd\n```\n"
        self.assertEqual(list(steps(page)), [("", "a\n", None), ("needs-aws", "c\n", "d\n")])

    def test_a_block_in_a_list_is_a_block(self):
        self.assertEqual(list(steps("1. Do:\n\n   ```sh\n   a\n   ```\n")), [("", "   a\n", None)])

    def test_what_needs_cargo_lambda_is_run_by_a_step_of_its_own(self):
        listed = subprocess.run(["bash", "tests/run", "--list"], cwd=ROOT, check=True, capture_output=True, text=True)
        self.assertIn("watch", listed.stdout.split())
        test = (ROOT / "tests/watch/test_watch.py").read_text()
        self.assertTrue('"watch"' in test and '"invoke"' in test)

    def test_a_mark_must_fit_what_it_marks(self):
        for needs, commands in [("needs-aws", "aws s3 ls"), ("needs-twilio", "flexgate serve --live")]:
            self.assertRegex(commands, NEEDS[needs])
        self.assertNotRegex("flexgate users list", NEEDS["needs-twilio"])
        self.assertNotRegex("curl localhost:9000", NEEDS["needs-idp"])


if __name__ == "__main__":
    unittest.main()
