#!/usr/bin/env python3
"""Checks that a tag may be released, and prints the changelog's section about this version as the release notes.

    infra/release.py TAG     TAG is v and the version in Cargo.toml, such as v1.2.3
"""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def notes(tag, manifest, changelog):
    """Returns the notes for the release `tag`. `manifest` and `changelog` are the texts of Cargo.toml and
    CHANGELOG.md.
    """
    version = tomllib.loads(manifest)["workspace"]["package"]["version"]
    if tag != f"v{version}":
        raise SystemExit(f"the tag {tag} is not v{version}, the version in Cargo.toml")
    section = re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if not section or not section[1].strip():
        raise SystemExit(f"CHANGELOG.md has no section `## {version} - YYYY-MM-DD`, or nothing in it")
    return section[1].strip() + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(notes(sys.argv[1], (ROOT / "Cargo.toml").read_text(), (ROOT / "CHANGELOG.md").read_text()), end="")
