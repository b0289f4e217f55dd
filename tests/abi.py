#!/usr/bin/env python3
"""Compares the public interface with tests/data/abi.txt: functions and their symbols in libweft.so or libweft.dll, sizes and members of structs,
values of enums and of macros. docs/api.md says what may change when.

    python3 tests/abi.py build/release              # prints the differences; exits with 0, 1, or 77 if the list is for other machines
    python3 tests/abi.py build/release --update     # rewrites the list
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/data/abi.txt"
SKIPPED = 77
EXPORT = re.compile(r'__attribute__\(\(\s*(visibility\("default"\)|dllexport)\s*\)\)')
WINDOWS = ["-DWEFT_BUILDS_DLL", "-D__USE_MINGW_ANSI_STDIO=1"]
MACRO = re.compile(r"^#define (WEFT_\w+) +([-(\d].*|U?INT64_C\(.*)$", re.M)
HELP = """
A line with - is gone or different: what was compiled before may break. A line with + is new.
- Wanted? See docs/api.md for the versions that may do it. Where backend.h means something else now, raise WEFT_BACKEND_ABI; a new
  member takes the place of reserved words, so that no size and no other member changes.
- Then write the list anew and commit it with the change:

    python3 tests/abi.py {build} --update
"""


def headers():
    folder = ROOT / "include"
    return sorted(path.relative_to(folder) for path in folder.rglob("*.h") if path.name != "shared.h")


def preprocess(compiler, flags, folders, source):
    """What the headers in the folders declare, without what they include from elsewhere."""
    text = subprocess.run([*compiler, "-E", *flags, source], stdout=subprocess.PIPE, text=True, check=True).stdout
    kept, ours = [], False
    for line in text.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            ours = marker[1].startswith(tuple(f"{folder}/" for folder in folders))
        elif ours and not line.startswith("#"):
            kept.append(line)
    return "\n".join(kept)


def without_attributes(text):
    text = EXPORT.sub("WEFT_API ", text)
    while (at := text.find("__attribute__")) >= 0:
        end, depth = text.index("(", at), 0
        while True:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
            if depth == 0:
                break
        text = text[:at] + text[end:]
    return text


def split(text, separator):
    """At separators outside all brackets; a function's body ends a declaration too."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(c, 0)
        body = separator == ";" and c == "}" and depth == 0 and re.search(r"\)\s*\{", text[start:i]) and "typedef" not in text[start:i]
        if (c == separator and depth == 0) or body:
            parts.append(" ".join(text[start:i].split()))
            start = i + 1
    parts.append(" ".join(text[start:].split()))
    return [part for part in parts if part]


def members(name, body):
    """(name, type) of each."""
    for declaration in split(body, ";"):
        if "{" in declaration:
            sys.exit(f"abi.py cannot read a struct inside {name}: give it a name of its own")
        declarators = split(declaration, ",")
        base = re.match(r"(?:const )?(?:struct )?\w+", declarators[0])[0]
        for i, declarator in enumerate(declarators):
            text = declarator if i == 0 else f"{base} {declarator}"
            found = re.search(r"\(\*(\w+)\)", text) or re.search(r"(\w+)(?:\[[^\]]*\])*$", text)
            yield found[1], " ".join((text[:found.start(1)] + text[found.end(1):]).split())


def read(text):
    """C statements that print the lines, and the functions."""
    statements, functions = [], {}
    number = 'printf("{0} {1} %lld\\n", (long long){1});'
    for declaration in split(without_attributes(text), ";"):
        enum = re.match(r"(?:typedef )?enum \w* ?\{(.*)\}", declaration)
        struct = re.match(r"typedef struct (\w+) ?\{(.*)\}", declaration)
        if enum:
            statements += [number.format("enum", re.match(r"\w+", part)[0]) for part in split(enum[1], ",")]
        elif struct:
            statements.append(f'printf("struct {struct[1]} %zu\\n", sizeof({struct[1]}));')
            for member, kind in members(struct[1], struct[2]):
                place = f"offsetof({struct[1]}, {member}), sizeof((({struct[1]} *)0)->{member})"
                statements.append(f'printf("struct {struct[1]}.{member} %zu %zu {kind}\\n", {place});')
        elif declaration.startswith("WEFT_API "):
            prototype = re.sub(r"\* ", "*", declaration.removeprefix("WEFT_API "))
            functions[re.search(r"(\w+)\(", prototype)[1]] = prototype
        elif declaration.startswith("typedef ") and not re.fullmatch(r"typedef struct (\w+) \1", declaration):
            statements.append(f'puts("type {declaration}");')
    for header in headers():
        for name, value in MACRO.findall((ROOT / "include" / header).read_text()):
            if not name.startswith("WEFT_VERSION"):
                statements.append(number.format("macro", name))
    return statements, functions


def exported(build, windows):
    """The symbols of the library; of a DLL those in its import library, which the linker makes from what the DLL exports."""
    command = ["nm", "--defined-only", build / "lib/libweft.dll.a"] if windows else ["nm", "-D", "--defined-only", build / "lib/libweft.so"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return {line.split()[-1] for line in lines if not windows or " T " in line}


def describe(compiler, emulator, build):
    """The lines of the list, and what is wrong whatever the list says; no lines on a machine with other sizes."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "abi.c"), os.path.join(folder, "abi.exe")
        folders = [ROOT / "include", build / "generated/include"]
        windows = (build / "lib/libweft.dll.a").exists()
        flags = ["-std=c17"] + [f"-I{folder}" for folder in folders] + (WINDOWS if windows else [])
        includes = "".join(f'#include "{header}"\n' for header in headers())
        pathlib.Path(source).write_text(includes)
        statements, functions = read(preprocess(compiler, flags, folders, source))
        text = "#include <stdio.h>\n" + includes + "int main(void) {\nif (sizeof(void *) != 8) return 77;\n" + "\n".join(statements) + "\n}\n"
        pathlib.Path(source).write_text(text)
        subprocess.run([*compiler, *flags, source, "-o", program], check=True)
        done = subprocess.run([*emulator, program], stdout=subprocess.PIPE, text=True)
    if done.returncode == SKIPPED:
        return None, []
    symbols = exported(build, windows)
    wrong = [f"{name} is exported and in no public header: static, or not WEFT_API" for name in sorted(symbols - set(functions))]
    wrong += [f"{name} is in a public header and not exported" for name in sorted(set(functions) - symbols)]
    return done.stdout.splitlines() + [f"function {functions[name]}" for name in sorted(functions)], wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="folder with lib/libweft.so, or with lib/libweft.dll.a")
    parser.add_argument("--compiler", default="cc")
    parser.add_argument("--update", action="store_true", help="write tests/data/abi.txt anew")
    parser.add_argument("--emulator", nargs=argparse.REMAINDER, default=[], help="runs the compiler's programs; the last option")
    arguments = parser.parse_args()
    now, wrong = describe([arguments.compiler], arguments.emulator, arguments.build.resolve())
    if now is None:
        print("the list is for machines with pointers of 8 bytes")
        return SKIPPED
    if wrong:
        print("\n".join(wrong))
        return 1
    if arguments.update:
        LIST.write_text("\n".join(now) + "\n")
        print(f"{len(now)} lines in {LIST.relative_to(ROOT)}")
        return 0
    before = LIST.read_text().splitlines()
    lines = [f"- {line}" for line in before if line not in set(now)] + [f"+ {line}" for line in now if line not in set(before)]
    if lines:
        print("The public interface is not what tests/data/abi.txt says:\n\n" + "\n".join(lines) + HELP.format(build=arguments.build))
    else:
        print(f"{len(now)} lines, as in {LIST.relative_to(ROOT)}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
