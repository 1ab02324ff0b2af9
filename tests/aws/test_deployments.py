"""Tests deployments of infra/template.yaml to a local AWS (ministack): changed parameters, and failed attempts.

Each function is replaced by a program that answers with its own settings, so these tests need no built function.
"""

import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
import urllib.error
import urllib.request
import zipfile

import boto3
from test_template import ALL, PARAMETERS, ROOT

sys.path.insert(0, str(ROOT / "infra"))
from package import with_code  # noqa: E402

# The local AWS has no CodeDeploy, so turn canary deployments off. Change the default in the template, because the local
# AWS ignores the value that a deployment gives for this parameter.
TEXT = re.sub(r"(  Canary:\n    Type: String\n    Default: )'true'", r"\1'false'", (ROOT / "infra/template.yaml").read_text())
# The creation of this resource always fails, because Lambda publishes no new version of a function that has not changed
# since its last version. The resource depends on the resources listed below, so the deployment fails only after most of
# the stack has been created.
BROKEN = """  Broken:
    Type: AWS::Lambda::Version
    DependsOn: [SsoFunction, MintFunction, ProvisionFunction, ApplyFunction, SweepFunction, Dashboard]
    Properties: { FunctionName: !Ref SsoFunction }
"""
# A program for Lambda's runtime API.
ECHO = """#!/usr/bin/env python3
import json, os, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(API + "next") as event:
        request, _ = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
    settings = {key: value for key, value in os.environ.items() if key.startswith("FLEXGATE_")}
    answer = json.dumps({"statusCode": 200, "body": json.dumps(settings)})
    urllib.request.urlopen(API + request + "/response", answer.encode()).close()
"""


class Deployments(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="flexgate-deployments-"))
        os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        surroundings = os.environ | {"BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "GATEWAY_PORT": str(port), "HOME": str(cls.work),
                                     "MINISTACK_HOST": "localhost", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        cls.log = open(cls.work / "log", "w")
        cls.process = subprocess.Popen([pathlib.Path(sys.executable).parent / "ministack"], env=surroundings, stdout=cls.log,
                                       stderr=cls.log, cwd=cls.work, start_new_session=True)
        cls.addClassCleanup(cls.stop)
        cls.endpoint = f"http://127.0.0.1:{port}"
        cls.wait("the local AWS's start", cls.is_up)
        names = ("s3", "cloudformation", "lambda", "logs", "dynamodb", "sqs", "secretsmanager")
        cls.aws = {name: boto3.client(name, endpoint_url=cls.endpoint) for name in names}
        cls.aws["s3"].create_bucket(Bucket="code")
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, ECHO)
        cls.aws["s3"].put_object(Bucket="code", Key="code.zip", Body=code.getvalue())

    @classmethod
    def stop(cls):
        cls.process.send_signal(signal.SIGTERM)
        try:
            cls.process.wait(10)
        except subprocess.TimeoutExpired:
            cls.process.kill()
        cls.log.close()
        shutil.rmtree(cls.work, ignore_errors=True)

    @classmethod
    def is_up(cls):
        try:
            with urllib.request.urlopen(f"{cls.endpoint}/_ministack/health", timeout=5):
                return True
        except (OSError, urllib.error.HTTPError):
            return False

    @staticmethod
    def wait(what, ready, patience=180):
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if found := ready():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not happen in {patience} s")

    def deploy(self, name, change=None, broken=False):
        """Creates or updates the stack. Returns its status at the end."""
        text = TEXT.replace("\nOutputs:\n", f"\n{BROKEN}\nOutputs:\n") if broken else TEXT
        values = PARAMETERS | {"Canary": "false"} | (change or {})
        formation, exists = self.aws["cloudformation"], self.status(name) is not None
        call = formation.update_stack if exists else formation.create_stack
        # The template is too long to be part of the request, so upload it to S3.
        self.aws["s3"].put_object(Bucket="code", Key=f"{name}.yaml", Body=with_code(text, lambda _: "s3://code/code.zip").encode())
        call(
            StackName=name, TemplateURL=f"{self.endpoint}/code/{name}.yaml",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        )
        return self.settled(name)

    def status(self, name):
        try:
            status = self.aws["cloudformation"].describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except self.aws["cloudformation"].exceptions.ClientError:
            return None
        return None if status == "DELETE_COMPLETE" else status

    def settled(self, name):
        self.wait("the deployment's end", lambda: not str(self.status(name)).endswith("IN_PROGRESS"))
        return self.status(name)

    def delete(self, name):
        self.aws["cloudformation"].delete_stack(StackName=name)
        self.assertIsNone(self.settled(name))

    def reasons(self, name):
        pages = self.aws["cloudformation"].get_paginator("describe_stack_events").paginate(StackName=name)
        events = [one for page in pages for one in page["StackEvents"] if "FAILED" in one["ResourceStatus"]]
        return [(one["LogicalResourceId"], one.get("ResourceStatusReason")) for one in events]

    def live(self, name, function):
        """Returns the configuration of the function version that gets the API's requests."""
        return self.aws["lambda"].get_function_configuration(FunctionName=f"{name}-{function.lower()}", Qualifier="live")

    def answers(self, name, path):
        """Returns the settings of the function that answers this request to the API."""
        outputs = self.aws["cloudformation"].describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
        (api,) = [one["OutputValue"] for one in outputs if one["OutputKey"] == "ApiId"]
        request = urllib.request.Request(self.endpoint + path, headers={"Host": f"{api}.execute-api.localhost"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def left(self):
        """Returns all resources of the types that remain when a stack is deleted."""
        aws = self.aws
        return {
            "tables": set(aws["dynamodb"].list_tables()["TableNames"]),
            "queues": set(aws["sqs"].list_queues().get("QueueUrls", [])),
            "secrets": {one["ARN"] for one in aws["secretsmanager"].list_secrets()["SecretList"]},
            "logs": {one["logGroupName"] for one in aws["logs"].describe_log_groups()["logGroups"]},
        }

    def test_r74_a_deployment_that_changes_only_a_parameter_takes_effect(self):
        self.assertEqual(self.deploy("parameters"), "CREATE_COMPLETE", self.reasons("parameters"))
        first = {name: self.live("parameters", name) for name in ALL}
        self.assertEqual(self.answers("parameters", "/users")["FLEXGATE_ISSUERS"], "[]")
        self.assertEqual(first["Mint"]["Environment"]["Variables"]["FLEXGATE_ISSUERS"], "[]")
        issuers = '[{"issuer": "https://idp.example.com", "audiences": ["flexgate"]}]'
        status = self.deploy("parameters", {"Issuers": issuers})
        self.assertEqual(status, "UPDATE_COMPLETE", self.reasons("parameters"))
        for name in ALL:
            live = self.live("parameters", name)
            self.assertGreater(int(live["Version"]), int(first[name]["Version"]), name)
        self.assertEqual(self.live("parameters", "Mint")["Environment"]["Variables"]["FLEXGATE_ISSUERS"], issuers)
        self.assertEqual(self.answers("parameters", "/users")["FLEXGATE_ISSUERS"], issuers)
        # Deploy the first value again. This must work although AppConfig has stored the same text before.
        self.assertEqual(self.deploy("parameters"), "UPDATE_COMPLETE", self.reasons("parameters"))
        self.assertEqual(self.live("parameters", "Mint")["Environment"]["Variables"]["FLEXGATE_ISSUERS"], "[]")
        # A change of a parameter that no function reads must not publish a new version.
        last = self.live("parameters", "Mint")["Version"]
        status = self.deploy("parameters", {"LogRetentionDays": "30"})
        self.assertEqual(status, "UPDATE_COMPLETE", self.reasons("parameters"))
        self.assertEqual(self.live("parameters", "Mint")["Version"], last)
        self.delete("parameters")

    def test_r74_a_parameter_takes_effect_after_a_deployment_of_it_failed(self):
        self.assertEqual(self.deploy("again"), "CREATE_COMPLETE", self.reasons("again"))
        status = self.deploy("again", {"LogLevel": "debug"}, broken=True)
        self.assertEqual(status, "UPDATE_ROLLBACK_COMPLETE", self.reasons("again"))
        self.assertEqual(self.live("again", "Sso")["Environment"]["Variables"]["FLEXGATE_LOG"], "info")
        self.assertEqual(self.deploy("again", {"LogLevel": "debug"}), "UPDATE_COMPLETE", self.reasons("again"))
        self.assertEqual(self.live("again", "Sso")["Environment"]["Variables"]["FLEXGATE_LOG"], "debug")
        self.delete("again")

    def test_r76_a_first_deployment_that_fails_leaves_nothing_and_can_be_repeated(self):
        before = self.left()
        self.assertEqual(self.deploy("first", broken=True), "ROLLBACK_COMPLETE", self.reasons("first"))
        self.assertIn("Broken", dict(self.reasons("first")))
        self.assertEqual(self.left(), before, "the failed deployment left something")
        # CloudFormation cannot update a stack whose creation failed. With `on_failure` in infra/samconfig.toml, SAM
        # deletes that stack.
        config = tomllib.loads((ROOT / "infra/samconfig.toml").read_text())
        for stage in ("default", "staging", "prod"):
            self.assertEqual(config[stage]["deploy"]["parameters"]["on_failure"], "DELETE", stage)
        self.delete("first")
        self.assertEqual(self.deploy("first"), "CREATE_COMPLETE", self.reasons("first"))
        self.delete("first")

    def test_r76_a_stack_can_be_made_again_beside_what_the_deleted_one_retains(self):
        before = self.left()
        self.assertEqual(self.deploy("twice"), "CREATE_COMPLETE", self.reasons("twice"))
        made = {kind: found - before[kind] for kind, found in self.left().items()}
        self.delete("twice")
        for kind, found in made.items():
            self.assertTrue(found, kind)
            self.assertLessEqual(found, self.left()[kind], "retained")
        self.assertEqual(self.deploy("twice"), "CREATE_COMPLETE", self.reasons("twice"))
        self.delete("twice")

    def test_r76_webhooks_can_be_switched_off_and_on_again(self):
        self.assertEqual(self.deploy("hooks"), "CREATE_COMPLETE", self.reasons("hooks"))
        self.assertEqual(self.deploy("hooks", {"WebhookSources": ""}), "UPDATE_COMPLETE", self.reasons("hooks"))
        self.assertEqual(self.deploy("hooks"), "UPDATE_COMPLETE", self.reasons("hooks"))
        self.assertEqual(self.live("hooks", "Webhooks")["Environment"]["Variables"]["FLEXGATE_WEBHOOKS"], PARAMETERS["WebhookSources"])
        self.delete("hooks")


if __name__ == "__main__":
    unittest.main()
