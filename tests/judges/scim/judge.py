"""The public judge of SCIM servers, scim2-tester, against a running gateway.

    python judge.py http://localhost:9000/scim/v2 [--verbose]     with the token in FLEXGATE_SCIM_TOKEN

Fails on ERROR and CRITICAL. The judge's values are random: run the gateway with
FLEXGATE_ALLOWED_ROLES=agent,supervisor,admin and FLEXGATE_SCIM_LAST_ADMIN=allow.
"""

import os
import sys

from httpx2 import Client  # the HTTP library that scim2-client uses
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server


def main() -> int:
    base, verbose = sys.argv[1], "--verbose" in sys.argv
    token = os.environ["FLEXGATE_SCIM_TOKEN"]
    http = Client(base_url=base, headers={"Authorization": f"Bearer {token}"})
    results = check_server(SyncSCIMClient(http), resource_types=["User", "Group"])
    counted = {status: 0 for status in Status}
    for result in results:
        counted[result.status] += 1
        failed = result.status in (Status.ERROR, Status.CRITICAL)
        if failed or verbose:
            print(result.status.name, result.resource_type or "-", result.title, result.reason or "")
        if failed and verbose:
            print("   ", result.data)
    print(", ".join(f"{status.name} {count}" for status, count in counted.items() if count))
    checked = {result.resource_type for result in results}
    if not {"User", "Group"} <= checked:
        print("the judge did not get as far as User and Group")
        return 1
    return 1 if counted[Status.ERROR] or counted[Status.CRITICAL] else 0


if __name__ == "__main__":
    sys.exit(main())
