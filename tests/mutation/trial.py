"""Runs a room's tests with one mutant at a time."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from build import Program

# Tests run in batches, beginning with the fastest tests. Each number limits the total duration of the tests in one of
# the first three batches, in seconds. The last batch contains all other tests.
BATCHES = (1, 5, 20)


class Test(NamedTuple):
    program: Program
    name: str
    seconds: float
    reaches: frozenset[int]


class Run(NamedTuple):
    outcome: str  # "passed", "failed" or "timeout"
    failed: str  # the first test that failed
    seconds: float
    output: str


def run(program: Program, tests: list[str], variables: dict[str, str], timeout: float | None) -> Run:
    """Runs tests of a program until all have passed or one has failed."""
    began = time.monotonic()
    # Cargo runs tests in their package's folder.
    started = subprocess.Popen(
        [program.path, "--exact", *tests], cwd=program.folder, env=os.environ | {"CARGO_MANIFEST_DIR": str(program.folder)} | variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )
    late = threading.Event()

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)

    timer = threading.Timer(timeout, lambda: (late.set(), end())) if timeout else None
    if timer:
        timer.start()
    output, failed = [], ""
    for line in started.stdout:
        output.append(line)
        if line.startswith("test ") and line.rstrip().endswith("... FAILED"):
            failed = line.split()[1]
            break
    # End the program after the first failure, because one of the other tests may hang.
    if failed and timeout:
        end()
    output += started.stdout
    code = started.wait()
    if timer:
        timer.cancel()
    outcome = "failed" if failed else "timeout" if late.is_set() else "failed" if code else "passed"
    return Run(outcome, failed, time.monotonic() - began, "".join(output))


def survey(programs: list[Program], jobs: int) -> list[Test]:
    """Runs each test alone and without a mutant. Returns each test's duration and the mutants that it reaches, the
    fastest tests first. Ends the command if a test fails."""

    def try_one(program: Program, name: str) -> Test:
        with tempfile.NamedTemporaryFile("r") as reached:
            ran = run(program, [name], {"FLEXGATE_MUTANTS_REACHED": reached.name}, None)
            if ran.outcome != "passed":
                raise SystemExit(f"{program.package} {program.target} {name} fails without a mutant:\n{ran.output}")
            return Test(program, name, ran.seconds, frozenset(map(int, reached.read().split())))

    with ThreadPoolExecutor(jobs) as pool:
        started = [pool.submit(try_one, program, name) for program in programs for name in names(program)]
        return sorted((one.result() for one in started), key=lambda one: one.seconds)


def names(program: Program) -> list[str]:
    command = [program.path, "--list", "--format=terse"]
    listed = subprocess.run(command, cwd=program.folder, check=True, capture_output=True, text=True).stdout
    return [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]


def judge(tests: list[Test], id: int | None) -> tuple[str, str]:
    """Runs the tests that reach the mutant, until one of them fails. `id` is None for a mutant without a switch, which
    any test may reach. Returns the outcome, and the test that failed."""
    for batch in batches([one for one in tests if id is None or id in one.reaches]):
        for program, some in groupby(sorted(batch, key=lambda one: one.program), key=lambda one: one.program):
            some = list(some)
            # The machine may be busy, and several times slower than in the survey. So allow five times as long, and 15
            # seconds more.
            timeout = 15 + 5 * sum(one.seconds for one in some)
            ran = run(program, [one.name for one in some], {"FLEXGATE_MUTANT": str(id or 0)}, timeout)
            if ran.outcome != "passed":
                outcome = "caught" if ran.outcome == "failed" else "timeout"
                return outcome, f"{program.package} {program.target} {ran.failed}".strip()
    return "survived", ""


def batches(tests: list[Test]) -> list[list[Test]]:
    found, limits = [[]], list(BATCHES)
    for test in tests:
        if limits and found[-1] and sum(one.seconds for one in found[-1]) + test.seconds > limits[0]:
            found.append([])
            limits.pop(0)
        found[-1].append(test)
    return [one for one in found if one]
