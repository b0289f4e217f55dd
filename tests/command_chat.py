#!/usr/bin/env python3
"""Tests weft chat as a program runs it: what cuts an answer, messages that do not fit, JSON, the commands inside a chat.

    python3 tests/command_chat.py build/release/bin/weft
"""
import json
import re
import unittest

import command


class Chat(unittest.TestCase):
    def test_cut_answers(self):
        code, out, err = command.weft("chat", command.model(), "-n", "3", stdin=b"Hello\nand again\n")
        self.assertEqual(code, 0, err)
        self.assertEqual(err.count(b"> "), 3)
        self.assertEqual(err.count(b" [cut by -n]"), 2)
        self.assertNotIn(b"context", err)
        code, out, err = command.weft("chat", command.model(), "--ctx", "64", stdin=b"Hello\n")
        self.assertEqual((code, err.count(b" [cut by the full context]")), (0, 1))

    def test_a_message_too_long(self):
        """It is told, nothing is added, and the conversation goes on; so it does when the context is full."""
        code, out, err = command.weft("chat", command.model(), "--ctx", "64", "-n", "5", stdin=b"a b c d " * 50 + b"\nHello\n" + b"a b c d " * 8 + b"\n")
        self.assertEqual((code, err.count(b"> "), err.count(b"weft: "), err.count(b" [cut by -n]")), (0, 4, 2, 1), err)
        self.assertEqual(command.weft("chat", command.model(), "--ctx", "64", "-n", "5", stdin=b"Hello\n")[1], out)

    def test_oldest_messages_make_room(self):
        """With --when-full drop: what was dropped is told, and the next prompt is without it. What can never fit is still refused."""
        chat = ["chat", command.model(), "--ctx", "96", "-n", "5", "--temp", "0", "--system", "Be brief.", "--json"]
        said = b"a b c d e f\nHello\na b c d e f g\nHi\n" + b"a b c d " * 50 + b"\n"
        alone = json.loads(command.weft(*chat, stdin=b"Hello\n")[1])["prompt_tokens"]
        for options, dropped, fits in (((), [None] * 5, "yynnn"), (("--when-full", "stop"), [None] * 5, "yynnn"),
                                       (("--when-full", "drop"), [None, None, 2, 2, None], "yyyyn")):
            code, out, err = command.weft(*chat, *options, stdin=said)
            answers = [json.loads(line) for line in out.splitlines()]
            self.assertEqual((code, "".join("yn"["error" in answer] for answer in answers)), (0, fits), err)
            self.assertEqual([answer.get("dropped") for answer in answers], dropped)
            self.assertEqual(err.count(b"weft: the context is full: dropped the oldest messages and answers (2)\n"), dropped.count(2))
        self.assertEqual(answers[2]["prompt_tokens"][:len(alone)], alone)

    def test_json(self):
        """An object for each answer, one with "error" for a message that cannot be added, and no prompts."""
        chat = ["chat", command.model(), "--ctx", "64", "-n", "5", "--temp", "0", "--json"]
        said = b"Hello\n" + b"a b c d " * 50 + b"\nHi\n"
        code, out, err = command.weft(*chat, stdin=said)
        first, refused, second = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, len(first["tokens"]), len(second["tokens"]), first["cut_by"]), (0, 5, 5, "-n"))
        self.assertEqual(second["prompt_tokens"][:len(first["prompt_tokens"]) + 5], first["prompt_tokens"] + first["tokens"])
        self.assertEqual(err, f"weft: {refused['error']}\n".encode())
        lines = [json.loads(line) for line in command.weft(*chat, "--stream", stdin=said)[1].splitlines()]
        self.assertEqual([line["token"] for line in lines if "token" in line], first["tokens"] + second["tokens"])

    def test_no_chat_format(self):
        """It is told before the device is opened."""
        path = command.FOLDER / "no template.gguf"
        path.write_bytes(command.model().read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_templat_"))
        code, out, err = command.weft("chat", path, "--backend", "nonsense")
        self.assertEqual((code, out), (2, b""))
        self.assertIn(b"no chat format", err)


class Commands(unittest.TestCase):
    def chat(self, *lines, temp="0", options=()):
        """The objects that a chat prints for these lines."""
        code, out, err = command.weft("chat", command.model(), "-n", "5", "--temp", temp, "--json", *options, stdin="\n".join(lines).encode() + b"\n")
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def test_save_and_load(self):
        """A conversation that another process has loaded goes on as the one that was saved."""
        path = command.FOLDER / "saved chat"
        first, saved, second = self.chat("Hello", f"/save {path}", "Hi")
        self.assertEqual(saved, {"done": "/save"})
        loaded, again = self.chat(f"/load {path}", "Hi")
        self.assertEqual(loaded, {"done": "/load"})
        self.assertEqual((again["prompt_tokens"], again["tokens"]), (second["prompt_tokens"], second["tokens"]))
        before, refused, after = self.chat("Hello", f"/load {path}x", "Hi")
        self.assertIn("cannot open", refused["error"])
        self.assertEqual((before["tokens"], after["tokens"]), (first["tokens"], second["tokens"]))

    def test_devices(self):
        """The conversation goes on where it was moved; another name leaves it where it is."""
        first, second = self.chat("Hello", "Hi")
        before, moved, refused, after = self.chat("Hello", "/device cpu", "/device nonsense", "Hi")
        self.assertEqual((moved, after["tokens"]), ({"done": "/device"}, second["tokens"]))
        self.assertIn("nonsense", refused["error"])
        self.assertEqual(self.chat("/device null", "Hello")[1]["backend"], "null")

    def test_system(self):
        given = self.chat("Hello", options=("--system", "Be brief."))[0]
        first, begun, second = self.chat("Hi", "/system Be brief.", "Hello")
        self.assertEqual(begun, {"done": "/system"})
        self.assertEqual(second["prompt_tokens"], given["prompt_tokens"])

    def test_undo(self):
        """The tokens are then those of a conversation without the message and its answer; a full context has room again."""
        alone, = self.chat("Hello", options=("--system", "Be brief."))
        first, undone, second, again, none = self.chat("Hi", "/undo", "Hello", "/undo", "/undo", options=("--system", "Be brief."))
        self.assertEqual((undone, again, none), ({"done": "/undo"}, {"done": "/undo"}, {"error": "there is no message yet"}))
        self.assertEqual((second["prompt_tokens"], second["tokens"]), (alone["prompt_tokens"], alone["tokens"]))
        small = ("--ctx", "48")
        full = self.chat("a b c d e f g h", "Hello", "/undo", "Hello", options=small)
        self.assertEqual([next(iter(answer)) for answer in full], ["prompt_tokens", "error", "done", "prompt_tokens"])
        self.assertEqual(full[3]["tokens"], self.chat("Hello", options=small)[0]["tokens"])

    def test_retry(self):
        """The same prompt, answered with other draws; the answer before is gone."""
        one, two, done, after = self.chat("Hello", "/retry", "Hi", temp="5")
        self.assertEqual(done, {"done": "/retry"})
        self.assertEqual(two["prompt_tokens"], one["prompt_tokens"])
        self.assertNotEqual(two["tokens"], one["tokens"])
        held = two["prompt_tokens"] + two["tokens"]
        self.assertEqual(after["prompt_tokens"][:len(held)], held)
        self.assertEqual(self.chat("/retry"), [{"error": "there is no message yet"}])

    def test_names_and_arguments(self):
        lines = ["/sav x", "/save", "/quit now", "/xylophone", " /quit", "/usr/bin", "/quit", "Hello"]
        near, bare, more, unknown, message, path = self.chat(*lines)[:-1]
        self.assertEqual(near["error"], "there is no /sav; did you mean /save?")
        self.assertEqual(bare["error"], "/save needs FILE")
        self.assertEqual(more["error"], "/quit takes no argument")
        self.assertIn("/help", unknown["error"])
        self.assertEqual((len(message["tokens"]), len(path["tokens"])), (5, 5))
        self.assertEqual(self.chat(*lines)[-1], {"done": "/quit"})
        code, out, err = command.weft("chat", command.model(), stdin=b"/help\n")
        for name in re.findall(r"(?m)^  (/[a-z]+) ", err.decode()):
            self.assertIn(f".B {name} ", command.weft("manual")[1].decode())
        self.assertIn(b"/device", err)


if __name__ == "__main__":
    command.run_tests(__doc__)
