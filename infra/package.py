#!/usr/bin/env python3
"""Packages the built bootstraps and the templates for a deployment. Writes a bill of materials for each bootstrap and
prints its size. Fails if a bootstrap exceeds its size budget.

    infra/package.py BUILT OUT     BUILT is cargo-lambda's folder, such as target/lambda; OUT is deleted and recreated
"""

import json
import pathlib
import shutil
import sys
import zipfile

try:
    from zopfli import zlib as zopfli
except ImportError:  # pip install zopfli
    zopfli = None

from bom import bill

HERE = pathlib.Path(__file__).resolve().parent
FUNCTIONS = ["Sso", "Mint", "Provision", "Webhooks", "Apply", "Sweep"]
# The maximum size of a function's code in bytes, raw and zipped. At a cold start, Lambda loads the whole file, so a
# larger file makes the start slower.
MOST = (8_000_000, 3_500_000)


def with_code(template, uri):
    """Returns the template, with `uri(name)` as the CodeUri of each function."""
    for name in FUNCTIONS:
        mark = f"  {name}Function:\n    Type: AWS::Serverless::Function\n"
        head, tail = template.split(mark)
        tail = tail.replace("    Properties:\n", f"    Properties:\n      CodeUri: {uri(name)}\n", 1)
        template = head + mark + tail
    return template


class Zopfli:
    """A deflate compressor that uses zopfli. It is slower than zlib, but its output is 5 % smaller than zlib's best."""

    def __init__(self):
        self.data = bytearray()

    def compress(self, data):
        self.data += data
        return b""

    def flush(self):
        return zopfli.compress(bytes(self.data), numiterations=3)[2:-4]  # without zlib's frame


def zipped(bootstrap, at):
    """Zips a bootstrap for Lambda. The bootstrap stays executable, and the same build always gives the same bytes."""
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr, entry.compress_type = 0o755 << 16, zipfile.ZIP_DEFLATED
    if zopfli:
        zipfile._get_compressor = lambda *_: Zopfli()  # zipfile has no other way to take a compressor
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(entry, bootstrap.read_bytes())
    return at.stat().st_size


def main(built, out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    print(f"{'bootstrap':12}{'raw MB':>10}{'zipped MB':>12}")
    heavy = []
    for name in FUNCTIONS:
        bootstrap = built / f"flexgate-{name.lower()}" / "bootstrap"
        if not bootstrap.exists():
            raise SystemExit(f"{bootstrap} is not there: build it with `tests/run release`")
        shutil.copy(bootstrap, out / name.lower())
        (out / f"{name}.cdx.json").write_text(json.dumps(bill(name, bootstrap.read_bytes()), indent=1))
        raw, small = bootstrap.stat().st_size, zipped(bootstrap, out / f"{name}.zip")
        heavy += [name] if raw > MOST[0] or small > MOST[1] else []
        print(f"{name.lower():12}{raw / 1e6:>10.2f}{small / 1e6:>12.2f}")
    (out / "template.yaml").write_text(with_code((HERE / "template.yaml").read_text(), lambda name: f"{name}.zip"))
    shutil.copy(HERE / "edge.yaml", out)
    print(f"{'at most':12}{MOST[0] / 1e6:>10.2f}{MOST[1] / 1e6:>12.2f}")
    if heavy:
        raise SystemExit(f"larger than they may be: {', '.join(heavy)}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
