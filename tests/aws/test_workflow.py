"""Runs the shell steps of .github/workflows/deploy.yml with the real SAM, against a local AWS."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import test_deployments
import yaml
from test_template import PARAMETERS, ROOT

sys.path.insert(0, str(ROOT / "infra"))
from package import FUNCTIONS, with_code  # noqa: E402

STEPS = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())["jobs"]["deploy"]["steps"]
SAM = ROOT / "target/tools/sam/bin"


class Workflow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Create this subclass here. If it were at the top level of the module, unittest would run the tests of
        # Deployments twice.
        cls.local = type("Local", (test_deployments.Deployments,), {})
        cls.addClassCleanup(cls.local.doClassCleanups)
        cls.local.setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="flexgate-workflow-")
        cls.addClassCleanup(folder.cleanup)
        cls.work = pathlib.Path(folder.name)
        (cls.work / "infra").mkdir()
        (cls.work / "infra/samconfig.toml").write_bytes((ROOT / "infra/samconfig.toml").read_bytes())
        packaged = cls.work / "target/packaged"
        packaged.mkdir(parents=True)
        (packaged / "template.yaml").write_text(with_code(test_deployments.TEXT, lambda name: f"{name}.zip"))
        for name in FUNCTIONS:
            with zipfile.ZipFile(packaged / f"{name}.zip", "w") as archive:
                archive.writestr("bootstrap", test_deployments.ECHO)

    def run_step(self, name, **env):
        env = os.environ | {"AWS_ENDPOINT_URL": self.local.endpoint, "SAM_CLI_TELEMETRY": "0", "HOME": str(self.work), "COLUMNS": "160",
                            "GITHUB_STEP_SUMMARY": str(self.work / "summary.md"), "PATH": f"{SAM}:{os.environ['PATH']}"} | env
        (commands,) = [step["run"] for step in STEPS if step.get("name") == name]
        done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", commands], cwd=self.work, env=env,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def deploy(self, issuers):
        values = {name: value for name, value in PARAMETERS.items() if name != "Canary"} | {"Issuers": issuers}
        self.run_step("deploy", STAGE="staging", PARAMETERS="\n".join(f"{name}='{value}'" for name, value in values.items()))
        (self.work / "summary.md").unlink(missing_ok=True)
        self.run_step("changes")
        return (self.work / "summary.md").read_text()

    def test_r74_the_workflow_deploys_changed_parameters_and_shows_what_changes(self):
        self.assertRegex(self.deploy("[]"), r"\n\+ Add +MintFunction +AWS::Lambda::Function ")
        issuers = '[{"issuer": "https://idp.example.com", "audiences": ["flex gate"]}]'
        self.assertRegex(self.deploy(issuers), r"\n\* Modify +MintFunction +AWS::Lambda::Function ")
        (stack,) = self.local.aws["cloudformation"].describe_stacks(StackName="flexgate-staging")["Stacks"]
        parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
        # The deployment must use the stage's parameters from samconfig.toml, and the parameters from the workflow's
        # environment.
        expected = {"Canary": "false", "LogRetentionDays": "14", "Issuers": issuers, "WebhookSources": PARAMETERS["WebhookSources"]}
        self.assertEqual({name: parameters[name] for name in expected}, expected)
        functions = self.local.aws["lambda"].get_paginator("list_functions").paginate()
        (mint,) = [one["FunctionName"] for page in functions for one in page["Functions"] if "mint" in one["FunctionName"].lower()]
        live = self.local.aws["lambda"].get_function_configuration(FunctionName=mint, Qualifier="live")
        self.assertEqual(live["Environment"]["Variables"]["FLEXGATE_ISSUERS"], issuers)


if __name__ == "__main__":
    unittest.main()
