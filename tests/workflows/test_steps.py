"""Runs the shell steps of release.yml and deploy.yml as GitHub runs them."""

import hashlib
import json
import os
import platform
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zlib
from pathlib import Path

from test_rights import ROOT, WORKFLOWS, read

sys.path.insert(0, str(ROOT / "infra"))
import package  # noqa: E402
import release  # noqa: E402

MANIFEST = '[workspace.package]\nversion = "1.2.3"\n'
CHANGELOG = "# Changelog\n\n## Unreleased\n\n* New.\n\n## 1.2.3 - 2026-11-27\n\n* Changed.\n\n## 1.2.2 - 2026-11-26\n\n* Old.\n"


def step(workflow, job, name):
    """Returns the shell commands of a step."""
    return next(step["run"] for step in read((WORKFLOWS / workflow).read_text())["jobs"][job]["steps"] if step.get("name") == name)


def bootstrap():
    """Returns an ELF file that contains only the section that `cargo auditable` writes."""
    audited = zlib.compress(json.dumps({"packages": [{"name": "flexgate", "version": "1.2.3", "root": True}]}).encode())
    names = b"\0.dep-v0\0.shstrtab\0"
    head = b"\x7fELF\x02\x01".ljust(0x28, b"\0") + struct.pack("<Q", 64) + bytes(10) + struct.pack("<HHH", 64, 3, 2)
    sections = [(0, 0, 0), (1, 256, len(audited)), (9, 256 + len(audited), len(names))]
    table = b"".join(struct.pack("<IIQQQQ", label, 0, 0, 0, at, size).ljust(64, b"\0") for label, at, size in sections)
    return head + table + audited + names


class Steps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="flexgate-steps-")
        self.addCleanup(folder.cleanup)
        self.work = Path(folder.name)
        (self.work / "bin").mkdir()

    def run_step(self, workflow, job, name, **env):
        env = os.environ | {"PATH": f"{self.work / 'bin'}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(self.work / "summary.md")} | env
        return subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(workflow, job, name)], cwd=self.work,
                              env=env, text=True, capture_output=True)

    def program(self, name, text):
        """Puts a program at the beginning of the PATH."""
        (self.work / "bin" / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (self.work / "bin" / name).chmod(0o755)

    def arguments(self):
        return (self.work / "arguments").read_text().split("\0")[:-1]


class Release(Steps):
    def test_the_release_contains_what_package_py_writes(self):
        built = self.work / "built"
        for name in package.FUNCTIONS:
            (built / f"flexgate-{name.lower()}").mkdir(parents=True)
            (built / f"flexgate-{name.lower()}/bootstrap").write_bytes(bootstrap())
        packaged = self.work / "target/packaged" / platform.machine()
        with open(os.devnull, "w") as quiet:
            shown, sys.stdout = sys.stdout, quiet
            self.addCleanup(setattr, sys, "stdout", shown)
            package.main(built, packaged)
            sys.stdout = shown
        # The archives contain no plain bootstrap files. They contain each bootstrap as a zip file.
        expected = {path.name: path.read_bytes() for path in packaged.iterdir() if path.name not in map(str.lower, package.FUNCTIONS)}
        self.assertEqual(len(expected), 2 * len(package.FUNCTIONS) + 2)
        for architecture in ("arm64", "x86_64"):
            done = self.run_step("release.yml", "build", "archive", GITHUB_REF_NAME="v1.2.3", ARCHITECTURE=architecture)
            self.assertEqual(done.returncode, 0, done.stderr)
            with tarfile.open(self.work / f"flexgate-v1.2.3-{architecture}.tar.gz") as archive:
                inside = {os.path.normpath(member.name): archive.extractfile(member).read() for member in archive}
            self.assertEqual(inside, expected)
        first, second = (path.read_bytes() for path in self.work.glob("flexgate-*.tar.gz"))
        self.assertEqual(first, second, "the same files do not always give the same archive")

        done = self.run_step("release.yml", "publish", "checksums")
        self.assertEqual(done.returncode, 0, done.stderr)
        sums = {line.split()[1]: line.split()[0] for line in (self.work / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(sums, {f"flexgate-v1.2.3-{a}.tar.gz": hashlib.sha256(first).hexdigest() for a in ("arm64", "x86_64")})

        (self.work / "notes.md").write_text("notes")
        self.program("gh", "printf '%s\\0' \"$@\" > arguments")
        done = self.run_step("release.yml", "publish", "publish", GITHUB_REF_NAME="v1.2.3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.arguments(), ["release", "create", "v1.2.3", "--verify-tag", "--title", "v1.2.3", "--notes-file", "notes.md",
                                            "SHA256SUMS", *sorted(sums)])

    def test_the_notes_are_the_section_of_the_changelog(self):
        self.assertEqual(release.notes("v1.2.3", MANIFEST, CHANGELOG), "* Changed.\n")
        self.assertEqual(release.notes("v1.2.2", MANIFEST.replace("1.2.3", "1.2.2"), CHANGELOG), "* Old.\n")

    def test_a_tag_that_does_not_fit_is_refused(self):
        for tag, manifest, changelog in (
            ("v1.2.4", MANIFEST, CHANGELOG),
            ("1.2.3", MANIFEST, CHANGELOG),
            ("v1.2.3-rc1", MANIFEST, CHANGELOG),
            ("v1.2.3", MANIFEST, CHANGELOG.replace("## 1.2.3 - 2026-11-27\n", "")),
            ("v1.2.3", MANIFEST, CHANGELOG.replace("## 1.2.3", "## 1x2.3")),
            ("v1.2.3", MANIFEST, CHANGELOG.replace("* Changed.\n", "")),
        ):
            with self.subTest(tag=tag), self.assertRaises(SystemExit):
                release.notes(tag, manifest, changelog)

    def test_this_version_is_in_the_changelog(self):
        done = subprocess.run([ROOT / "infra/release.py", "v0.0.0"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        version = done.stderr.split(" is not ")[1].split(",")[0]
        done = subprocess.run([ROOT / "infra/release.py", version], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(done.stdout.strip(), (ROOT / "CHANGELOG.md").read_text())


class Deploy(Steps):
    def setUp(self):
        super().setUp()
        (self.work / "infra").mkdir()
        (self.work / "infra/samconfig.toml").write_bytes((ROOT / "infra/samconfig.toml").read_bytes())

    def test_the_parameters_are_those_of_the_stage_and_of_the_environment(self):
        self.program("sam", "printf '%s\\0' \"$@\" > arguments")
        done = self.run_step("deploy.yml", "deploy", "deploy", STAGE="staging", PARAMETERS="A=1\nIssuers='[\n{\"a b\": 1}]'")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.arguments()[-2:], ["--parameter-overrides", "Canary=false LogRetentionDays=14 A=1 Issuers='[ {\"a b\": 1}]'"])

    def test_a_failure_fails_the_job(self):
        self.program("sam", "exit 7")
        self.assertEqual(self.run_step("deploy.yml", "deploy", "deploy", STAGE="prod", PARAMETERS="").returncode, 7)

    def test_the_summary_shows_the_changes_and_no_parameters(self):
        (self.work / "deploy.log").write_text("Parameter overrides : A=1\nCloudFormation stack changeset\n* Modify  SsoFunction\n"
                                              "Changeset created successfully. arn:…\nCREATE_COMPLETE\n")
        done = self.run_step("deploy.yml", "deploy", "changes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.work / "summary.md").read_text(),
                         "~~~\nCloudFormation stack changeset\n* Modify  SsoFunction\nChangeset created successfully. arn:…\n~~~\n")
        (self.work / "deploy.log").write_text("No changes to deploy.\n")
        self.assertEqual(self.run_step("deploy.yml", "deploy", "changes").returncode, 0)
        self.assertIn("~~~\nSAM lists no changes.\n~~~\n", (self.work / "summary.md").read_text())


if __name__ == "__main__":
    unittest.main()
