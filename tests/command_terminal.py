#!/usr/bin/env python3
"""Tests the weft command on a terminal: what is typed and pasted, what is printed there, Ctrl-C.

    python3 tests/command_terminal.py build/release/bin/weft
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

import command


class Terminal:
    """The command on a pseudoterminal of 200 columns; `streams` are those that it has there, the others are files of their own."""

    def __init__(self, *arguments, streams=(0, 1, 2), environment={}, program=None):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        files = [theirs if stream in streams else subprocess.DEVNULL if stream == 0 else subprocess.PIPE for stream in range(3)]

        def control():
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([program or command.WEFT, *map(str, arguments)], stdin=files[0], stdout=files[1], stderr=files[2],
                                        preexec_fn=control, env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
        self.theirs, self.seen = theirs, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        os.close(self.ours)
        os.close(self.theirs)

    def type(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        while data:  # the terminal takes some 4,000 bytes at a time
            self.look(0)
            data = data[os.write(self.ours, data[:256]):]

    def look(self, seconds):
        """Takes what the command has printed; False if there was nothing."""
        if not select.select([self.ours], [], [], seconds)[0]:
            return False
        self.seen += os.read(self.ours, 65536)
        return True

    def expect(self, pattern, seconds=60):
        """Waits for a pattern in what is printed, and gives all up to its end."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern.encode() if isinstance(pattern, str) else pattern, self.seen)):
            if not self.look(0.1) and (time.monotonic() > end or self.process.poll() is not None and not self.look(0.1)):
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
        before, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return before

    def end(self, seconds=60):
        """The exit status and the rest of what was printed."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.look(0.05)
        while self.look(0.05):
            pass
        return self.process.returncode, self.seen


def controls(text):
    """What steers a terminal, but line ends and tabs."""
    return re.findall(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", text)


def named_model(name):
    """A model whose name and chat template hold the text, which is as long as "Random tiny"."""
    path = command.FOLDER / "named.gguf"
    data = command.model().read_bytes()
    assert len(name.encode()) == len(b"Random tiny")
    path.write_bytes(data.replace(b"Random tiny", name.encode()))
    return path


class Printed(unittest.TestCase):
    def test_texts_are_escaped_on_a_terminal_alone(self):
        """An answer, the text of ids, a rendered conversation: escapes on a terminal, the bytes themselves in a pipe."""
        ids = command.weft("tokenize", command.model(), "--json", stdin="a\x1b[2J\tb\x9bc\nd".encode())[1]
        messages = command.FOLDER / "messages"
        messages.write_text('[{"role": "user", "content": "a\\u001b[2J\\tb\\u009bc\\nd"}]')
        shown = rb"a\\x1b\[2J +b\\u009bc\r\nd|a\\x1b\[2J\tb\\u009bc\r\nd"
        with Terminal("template", command.model(), messages, "--chat-template", "chatml") as terminal:
            code, out = terminal.end()
        self.assertEqual(code, 0)
        self.assertRegex(out, shown)
        self.assertEqual(controls(out), [])
        self.assertIn("a\x1b[2J\tb\x9bc\nd".encode(), command.weft("template", command.model(), messages, "--chat-template", "chatml")[1])
        self.assertEqual(command.weft("detokenize", command.model(), stdin=ids)[1], "a\x1b[2J\tb\x9bc\nd".encode())
        with Terminal("detokenize", command.model(), streams=(0, 1)) as terminal:
            terminal.type(ids + b"\n\x04")
            terminal.expect(shown)

    def test_answers_are_escaped_on_a_terminal_alone(self):
        """Random weights choose any bytes, controls among them."""
        run = ["run", command.model(), "--raw", "-p", "abc", "--ignore-end", "-n", "600", "--temp", "1.5"]
        piped = command.weft(*run)[1]
        self.assertTrue(controls(piped))
        with Terminal(*run, streams=(1,)) as terminal:
            code, out = terminal.end()
        self.assertEqual((code, controls(out)), (0, []))
        self.assertIn(b"\\x", out)

    def test_usage_and_json(self):
        code, _, err = command.weft("run", "a", "--tmep\x1b[2J", "x")
        self.assertEqual((code, controls(err)), (2, []))
        ids = command.weft("tokenize", command.model(), "--json", stdin="\x9b\x7f".encode())[1]
        self.assertTrue(ids)
        out = command.weft("inspect", named_model("R\x1b[2J\x9b\x07é!"), "--json")[1]
        self.assertEqual(controls(out), [])
        self.assertIn(b"\\u009b", out)


MODES = {"edited": "xterm", "plain": "dumb"}  # with libedit, where weft was built with it, and without


class Typed(unittest.TestCase):
    chat = ["-n", "2", "--temp", "0", "--ctx", "256", "--json"]

    def piped(self, text):
        out = command.weft("chat", command.model(), *self.chat, stdin=text.encode())[1]
        return [self.heard(line) for line in out.splitlines()]

    def heard(self, line):
        """What the command took a message for: its tokens, or how many do not fit."""
        answer = json.loads(line)
        return answer.get("prompt_tokens") or answer["error"]

    def typed(self, mode, typed, n):
        """The same of n messages that are typed once the command reads."""
        with Terminal("chat", command.model(), *self.chat, streams=(0, 2), environment={"TERM": MODES[mode]}) as terminal:
            self.ready(terminal)
            terminal.type(typed)
            given = [self.heard(terminal.process.stdout.readline()) for _ in range(n)]
            terminal.type("\x04")
            self.assertEqual(terminal.end()[0], 0)
            self.assertTrue(termios.tcgetattr(terminal.theirs)[3] & termios.ICANON, "the terminal has its mode again")
            return given

    def ready(self, terminal):
        end = time.monotonic() + 60
        while termios.tcgetattr(terminal.theirs)[3] & termios.ICANON and time.monotonic() < end:
            time.sleep(0.01)

    def test_long_lines_and_pastes(self):
        """A line of more than 4,095 bytes, a paste of several lines, text after it: one message each."""
        long = "ab c" * 2500  # more than the context has room for
        for mode in MODES:
            expected = self.piped(f"{long}\none\\\ntwo é\\\n\\\nthree!\nend\n")
            typed = f"{long}\r\x1b[200~one\rtwo é\r\n\nthree\x1b[201~!\rend\r"
            self.assertEqual(self.typed(mode, typed, 3), expected, mode)

    def test_editing(self):
        expected = self.piped("Hello é\nto be\n")
        for mode in MODES:
            self.assertEqual(self.typed(mode, "Helxé\x7f\x7flo 漢\x7fé\rnever\x15to b\x1b[Ce\r", 2), expected, mode)

    def test_history(self):
        if "libedit" not in subprocess.run(["ldd", command.WEFT], stdout=subprocess.PIPE).stdout.decode():
            self.skipTest("built without libedit")
        expected = self.piped("one\\\nmore\nand\none\\\nmore!\n")
        self.assertEqual(self.typed("edited", "\x1b[200~one\rmore\x1b[201~\rand\r\x1b[A\x1b[A!\r", 3), expected)

    def test_the_end_of_input_ends_the_line(self):
        """What the shell prints next begins a line."""
        for mode in MODES:
            with Terminal("chat", command.model(), environment={"TERM": MODES[mode]}) as terminal:
                terminal.expect("> ")
                terminal.type("\x04")
                self.assertRegex(terminal.end()[1].replace(b"\x1b[?2004l", b""), rb"\r\n$", mode)

    def test_a_long_prompt_has_a_bar(self):
        """It is wiped before the answer, also where the prompt is stopped; a prompt of one step has none."""
        with Terminal("chat", command.model(), "--max-rows", "1", "-n", "2") as terminal:
            terminal.expect("> ")
            terminal.type("a b c d " * 50 + "\r")
            terminal.expect(r"\[#* *\] +\d+ % of \d+ tokens (?s:.*)\r {50}\r")
            terminal.expect(r"\[cut by -n\]\r\n(?s:.*)> ")
            terminal.type("a b c d " * 150 + "\r")
            terminal.expect(" % of [0-9]+ tokens ")
            terminal.type("\x03")
            terminal.expect(r"\r {50}\r \[stopped\]\r\n(?s:.*)> ")
        with Terminal("run", command.model(), "-n", "2", "-p", "a b c d " * 50) as terminal:
            self.assertNotIn(b" tokens \r", terminal.end()[1])

    def test_interrupts(self):
        """Ctrl-C drops a line; an answer it ends; the conversation goes on."""
        for mode in MODES:
            with Terminal("chat", command.model(), environment={"TERM": MODES[mode]}) as terminal:
                terminal.expect("> ")
                terminal.type("dropped")
                terminal.expect("dropped")
                terminal.type("\x03")
                terminal.expect("> ")
                terminal.type("Hello\r")
                terminal.expect(r"Hello[\r\n]+(?s:.{30})")
                terminal.type("\x03")
                terminal.expect(r"\[stopped\]\r\n(?s:.*)> ")
                terminal.type("\x04")
                self.assertEqual(terminal.end()[0], 0, mode)

    def test_stops(self):
        """Ctrl-Z gives the shell its terminal; after `fg` the chat has its own again. Where there is no shell, nothing stops."""
        for mode in MODES:
            with Terminal("--norc", "--noprofile", "-i", environment={"TERM": MODES[mode], "PS1": "shell: "}, program="bash") as terminal:
                terminal.expect("shell: ")
                terminal.type(f"{command.WEFT} chat {command.model()} -n 2\r")
                terminal.expect("-n 2(?s:.*)> ")
                terminal.type("\x1a")
                terminal.expect("Stopped(?s:.*)shell: ")
                terminal.type("stty -a\r")
                terminal.expect(" icanon(?s:.*) echo (?s:.*)shell: ")
                terminal.type("fg\r")
                terminal.expect("chat .* -n 2\r\n")
                terminal.type("Hello\r")
                terminal.expect(r"\[cut by -n\]\r\n(?s:.*)> ")
                terminal.type("\x04")
                terminal.expect("shell: ")
                terminal.type("exit\r")
                self.assertEqual(terminal.end()[0], 0)
            with Terminal("chat", command.model(), "-n", "2", environment={"TERM": MODES[mode]}) as terminal:
                terminal.expect("> ")
                terminal.type("\x1aHello\r")
                terminal.expect(r"\[cut by -n\]\r\n(?s:.*)> ")
                self.assertFalse(termios.tcgetattr(terminal.theirs)[3] & termios.ICANON)

    def test_signals_give_the_terminal_back(self):
        for mode in MODES:
            with Terminal("chat", command.model(), environment={"TERM": MODES[mode]}) as terminal:
                terminal.expect("> ")
                self.assertFalse(termios.tcgetattr(terminal.theirs)[3] & termios.ICANON)
                terminal.process.send_signal(signal.SIGTERM)
                code, out = terminal.end()
                self.assertEqual(code, -signal.SIGTERM)
                self.assertTrue(termios.tcgetattr(terminal.theirs)[3] & termios.ICANON)
                self.assertEqual(b"\x1b[?2004l" in out, mode == "edited")

    def test_a_closed_output_gives_the_terminal_back(self):
        with Terminal("chat", command.model(), streams=(0, 2)) as terminal:
            terminal.expect("> ")
            terminal.process.stdout.close()
            terminal.type("Hello\r")
            self.assertEqual(terminal.end()[0], -signal.SIGPIPE)
            self.assertTrue(termios.tcgetattr(terminal.theirs)[3] & termios.ICANON)

    def test_a_line_that_a_terminal_cuts_is_told(self):
        """Where standard input is read as a whole, the terminal itself edits lines, and cuts them after 4,095 bytes."""
        with Terminal("tokenize", command.model()) as terminal:
            terminal.type("ab c" * 2500 + "\n\x04")
            code, out = terminal.end()
        self.assertEqual(code, 1)
        self.assertIn(b"a line has 4095 bytes", out)


if __name__ == "__main__":
    command.run_tests(__doc__)
