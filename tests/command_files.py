#!/usr/bin/env python3
"""What the weft command does with unusual model files: odd texts, several files, types that it cannot read, a second BOS,
and files that weft quantize makes.

    python3 tests/command_files.py build/release/bin/weft
"""
import contextlib
import json
import os
import pty
import re
import struct
import subprocess
import unittest

import command


def gguf_text(text):
    return struct.pack("<Q", len(text)) + text.encode()


def split_model(path, n_parts):
    """Writes the model as n_parts files, the first of which has the metadata and no tensors, and gives the path of the first."""
    data = path.read_bytes()
    n_tensors, n_entries = struct.unpack_from("<QQ", data, 8)
    tensors = json.loads(command.weft("inspect", path, "--json")[1])["tensors"]
    entries = data[24:data.index(gguf_text(tensors[0]["name"]))]
    types = {"F32": 0, "F16": 1, "Q4_0": 2, "Q6_K": 14}
    paths = [path.parent / f"split-{part + 1:05}-of-{n_parts:05}.gguf" for part in range(n_parts)]
    for part, part_path in enumerate(paths):
        mine = tensors[(part - 1) * n_tensors // (n_parts - 1):part * n_tensors // (n_parts - 1)] if part else []
        split = b"".join(gguf_text(f"split.{name}") + struct.pack("<IH", 2, value) for name, value in (("no", part), ("count", n_parts)))
        split += gguf_text("split.tensors.count") + struct.pack("<Ii", 5, n_tensors)
        directory, body = b"", b""
        for tensor in mine:
            directory += gguf_text(tensor["name"]) + struct.pack("<I4QIQ", 4, *tensor["shape"], types[tensor["type"]], len(body))
            body += data[tensor["offset"]:tensor["offset"] + tensor["bytes"]]
            body += bytes(-len(body) % 32)
        header = b"GGUF" + struct.pack("<IQQ", 3, len(mine), 3 + (0 if part else n_entries)) + split + (b"" if part else entries) + directory
        part_path.write_bytes(header + bytes(-len(header) % 32) + body)
    return paths[0]


class Files(unittest.TestCase):
    def test_unknown_families_are_named(self):
        path = command.FOLDER / "unknown.gguf"
        data = command.model().read_bytes()
        name = gguf_text("general.architecture") + struct.pack("<I", 8)
        path.write_bytes(data.replace(name + gguf_text("llama"), name + gguf_text("lamma")))
        for arguments in (["inspect", path], ["run", path, "--raw", "-p", "a", "-n", "1"]):
            code, _, err = command.weft(*arguments)
            self.assertEqual(code, 2)
            self.assertRegex(err.decode(), 'does not know the model family "lamma"; it knows .*llama.*starcoder2')

    def test_controls_are_escaped(self):
        """What a file calls itself does not steer the terminal; JSON gives it back as it is."""
        path, name = command.FOLDER / "controls.gguf", "R\x1b[2J\x9b\x07é!"
        path.write_bytes(command.model().read_bytes().replace(b"Random tiny", name.encode()))
        self.assertEqual(len(name.encode()), len(b"Random tiny"))
        for arguments in ([], ["--all"]):
            ours, theirs = pty.openpty()
            process = subprocess.Popen([command.WEFT, "inspect", path, *arguments], stdin=subprocess.DEVNULL, stdout=theirs)
            os.close(theirs)
            out = b""
            with contextlib.suppress(OSError):  # the end of what is written to a terminal
                while piece := os.read(ours, 4096):
                    out += piece
            os.close(ours)
            self.assertEqual(process.wait(), 0)
            self.assertIn("R\\x1b[2J\\u009b\\x07é! Q4_0, seed".encode(), out)
            self.assertFalse(re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", out), out)
        got = json.loads(command.weft("inspect", path, "--json")[1])
        self.assertTrue(got["name"].startswith(name), got["name"])
        path.write_bytes(command.model().read_bytes().replace(b"\x05" + bytes(7) + b"llama", b"\x05" + bytes(7) + b"\x1b[31m", 1))
        code, out, err = command.weft("inspect", path)
        self.assertEqual((code, out), (2, b""))
        self.assertIn(b"\"\\x1b[31m\"", err)

    def test_split_files(self):
        whole, first = command.model(), split_model(command.model(), 4)
        run = ["--raw", "-p", "abc", "-n", "8", "--ignore-end", "--precision", "exact"]
        self.assertEqual(command.weft("run", first, *run)[:2], command.weft("run", whole, *run)[:2])
        inspected = [json.loads(command.weft("inspect", path, "--json")[1]) for path in (first, whole)]
        self.assertEqual(*({tensor["name"]: tensor["bytes"] for tensor in entry["tensors"]} for entry in inspected))
        (command.FOLDER / "split-00003-of-00004.gguf").unlink()
        code, out, err = command.weft("run", first, *run)
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"split-00003-of-00004.gguf", err)

    def test_unknown_types(self):
        """Types that weft cannot read are listed; what needs the weights is refused, and says which tensor it is."""
        path, data, name = command.FOLDER / "unknown.gguf", bytearray(command.model().read_bytes()), b"blk.1.ffn_up.weight"
        at = data.index(name) + len(name)
        at += 4 + 8 * data[at]
        for number, expected in ((16, "IQ2_XXS"), (77, "type 77")):
            data[at:at + 4] = number.to_bytes(4, "little")
            path.write_bytes(data)
            code, out, err = command.weft("inspect", path, "--all")
            self.assertEqual((code, err), (0, b""))
            self.assertRegex(out.decode(), rf"(?m)^  {expected} +1 tensors, .*cannot read$")
            self.assertRegex(out.decode(), rf"(?m)^{name.decode()} +{expected} ")
            self.assertIn(f"tensor {name.decode()} has type {expected}, which weft cannot read".encode(), out)
            tensors = json.loads(command.weft("inspect", path, "--json")[1])["tensors"]
            self.assertEqual([entry["type"] for entry in tensors if entry["name"] == name.decode()], [expected])
            code, out, err = command.weft("run", path, "-p", "x")
            self.assertEqual((code, out), (2, b""))
            self.assertIn(f"has type {expected}, which weft cannot read".encode(), err)

    def test_quantize(self):
        """From a model in several files; each output runs, and its types are those of the mix."""
        first, target = split_model(command.model(mix="F16"), 4), command.FOLDER / "quantized.gguf"
        for mix, types in (("Q4_K_M", {"F32", "Q4_K", "Q6_K"}), ("Q2_K", {"F32", "Q2_K", "Q3_K", "Q6_K"}), ("IQ4_NL", {"F32", "IQ4_NL", "Q6_K"}),
                           ("IQ4_XS", {"F32", "IQ4_XS", "Q6_K"}), ("MXFP4", {"F32", "MXFP4", "Q6_K"}), ("Q8_0", {"F32", "Q8_0"})):
            self.assertEqual(command.weft("quantize", first, target, "--type", mix), (0, b"", b""))
            made = json.loads(command.weft("inspect", target, "--json")[1])
            self.assertEqual({tensor["type"] for tensor in made["tensors"]}, types, mix)
            for precision in ("exact", "fast"):
                code, out, err = command.weft("run", target, "--raw", "-p", "abc", "-n", "8", "--ignore-end", "--precision", precision)
                self.assertEqual(code, 0, err)
                self.assertTrue(out)
        self.assertEqual(command.weft("quantize", target, target, "--type", "Q4_0")[0], 2)
        self.assertEqual(command.weft("quantize", target, target, "--type", "Q4_0", "--from-quantized"), (0, b"", b""))
        code, out, err = command.weft("quantize", target, target, "--type", "Q5")
        self.assertEqual((code, out), (2, b""))
        self.assertIn(b'there is no mix "Q5"; there are F32, ', err)
        self.assertFalse(list(command.FOLDER.glob("*.partial")))

    def test_perplexity_of_a_bos(self):
        """A marker at the start is the BOS that is added, and no second one; any other text that begins with one is warned of."""
        text, marked = command.FOLDER / "plain text", command.FOLDER / "marked text"
        text.write_text("The quick brown fox. " * 20)
        marked.write_text("<|begin_of_text|>" + text.read_text())
        for options in ([], ["--ctx", "16"]):
            plain = command.weft("perplexity", command.model(), text, "--json", *options)
            self.assertEqual((plain[0], plain[2]), (0, b""))
            self.assertEqual(command.weft("perplexity", command.model(), marked, "--json", *options), plain)
        code, out, err = command.weft("tokenize", command.model(), "--special", "--json", stdin=b"<|begin_of_text|>a")
        self.assertEqual((code, len(json.loads(out))), (0, 3))
        self.assertRegex(err, rb'^weft: the text begins with "<\|begin_of_text\|>"')
        self.assertEqual(command.weft("tokenize", command.model(), "--special", stdin=b"a<|begin_of_text|>")[2], b"")
        self.assertEqual(command.weft("tokenize", command.model(), stdin=b"<|begin_of_text|>a")[2], b"")


if __name__ == "__main__":
    command.run_tests(__doc__)
