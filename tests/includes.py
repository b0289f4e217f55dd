#!/usr/bin/env python3
"""Checks all includes against the rules of docs/architecture.md. Prints each line that breaks a rule."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
# folder -> prefixes of "..." includes it may have, besides headers of its own folder
ALLOWED = {
    "include": ["weft/"],
    "os": ["os/", "weft/weft.h"],
    "core": ["core/", "os/", "weft/"],
    "decoder": ["decoder/", "os/", "weft/"],
    "check": ["check/", "os/", "weft/"],
    "tools": ["os/", "weft/", "command.h", "check.h", "line.h", "chat.h"],
    "examples": ["weft/"],
    "kernels": ["kernels/", "weft/ops/"],
    "shaders": ["shaders/", "weft/ops/"],
}
GENERATED = re.compile(r"weft_((backends|families)\.def|(stems|vulkan)_\w+\.h|\w+_images\.def)")
SYSTEM = {  # the C standard library's headers and the libraries a folder may use
    "": set("assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef "
            "stdint stdio stdlib stdnoreturn string tgmath time uchar wchar wctype".split()),
    "tools": {"getopt", "cjson/cJSON", "histedit"},
    "decoder": {"pcre2"},
    "backends/cpu": {"immintrin", "arm_neon", "cpuid"},
    "backends/vulkan": {"vulkan/vulkan_core"},
    "tests": {"cmocka", "cjson/cJSON"},
    "examples": {"weft/weft", "weft/decoder"},
    "examples/desktop-chat": {"weft/weft", "weft/decoder", "gtk/gtk", "glib/gstdio"},
}


def rules(path):
    parts = path.parts
    if parts[0] == "backends":
        own = "/".join(parts[:2])
        shared = {"backends/cuda": ["kernels/attention.h", "kernels/layout.h", "kernels/phase.h", "kernels/units.h", "kernels/products.h"]}.get(own, [])  # with its device code
        return own, [own + "/", "backends/table.h", "os/", "weft/backend.h", "weft/weft.h", "weft/ops/", "weft/ops.def"] + shared
    if parts[:2] == ("examples", "desktop-chat"):
        return "examples/desktop-chat", []
    return parts[0], ALLOWED.get(parts[0])


def problems(path):
    folder, allowed = rules(path)
    for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if not found or folder == "tests":
            continue
        kind, name = found.groups()
        if kind == '"':
            if allowed is None or GENERATED.fullmatch(name):
                continue
            if not any(name.startswith(prefix) for prefix in allowed) and not (root / path.parent / name).is_file():
                yield f"{path}:{number}: {folder} may not include {name}"
        elif not path.parts[0] == "os":
            stem = name.removesuffix(".h")
            if stem not in SYSTEM[""] | SYSTEM.get(folder, set()):
                yield f"{path}:{number}: only os/ includes system headers, not <{name}>"


# Folders whose files must have an order: what a file and its header include comes below it.
ORDERED = ["core", "decoder", "backends/cpu", "backends/cuda", "backends/vulkan"]


def arrows(folder):
    """For each stem of a folder, the other stems that its files include."""
    found = {}
    for path in sorted((root / folder).rglob("*.[ch]")):
        stem = path.relative_to(root).with_suffix("").as_posix()
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)\.h"', path.read_text(encoding="utf-8"), re.MULTILINE):
            if name != stem and name.startswith(folder + "/"):
                found.setdefault(stem, set()).add(name)
    return found


def circles(folder):
    """Each circle of includes that a walk from any stem meets, once."""
    below, done, told = arrows(folder), set(), set()

    def walk(stem, way):
        if stem in way:
            circle = way[way.index(stem):]
            if frozenset(circle) not in told:
                told.add(frozenset(circle))
                yield f"{folder}: files include each other in a circle: {' -> '.join(circle + [stem])}"
        elif stem not in done:
            for other in sorted(below.get(stem, ())):
                yield from walk(other, way + [stem])
            done.add(stem)

    for stem in sorted(below):
        yield from walk(stem, [])


def main():
    files = [p.relative_to(root) for p in root.rglob("*") if p.suffix in {".c", ".h", ".cu", ".cuh", ".comp", ".glsl", ".def"}]
    files = [p for p in files if p.parts[0] not in {"build", ".git"}]
    found = [problem for path in sorted(files) for problem in problems(path)]
    found += [circle for folder in ORDERED for circle in circles(folder)]
    print("\n".join(found) if found else f"{len(files)} files follow the include rules")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
