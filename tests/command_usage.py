#!/usr/bin/env python3
"""Tests how the weft command is called: exit statuses, help, nearest names, the man page and the completions of shells.

    python3 tests/command_usage.py build/release/bin/weft
"""
import re
import shutil
import subprocess
import unittest

import command


class Usage(unittest.TestCase):
    def test_exit_statuses(self):
        usage = [[], ["nonsense"], ["run"], ["run", "a", "b", "c"], ["run", "-m", "a", "b", "c"], ["run", "a", "b", "-p", "c"], ["run", "a", "-p", "b", "-f", "c"],
                 ["run", "a", "-p", "b", "-p", "c"], ["run", "a", "--raw", "--raw"], ["chat", "a", "b"], ["chat", "-m", "a", "b"],
                 ["help", "nonsense"], ["help", "run", "chat"], ["--help", "run"], ["--version", "run"], ["run", "a", "--max-rows", "3"],
                 ["run", "a", "--temp", "hot"], ["run", "a", "-n", "0"], ["run", "a", "--raw", "--chat"], ["run", "a", "--raw", "--system", "b"],
                 ["run", "a", "--precision", "exactly"], ["run", "a", "--nonsense"], ["run", "a", "--temp"], ["bench", "a", "--repeat", "-1"],
                 ["-Z"], ["--nonsense"], ["-m"], ["--ctx", "64"], ["perplexity", command.model(), __file__, "--ctx", "1"],
                 ["synth", "nonsense", command.FOLDER / "x.gguf"], ["synth", "tiny", command.FOLDER / "x.gguf", "--type", "Q5"], ["quantize", "a", "b", "--type", "Q5"]]
        for arguments in usage:
            code, out, err = command.weft(*arguments)
            self.assertEqual((code, out), (2, b""), arguments)
            self.assertTrue(err, arguments)
        for arguments in [["run", "/nonexistent.gguf"], ["inspect", __file__], ["run", command.model(), "-p", "x", "--backend", "nonsense"]]:
            code, out, err = command.weft(*arguments)
            self.assertEqual((code, out), (1, b""), arguments)
            self.assertTrue(err.startswith(b"weft: "), err)
        self.assertFalse((command.FOLDER / "x.gguf").exists())

    def test_help(self):
        for arguments in [["--help"], ["help"], ["--version"], ["run", "--help"], ["help", "run"], ["bench", "--help"]]:
            code, out, err = command.weft(*arguments)
            self.assertEqual((code, err), (0, b""), arguments)
            self.assertTrue(out)
        self.assertEqual(command.weft("help", "run"), command.weft("run", "--help"))

    def test_manual_and_completion(self):
        """Both have every option of every command, whatever the tables hold; where programs that read them are installed, they do."""
        manual, shells = command.weft("manual")[1].decode(), {shell: command.weft("completion", shell)[1].decode() for shell in ("bash", "zsh", "fish")}
        for verb in re.findall(r"(?m)^  ([a-z]+) ", command.weft("help")[1].decode()):
            self.assertIn(f".SS weft {verb} ", manual)
            section = manual.split(f".SS weft {verb} ")[1].split(".S")[0]
            block = {shell: re.search(rf"(?s)\n    {verb}\)(.*?) ;;\n    (?! )", shells[shell])[1] for shell in ("bash", "zsh")}
            for letter, name in re.findall(r"(?m)^  (?:-(.),)? *--([a-z-]+) ", command.weft("help", verb)[1].decode()):
                if name == "help":
                    continue
                self.assertIn("\\-\\-" + name.replace("-", "\\-"), section)
                self.assertRegex(block["bash"], rf"options='[^']* --{name}[ ']")
                self.assertIn(f"--{name}", block["zsh"])
                self.assertIn(f"complete -c weft -n '__weft_is {verb}' -l {name} " + (f"-s {letter} " if letter else ""), shells["fish"])
        for shell, text in shells.items():
            if shutil.which(shell):
                done = subprocess.run([shell, "-n"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual((done.returncode, done.stdout), (0, b""), shell)
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-ww", "-man", "-Tutf8"], input=manual.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(done.stderr, b"")
        self.assertEqual(command.weft("completion", "tcsh")[0], 2)

    def test_bash_completes(self):
        def complete(*words):
            script = 'eval "$(%s completion bash)"; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _weft; echo "${COMPREPLY[@]}"' % command.WEFT
            return subprocess.run(["bash", "-c", script, "bash", *words], stdout=subprocess.PIPE).stdout.decode().split()
        self.assertEqual(complete("weft", "insp"), ["inspect"])
        self.assertEqual(complete("weft", "run", "model.gguf", "--prec"), ["--precision"])
        self.assertEqual(complete("weft", "run", "model.gguf", "--precision", ""), ["fast", "exact"])
        self.assertIn("--system", complete("weft", "model.gguf", "--s"))
        self.assertEqual(complete("weft", "run", "mod"), [])
        self.assertEqual(complete("weft", "he"), ["help"])
        self.assertEqual(complete("weft", "help", "insp"), ["inspect"])
        self.assertEqual(complete("weft", "completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(complete("weft", "run", "--precision", "="), ["fast", "exact"])  # bash divides words at "="
        self.assertEqual(complete("weft", "run", "--precision", "=", "ex"), ["exact"])
        for chat in (["--tem"], ["-m", "model.gguf", "--tem"], ["./model", "--tem"]):
            self.assertEqual(complete("weft", *chat), ["--temp"])

    def test_fish_completes(self):
        if not shutil.which("fish"):
            self.skipTest("no fish")
        def complete(line):
            script = f"{command.WEFT} completion fish | source; complete -C '{line}'"
            done = subprocess.run(["fish", "--no-config", "-c", script], cwd=command.FOLDER, stdout=subprocess.PIPE)
            return [row.split("\t")[0] for row in done.stdout.decode().splitlines()]
        for line, expected in (("weft he", "help"), ("weft help insp", "inspect"), ("weft completion b", "bash"), ("weft run --prec", "--precision"),
                               ("weft run --precision=e", "--precision=exact"), ("weft -m model.gguf --tem", "--temp"), ("weft model.gguf --tem", "--temp")):
            self.assertEqual(complete(line), [expected], line)

    def test_nearest_names(self):
        for arguments, name in [(["rnu"], b"run?"), (["help", "inspct"], b"inspect?"), (["run", "a", "--promt", "x"], b"--prompt?"),
                                (["run", "a", "--chat-templates=x"], b"--chat-template?"), (["bench", "--hlep"], b"--help?"),
                                (["synth", "tinny", "x"], b"tiny?"), (["quantize", "a", "b", "--type", "Q4_KM"], b"Q4_K_M?")]:
            code, out, err = command.weft(*arguments)
            self.assertEqual((code, out), (2, b""), arguments)
            self.assertIn(b"did you mean " + name, err)
        for arguments, name in [(["hlep"], b"help?"), (["--hlep"], b"--help?"), (["-m", "a", "--temmp"], b"--temp?"),
                                (["check", "--op", "mul_mta"], b"mul_mat?"), (["check", "--type", "Q4K"], b"Q4_K?"),
                                (["bench", "--ops", "--op", "roep"], b"rope?"), (["bench", "--ops", "--type", "IQ4_X"], b"IQ4_XS?")]:
            code, out, err = command.weft(*arguments)
            self.assertEqual((code, out), (2, b""), arguments)
            self.assertIn(b"did you mean " + name, err)
        for arguments in [["xylophones"], ["run", "a", "--xylophones"], ["run", "a", "-Z"]]:
            self.assertNotIn(b"did you mean", command.weft(*arguments)[2])

    def test_why_an_option_is_refused(self):
        for arguments, reason in [(["run", "a", "-Zq"], b"there is no option -Z\n"), (["run", "a", "--raw=5"], b"--raw takes no value\n"),
                                  (["run", "a", "--help=5"], b"--help takes no value\n"), (["run", "a", "--se", "5"], b"--seed "),
                                  (["run", "a", "--st", "b"], b"--st can be the beginning of --stream, --stop\n"),
                                  (["manual", "a"], b"usage: weft manual; ")]:
            code, out, err = command.weft(*arguments)
            self.assertIn(reason, err if code == 2 else b"--seed ", arguments)

    def test_numbers_in_messages_are_whole(self):
        self.assertIn(b"a whole number from 1 to 16777216, not", command.weft("run", "a", "-n", "0")[2])
        self.assertIn(b"a power of two from 1 to 512, not", command.weft("run", "a", "--max-rows", "48")[2])
        self.assertIn(b"a number from 0 to 1, not", command.weft("run", "a", "--top-p", "2")[2])

    def test_ways_to_give_model_and_prompt(self):
        prompt = command.FOLDER / "prompt.txt"
        prompt.write_text("Once upon")
        rest = ["--raw", "-n", "4"]
        expected = command.weft("run", command.model(), "-p", "Once upon", *rest)[:2]
        self.assertEqual(expected[0], 0)
        for arguments in [[command.model(), "Once upon"], ["-m", command.model(), "Once upon"], ["-m", command.model(), "-f", prompt], [command.model(), "--file", prompt]]:
            self.assertEqual(command.weft("run", *arguments, *rest)[:2], expected, arguments)
        self.assertEqual(command.weft("run", command.model(), "-f", "-", *rest, stdin=b"Once upon")[:2], expected)
        for path, reason in ((command.FOLDER / "none.txt", "No such file"), (command.FOLDER, "Is a directory")):
            code, out, err = command.weft("run", command.model(), "-f", path, *rest)
            self.assertEqual((code, out), (1, b""))
            self.assertRegex(err.decode(), f"weft: .*{path}: .*{reason}")

    def test_a_model_alone_is_a_chat(self):
        for arguments in (["/nonexistent.gguf"], ["/nonexistent"], ["-m", "nonexistent"], ["--ctx", "64", "nonexistent"], ["-c64", "nonexistent"]):
            code, out, err = command.weft(*arguments)
            self.assertEqual((code, out), (1, b""), arguments)
            self.assertIn(b"cannot open", err)
        shutil.copy(command.model(), command.FOLDER / "model")
        chat = ["--temp", "0", "-n", "3"]
        expected = command.weft("chat", command.model(), *chat, stdin=b"Hello\n")
        for arguments in ([command.FOLDER / "model", *chat], ["-m", command.model(), *chat], [*chat, command.model()]):
            self.assertEqual(command.weft(*arguments, stdin=b"Hello\n"), expected, arguments)
        done = subprocess.run([command.WEFT, "model", *chat], cwd=command.FOLDER, input=b"Hello\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout, done.stderr), expected)


if __name__ == "__main__":
    command.run_tests(__doc__)
