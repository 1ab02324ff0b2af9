"""Makes the bill of materials (CycloneDX) of a bootstrap (a function's program) from the list of dependencies that
`cargo auditable` has put into it.
"""

import json
import struct
import zlib


def section(binary, name):
    """Returns the bytes of a section of an ELF file (64-bit, little-endian), or None if the file has no such
    section.
    """
    assert binary[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
    (offset,) = struct.unpack_from("<Q", binary, 0x28)
    size, count, names = struct.unpack_from("<HHH", binary, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", binary, offset + index * size) for index in range(count)]
    text = headers[names][4]
    for label, _, _, _, at, length in headers:
        start = text + label
        if binary[start : binary.index(b"\0", start)] == name:
            return binary[at : at + length]
    return None


def bill(name, binary):
    """Returns the bill of materials of the bootstrap `name`."""
    found = section(binary, b".dep-v0")
    if found is None:
        raise SystemExit(f"{name}: nothing says what is in it; build it with `cargo auditable`")
    packages = json.loads(zlib.decompress(found))["packages"]
    ref = lambda package: f"pkg:cargo/{package['name']}@{package['version']}"  # noqa: E731
    shipped = [package for package in packages if package.get("kind", "runtime") == "runtime"]
    root = next(package for package in packages if package.get("root"))
    component = lambda package, kind: {  # noqa: E731
        "type": kind, "bom-ref": ref(package), "name": package["name"], "version": package["version"], "purl": ref(package),
    }
    needs = [
        {"ref": ref(package), "dependsOn": sorted({ref(packages[index]) for index in package.get("dependencies", [])})}
        for package in shipped
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(root, "application")},
        "components": [component(package, "library") for package in shipped if not package.get("root")],
        "dependencies": needs,
    }
