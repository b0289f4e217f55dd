#!/usr/bin/env python3
"""Tests the weft command's tokens and chat templates.

    python3 tests/command_texts.py build/release/bin/weft
"""
import json
import pathlib
import tempfile
import unittest

import command


class Tokens(unittest.TestCase):
    def test_round_trip_of_any_bytes(self):
        for text in [b"", b"Hello", bytes(range(256)), "naïve 漢字 🙂 <|im_start|>".encode(), b"\xf0\x9f", b" \t\r\n  x"]:
            code, out, err = command.weft("tokenize", command.model(), "--json", stdin=text)
            self.assertEqual(code, 0, err)
            code, back, err = command.weft("detokenize", command.model(), stdin=out)
            self.assertEqual((code, back), (0, text), err)
            lines = command.weft("tokenize", command.model(), stdin=text)[1]
            self.assertEqual([int(line) for line in lines.split()], json.loads(out))

    def test_bad_ids(self):
        for text in [b"-1", b"1.5", b"x", b"999999999", b"99999999999999999999"]:
            code, out, err = command.weft("detokenize", command.model(), stdin=text)
            self.assertEqual((code, out), (1, b""), text)
            self.assertTrue(err)


class Template(unittest.TestCase):
    SOURCE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|eot_id|>\n{% endfor %}{{ tools | tojson if tools }}{{ x }}"

    def template(self, messages, *arguments, source=SOURCE, code=0):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("messages", json.dumps(messages)), ("template", source), ("tools", '[{"n": 1.50}]'), ("more", '{"x": "X"}')):
                pathlib.Path(folder, name).write_text(text)
            arguments = [argument.replace("FOLDER", folder) for argument in arguments]
            given, out, err = command.weft("template", command.model(), f"{folder}/messages", "--chat-template", f"{folder}/template", *arguments)
            self.assertEqual(given, code, err)
            return out.decode() if code == 0 else err.decode()

    def test_text(self):
        messages = [{"role": "user", "content": "Hi <|eot_id|> é"}]
        self.assertEqual(self.template(messages), "<|im_start|>user\nHi <|eot_id|> é<|eot_id|>\n")
        self.assertEqual(self.template(messages, "--tools", "FOLDER/tools", "--variables", "FOLDER/more"),
                         '<|im_start|>user\nHi <|eot_id|> é<|eot_id|>\n[{"n": 1.5}]X')
        self.assertEqual(self.template([], "--now", "2024-02-29T23:59:58", source="{{ strftime_now('%d %b %Y %H:%M:%S') }}"),
                         "29 Feb 2024 23:59:58")
        self.assertRegex(self.template([], source="{{ strftime_now('%Y') }}"), "^20[0-9][0-9]$")
        self.assertEqual(self.template(messages + [{"role": "assistant", "content": "One"}], "--continue"),
                         "<|im_start|>user\nHi <|eot_id|> é<|eot_id|>\n<|im_start|>assistant\nOne")

    def test_tokens(self):
        lines = self.template([{"role": "user", "content": "a<|eot_id|>"}], "--tokens").splitlines()
        tokens = [json.loads(line) for line in lines]
        self.assertEqual("".join(token["text"] for token in tokens), "<|im_start|>user\na<|eot_id|><|eot_id|>\n")
        self.assertEqual([token["from_template"] for token in tokens if token["text"] == "<|eot_id|>"], [True])
        self.assertEqual("".join(token["text"] for token in tokens if not token["from_template"]), "a<|eot_id|>")

    def test_refusals(self):
        self.assertIn("line 1, column 5: 'x' is undefined", self.template([], source="{{ x.y }}", code=1))
        self.assertIn("the template says: No.", self.template([], source="{{ raise_exception('No.') }}", code=1))
        self.assertIn("--now", self.template([], "--now", "today", code=2))
        self.assertIn("nowhere", self.template([], "--tools", "FOLDER/nowhere", code=1))
        code, out, err = command.weft("template", command.model(), "/nowhere")
        self.assertEqual((code, out), (1, b""))

    def prompt(self, *arguments):
        """The text that `weft run` makes of a prompt, and what it says."""
        code, out, err = command.weft("run", command.model(), "-p", "Hi", "--json", "-n", "1", *arguments)
        self.assertEqual(code, 0, err)
        ids = json.dumps(json.loads(out)["prompt_tokens"]).encode()
        return command.weft("detokenize", command.model(), "--special", stdin=ids)[1].decode(), err.decode()

    def test_run(self):
        """Prompts go through the same templates: the file's, a file, a name."""
        self.assertIn("Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", self.prompt()[0])
        text, said = self.prompt("--system", "Be brief.", "--chat-template", "phi3", "--begin", "So")
        self.assertEqual((text, said), ("<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nSo", ""))
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("t", "{{ tools[0].n if tools }}{{ x }}{{ messages[-1].content }}"), ("tools", '[{"n": 7}]'), ("more", '{"x": "X"}')):
                pathlib.Path(folder, name).write_text(text)
            text, said = self.prompt("--chat-template", f"{folder}/t", "--tools", f"{folder}/tools", "--variables", f"{folder}/more", "--system", "Be.")
            self.assertEqual(text, "7XBe.\n\nHi")
            self.assertIn("no place for a system message", said)
            pathlib.Path(folder, "t").write_text("{{ raise_exception('No.') }}")
            code, out, err = command.weft("run", command.model(), "-p", "Hi", "--chat-template", f"{folder}/t")
            self.assertEqual((code, out), (1, b""))
            self.assertIn(b"the template says: No.", err)
            code, out, err = command.weft("chat", command.model(), "--chat-template", "nonesuch")
            self.assertEqual((code, out), (1, b""))
            self.assertIn(b"chatml, llama2", err)


if __name__ == "__main__":
    command.run_tests(__doc__)
