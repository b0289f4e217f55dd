#!/usr/bin/env python3
"""Tests `weft check` as a user runs it: ops and models on several devices, its JSON, what it refuses, Ctrl-C.

    python3 tests/command_check.py build/release/bin/weft
"""
import ast
import html.parser
import json
import math
import os
import shutil
import subprocess
import tempfile
import unittest

import command


class Page(html.parser.HTMLParser):
    """Reads a page, whose tags must be closed in order; keeps its tags, with all their attributes, and its text."""
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.text += data


class Check(unittest.TestCase):
    PROMPT = ["--prompt", "abc def", "--steps", "2"]

    def check(self, *arguments, code=0):
        got, out, err = command.weft("check", *arguments)
        self.assertEqual(got, code, (out, err))
        return out, err

    def check_json(self, *arguments):
        out, err = self.check(*arguments, "--json")
        self.assertEqual((out.count(b"\n"), err), (1, b""))
        return json.loads(out)

    def test_ops(self):
        out, _ = self.check("--quick", "--op", "rope")
        self.assertRegex(out, rb"^[1-9]\d* passed, 0 failed, 0 skipped\n$")
        out, _ = self.check("--ops", "--on", "cpu,cpu", "--quick", "--op", "mul_mat", "--type", "Q4_K")
        self.assertRegex(out, rb"^(cpu:0: [1-9]\d* passed, 0 failed, 0 skipped\n){2}$")
        got = self.check_json("--quick", "--op", "mul_mat", "--seed", "7")
        self.assertEqual((got["n_failed"], got["n_passed"]), (0, len(got["cases"])))
        for case in got["cases"]:
            self.assertTrue(case["passed"] and case["nmse"] <= case["nmse_limit"] and case["error"] <= case["error_limit"] and case["kernel"])
            self.assertEqual((case["device"], case["op"], case["seed"]), ("cpu:0", "mul_mat", 7))

    def test_model(self):
        for precision in "exact", "fast":
            got = self.check_json(command.model(), "--on", "cpu,cpu", "--nodes", "all", "--precision", precision, *self.PROMPT)
            self.assertEqual((got["precision"], got["n_failed"], got["n_skipped"], got["first_failure"]), (precision, 0, 0, None))
            self.assertEqual(got["n_passed"], len(got["nodes"]))
            names = [node["name"] for node in got["nodes"] if node["step"] == 1 and "drift" not in node]
            for name in "embedding", "blk.0.kv_write", "blk.1.attention", "blk.2.ffn_residual", "sample":
                self.assertIn(name, names)
            for node in got["nodes"]:
                for measure in "alone", "in_step":
                    self.assertLessEqual(node[measure]["nmse"], node[measure]["nmse_limit"])
                    self.assertLessEqual(node[measure]["error"], node[measure]["error_limit"])
            self.assertTrue(any("drift" in node and "difference" in node for node in got["nodes"]))

    def test_layers(self):
        got = self.check_json(command.model(), "--on", "cpu,cpu", *self.PROMPT)
        # Before the layers, the layers and after them, in each step on each device.
        n_layers = json.loads(command.weft("inspect", command.model(), "--json")[1])["n_layers"]
        self.assertEqual(len(got["nodes"]), 3 * 2 * (n_layers + 2))
        out, _ = self.check(command.model(), "--on", "cpu,cpu", *self.PROMPT)
        lines = out.decode().splitlines()
        self.assertEqual(sum(line.startswith("step ") for line in lines), 3)
        self.assertRegex(lines[-1], r"^[1-9]\d* passed, 0 failed, 0 skipped$")
        self.assertFalse(any("FAIL" in line for line in lines))

    def test_fused(self):
        got = self.check_json(command.model(), "--fused", "--nodes", "all", *self.PROMPT)
        self.assertEqual({node["op"] for node in got["nodes"]}, {"norm_qkv", "mul_mat_add", "norm_gated_mlp", "norm_head_sample"})
        for node in got["nodes"]:
            self.assertTrue(node["passed"])
            self.assertEqual((node["fused"]["nmse"], node["fused"]["error"]), (0, 0), node["name"])

    def test_greedy(self):
        got = self.check_json(command.model(), "--on", "cpu,cpu", "--nodes", "none", "--greedy", "12")
        self.assertEqual(got["greedy"], {"partings": [], "n_tokens": 12, "n_ties": 0, "n_differences": 0})
        out, _ = self.check(command.model(), "--on", "cpu,cpu", "--nodes", "none", "--greedy", "12")
        self.assertEqual(out, b"12 greedy tokens: 0 ties, 0 differences\n")

    def test_widths(self):
        arguments = [command.model(), "--widths", "--max-rows", "4", "--on", "cpu,cpu"]
        got = self.check_json(*arguments)
        self.assertEqual(got["nodes"], [])
        self.assertEqual([(width["chunks"], width["n_rows"]) for width in got["widths"]],
                         2 * [(chunks, n) for chunks in (False, True) for n in (1, 2, 4)])
        for width in got["widths"]:
            self.assertEqual((width["n_different"], width["first"]), (0, None))
            self.assertEqual(sum(op["n_compared"] for op in width["ops"]), width["n_compared"])
            self.assertGreater(width["tokens_per_s"], 0)
        out, _ = self.check(*arguments)
        self.assertEqual(out.count(b"yes\n"), 8)

    def test_text(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "text.txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write("Some words, and some more words.")
            got = self.check_json(command.model(), "--text", path, "--on", "cpu,cpu")["text"]
            self.assertEqual([(entry["precision"], entry["reference"]) for entry in got], 2 * [("fast", "cpu:0")])
            self.assertGreater(got[0]["mean_kl"], 0)
            exact = self.check_json(command.model(), "--text", path, "--precision", "exact")["text"][0]
            self.assertEqual((exact["mean_kl"], exact["n_same_top"]), (0, exact["n_positions"]))
            out, _ = self.check(command.model(), "--text", path)
            self.assertIn(b"the same most likely token: ", out)

    def test_golden(self):
        with tempfile.TemporaryDirectory() as folder:
            golden, page = os.path.join(folder, "model.golden"), os.path.join(folder, "page.html")
            got = self.check_json(command.model(), "--record", golden, *self.PROMPT)
            self.assertEqual(got["recorded"], {"file": golden, "bytes": os.path.getsize(golden)})
            got = self.check_json(command.model(), "--replay", golden, "--on", "cpu,cpu", "--simd", "none", "--nodes", "all", "--html", page)
            self.assertEqual((got["n_failed"], got["n_skipped"], got["passed"]), (0, 0, True))
            self.assertEqual((got["golden"]["device"], got["golden"]["n_steps"]), ("cpu:0", 3))
            self.assertTrue(got["golden"]["n_results"] == got["golden"]["n_same_bits"] > 50)
            self.assertTrue(all("drift" in node and "alone" not in node for node in got["nodes"]))
            with open(page, encoding="utf-8") as file:
                text = Page(file.read()).text
            self.assertIn(f"{got['golden']['n_same_bits']} of {got['golden']['n_results']} results have the recorded bits", text)
            out, _ = self.check(command.model(), "--replay", golden, "--on", "null", code=1)
            self.assertIn(b"the first node over its limit is embedding on null:0 in step 0", out)
            with open(golden, "r+b") as file:
                file.seek(1000)
                file.write(b"damage")
            _, err = self.check(command.model(), "--replay", golden, code=1)
            self.assertIn(b"damaged", err)
        _, err = self.check(command.model(), "--replay", __file__, code=1)
        self.assertIn(b"no golden", err)
        self.check(command.model(), "--record", "/nonexistent/golden", code=1)

    def test_node(self):
        with tempfile.TemporaryDirectory() as folder:
            values, cache, alone = (os.path.join(folder, name) for name in ("values.npy", "cache.npy", "attention.repro"))
            got = self.check_json(command.model(), "--dump", f"blk.1.attention={values}", "--dump", f"blk.0.kv_write:1={cache}",
                                  "--repro", f"blk.1.attention={alone}", *self.PROMPT)
            self.assertEqual([(entry["node"], entry["bytes"]) for entry in got["written"]],
                             [("blk.1.attention", os.path.getsize(values)), ("blk.0.kv_write", os.path.getsize(cache)),
                              ("blk.1.attention", os.path.getsize(alone))])
            for path, n_dimensions in (values, 2), (cache, 4):
                with open(path, "rb") as file:
                    data = file.read()
                self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
                size = 10 + int.from_bytes(data[8:10], "little")
                header = ast.literal_eval(data[10:size].decode())
                self.assertEqual((size % 64, data[size - 1:size], header["descr"], header["fortran_order"]), (0, b"\n", "<f4", False))
                self.assertEqual((len(header["shape"]), 4 * math.prod(header["shape"])), (n_dimensions, len(data) - size))
            got = self.check_json(alone, "--on", "cpu,cpu")
            self.assertEqual([(case["name"], case["passed"]) for case in got["cases"]], 2 * [("blk.1.attention", True)])
            out, _ = self.check(alone, "--on", "null", code=1)
            self.assertIn(b"null:0: blk.1.attention of op attention, kernel nothing: FAILED", out)
            # Without a node's name it is the first wrong one.
            out, _ = self.check(command.model(), "--on", "cpu,null", "--nodes", "layers", "--repro", alone, *self.PROMPT, code=1)
            self.assertIn(b"a reproduction of sequences.update in step 0 on cpu:0", out)
            self.check(alone, "--on", "cpu")
            out, _ = self.check(command.model(), "--nodes", "layers", "--repro", alone, *self.PROMPT)
            self.assertIn(b"not written, since no node was found to be wrong", out)
            for option in ["--dump", "x"], ["--dump", f"sample:x={values}"], ["--dump", f"nonsense={values}"], ["--repro", "=x"]:
                self.check(command.model(), *option, *self.PROMPT, code=1)

    def test_bisect(self):
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.html")
            got = self.check_json(command.model(), "--bisect", "--html", page, *self.PROMPT)["bisect"]
            with open(page, encoding="utf-8") as file:
                self.assertIn("Each node by itself is within the limits.", Page(file.read()).text)
        self.assertEqual([(entry["device"], entry["passed"]) for entry in got], [("cpu:0", True)])
        self.assertEqual({swap["kind"] for swap in got[0]["swaps"]}, {"op", "layer", "kernel"})
        self.assertIn("attention", [swap["name"] for swap in got[0]["swaps"] if swap["kind"] == "op"])
        out, _ = self.check(command.model(), "--bisect", "--on", "null", *self.PROMPT, code=1)
        self.assertIn(b"several ops are wrong", out)

    def test_page(self):
        with tempfile.TemporaryDirectory() as folder:
            model, path = os.path.join(folder, "<b>&\"'\x01.gguf"), os.path.join(folder, "page.html")
            shutil.copy(command.model(), model)
            # A device that computes nothing is over every limit, and prefers another token.
            arguments = [model, "--on", "cpu,null", "--html", path, "--widths", "--max-rows", "2", "--nodes", "layers", "--greedy", "2"]
            out, _ = self.check(*arguments, *self.PROMPT, "--json", code=1)
            got = json.loads(out)
            with open(path, encoding="utf-8") as file:
                source = file.read()
            page = Page(source)
        n_bold = 1 + sum(got[place] is not None for place in ("first_failure", "first_not_finite"))
        self.assertEqual(page.tags.count("b"), n_bold)  # the verdict and the nodes; none from the file's name
        self.assertIn("<b>&\"'\ufffd.gguf", page.text)
        self.assertNotRegex(source, r"<script|<link|<img|src=|href=|url\(|@import|http-equiv=\"refresh")
        self.assertEqual({name for name, _ in page.attributes if name.startswith("on")}, set())
        self.assertFalse(any("//" in (value or "") for name, value in page.attributes if name != "xmlns"))
        # A rectangle for each field of the picture, which has every layer and op.
        self.assertEqual(page.tags.count("rect"), len(got["heat"]))
        self.assertEqual({field["layer"] for field in got["heat"]}, {node["layer"] for node in got["nodes"]})
        self.assertTrue(any(not field["passed"] for field in got["heat"]) and "#c00000" in source)
        for device in got["devices"]:
            self.assertIn(device["name"], page.text)
        self.assertIn(f"The first node over its limit is {got['first_failure']['name']} on null:0 in step 0", page.text)
        parting = got["greedy"]["partings"][0]
        self.assertEqual(len(parting["texts"]), 2)
        for token in parting["tokens"]:
            self.assertIn(f"{token} \"", page.text)
        for logit in parting["logits"][0]:
            self.assertIn(f"{logit:.6f}", page.text)
        self.assertIn("2 together", page.text)
        self.check(command.model(), "--html", "/nonexistent/page.html", *self.PROMPT, code=1)

    def test_refusals(self):
        model = command.model()
        usage = [[model, "--ops"], [model, "--op", "mul_mat"], ["--greedy", "4"], ["--fused"], ["--prompt", "x"], ["--widths"], ["--html", "x"], [model, "--record", "x", "--on", "cpu,cpu"],
                 [model, "--replay", "x", "--prompt", "y"], ["--replay", "x"], ["--dump", "a=b"], ["--bisect"], [model, model],
                 [model, "--fused", "--on", "cpu,cpu"], [model, "--nodes", "some"], [model, "--nodes", "none"], [model, "--greedy", "0"],
                 [model, "--max-rows", "3"], ["--op", "mulmat"], ["--type", "Q4_Z"]]
        for arguments in usage:
            out, err = self.check(*arguments, code=2)
            self.assertTrue(not out and err.startswith(b"weft check: "), arguments)
        failures = [([model, "--on", "nonsense"], b"nonsense"), (["--on", "cpu,nonsense"], b"nonsense"), (["--on", "cpu,"], b"commas"),
                    (["/nonexistent.gguf"], b"nonexistent"), ([__file__], b"command_check.py"), ([model, "--text", "/nonexistent.txt"], b"nonexistent"),
                    ([model, "--prompt", "abc " * 3000], b"positions")]
        for arguments, expected in failures:
            out, err = self.check(*arguments, code=1)
            self.assertTrue(not out and err.startswith(b"weft: ") and expected in err, (arguments, out, err))
        # A device that computes nothing is over every limit.
        out, _ = self.check(command.model(), "--on", "cpu,null", *self.PROMPT, code=1)
        self.assertIn(b"FAIL", out)
        self.assertIn(b"the first node over its limit is sequences.update on null:0 in step 0\n", out)
        self.check("--on", "null", "--op", "add", "--quick", code=1)

    def test_interrupt(self):
        # Few rows and many steps: a node, after which the check looks for Ctrl-C, is short on a busy machine too.
        process = subprocess.Popen([command.WEFT, "check", command.model(), "--prompt", "abc", "--steps", "1000"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        command.interrupt(process)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130)
        self.assertRegex(err, b"ended|cancelled")


if __name__ == "__main__":
    command.run_tests(__doc__)
