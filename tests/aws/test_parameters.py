"""Tests `flexgate doctor --template-parameters` with SAM CLI's parser, which must read exactly the parameters in the
file.
"""

import json
import os
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra"))
import parameters  # noqa: E402

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FLEXGATE = TARGET / "debug/flexgate"
SAM = [str(ROOT / "target/tools/sam/bin/python"), str(ROOT / "tests/aws/sam_parameters.py")]
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1",
               "LANG": "C.UTF-8"}
GIVEN = {
    "TwilioAccountSid": "AC00000000000000000000000000000001",
    "TwilioInstanceSid": "GO00000000000000000000000000000001",
    "SsoProfiles": "default=JQ00000000000000000000000000000001,partner=JQ00000000000000000000000000000002",
    "DefaultReturnTo": "https://desk.example.com/start?a=b&c='d'",
    "AllowedOrigins": ["https://desk.example.com"],
    "Issuers": [{"issuer": "https://login.example.com/", "audiences": ["flexgate"], "usernames": ["*@a.example"]}],
    "WebhookSources": {"okta": {"members_of": ["Flex's \"Agents\" \\ $HOME `id` ! %PATH% # ü 🔑"]}},
    "ScimGroupRoles": "{\"A \\\"B\\\" C=D\": \"agent\"}",
    "TwilioRegion": "",
    "TrustedProxies": 1,
    "Canary": False,
    "SweepSchedule": "cron(0 6 * * ? *)",
}
# The parameters that must be deployed, with the JSON settings parsed. They include the defaults of omitted parameters,
# because SAM CLI would otherwise keep these parameters' values from the previous deployment.
DEFAULTS = {one["name"]: one["default"] for one in json.loads(parameters.written())["parameters"]}
DEPLOYED = DEFAULTS | GIVEN | {
    "AllowedOrigins": "https://desk.example.com",
    "ScimGroupRoles": {'A "B" C=D': "agent"},
    "TrustedProxies": "1",
    "Canary": "false",
}
DOCUMENTS = ("Issuers", "WebhookSources", "ScimGroupRoles")


def parsed(deployed):
    return {name: json.loads(value) if name in DOCUMENTS and value else value for name, value in deployed.items()}


class Parameters(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("infra/template.yaml", "infra/samconfig.toml"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_bytes((ROOT / name).read_bytes())

    def doctor(self, given, *options):
        (self.folder / "prod.json").write_text(json.dumps(given))
        command = [FLEXGATE, "doctor", "--template-parameters", "prod.json", *options]
        done = subprocess.run(command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), given)
        return done.stdout.removesuffix("\n")

    def run_in_shell(self, script, **environment):
        """Runs a script in which `sam` prints the parameters that it would deploy. Returns these parameters."""
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "bin/sam").write_text(f'#!/bin/sh\nexec {shlex.join(SAM)} "$@"\n')
        (self.folder / "bin/sam").chmod(0o755)
        environment = ENVIRONMENT | environment | {"PATH": f"{self.folder / 'bin'}:{ENVIRONMENT['PATH']}"}
        done = subprocess.run(["bash", "-e", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_doctor_knows_the_template(self):
        advice = "run target/tools/aws/bin/python infra/parameters.py"
        self.assertEqual(parameters.FILE.read_text(), parameters.written(), advice)

    def deployed_by(self, option):
        return parsed(self.run_in_shell(f"sam deploy -t infra/template.yaml --stack-name a {option}"))

    def test_sam_reads_the_option_that_doctor_shows(self):
        option = self.doctor(GIVEN).split("\n")[-1]
        self.assertTrue(option.startswith("--parameter-overrides '"))
        self.assertEqual(self.deployed_by(option), DEPLOYED)

    def test_sam_reads_what_a_script_passes_on(self):
        doctor = shlex.join([str(FLEXGATE), "doctor", "--template-parameters", "prod.json", "--format", "sam"])
        self.doctor(GIVEN)
        self.assertEqual(self.deployed_by(f'--parameter-overrides "$({doctor})"'), DEPLOYED)

    def test_sam_reads_the_line_for_samconfig(self):
        section = "[prod.deploy.parameters]\nstack_name = 'a'\n" + self.doctor(GIVEN, "--format", "samconfig")
        tomllib.loads(section)
        (self.folder / "infra/samconfig.toml").write_text(f"version = 0.1\n{section}\n")
        self.assertEqual(parsed(self.run_in_shell("cd infra && sam deploy --config-env prod")), DEPLOYED)

    def test_the_workflow_passes_the_variable_of_github_to_sam(self):
        workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
        (step,) = [step for step in workflow["jobs"]["deploy"]["steps"] if step.get("name") == "deploy"]
        self.assertEqual(step["env"]["PARAMETERS"], "${{ vars.SAM_PARAMETERS }}")
        (self.folder / "target/packaged").mkdir(parents=True)
        (self.folder / "target/packaged/template.yaml").write_bytes((ROOT / "infra/template.yaml").read_bytes())
        for stage in ("staging", "prod"):
            deployed = self.run_in_shell(step["run"], STAGE=stage, PARAMETERS=self.doctor(GIVEN, "--format", "sam"))
            self.assertEqual(parsed(deployed), DEPLOYED)

    def test_cloudformation_reads_its_parameters_file(self):
        entries = json.loads(self.doctor(GIVEN, "--format", "cloudformation"))
        self.assertEqual(parsed({one["ParameterKey"]: one["ParameterValue"] for one in entries}), DEPLOYED)

    def test_no_text_in_a_document_changes_on_its_way_through_sam(self):
        rng = random.Random(7)
        pieces = ['"', "\\", "'", " ", "\n", "\t", "\x01", "\x7f", "=", ",", "a", "é", "🔑", " Issuers=", "$x", '\\"', "\\ ", "\\'"]
        names = {"".join(rng.choices(pieces, k=rng.randint(1, 9))).strip() or "a" for _ in range(150)}
        # Flexgate ignores case and spaces when it compares group names, so some of the random names could be equal. To
        # prevent this, begin each name with a different number.
        groups = {f"{number} {name}": "agent" for number, name in enumerate(sorted(names))}
        for start in range(0, len(groups), 40):
            roles = dict(list(groups.items())[start : start + 40])
            option = self.doctor(GIVEN | {"ScimGroupRoles": roles}).split("\n")[-1]
            self.assertEqual(self.deployed_by(option), DEPLOYED | {"ScimGroupRoles": roles})


if __name__ == "__main__":
    unittest.main()
