#!/usr/bin/env python3
"""Tests --place as a user gives it: a model whose layers are divided among devices.

    python3 tests/command_place.py build/release/bin/weft
"""
import json
import tempfile
import unittest

import command

MODEL = "tiny"  # of three layers
ASK = ["--raw", "-p", "hello", "-n", "6", "--ctx", "64", "--precision", "exact"]


def weft(*arguments):
    return command.weft(*arguments, "--threads", "1")


def answer(*arguments):
    code, out, err = weft("run", command.model(MODEL), *ASK, "--json", "--logprobs", "2", *arguments)
    assert code == 0, err
    return json.loads(out)


class Place(unittest.TestCase):
    def test_answers(self):
        whole = answer("--backend", "cpu")
        self.assertNotIn("place", whole)
        for place, layers in [("cpu=1,cpu", [1, 2]), ("cpu,cpu:0=1", [2, 1]), ("cpu=1,cpu=1,cpu=1", [1, 1, 1])]:
            placed = answer("--place", place)
            for member in ("tokens", "text", "logprobs"):
                self.assertEqual(placed[member], whole[member], place)
            self.assertEqual([stage["n_layers"] for stage in placed["place"]], layers)
            self.assertEqual([stage["first_layer"] for stage in placed["place"]], [sum(layers[:i]) for i in range(len(layers))])

    def test_inspect(self):
        path = command.model(MODEL)
        code, out, err = weft("inspect", path, "--json", "--place", "cpu=1,null")
        self.assertEqual(code, 0, err)
        first, last = json.loads(out)["devices"]
        self.assertEqual([first["id"], first["first_layer"], first["n_layers"]], ["cpu:0", 0, 1])
        self.assertEqual([last["id"], last["first_layer"], last["n_layers"]], ["null:0", 1, 2])
        [whole] = json.loads(weft("inspect", path, "--json", "--backend", "cpu")[1])["devices"]
        self.assertNotIn("n_layers", whole)
        for stage in (first, last):
            self.assertEqual(stage["total"], sum(stage[part] for part in ("weights", "states", "arena", "rings")))
            self.assertLess(stage["weights"], whole["weights"])
            self.assertLess(stage["states"], whole["states"])
        self.assertGreaterEqual(first["weights"] + last["weights"], whole["weights"])  # both have a rope table
        text = weft("inspect", path, "--place", "cpu=1,null")[1]
        self.assertRegex(text, rb"\ncpu:0: layers 0 to 0, the embedding: .* MB = weights .* KV cache .*\n"
                               rb"null:0: layers 1 to 2, the output head: .* MB = ")

    def test_other_commands(self):
        path = command.model(MODEL)
        with tempfile.NamedTemporaryFile() as text:
            text.write(b"one two three four")
            text.flush()
            measure = ["perplexity", path, text.name, "--precision", "exact", "--json"]
            self.assertEqual(weft(*measure, "--place", "cpu=2,cpu"), weft(*measure, "--backend", "cpu"))
        code, out, err = weft("bench", path, "-p", "8", "-n", "2", "-r", "1", "--json", "--place", "cpu=1,cpu")
        self.assertEqual(code, 0, err)
        self.assertEqual([stage["n_layers"] for stage in json.loads(out)["place"]], [1, 2])
        code, out, _ = weft("bench", path, "-p", "8", "-n", "2", "-r", "1", "--sequences", "2", "--place", "cpu=1,cpu")
        self.assertEqual(code, 0)
        self.assertRegex(out, rb"^cpu:0: .*, layers 0 to 0\ncpu:0: .*, layers 1 to 2\n")
        code, out, err = weft("check", path, "--nodes", "none", "--greedy", "4", "--place", "cpu=1,cpu")
        self.assertEqual((code, out), (0, b"4 greedy tokens: 0 ties, 0 differences\n"), err)

    def test_chat(self):
        path = command.model(MODEL)
        chat = ["chat", path, *ASK[3:], "--backend", "cpu", "--threads", "1"]
        plain = command.weft(*chat, stdin=b"a\nb\n")
        code, out, err = command.weft(*chat, stdin=b"a\n/device cpu=1,cpu\nb\n/device cpu=0\n")
        self.assertEqual((code, out), plain[:2], err)
        self.assertIn(b"moved to cpu:0=1,cpu:0=2: ", err)
        self.assertIn(b"/device cpu=0: the number of layers is a whole number from 1 on", err)

    def test_mistakes(self):
        path = command.model(MODEL)
        for place, code, message in [
                ("cpu=1,cpu=1", 1, b"the stages have 1 + 1 = 2 layers, and the model has 3"),
                ("cpu=3,cpu", 1, b"no layer is left for cpu: the other stages have 3, and the model has 3 layers"),
                ("cpu,cpu", 1, b"only one can have the rest"), ("cpu=1,nothing", 1, b"no device \"nothing\""),
                ("cpu=0,cpu", 2, b"a whole number from 1 on"), ("cpu=1x,cpu", 2, b"a whole number from 1 on"),
                ("cpu=1,", 2, b"a device has no name"), ("=1,cpu", 2, b"a device has no name"), ("", 2, b"a device has no name"),
                (",".join(["cpu"] * 17), 2, b"too many devices"), ("c" * 64 + "=1", 2, b"too long"), ("c" * 2000, 2, b"too long")]:
            got, out, err = weft("run", path, *ASK, "--place", place)
            self.assertEqual((got, out), (code, b""), place)
            self.assertIn(message, err)
        for arguments in [["run", path, "--backend", "cpu"], ["bench", path, "--on", "cpu"], ["bench", "--ops"],
                          ["bench", path, "--profile"], ["check", path]]:
            got, out, err = weft(*arguments, "--place", "cpu=1,cpu")
            self.assertEqual((got, out), (2, b""), arguments)
            self.assertIn(b"--place", err)


if __name__ == "__main__":
    command.run_tests(__doc__)
