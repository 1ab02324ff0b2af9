"""Finds import cycles between the files of a crate.

An edge leads from a file to each file that defines something that it imports. Imports are `use` statements, and paths
in the code that begin with crate, super, self or a child module. If a name is re-exported, the edge leads to the file
that defines the name. So a mod.rs that only re-exports its children is not part of a cycle. Tests and method calls are
ignored, even if the method is in an `impl` block in another file.
"""

import re
from pathlib import Path

IDENTIFIER = r"[A-Za-z_]\w*"


def code_of(path: Path) -> str:
    """Returns the code of a file without comments, strings and unit tests."""
    text = re.sub(r"//[^\n]*", "", path.read_text())
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text, flags=re.S)
    return re.split(r"#\[cfg\(test\)\]\s*mod \w+ \{", text)[0]


def leaves(tree: str, prefix: tuple = ()) -> list[tuple[tuple, str]]:
    """Splits a tree such as `a::{b, c::d as e}` into paths. Yields each path with the name under which it is
    imported.
    """
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if brace:
        prefix += tuple(part for part in head.strip().split("::") if part)
        inner, depth, start, found = rest[: rest.rindex("}")], 0, 0, []
        for at, char in enumerate(inner + ","):
            depth += (char == "{") - (char == "}")
            if char == "," and depth == 0:
                if inner[start:at].strip():
                    found += leaves(inner[start:at], prefix)
                start = at + 1
        return found
    path, _, alias = tree.partition(" as ")
    parts = prefix + tuple(part.strip() for part in path.split("::") if part.strip())
    if parts[-1] == "self":
        parts = parts[:-1]
    return [(parts, alias.strip() or parts[-1])]


class Crate:
    def __init__(self, source: Path):
        self.modules: dict[tuple, Path] = {}
        for path in sorted(source.rglob("*.rs")):
            parts = path.relative_to(source).with_suffix("").parts
            if "tests" in parts or "bin" in parts or (parts == ("main",) and (source / "lib.rs").exists()):
                continue
            if parts[-1] in ("mod", "lib", "main"):
                parts = parts[:-1]
            self.modules[parts] = path
        self.code = {module: code_of(path) for module, path in self.modules.items()}
        self.exports = {module: {} for module in self.modules}
        self.uses = {module: [] for module in self.modules}
        for module, code in self.code.items():
            for public, tree in re.findall(r"(?m)^[ \t]*(pub(?:\([a-z ]+\))? )?use ([^;]+);", code):
                for path, name in leaves(re.sub(r"\s+", " ", tree)):
                    if absolute := self.absolute(module, path):
                        self.exports[module][name] = absolute
                        # A name that the file only re-exports is not a dependency of the file.
                        body = re.sub(r"use [^;]+;", "", code)
                        if not public or re.search(rf"\b{name}\b", body):
                            self.uses[module].append(absolute)

    def absolute(self, module: tuple, path: tuple) -> tuple | None:
        if path[0] == "crate":
            return path[1:]
        if path[0] in ("super", "self"):
            while path and path[0] in ("super", "self"):
                module, path = (module[:-1] if path[0] == "super" else module), path[1:]
            return module + path
        return module + path if module + path[:1] in self.modules else None

    def defining(self, path: tuple, seen: frozenset = frozenset()) -> tuple | None:
        """Returns the module that defines the item at `path`, even if `path` is only a re-export."""
        module = path
        while module not in self.modules:
            module = module[:-1]
        rest = path[len(module):]
        if rest and rest[0] in self.exports[module] and (module, rest[0]) not in seen:
            onward = self.exports[module][rest[0]] + rest[1:]
            return self.defining(onward, seen | {(module, rest[0])})
        return module

    def edges(self) -> dict[tuple, set]:
        found = {}
        for module, code in self.code.items():
            children = [other[-1] for other in self.modules if other and other[:-1] == module]
            body = re.sub(r"use [^;]+;", "", code)
            starts = "|".join(["crate", "super", "self", *map(re.escape, children)])
            inline = re.findall(rf"(?<![\w:.])(?:{starts})(?:::{IDENTIFIER})+", body)
            paths = list(self.uses[module])
            paths += filter(None, (self.absolute(module, tuple(path.split("::"))) for path in inline))
            found[module] = {self.defining(path) for path in paths} - {module}
        return found


def circles(source: Path) -> list[list[str]]:
    """Returns the groups of files that import each other, directly or indirectly, by Tarjan's algorithm for strongly
    connected components."""
    crate = Crate(source)
    edges, index, low, stack, found = crate.edges(), {}, {}, [], []

    def visit(node: tuple) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for following in sorted(edges[node]):
            if following not in index:
                visit(following)
            if following in stack:
                low[node] = min(low[node], low[following])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(str(crate.modules[module].relative_to(source)) for module in component))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found
