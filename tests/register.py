#!/usr/bin/env python3
"""Keeps docs/attack-register.md in step with the tests. `tests/register.py` rewrites the last column of its tables.

A test belongs to a case if its name begins with the ID of the case: `fn s12_the_callback_replayed` in Rust, `def
test_r93_…` in Python, `test("R93 …")` in JavaScript.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REGISTER = ROOT / "docs/attack-register.md"
NONE = "none yet"
SOURCES = ("*.rs", "*.py", "*.mjs", "*.js", "*.ts")
NAMES = (
    r"\bfn ([smwcrg]\d+)_",
    r"\bdef test_([smwcrg]\d+)_",
    r"""\b(?:test|it)\(\s*["'`]([SMWCRGsmwcrg]\d+)(?=[\s_:])""",
)


def tests() -> dict[str, dict[str, int]]:
    """Returns for each case ID the files that test the case, with the number of tests in each file."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *SOURCES],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()
    found: dict[str, dict[str, int]] = {}
    for name in sorted(listed):
        if not (ROOT / name).is_file() or ROOT / name == Path(__file__).resolve():
            continue
        text = (ROOT / name).read_text()
        for pattern in NAMES:
            for written in re.findall(pattern, text):
                case = written[0].upper() + str(int(written[1:]))
                files = found.setdefault(case, {})
                files[name] = files.get(name, 0) + 1
    return found


def cell(files: dict[str, int]) -> str:
    if not files:
        return NONE
    links = [f"[{Path(name).parent.name}/{Path(name).name}](../{name})" + (f" ×{count}" if count > 1 else "")
             for name, count in files.items()]
    return ", ".join(links)


def rewritten(text: str, found: dict[str, dict[str, int]]) -> tuple[str, list[str]]:
    """Returns the register with an up-to-date last column, and the IDs of the cases that it defines."""
    lines, ids = [], []
    for line in text.split("\n"):
        row = re.match(r"(\| ([SMWCRG]\d+) \|.*\|)[^|]*\|$", line)
        if row:
            ids.append(row[2])
            line = f"{row[1]} {cell(found.get(row[2], {}))} |"
        lines.append(line)
    return "\n".join(lines), ids


def faults() -> list[str]:
    """Returns the errors in the register."""
    found, text = tests(), REGISTER.read_text()
    right, ids = rewritten(text, found)
    broken = [f"docs/attack-register.md: {case} is defined twice" for case in sorted({one for one in ids if ids.count(one) > 1})]
    for case in sorted(set(found) - set(ids)):
        broken.append(f"{', '.join(found[case])}: tests {case}, which docs/attack-register.md does not define")
    untested = {case for case in ids if case[0] in "SMWC" and case not in found}
    for case in sorted(untested):
        broken.append(f"docs/attack-register.md: {case} has no test")
    if text != right:
        broken.append("docs/attack-register.md: its last column is out of date; run python3 tests/register.py")
    return broken


if __name__ == "__main__":
    REGISTER.write_text(rewritten(REGISTER.read_text(), tests())[0])
    sys.exit(bool([print(fault) for fault in faults()]))
