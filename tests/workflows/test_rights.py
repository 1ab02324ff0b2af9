"""Checks what the jobs of the GitHub workflows may do, and how the repository installs packages."""

import json
import re
import subprocess
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github/workflows"
# Commands that install packages or run code from the repository. A job with write permissions must not run them, except
# `pip install` of wheels with known hashes, and the publication of a finished npm archive.
CODE = re.compile(r"\b(npm|npx|yarn|pnpm|cargo|rustup|curl|wget|uv|uvx|pipx|make|tests/|infra/\w+\.py|pip3? install)")
HASHED = re.compile(r"pip install --require-hashes --no-deps --only-binary=:all: -r \S+")

PUBLISHED = re.compile(r"\Anpm publish --ignore-scripts \./flexgate-web-\*\.tgz\Z")


def read(text):
    return yaml.load(text, yaml.BaseLoader)  # keeps the key `on` and all other values as texts


def faults(workflow):
    """Returns the problems with the permissions of a workflow's jobs."""
    found = [] if workflow.get("permissions") == {} else ["the workflow has rights"]
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions")
        if not isinstance(rights, dict):
            found.append(f"{name}: does not list its rights")
            continue
        steps = job.get("steps", [])
        for step in steps:
            if step.get("uses", "").startswith("actions/checkout@") and step.get("with", {}).get("persist-credentials") != "false":
                found.append(f"{name}: checks out with credentials")
        if "write" not in rights.values():
            continue
        if "uses" in job:
            found.append(f"{name}: gives its rights to another workflow")
        for command in (" ".join(step["run"].split()) for step in steps if "run" in step):
            if CODE.search(PUBLISHED.sub("", HASHED.sub("", command))):
                found.append(f"{name}: has rights, and runs {command}")
    return found


class Rights(unittest.TestCase):
    def test_each_job_has_the_rights_that_it_needs_and_runs_no_foreign_code_with_them(self):
        for path in WORKFLOWS.glob("*.yml"):
            with self.subTest(path.name):
                self.assertEqual(faults(read(path.read_text())), [])

    def test_faults_are_found(self):
        checkout = "{uses: actions/checkout@0, with: {persist-credentials: false}}"
        good = f"permissions: {{}}\njobs: {{a: {{permissions: {{id-token: write}}, steps: [{checkout}, {{run: sam deploy}}]}}}}"
        hashed = "pip install --require-hashes --no-deps --only-binary=:all: -r locked.txt"
        self.assertEqual(faults(read(good)), [])
        for harmless in (f"'{hashed}'", "npm publish --ignore-scripts ./flexgate-web-*.tgz"):
            self.assertEqual(faults(read(good.replace("sam deploy", harmless))), [])
        changes = {
            "the workflow has rights": ("permissions: {}", "permissions: {contents: read}"),
            "does not list its rights": ("permissions: {id-token: write}, ", ""),
            "checks out with credentials": ("persist-credentials: false", "persist-credentials: true"),
            "runs pip install": ("sam deploy", "pip install -r wanted.txt"),
            "runs pip install --require-hashes": ("sam deploy", f"'{hashed.replace('--no-deps ', '')}'"),
            "&& npm ci": ("sam deploy", f"'{hashed} && npm ci'"),
            "runs npm publish": ("sam deploy", "npm publish ./flexgate-web-*.tgz"),
            "runs npm publish --ignore-scripts": ("sam deploy", "npm publish --ignore-scripts ."),
            "runs cargo": ("sam deploy", "cargo build"),
            "runs tests/run": ("sam deploy", "tests/run release"),
            "gives its rights": (f"steps: [{checkout}, {{run: sam deploy}}]", "uses: ./.github/workflows/test.yml"),
        }
        for fault, (old, new) in changes.items():
            with self.subTest(fault):
                self.assertIn(fault, " ".join(faults(read(good.replace(old, new)))))

    def test_only_one_deployment_and_one_publication_run_at_a_time(self):
        for name in ("deploy.yml", "npm.yml", "release.yml"):
            self.assertEqual(read((WORKFLOWS / name).read_text())["concurrency"]["cancel-in-progress"], "false", name)

    def test_only_the_last_jobs_have_rights(self):
        holders = {}
        for path in WORKFLOWS.glob("*.yml"):
            for name, job in read(path.read_text())["jobs"].items():
                if held := {right for right, value in job["permissions"].items() if value == "write"}:
                    holders[f"{path.name} {name}"] = held
        self.assertEqual(holders, {
            "deploy.yml deploy": {"id-token"},
            "npm.yml publish": {"id-token"},
            "release.yml publish": {"contents", "id-token", "attestations"},
        })


class Packages(unittest.TestCase):
    def test_each_python_package_is_locked(self):
        wanted = sorted(ROOT.glob("tests/**/requirements*.in"))
        self.assertTrue(wanted)
        for path in wanted:
            locked = dict(re.findall(r"^([\w.-]+)==(\S+)(?= .*\\$)", path.with_suffix(".txt").read_text(), re.M))
            for name, version in re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", path.read_text(), re.M):
                with self.subTest(f"{path.relative_to(ROOT)}: {name}; run tests/lock"):
                    self.assertEqual(locked.get(re.sub(r"[._-]+", "-", name).lower()), version)

    def test_each_locked_package_has_hashes(self):
        for path in ROOT.glob("tests/**/requirements*.txt"):
            with self.subTest(path.relative_to(ROOT)):
                self.assertTrue(path.with_suffix(".in").exists())
                for entry in re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", path.read_text(), flags=re.M).strip()):
                    self.assertRegex(entry, r"^[\w.-]+==\S+ [^\n]*\\\n    --hash=sha256:[0-9a-f]{64}")

    def test_all_installations_are_locked(self):
        for name in ("tests/run", "tests/bench/run", "tests/lock"):
            for line in (ROOT / name).read_text().split("\n"):
                with self.subTest(f"{name}: {line.strip()}"):
                    if re.search(r"/pip\W+install", line):
                        self.assertIn("--require-hashes --no-deps --only-binary=:all:", line)
                    if re.search(r"\bcargo (\w+ )*(install|build|test|clippy|doc|lambda)\b", line) and not line.lstrip().startswith("#"):
                        self.assertIn("--locked", line)
                    self.assertNotRegex(line, r"\bnpm (i|install|add|exec)\b|\bnpx\b")

    def test_each_npm_package_is_locked(self):
        listed = subprocess.run(["git", "ls-files", "*package.json"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        self.assertTrue(listed)
        for path in (ROOT / name for name in listed):
            if {"dependencies", "devDependencies"} & json.loads(path.read_text()).keys():
                self.assertTrue(path.with_name("package-lock.json").exists(), path)


if __name__ == "__main__":
    unittest.main()
