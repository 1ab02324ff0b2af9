#!/usr/bin/env python3
"""Draws comments and pages at random, so that a reader can judge them: `tests/draw.py [SEED]`.

Prints the seed, 20 comment blocks of the Rust, Python and JavaScript code with the place of each, and the names of 5
pages. A comment block is a run of comment lines with at least eight words in total.
"""

import random
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMENT = re.compile(r"\s*(?://[/!]?|#)\s?(.*)")
BLOCKS, PAGES, WORDS = 20, 5, 8


def listed(*patterns: str) -> list[str]:
    command = ["git", "ls-files", "--", *patterns]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


def blocks(name: str) -> list[tuple[str, list[str]]]:
    """Returns the comment blocks of a file, each with its file name and line number."""
    found, block, began = [], [], 0
    for number, line in enumerate([*(ROOT / name).read_text().split("\n"), ""], 1):
        comment = COMMENT.match(line) if not line.lstrip().startswith(("#[", "#![", "#!")) else None
        if comment:
            began = began if block else number
            block.append(comment[1])
        elif block:
            if len(" ".join(block).split()) >= WORDS:
                found.append((f"{name}:{began}", block))
            block = []
    return found


def main() -> None:
    seed = sys.argv[1] if len(sys.argv) > 1 else str(random.randrange(10**6))
    draw = random.Random(seed)
    print(f"seed {seed}")
    every = [block for name in listed("*.rs", "*.py", "*.js", "*.mjs") for block in blocks(name)]
    for place, block in draw.sample(every, BLOCKS):
        print(f"\n{place}")
        print("\n".join(f"    {line}" for line in block))
    print()
    for name in draw.sample(listed("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md"), PAGES):
        print(name)


if __name__ == "__main__":
    main()
