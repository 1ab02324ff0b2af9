"""Runs scim2-tester, a public test suite for SCIM servers, against a running gateway. Fails on ERROR and CRITICAL.

    python judge.py http://localhost:9000/scim/v2 [--verbose]    reads the token from FLEXGATE_SCIM_TOKEN
    python judge.py --start PATH-OF-FLEXGATE [--verbose]         starts its own gateways

scim2-tester sends random values, chosen from those that the schemas list. `--start` runs it twice: with the default
policy, and with a policy that allows everything that Flexgate can do.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from httpx2 import Client  # the HTTP library that scim2-client uses
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

DEFAULT_POLICY = {"FLEXGATE_SCIM_GROUP_ROLES": "{}"}
WIDE_POLICY = {
    "FLEXGATE_ALLOWED_ROLES": "agent,supervisor,admin",
    "FLEXGATE_SCIM_LAST_ADMIN": "allow",
    "FLEXGATE_SCIM_ATTRIBUTES": "language.string,skill_level.int,remote.boolean",
    "FLEXGATE_SCIM_GROUP_ROLES": '{"Flex Agents": "agent"}',
}
ROUNDS = 3  # each with different random values


def judge(base: str, token: str, verbose: bool) -> bool:
    http = Client(base_url=base, headers={"Authorization": f"Bearer {token}"})
    results = check_server(SyncSCIMClient(http), resource_types=["User", "Group"])
    counted = {status: 0 for status in Status}
    for result in results:
        counted[result.status] += 1
        failed = result.status in (Status.ERROR, Status.CRITICAL)
        if failed or verbose:
            print(result.status.name, result.resource_type or "-", result.title, result.reason or "")
        if failed:
            print("   ", result.data)
    print(", ".join(f"{status.name} {count}" for status, count in counted.items() if count))
    checked = {result.resource_type for result in results}
    if not {"User", "Group"} <= checked:
        print("the judge did not get as far as User and Group")
        return False
    return not (counted[Status.ERROR] or counted[Status.CRITICAL])


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def started(binary: str, policy: dict[str, str], verbose: bool) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        ports = ["--port", str(port), "--simulator-port", str(free_port()), "--tls-port", str(free_port())]
        gateway = subprocess.Popen(
            [binary, "serve", *ports, "--data-dir", folder], env={**os.environ, **policy}, stdout=subprocess.DEVNULL
        )
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            token = Path(folder, "scim-token").read_text()
            return all(judge(f"http://localhost:{port}/scim/v2", token, verbose) for _ in range(ROUNDS))
        finally:
            gateway.terminate()
            gateway.wait(timeout=20)


def main() -> int:
    verbose = "--verbose" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    match arguments:
        case ["--start", binary]:
            passed = all(started(binary, policy, verbose) for policy in (DEFAULT_POLICY, WIDE_POLICY))
        case [base]:
            passed = judge(base, os.environ["FLEXGATE_SCIM_TOKEN"], verbose)
        case _:
            print(__doc__)
            return 2
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
