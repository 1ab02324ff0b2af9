"""The command tests/mutants."""

import argparse
import json
import random
import re
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import build
import trial
from build import ROOT, Program

TABLE = ROOT / "docs/testing.md"


def main() -> int:
    settings = tomllib.loads((ROOT / "tests/mutants.toml").read_text())
    parser = argparse.ArgumentParser(prog="tests/mutants")
    parser.add_argument("room", nargs="*", metavar="ROOM")
    parser.add_argument("--list", action="store_true", help="list the rooms")
    parser.add_argument("--sample", type=int, help="try only so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the sample")
    parser.add_argument("--survivors", action="store_true", help="try again those that survived the room's last run")
    parser.add_argument("--jobs", type=int, default=2, help="try so many mutants at once")
    parser.add_argument("--write", action="store_true", help="write the results to docs/testing.md")
    chosen = parser.parse_args()
    if chosen.list or not chosen.room:
        for name, room in settings["rooms"].items():
            print(f"{name}: {' '.join(room['files'])}\n    tests: {', '.join(room['suites'])}")
        return 0
    unknown = sorted(set(chosen.room) - set(settings["rooms"]))
    if unknown:
        parser.error(f"no such room: {', '.join(unknown)}")
    build.sync_tree()
    wrong = [try_room(name, settings, chosen) for name in chosen.room]
    return 1 if any(wrong) else 0


def try_room(name: str, settings: dict, chosen: argparse.Namespace) -> bool:
    """Tries the mutants of a room, and prints the result. Returns whether the list of survivors is wrong."""
    room, began = settings["rooms"][name], time.monotonic()
    suites = [Program(*one.split()) for one in room["suites"]]
    path = ROOT / f"target/mutants/{name}.json"
    every = build.list_mutants(room["files"])
    drawn, before, seed = every, [], chosen.seed
    if chosen.survivors:
        last = json.loads(path.read_text())
        seed = last["seed"]
        before = [one for one in last["results"] if one["outcome"] != "survived"]
        again = {(one["name"], one["number"]) for one in last["results"] if one["outcome"] == "survived"}
        drawn = [one for one in every if (one.name, one.number) in again]
    elif chosen.sample and chosen.sample < len(every):
        drawn = sorted(random.Random(seed).sample(every, chosen.sample), key=lambda one: one.id)

    print(f"{name}: {len(drawn)} of {len(every)} mutants", flush=True)
    built = build.build(drawn, suites)
    print(
        f"built in {time.monotonic() - began:.0f} s: {len(built.switched)} behind switches, {len(built.alone)} to build alone, "
        f"{len(built.unviable)} do not compile",
        flush=True,
    )
    for mutant in built.alone:
        print(f"alone ({mutant.place}): {mutant.name}")
    tests = trial.survey(built.programs, chosen.jobs)
    print(f"{len(tests)} tests take {sum(one.seconds for one in tests):.0f} s one by one", flush=True)

    results = []

    def note(mutant, outcome: str, by: str = "") -> None:
        results.append({"name": mutant.name, "number": mutant.number, "outcome": outcome, "by": by})
        if outcome in ("survived", "timeout"):
            print(f"{outcome} ({mutant.place}): {mutant.name}", flush=True)

    for mutant in built.unviable:
        note(mutant, "unviable")
    with ThreadPoolExecutor(chosen.jobs) as pool:
        outcomes = pool.map(lambda one: trial.judge(tests, one.id), built.switched)
        for number, (mutant, outcome) in enumerate(zip(built.switched, outcomes), 1):
            note(mutant, *outcome)
            if number % 50 == 0:
                print(f"{number} tried, {time.monotonic() - began:.0f} s", flush=True)
    if built.alone:
        build.restore(drawn)
    for mutant in built.alone:
        programs = build.build_alone(mutant, suites)
        note(mutant, *(trial.judge(tests, None) if programs else ("unviable",)))
    print(f"{(time.monotonic() - began) / max(1, len(drawn)):.1f} s a mutant")

    wrong = compare_survivors(results, every, settings.get("survivor", []), [one.name for one in drawn])
    results = before + results
    path.write_text(json.dumps({"seed": seed, "results": results}, indent=1))
    row = summarize(name, results, len(every), seed)
    print(row, flush=True)
    if chosen.write:
        write_row(name, row)
    return wrong


def compare_survivors(results: list[dict], every: list, listed: list[dict], drawn: list[str]) -> bool:
    """Prints the survivors that tests/mutants.toml does not list, and the listed mutants that a test does find. Each
    entry is for one mutant, so two mutants with the same name need two entries."""
    survived = Counter(one["name"] for one in results if one["outcome"] == "survived")
    expected, total, tried = Counter(one["mutant"] for one in listed), Counter(one.name for one in every), Counter(drawn)
    wrong = False
    for name, count in survived.items():
        if count > expected[name]:
            print(f"tests/mutants.toml does not list: {name}")
            wrong = True
    for name in tried:
        if tried[name] == total[name] and survived[name] < expected[name]:
            print(f"tests/mutants.toml lists, but a test finds: {name}")
            wrong = True
    return wrong


def summarize(name: str, results: list[dict], every: int, seed: int) -> str:
    count = Counter(one["outcome"] for one in results)
    viable = len(results) - count["unviable"]
    found = count["caught"] + count["timeout"]
    which = f"{len(results)} of {every}, seed {seed}" if len(results) < every else f"all {every}"
    score = f"{100 * found / viable:.1f} %" if viable else "-"
    return f"| {name} | {which} | {viable} | {count['caught']} | {count['timeout']} | {count['survived']} | {score} |"


def write_row(name: str, row: str) -> None:
    """Replaces the room's row in the table of docs/testing.md, or adds it."""
    text = TABLE.read_text()
    head = re.search(r"^\| room \|.*\n\|[-|]+\|\n", text, re.M)
    if not head:
        sys.exit("docs/testing.md has no table of rooms")
    body = re.compile(r"(\|.*\n)*").match(text, head.end())
    rows = {line.split("|")[1].strip(): line for line in body[0].splitlines()} | {name: row}
    TABLE.write_text(text[: head.end()] + "\n".join(rows.values()) + "\n" + text[body.end() :])


if __name__ == "__main__":
    sys.exit(main())
