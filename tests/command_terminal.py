#!/usr/bin/env python3
"""Tests the weft command on a terminal: what is typed and pasted, what is printed there, Ctrl-C.

    python3 tests/command_terminal.py build/release/bin/weft
"""
import fcntl
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

    def __init__(self, *arguments, streams=(0, 1, 2), environment={}):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        files = [theirs if stream in streams else subprocess.DEVNULL if stream == 0 else subprocess.PIPE for stream in range(3)]

        def control():
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([command.WEFT, *map(str, arguments)], stdin=files[0], stdout=files[1], stderr=files[2],
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


if __name__ == "__main__":
    command.run_tests(__doc__)
