"""Checks the templates in infra with cfn-guard and the rules of AWS Control Tower: `guard.py FOLDER`, where FOLDER
contains the npm package of tests/aws/guard. The rules get the resources as CloudFormation would create them.
"""

import json
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

from resolve import Stack
from test_edge import edge
from test_template import resolved

# The rules that a template deliberately breaks, each with the reason.
BROKEN = {
    "template.yaml": {
        "CT.APIGATEWAY.PR.5": "Flexgate itself checks who calls, because an authorizer of API Gateway knows neither its cookies nor its secrets",
        "CT.CLOUDWATCH.PR.2": "LogRetentionDays decides; its default is shorter, because the logs contain user SIDs",
        "CT.CLOUDWATCH.PR.3": "the logs contain no token, code, secret or e-mail address, so AWS's own key is enough",
        "CT.LAMBDA.PR.3": "everything that the functions call is a public API, so a VPC would only add a NAT gateway",
        "CT.SQS.PR.1": "the queues without a dead-letter queue are the dead-letter queues",
    },
    "edge.yaml": {
        "CT.CLOUDFRONT.PR.1": "Flexgate has no page at /, and a page's host has its own default",
        "CT.CLOUDFRONT.PR.4": "there is no second Flexgate to fail over to",
        "CT.CLOUDFRONT.PR.5": "access logs would contain the codes in the callback's query",
    },
}
SERVICES = ["apigateway", "cloudfront", "cloudwatch", "dynamodb", "identityandaccessmanagement", "lambda", "sqs", "waf"]


def document(stack: Stack) -> str:
    kinds = sorted({one["Type"] for one in stack.resources.values()})
    resources = {name: {"Type": kind, "Properties": properties} for kind in kinds for name, properties in stack.exist(kind).items()}
    return json.dumps({"Resources": resources}, indent=1)


def broken(guard: pathlib.Path, stack: Stack) -> set[str]:
    """Returns the rules that the stack breaks."""
    program = guard / "bin/ubuntu" / {"aarch64": "aarch64", "x86_64": "x86_64"}[platform.machine()] / "cfn-guard"
    program.chmod(0o755)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(document(stack))
        file.flush()
        rules = [str(guard / "rules/control-tower/cfn-guard" / service) for service in SERVICES]
        command = [program, "validate", "--data", file.name, "--rules", *rules, "--show-summary", "none"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 19):  # 19: a rule failed
        raise SystemExit(f"cfn-guard ended with {done.returncode}: {done.stderr}{done.stdout}")
    return set(re.findall(r"\[(CT\.[A-Z0-9.]+)\]", done.stdout))


def main(folder: str) -> None:
    guard = pathlib.Path(folder) / "node_modules/@cdklabs/cdk-validator-cfnguard"
    everything = {"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms", "DeletionProtection": "true"}
    problems = []
    for name, stack in (("template.yaml", resolved(everything)), ("edge.yaml", edge())):
        found, expected = broken(guard, stack), set(BROKEN[name])
        problems += [f"infra/{name} breaks {rule}" for rule in sorted(found - expected)]
        problems += [f"infra/{name} follows {rule}: remove it from BROKEN in tests/aws/guard.py" for rule in sorted(expected - found)]
    if problems:
        raise SystemExit("\n".join(problems))
    print(f"cfn-guard: the templates follow AWS Control Tower's rules, except {sum(map(len, BROKEN.values()))} with a reason")


if __name__ == "__main__":
    main(sys.argv[1])
