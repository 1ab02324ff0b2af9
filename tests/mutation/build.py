"""Builds the test programs of a room (files and their tests, see tests/mutants.toml) from a copy of the repository that
contains the mutants."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import switch
from switch import Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
TREE = ROOT / "target/mutants/tree"
originals: dict[str, bytes] = {}
ROOTS = {"flexgate": "shared/src/lib.rs", "flexgate-domain": "shared/domain/src/lib.rs"}


class Program(NamedTuple):
    """A compiled test program."""

    package: str
    target: str  # the name of a test, or "lib"
    path: str = ""
    folder: str = ""


class Built(NamedTuple):
    programs: list[Program]
    switched: list[Mutant]
    unviable: list[Mutant]
    alone: list[Mutant]  # the build with switches has no place for them


def environment() -> dict[str, str]:
    return os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target"), "CARGO_INCREMENTAL": "1", "CARGO_TERM_COLOR": "never"}


def sync_tree() -> None:
    """Copies the repository's files, so that edits during a run have no effect. Does not write unchanged files again,
    so that cargo rebuilds only what has changed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    for name in names:
        originals[name] = (ROOT / name).read_bytes()
        put(name, originals[name])
    for path in TREE.rglob("*"):
        if path.is_file() and str(path.relative_to(TREE)) not in names:
            path.unlink()


def put(name: str, text: bytes) -> None:
    path = TREE / name
    if not path.is_file() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def list_mutants(globs: list[str]) -> list[Mutant]:
    command = ["cargo", "mutants", "--list", "--json", "--workspace", "--no-config", "--dir", str(TREE)]
    for glob in globs:
        command += ["--file", glob]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout)
    mutants, numbers = [], Counter()
    for id, one in enumerate(listed, 1):
        place, change = re.fullmatch(r".+?:(\d+:\d+): (.*)", one["name"], re.S).groups()
        name = f"{one['file']}: {change}"
        numbers[name] += 1
        span, function = one["span"], one["function"] or {"function_name": "", "return_type": ""}
        mutants.append(
            Mutant(
                id, name, numbers[name], place, one["package"], one["file"], function["function_name"],
                function["return_type"], one["genre"],
                (span["start"]["line"], span["start"]["column"], span["end"]["line"], span["end"]["column"]), one["replacement"],
            )
        )
    return mutants


def crate_root(package: str) -> str:
    return ROOTS.get(package) or f"functions/{package.removeprefix('flexgate-')}/src/lib.rs"


def cargo_test(suites: list[Program]) -> tuple[list[Program] | None, list[dict]]:
    """Builds the suites' programs. Returns the compiler's errors if there are any."""
    command = ["cargo", "test", "--locked", "--no-run", "--message-format=json"]
    for package in dict.fromkeys(one.package for one in suites):
        command += ["--package", package]
    for target in dict.fromkeys(one.target for one in suites):
        command += ["--lib"] if target == "lib" else ["--test", target]
    ran = subprocess.run(command, cwd=TREE, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    errors = [one["message"] for one in messages if one["reason"] == "compiler-message" and one["message"]["level"] == "error"]
    if ran.returncode:
        if not errors:
            sys.exit(f"the build failed without an error of the compiler:\n{ran.stderr}")
        return None, errors
    paths = {}
    for one in messages:
        if one["reason"] == "compiler-artifact" and one.get("executable") and one["profile"]["test"]:
            manifest = Path(one["manifest_path"])
            package = re.search(r'^name = "(.+)"', manifest.read_text(), re.M)[1]
            target = "lib" if "lib" in one["target"]["kind"] else one["target"]["name"]
            paths[package, target] = (one["executable"], str(manifest.parent))
    return [Program(one.package, one.target, *paths[one.package, one.target]) for one in suites], []


def build(mutants: list[Mutant], suites: list[Program]) -> Built:
    """Builds with every mutant behind a switch. Removes mutants that do not compile, and repeats until the rest
    compiles."""
    by_id = {one.id: one for one in mutants}
    unviable, keep_const = set(), set()
    # A function with an `impl` return type has only one concrete return type. So one build cannot contain both the
    # original value and the mutant's value, and each of these mutants is built alone.
    alone = {one.id for one in mutants if one.genre == "FnValue" and "impl " in one.returns and not one.returns.startswith("-> impl Iterator")}
    left = set(by_id) - alone
    while True:
        regions = write_files([by_id[id] for id in left], mutants, keep_const, unviable)
        left -= unviable
        programs, errors = cargo_test(suites)
        if programs is not None:
            return Built(programs, *([one for one in mutants if one.id in ids] for ids in (left, unviable, alone)))
        before = len(left), len(keep_const)
        for error in errors:
            const = re.search(r"cannot call non-const (?:associated )?(?:function|method) `(?:.*::)?(\w+)(?:::<.*>)?`", error["message"])
            if const and const[1] != "on":
                keep_const.add(const[1])
                continue
            found = find_region(error, regions)
            for id in found.ids if found else ():
                (unviable if found.own and not const else alone).add(id)
        left -= unviable | alone
        if before == (len(left), len(keep_const)):
            sys.exit("the build with switches fails, and no mutant explains it:\n" + "\n".join(one["rendered"] for one in errors))


def write_files(mutants: list[Mutant], all_mutants: list[Mutant], keep_const: set[str], impossible: set[int]) -> dict:
    """Writes all files that contain mutants. Returns the places of the mutants in these files."""
    texts, regions = {}, {}
    for name in {one.file for one in all_mutants} | {crate_root(one.package) for one in all_mutants}:
        written = switch.write(originals[name], [one for one in mutants if one.file == name], keep_const)
        texts[name], regions[name] = written.text, written.regions
        impossible |= set(written.impossible)
    for package in {one.package for one in all_mutants}:
        texts[crate_root(package)] += switch.RUNTIME.replace("MUTANTS]", f"{1 + max(one.id for one in all_mutants)}]").encode()
    for name, text in texts.items():
        put(name, text)
    return regions


def find_region(error: dict, regions: dict):
    """Returns the smallest region with mutants around the place of the compiler's error, or None."""
    for span in sorted(error["spans"], key=lambda one: not one["is_primary"]):
        while span.get("expansion"):
            span = span["expansion"]["span"]
        at = span["byte_start"], span["byte_end"]
        around = [one for one in regions.get(span["file_name"], []) if one.ids and one.start <= at[0] and at[1] <= one.end]
        if around:
            return min(around, key=lambda one: one.end - one.start)
    return None


def restore(mutants: list[Mutant]) -> None:
    """Removes all mutants from the files."""
    for name in {one.file for one in mutants} | {crate_root(one.package) for one in mutants}:
        put(name, originals[name])


def build_alone(mutant: Mutant, suites: list[Program]) -> list[Program] | None:
    """Builds with one mutant and without switches. Returns None if the mutant does not compile."""
    source = originals[mutant.file]
    put(mutant.file, switch.mutated(source, mutant))
    programs, _ = cargo_test(suites)
    put(mutant.file, source)
    return programs
