"""Writes mutants into a source file, each behind a switch, so that one build contains many mutants.

The switch is the function `switch::on` in the same crate. It returns true for the mutant that an environment variable
names. For a mutated operator, the text of the mutant is the whole expression with the other operator, so that operator
precedence stays as if only the operator had been replaced.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import tree_sitter_rust
from tree_sitter import Language, Parser

PARSER = Parser(Language(tree_sitter_rust.language()))

# Rust code that is appended to the crate's root file. During a survey (a run in which no mutant is active, see
# trial.py), the code writes a file with the ids of the mutants that the tests reach.
RUNTIME = """
#[doc(hidden)]
pub(crate) mod switch {
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static ACTIVE: LazyLock<usize> =
        LazyLock::new(|| std::env::var("FLEXGATE_MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0));
    static SURVEY: LazyLock<Option<std::fs::File>> = LazyLock::new(|| {
        let path = std::env::var("FLEXGATE_MUTANTS_REACHED").ok()?;
        std::fs::OpenOptions::new().append(true).open(path).ok()
    });
    static REACHED: [AtomicBool; MUTANTS] = [const { AtomicBool::new(false) }; MUTANTS];
    pub(crate) fn on(id: usize) -> bool {
        if let Some(mut file) = SURVEY.as_ref()
            && !REACHED[id].load(Ordering::Relaxed)
            && !REACHED[id].swap(true, Ordering::Relaxed)
        {
            let _ = file.write_all(format!("{id}\\n").as_bytes());
        }
        *ACTIVE == id
    }
}
"""


@dataclass(frozen=True)
class Mutant:
    id: int
    name: str  # as cargo-mutants prints it, without the place
    number: int  # among the file's mutants with this name
    place: str  # line:column
    package: str
    file: str
    function: str
    returns: str
    genre: str
    span: tuple[int, int, int, int]
    replacement: str


class Region(NamedTuple):
    """A part of the written text, and the mutants that can cause a compiler error in it."""

    start: int
    end: int
    ids: tuple[int, ...]
    own: bool  # the text of the one mutant, and not code around it


@dataclass
class Edit:
    start: int
    end: int
    insert: bytes = b""
    ids: tuple[int, ...] = ()
    texts: dict[int, bytes] = field(default_factory=dict)  # instead of this part of the source, for each mutant
    keep: bool = False  # this part stays, and a compiler's error in it can come from the mutants
    iterator: bool = False  # this part makes an iterator


@dataclass
class Written:
    text: bytes
    regions: list[Region]
    impossible: list[int]  # the compiler would refuse these mutants' syntax


def span_bytes(source: bytes, span: tuple[int, int, int, int]) -> tuple[int, int]:
    """Converts a span of cargo-mutants, which counts lines and characters from 1, to byte positions."""
    lines = source.split(b"\n")

    def offset(line: int, column: int) -> int:
        before = sum(len(one) + 1 for one in lines[: line - 1])
        return before + len(lines[line - 1].decode()[: column - 1].encode())

    return offset(span[0], span[1]), offset(span[2], span[3])


def mutated(source: bytes, mutant: Mutant) -> bytes:
    """Returns the source with one mutant and without a switch."""
    start, end = span_bytes(source, mutant.span)
    return source[:start] + mutant.replacement.encode() + source[end:]


def climb(node, *kinds: str):
    while node is not None and node.type not in kinds:
        node = node.parent
    return node


def find_edits(source: bytes, mutants: list[Mutant], keep_const: set[str]) -> tuple[list[Edit], list[int]]:
    root = PARSER.parse(source).root_node
    edits: dict[tuple[int, int, bool], Edit] = {}
    impossible = []
    for mutant in mutants:
        start, end = span_bytes(source, mutant.span)
        leaf = root.descendant_for_byte_range(start, end)

        # Make const functions non-const, because a const function could not read the switch. If the compiler needs a
        # function to be const, the function's mutants are tried one at a time.
        function = climb(leaf, "function_item")
        if function is not None and mutant.function.split("::")[-1] not in keep_const:
            for modifiers in function.children:
                for word in modifiers.children if modifiers.type == "function_modifiers" else []:
                    if word.type == "const":
                        edits[word.start_byte, word.end_byte, False] = Edit(word.start_byte, word.end_byte)

        if mutant.genre == "FnValue" and mutant.returns.startswith("-> impl Iterator"):
            edit = edits.setdefault((start, end, False), Edit(start, end, iterator=True))
            edit.texts[mutant.id] = mutant.replacement.encode()
            continue
        if mutant.genre == "FnValue":
            text = f"if crate::switch::on({mutant.id}) {{ return {mutant.replacement}; }} ".encode()
            edit = edits.setdefault((start, start, True), Edit(start, start))
            edit.texts[mutant.id] = text
            continue
        if mutant.genre == "MatchArm":
            pattern = climb(root.descendant_for_byte_range(start, start + 1), "match_pattern")
            at = pattern.end_byte
            edits[at, at, True] = Edit(at, at, f" if !crate::switch::on({mutant.id})".encode(), (mutant.id,))
            # If the match is not exhaustive without this arm, the compiler reports an error at the matched value. So
            # record the mutant at the matched value too.
            value = climb(pattern, "match_expression").child_by_field_name("value")
            edit = edits.setdefault((value.start_byte, value.end_byte, False), Edit(value.start_byte, value.end_byte))
            edit.keep, edit.ids = True, (*edit.ids, mutant.id)
            continue

        if mutant.genre == "MatchArmGuard":
            whole = start, end
        else:
            node = leaf.parent if mutant.genre != "StructField" else climb(leaf, "struct_expression")
            while node.parent is not None and node.parent.type == node.type == "binary_expression":
                node = node.parent
            if node.type not in ("binary_expression", "unary_expression", "compound_assignment_expr", "struct_expression"):
                impossible.append(mutant.id)  # the && of `if let … && …`
                continue
            whole = node.start_byte, node.end_byte
        edit = edits.setdefault((*whole, False), Edit(*whole))
        edit.texts[mutant.id] = source[whole[0] : start] + mutant.replacement.encode() + source[end : whole[1]]
    return sorted(edits.values(), key=lambda one: (one.start, one.start != one.end, -one.end)), impossible


def write(source: bytes, mutants: list[Mutant], keep_const: set[str]) -> Written:
    edits, impossible = find_edits(source, mutants, keep_const)
    out, regions = bytearray(), []

    def put_own(id: int, text: bytes) -> None:
        regions.append(Region(len(out), len(out) + len(text), (id,), True))
        out.extend(text)

    def copy(start: int, end: int, inside: list[Edit]) -> None:
        while inside:
            edit, inside = inside[0], inside[1:]
            within, after = [one for one in inside if one.end <= edit.end], [one for one in inside if one.end > edit.end]
            out.extend(source[start : edit.start])
            begin = len(out)
            if edit.start == edit.end:
                out.extend(edit.insert)
                for id, text in edit.texts.items():
                    put_own(id, text)
                after = inside
            elif edit.iterator:
                # A function that returns `impl Iterator` has only one concrete return type. So chain the original
                # iterator and the mutants' iterators, and make all but one of them empty.
                out.extend(b"::std::iter::empty()")
                for id, text in edit.texts.items():
                    put_own(id, b".chain((if crate::switch::on(%d) { Some(%b) } else { None }).into_iter().flatten())" % (id, text))
                others = " || ".join(f"crate::switch::on({id})" for id in edit.texts)
                out.extend(f".chain((if {others} {{ None }} else {{ Some({{ ".encode())
                copy(edit.start, edit.end, within)
                out.extend(b" }) }).into_iter().flatten())")
            elif edit.texts:
                out.extend(b"(")
                for id, text in edit.texts.items():
                    out.extend(f"if crate::switch::on({id}) {{ ".encode())
                    put_own(id, text)
                    out.extend(b" } else ")
                out.extend(b"{ ")
                copy(edit.start, edit.end, within)
                out.extend(b" })")
            elif edit.keep:
                copy(edit.start, edit.end, within)
            regions.append(Region(begin, len(out), (*edit.ids, *edit.texts), False))
            start, inside = edit.end, after
        out.extend(source[start:end])

    copy(0, len(source), edits)
    return Written(bytes(out), regions, impossible)
