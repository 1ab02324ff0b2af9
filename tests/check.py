#!/usr/bin/env python3
"""Checks this repository's rules that no compiler checks. Prints every violation, and exits with 1 if there are any."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import imports
import register

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 430  # "about 400"
# Names and phrases that the house style forbids, as regular expressions, each with what to write instead.
RETIRED = {
    r"\b[Aa]mbient\b": "ClockRng",
    r"\bSystemEntropy\b": "SystemRng",
    r"\bstruct Told\b": "LoggedProblem",
    r"\b(?:enum|struct) (?:Again|Ask)\b": "RetrySafety, TwilioRequest",
    r"\b(?:enum|struct) (?:Site|Place|Named)\b": "a name that says of what",
    r"\btrait (?:Claims|Directory|Subjects)\b": "OnceOnly, ScimStore, EventHistory",
    r"\bfn warm\(&self": "prewarm",
    r"twice is once": "idempotent",
    r"once enough, in the end right": "eventually consistent",
}
# Variables that the CloudFormation template does not set, each with a reason.
NOT_IN_TEMPLATE = {
    "FLEXGATE_AHEAD_MILLISECONDS": "the old name of FLEXGATE_PREWARM_MILLISECONDS",
    "FLEXGATE_CA_FILE": "Lambda trusts the public roots",
    "FLEXGATE_PREWARM_MILLISECONDS": "its default is measured for Lambda",
    "FLEXGATE_REQUEST_SECONDS": "Lambda's own deadline counts",
    "FLEXGATE_SECRETS": "its default is Secrets Manager",
}
DOMAIN_MAY_USE = {"serde", "serde_json", "thiserror", "time", "unicode-normalization"}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub generates from the headings of a page, and those that the page sets itself."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#{1,6} (.+)$", prose, re.M)
    found: set[str] = set(re.findall(r'<a id="([^"]+)"></a>', prose))
    for heading in headings:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = sum(1 for one in found if one == slug or re.fullmatch(re.escape(slug) + r"-\d+", one))
        found.add(f"{slug}-{count}" if count else slug)
    return found


def main() -> int:
    broken: list[str] = []

    def rule(holds: bool, text: str) -> None:
        if not holds:
            broken.append(text)

    for path in tracked("*.rs"):
        name, text = path.relative_to(ROOT), path.read_text()
        rule(text.count("\n") <= MAX_LINES, f"{name}: {text.count(chr(10))} lines, at most {MAX_LINES}")
        rule(not re.search(r"#!?\[allow\(", text), f"{name}: #[allow]; use #[expect(…, reason = …)]")
        rule(not re.search(r"#\[ignore|todo!\(|unimplemented!\(", text), f"{name}: unfinished or ignored")
        for expect in re.findall(r"#!?\[expect\(([^\]]*?)\)\]", text, re.S):
            rule("reason" in expect, f"{name}: #[expect] without a reason")

    for path in tracked("*.rs", "*.md", "*.yaml"):
        name = path.relative_to(ROOT)
        rule(not re.search(r"^(<<<<<<<|>>>>>>>) ", path.read_text(), re.M), f"{name}: a conflict of a merge is left")
        for word, instead in RETIRED.items():
            found = re.search(word, path.read_text())
            rule(not found, f"{name}: {found and found[0]!r} is retired; use {instead}")

    # The domain crate does no I/O, so it may use no crate and no standard module that does I/O.
    manifest = tomllib.loads((ROOT / "shared/domain/Cargo.toml").read_text())
    others = sorted(set(manifest["dependencies"]) - DOMAIN_MAY_USE)
    rule(not others, f"shared/domain/Cargo.toml: the domain depends on {others}")
    for path in tracked("shared/domain/src"):
        found = re.findall(r"\bstd::(fs|net|io|env|process|thread)\b", path.read_text())
        rule(not found, f"{path.relative_to(ROOT)}: the domain names std::{found}")

    # The npm package must have the same version and licence as the whole project.
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    for name in ("package.json", "package-lock.json"):
        found = json.loads((ROOT / "shared/web" / name).read_text())["version"]
        rule(found == version, f"shared/web/{name}: version {found}, and {version} in Cargo.toml")
    rule((ROOT / "shared/web/LICENSE").read_text() == (ROOT / "LICENSE").read_text(), "shared/web/LICENSE: differs from LICENSE")

    # A function must not depend on another function. Shared code belongs in shared. Tests may depend on several
    # functions.
    functions = {tomllib.loads(path.read_text())["package"]["name"]: path for path in tracked("functions/*/Cargo.toml")}
    for path in functions.values():
        others = sorted(set(tomllib.loads(path.read_text())["dependencies"]) & set(functions))
        rule(not others, f"{path.relative_to(ROOT)}: a function depends on {others}")

    # Only shared/src/users may change Flex users. Test folders are exempt. `flexgate verify` is exempt too, because it
    # tests Twilio's API and changes only users that it has created.
    for path in tracked("shared/src", "functions/*/src/*.rs", "infra/cli/src"):
        name = path.relative_to(ROOT)
        if name.is_relative_to("shared/src/users") or name.is_relative_to("shared/src/twilio"):
            continue
        if name == Path("infra/cli/src/verify/made.rs"):
            continue
        found = re.findall(r"\.(?:provision|deprovision)\(|\bUserUpdate\b|\bDesiredUser::|\"(?:Prov|Deprov)ision\"", path.read_text())
        rule(not found, f"{name}: only shared/src/users writes Flex users, and this names {found}")

    # Files must not import each other in a cycle. The simulator is exempt, because its handlers and its state still
    # import each other.
    for source in [*ROOT.glob("shared/**/src"), *ROOT.glob("functions/*/src"), ROOT / "infra/cli/src"]:
        for circle in imports.circles(source):
            rule(False, f"{source.relative_to(ROOT)}: files import one another in a circle: {', '.join(circle)}")

    # A function's main file must only connect the function's parts, in at most 40 lines.
    for path in tracked("functions/*/src/main.rs"):
        rule(path.read_text().count("\n") <= 40, f"{path.relative_to(ROOT)}: over 40 lines")

    # docs/status-codes.md must describe exactly the kinds of problem that the code defines.
    kinds = set(re.findall(r'= [A-Z_]+ "([a-z_]+)" "', (ROOT / "shared/src/web/problem.rs").read_text()))
    status_codes = (ROOT / "docs/status-codes.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", status_codes, re.M))
    rule(kinds == documented, f"docs/status-codes.md: differs from the code in {sorted(kinds ^ documented)}")

    # Every environment variable is documented.
    sources = "".join(path.read_text() for path in tracked("shared/src", "functions/*/src/*.rs"))
    variables = set(re.findall(r'"((?:FLEXGATE|TWILIO|COOKIE|WEBHOOK|SCIM)_[A-Z_]+)"', sources))
    configuration = (ROOT / "docs/configuration.md").read_text()
    missing = sorted(name for name in variables if f"`{name}`" not in configuration)
    rule(not missing, f"docs/configuration.md: does not mention {missing}")
    template = (ROOT / "infra/template.yaml").read_text()
    unset = {name for name in variables if f"{name}:" not in template}
    rule(unset == set(NOT_IN_TEMPLATE), f"infra/template.yaml and NOT_IN_TEMPLATE differ in {sorted(unset ^ set(NOT_IN_TEMPLATE))}")

    # `flexgate doctor` contains a list of the template's parameters. This rule compares the names, and
    # tests/aws/test_parameters.py compares everything.
    section = template.split("\nParameters:\n")[1].split("\n\n")[0]
    known = json.loads((ROOT / "infra/cli/src/doctor/parameters/template.json").read_text())["parameters"]
    names = set(re.findall(r"^  (\w+):$", section, re.M)) ^ {one["name"] for one in known}
    rule(not names, f"doctor/parameters/template.json: differs in {sorted(names)}; run target/tools/aws/bin/python infra/parameters.py")

    # Workflows must pin each action from another repository to a commit, because the action's owner could move a tag to
    # other code.
    for path in tracked(".github/workflows/*.yml"):
        for used in re.findall(r"uses: (\S+)", path.read_text()):
            rule(bool(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|\./\S+", used)), f"{path.relative_to(ROOT)}: {used} is not pinned")

    # Links between pages must lead to existing pages and headings.
    for path in tracked("*.md"):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", path.read_text()):
            if "://" in target or target.startswith("mailto:"):
                continue
            page = path.parent / target if target else path
            rule(page.exists(), f"{path.relative_to(ROOT)}: broken link {target}")
            if anchor and page.suffix == ".md" and page.exists():
                rule(anchor in anchors(page), f"{path.relative_to(ROOT)}: broken link {target}#{anchor}")

    broken += register.faults()

    for line in broken:
        print(line)
    print(f"house rules: {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
