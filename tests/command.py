#!/usr/bin/env python3
"""Tests the weft command as a user runs it: stdout and stderr, JSON, Ctrl-C; and what its other tests share.

    python3 tests/command.py build/release/bin/weft
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

WEFT = None
FOLDER = None


def weft(*arguments, stdin=b"", environment={}):
    done = subprocess.run([WEFT, *map(str, arguments)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300,
                          env={**os.environ, **environment})
    return done.returncode, done.stdout, done.stderr


def model(shape="tiny", mix="Q4_0"):
    path = FOLDER / f"{shape}-{mix}.gguf"
    if not path.exists():
        code, _, err = weft("synth", shape, path, "--type", mix)
        assert code == 0, err
    return path


def interrupt(process):
    """Ctrl-C once the process has computed for a second: the model is loaded by then, on a busy machine too."""
    while process.poll() is None:
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        if int(fields[11]) + int(fields[12]) >= os.sysconf("SC_CLK_TCK"):
            process.send_signal(signal.SIGINT)
            return
        time.sleep(0.05)


def run_tests(documentation):
    """Runs the tests of the script that was started, with the command of the first argument and a folder of their own."""
    global WEFT, FOLDER
    if len(sys.argv) < 2:
        sys.exit(documentation)
    WEFT = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        FOLDER = pathlib.Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(FOLDER / "cache")  # not the user's own
        os.environ["MESA_SHADER_CACHE_DISABLE"] = "true"  # which would lie in the same folders
        unittest.main()


class Interrupts(unittest.TestCase):
    def interrupted(self, *arguments):
        process = subprocess.Popen([WEFT, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        interrupt(process)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, (out, err))
        self.assertRegex(err, b"weft: .*(stopped|cancelled)")
        return out

    def test_while_the_prompt_is_read(self):
        """Before the first token: no success, whatever the command waits for."""
        prompt = "abc " * 30000
        self.assertEqual(self.interrupted("run", model(), "--raw", "-p", prompt, "--ctx", "100000", "--max-rows", "1"), b"")
        got = json.loads(self.interrupted("run", model(), "--raw", "-p", prompt, "--ctx", "100000", "--max-rows", "1", "--json"))
        self.assertEqual((got["tokens"], got["finish_reason"]), ([], "cancelled"))
        text = FOLDER / "long text"
        text.write_text(prompt)
        self.assertEqual(self.interrupted("perplexity", model(), text, "--ctx", "20000", "--max-rows", "1"), b"")
        self.assertEqual(self.interrupted("bench", model(), "-p", "20000", "-n", "4", "--ctx", "30000", "--max-rows", "1"), b"")


    def wait_until_caught(self, process):
        """Until the process catches Ctrl-C."""
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while not int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) & 1 << signal.SIGINT - 1:
            time.sleep(0.001)

    def test_while_the_model_loads(self):
        """As soon as the signal is caught, which is before the model is opened: nothing is computed, and the status is 130."""
        long = ["--ctx", "100000", "--max-rows", "1"]
        for arguments in [["run", model(), "--raw", "-p", "abc", "-n", "90000", "--ignore-end", *long],
                          ["bench", model(), "-p", "90000", "-n", "4", *long]]:
            told = 0
            for _ in range(20):  # the system may let the process go on for long before this one
                process = subprocess.Popen([WEFT, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE)
                self.wait_until_caught(process)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 130, (out, err))
                told = told or (out == b"" and b"weft: loading was cancelled after 0.0 of " in err)
                if told:
                    break
            self.assertTrue(told, (out, err))

    def test_while_standard_input_is_read(self):
        ours, theirs = os.pipe()
        process = subprocess.Popen([WEFT, "run", model()], stdin=ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait_until_caught(process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        self.assertEqual((process.returncode, out), (130, b""))
        self.assertIn(b"stopped", err)


class Streams(unittest.TestCase):
    def closed(self, streams, *arguments):
        def close():
            for stream in streams:
                os.close(stream)
        done = subprocess.run([WEFT, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, preexec_fn=close)
        return done.returncode, done.stdout, done.stderr

    def test_closed_streams(self):
        """No file that is opened gets the number of a closed stream: neither is a model read as a prompt nor an answer written into one."""
        run = ["run", model(), "--raw", "-n", "2", "--ignore-end"]
        code, out, err = self.closed([0], *run)
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"cannot read the input", err)
        code, out, err = self.closed([0], *run, "-p", "abc")
        self.assertEqual((code, bool(out)), (0, True), err)
        code, out, err = self.closed([1], *run, "-p", "abc")
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"cannot write to standard output", err)
        code, again, err = self.closed([2], *run, "-p", "abc")
        self.assertEqual((code, again, err), (0, self.closed([], *run, "-p", "abc")[1], b""))
        self.assertEqual(self.closed([0, 1, 2], *run, "-p", "abc")[0], 1)
        before = model().read_bytes()
        self.assertEqual(self.closed([0, 1, 2], "synth", "tiny", FOLDER / "closed.gguf", "--type", "Q4_0")[0], 0)
        self.assertEqual((FOLDER / "closed.gguf").read_bytes(), before)


class Run(unittest.TestCase):
    def run_json(self, *arguments, stdin=b"", path=None):
        code, out, err = weft("run", path or model(), "--json", *arguments, stdin=stdin)
        self.assertEqual(code, 0, err)
        self.assertEqual(out.count(b"\n"), 1)
        return json.loads(out)

    def test_json(self):
        got = self.run_json("--raw", "-p", "Hello, world", "--backend", "cpu", "-n", "7", "--ignore-end", "--logprobs", "3", "--prompt-logprobs", "2")
        self.assertEqual(len(got["tokens"]), 7)
        self.assertEqual(got["finish_reason"], "length")
        self.assertEqual(got["backend"], "cpu")
        self.assertTrue(got["device"])
        self.assertEqual(len(got["logprobs"]), 7)
        self.assertEqual(len(got["prompt_logprobs"]), len(got["prompt_tokens"]) - 1)
        for token, entries in zip(got["tokens"] + got["prompt_tokens"][1:], got["logprobs"] + got["prompt_logprobs"]):
            self.assertIn(token, [entry["id"] for entry in entries])
            self.assertTrue(all(entry["logprob"] <= 1e-6 for entry in entries))
        self.assertGreater(got["prefill_tokens_per_s"], 0)
        self.assertGreater(got["decode_tokens_per_s"], 0)

    def test_json_stream(self):
        """An object for each token before the one at the end, each as soon as the token is chosen."""
        run = ["run", model(), "--raw", "-p", "abc", "--ignore-end", "--logprobs", "2", "--json"]
        code, out, err = weft(*run, "-n", "9", "--stream")
        self.assertEqual((code, err), (0, b""))
        *pieces, last = [json.loads(line) for line in out.splitlines()]
        whole = json.loads(weft(*run, "-n", "9")[1])
        for name in ("tokens", "text", "logprobs", "finish_reason", "prompt_tokens"):
            self.assertEqual(last[name], whole[name])
        self.assertEqual([piece["token"] for piece in pieces if "token" in piece], last["tokens"])
        self.assertEqual("".join(piece["text"] for piece in pieces), last["text"])
        self.assertEqual([piece["logprobs"] for piece in pieces if "token" in piece], last["logprobs"])
        self.assertEqual(weft("run", model(), "-p", "abc", "--stream")[0], 2)
        process = subprocess.Popen([WEFT, *map(str, run), "--stream", "--ctx", "100000"], bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = os.read(process.stdout.fileno(), 1 << 20)  # whole lines: the command gives away each when it is complete
        self.assertIn("token", json.loads(first.splitlines()[0]))
        self.assertTrue(first.endswith(b"}\n"), first[-80:])
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, json.loads(out.splitlines()[-1])["finish_reason"]), (130, "cancelled"), err)

    def test_greedy_is_the_most_likely(self):
        got = self.run_json("--raw", "-p", "abc", "-n", "5", "--ignore-end", "--logprobs", "1", "--precision", "exact")
        self.assertEqual(got["tokens"], [entries[0]["id"] for entries in got["logprobs"]])

    def test_same_seed_same_tokens(self):
        sampled = ["--raw", "-p", "abc", "-n", "20", "--ignore-end", "--temp", "1.5", "--top-k", "50", "--top-p", "0.95", "--min-p", "0.01"]
        first = self.run_json(*sampled, "--seed", "5")["tokens"]
        self.assertEqual(first, self.run_json(*sampled, "--seed", "5")["tokens"])
        self.assertNotEqual(first, self.run_json(*sampled, "--seed", "6")["tokens"])

    def test_sampling_options(self):
        """Stop texts, biases, penalties, schemas; and a random seed is another one each time."""
        run = ["--raw", "-p", "abc", "-n", "20", "--precision", "exact"]
        plain = self.run_json(*run, "--ignore-end")
        stop = plain["text"][4:7]
        stopped = self.run_json(*run, "--ignore-end", "--stop", "never said", "--stop", stop)
        self.assertEqual((stopped["text"], stopped["finish_reason"]), (plain["text"][:plain["text"].index(stop)], "stop"))
        biased = self.run_json(*run, "--ignore-end", "--logit-bias", "9=1e9", "--logit-bias", "5=1e8")
        self.assertEqual(biased["tokens"], [9] * 20)
        varied = self.run_json(*run, "--ignore-end", "--presence-penalty", "1000", "--repeat-last-n", "-1")
        self.assertEqual(len(set(varied["tokens"] + varied["prompt_tokens"])), 20 + len(varied["prompt_tokens"]))
        for off in (["--presence-penalty", "1000", "--repeat-last-n", "0"], ["--dry-multiplier", "5", "--dry-penalty-last-n", "0"]):
            self.assertEqual(self.run_json(*run, "--ignore-end", *off)["tokens"], plain["tokens"])
        schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}, "required": ["a", "b"]}
        got = json.loads(self.run_json(*run, "--json-schema", json.dumps(schema), "--temp", "1")["text"])
        self.assertTrue(isinstance(got["a"], int) and got["b"] in ("x", "y"), got)
        (FOLDER / "grammar").write_text('root ::= "yes" | "no"')
        self.assertIn(self.run_json(*run, "--grammar-file", FOLDER / "grammar")["text"], ("yes", "no"))
        random = [*run, "--ignore-end", "--temp", "5", "--seed", "random"]
        self.assertNotEqual(self.run_json(*random)["tokens"], self.run_json(*random)["tokens"])
        for wrong in (["--logit-bias", "5"], ["--logit-bias", "x=1"], ["--logit-bias", "5=inf"], ["--stop", ""], ["--seed", "any"],
                      ["--grammar", "x", "--json-schema", "{}"], ["--json-schema", "{}", "--ignore-end"], ["--repeat-penalty", "0"]):
            self.assertEqual(weft("run", model(), "-p", "a", *wrong)[0], 2, wrong)
        self.assertEqual(weft("run", model(), "-p", "a", "--json-schema", "{")[0], 1)

    def test_stdin_is_taken_as_it_is(self):
        text = b"line one\n\xff\xfe\x00 odd bytes\r\n"
        ids = json.loads(weft("tokenize", model(), "--special", "--json", stdin=text)[1])
        self.assertEqual(self.run_json("--raw", "-n", "1", stdin=text)["prompt_tokens"], ids)

    def test_stream(self):
        code, out, err = weft("run", model(), "--raw", "-p", "abc", "-n", "5", "--ignore-end")
        self.assertEqual(code, 0)
        self.assertIn(b"tokens/s", err)
        self.assertNotIn(b"tokens/s", out)

    def test_cut_answers(self):
        """What cut an answer is told: -n or the context."""
        for options, cut in ((["-n", "5"], "-n"), (["--ctx", "16"], "the full context"), (["--ctx", "16", "-n", "5"], "-n")):
            run = ["--raw", "-p", "abc", "--ignore-end", *options]
            got = self.run_json(*run)
            self.assertEqual((got["finish_reason"], got["cut_by"]), ("length", cut))
            self.assertTrue(weft("run", model(), *run)[2].endswith(f"weft: the answer was cut by {cut} after {len(got['tokens'])} tokens\n".encode()))

    def test_too_long_a_prompt(self):
        code, out, err = weft("run", model(), "--raw", "--ctx", "16", stdin=b"a b c d e f " * 20)
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"16", err)

    def test_interrupt(self):
        process = subprocess.Popen([WEFT, "run", model(), "--raw", "-p", "abc", "--ignore-end", "--ctx", "100000", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        interrupt(process)
        out, err = process.communicate(timeout=60)
        reason = json.loads(out)["finish_reason"]
        self.assertIn(reason, ("cancelled", "length"))
        self.assertEqual(process.returncode, 130 if reason == "cancelled" else 0, err)
        self.assertEqual(b"stopped" in err, reason == "cancelled")


class Files(unittest.TestCase):
    def test_inspect(self):
        code, out, _ = weft("inspect", model(), "--json", "--ctx", "256")
        self.assertEqual(code, 0)
        got = json.loads(out)
        self.assertTrue(got["tensors"] and got["metadata"])
        device = next(entry for entry in got["devices"] if entry["id"].startswith("cpu"))
        self.assertEqual(device["total"], device["weights"] + device["states"] + device["arena"] + device["rings"])
        self.assertEqual(sum(entry["bytes"] for entry in got["tensors"]), got["weight_bytes"])
        # Keys and values in F16 for every position and layer; besides them only page tables are states.
        kv_cache = 256 * got["n_layers"] * 2 * got["n_kv_heads"] * got["head_dim"] * 2
        self.assertGreaterEqual(device["states"], kv_cache)
        self.assertLess(device["states"], kv_cache + 4096)
        self.assertGreater(device["memory_free"], 0)
        # A device that does not know its memory has no figure for it.
        [device] = json.loads(weft("inspect", model(), "--json", "--backend", "null")[1])["devices"]
        self.assertIsNone(device["memory_free"])
        self.assertRegex(weft("inspect", model(), "--backend", "null")[1], rb"\nnull:0: .* MB[^\n]*\n")
        self.assertNotIn(b"free", weft("inspect", model(), "--backend", "null")[1])

    def test_no_more_memory_than_stated(self):
        """A run's private memory stays below what inspect says and a process's own few megabytes; tests/reference/memory.py has both sides."""
        path = model("tiny", "F16")
        code, out, _ = weft("inspect", path, "--json", "--ctx", "100000")
        total = next(entry for entry in json.loads(out)["devices"] if entry["id"].startswith("cpu"))["total"]
        process = subprocess.Popen([WEFT, "run", path, "--raw", "-p", "abc", "--ignore-end", "--ctx", "100000"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        process.stdout.read(1)
        sizes = {}
        for line in pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value = line.split(":")
            sizes[name] = int(value.split()[0]) * 1024
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        # The KV cache of positions not yet reached is reserved but not resident, so this bound is one-sided here.
        self.assertLess(sizes["Private_Dirty"], 1.05 * total + 24e6)

    def test_graph(self):
        for arguments, expected in [([], b"norm_qkv"), (["--unfused"], b"rope"), (["--format", "dot"], b"digraph")]:
            code, out, err = weft("graph", model(), *arguments)
            self.assertEqual(code, 0, err)
            self.assertIn(expected, out)

    def test_perplexity(self):
        text = FOLDER / "text"
        text.write_text("The quick brown fox. " * 60)
        code, out, err = weft("perplexity", model(), text, "--ctx", "64", "--json")
        self.assertEqual(code, 0, err)
        got = json.loads(out)
        self.assertGreater(got["perplexity"], 1)
        self.assertGreater(got["standard_error"], 0)
        logits = FOLDER / "logits"
        code, out, err = weft("perplexity", model(), text, "--logits", logits, "--ctx", "64")
        self.assertEqual(code, 0, err)
        n_vocab = json.loads(weft("inspect", model(), "--json")[1])["n_vocab"]
        self.assertEqual(logits.stat().st_size % (4 * n_vocab * 64), 0)

    def test_bench(self):
        code, out, err = weft("bench", model(), "-p", "16", "-n", "4", "--repeat", "2", "--json")
        self.assertEqual(code, 0, err)
        got = json.loads(out)
        self.assertGreater(got["prefill_tokens_per_s"], 0)
        self.assertGreater(got["decode_tokens_per_s"], 0)
        self.assertGreater(got["read_bytes_per_s"], 0)
        self.assertGreater(got["decode_phases"], 0)
        self.assertGreater(got["host_us"], 0)
        self.assertLessEqual(got["host_us"], got["host_us_99"])
        bytes = got["bytes"]
        self.assertEqual(bytes["total"], sum(bytes[part] for part in ("weights", "states", "arena", "rings")))
        self.assertEqual((got["positions"], got["sequences"]), ([], []))
        self.assertGreater(got["load_s"], 0)
        self.assertEqual(got["load_bytes"], json.loads(weft("inspect", model(), "--json")[1])["weight_bytes"])
        self.assertAlmostEqual(got["load_bytes_per_s"], got["load_bytes"] / got["load_s"], delta=1)
        start = [got["start_" + part + "_s"] for part in ("model", "device", "plans")]
        self.assertGreater(min(start[:2]), 0)
        self.assertGreaterEqual(start[2], 0)
        self.assertAlmostEqual(got["start_s"], sum(start), delta=1e-9)
        self.assertLess(start[1], got["load_s"])

    def test_bench_sequences(self):
        arguments = ["bench", model(), "-p", "70", "-n", "5", "--repeat", "1"]
        code, out, err = weft(*arguments, "--sequences", "3,8", "--max-rows", "4", "--json")
        self.assertEqual(code, 0, err)
        got = json.loads(out)["sequences"]
        self.assertEqual([entry["n_sequences"] for entry in got], [1, 3, 8])
        for entry in got:
            self.assertTrue(0 < entry["decode_min"] <= entry["decode_tokens_per_s"] <= entry["decode_max"])
            self.assertAlmostEqual(entry["times_one"], entry["decode_tokens_per_s"] / got[0]["decode_tokens_per_s"], places=6)
            self.assertAlmostEqual(entry["share_of_n_times"], entry["times_one"] / entry["n_sequences"], places=6)
            self.assertTrue(entry["prefill_tokens_per_s"] > 0 and 0 < entry["host_us"] < entry["step_us"])
            # Up to --max-rows sequences get a token each in every step.
            if entry["n_sequences"] <= 4:
                self.assertAlmostEqual(entry["decode_tokens_per_s"] * entry["step_us"] * 1e-6, entry["n_sequences"], places=6)
        out = weft(*arguments, "--sequences", "2", "--backend", "null")[1].decode()
        self.assertRegex(out, r"loaded [\d.]+ MB of weights in [\d.]+ s")
        self.assertRegex(out, r"beyond reading weights a start takes [\d.]+ s: model [\d.]+, device [\d.]+, plans and kernels [\d.]+")
        self.assertRegex(out, r"sequences .*host us(.*\n) +1 .*100.0 %.*\n +2 ")

    def test_bench_sequences_that_do_not_fit(self):
        code, out, err = weft("bench", model(), "-p", "16000000", "--sequences", "256")
        self.assertEqual((code, out), (1, b""))
        self.assertRegex(err, rb"256 sequences of 16000129 positions need [\d.]+ MB on cpu.* 64000768 pages .* MB are free")
        for wrong in ("0", "257", "8,", "-1", "x"):
            self.assertEqual(weft("bench", model(), "--sequences", wrong)[0], 2, wrong)
        self.assertEqual(weft("bench", model(), "--sequences", "2", "-n", "0")[0], 2)

    def test_bench_at(self):
        code, out, err = weft("bench", model(), "-p", "8", "-n", "3", "--repeat", "2", "--at", "5,60", "--json")
        self.assertEqual(code, 0, err)
        got = json.loads(out)["positions"]
        self.assertEqual([entry["position"] for entry in got], [5, 60])
        for entry in got:
            self.assertGreater(entry["prefill_tokens_per_s"], 0)
            self.assertGreater(entry["decode_tokens_per_s"], 0)
            self.assertGreater(entry["host_us"], 0)
        self.assertEqual(weft("bench", model(), "-p", "8", "-n", "3", "--at", "5", "--repeat", "1")[0], 0)
        for wrong in ("", "0", "5,", "5;6", "x", "-1"):
            self.assertEqual(weft("bench", model(), "--at", wrong)[0], 2, wrong)

    def test_bench_ops(self):
        cases = ["--ops", "--on", "cpu", "--quick", "--op", "mul_mat", "--type", "Q4_K", "--case", "extra precision"]
        cases += ["--seconds", "0.01"]
        code, out, err = weft("bench", *cases, "--json")
        self.assertEqual(code, 0, err)
        got = json.loads(out)
        self.assertGreater(got["read_bytes_per_s"], 0)
        self.assertEqual(len(got["cases"]), 1)
        case = got["cases"][0]
        self.assertEqual((case["case"], case["op"], case["n_columns"]), (got["best_case"], "mul_mat", 8))
        self.assertTrue(case["kernel"] and case["may_be_cached"])
        self.assertTrue(0 < case["us_min"] <= case["us"] <= case["us_max"])
        self.assertAlmostEqual(case["bytes_per_s"], case["bytes"] / case["us"] * 1e6, delta=1)
        self.assertAlmostEqual(case["read_share"], case["bytes_per_s"] / got["read_bytes_per_s"], places=6)
        self.assertEqual(case["best_share"], 1)
        out = weft("bench", *cases)[1].decode()
        for text in (case["case"], case["kernel"], "best: ", "* the weights"):
            self.assertIn(text, out)
        code, out, err = weft("bench", "--ops", "--on", "null", "--op", "rope", "--quick", "--case", "T=8", "--seconds", "0.01")
        self.assertEqual(code, 0, err)
        self.assertIn(b"rope head_dim=96", out)
        for wrong in ([], ["--ops", model()], [model(), "--op", "rope"], [model(), "--seconds", "1"], ["--ops", "--seconds", "0"]):
            self.assertEqual(weft("bench", *wrong)[0], 2, wrong)
        for wrong, expected in ((["--op", "nonsense"], 2), (["--type", "Q9"], 2), (["--case", "nonsense"], 1), (["--on", "nonsense"], 1)):
            self.assertEqual(weft("bench", "--ops", "--quick", *wrong)[0], expected, wrong)

    def test_bench_profile(self):
        arguments = ["bench", model("tiny", "Q4_K_M"), "--profile", "--seconds", "0.001"]
        code, out, err = weft(*arguments, "--at", "70,5", "--sequences", "1,3", "-p", "20", "--max-rows", "16", "--json")
        self.assertEqual(code, 0, err)
        got = json.loads(out)
        self.assertEqual([(step["n_rows"], step["n_sequences"], step["position"]) for step in got["steps"]],
                         [(1, 1, 70), (3, 3, 70), (1, 1, 5), (3, 3, 5), (16, 1, 0)])
        for step in got["steps"]:
            self.assertEqual(sum(phase["n_in_step"] for phase in step["phases"]), step["n_phases"])
            self.assertAlmostEqual(sum(phase["us_in_step"] for phase in step["phases"]), step["sum_us"], delta=step["sum_us"] * 1e-9)
            self.assertAlmostEqual(step["sum_share"], step["sum_us"] / step["us"], places=6)
            for phase in step["phases"]:
                self.assertAlmostEqual(phase["us_in_step"], phase["us"] * phase["n_in_step"], delta=phase["us"] * 1e-6)
                self.assertAlmostEqual(phase["read_share"] * phase["us"] * got["read_bytes_per_s"], phase["bytes"] * 1e6 if phase["us"] else 0, delta=1)
        self.assertEqual(max(phase["best_share"] for step in got["steps"] for phase in step["phases"]), 1)
        out = weft(*arguments, "--on", "null")[1].decode()
        for text in ("a step of 1 row of 1 sequence, from position 512 on: 19 phases", "mul_mat_add Q6_K 512x256 T=1 ", ", blk.2.ffn_residual\n",
                     "all phases: ", "% of the whole step as measured", "best: ", "* the weights"):
            self.assertIn(text, out)
        for wrong in (["--ops"], ["--op", "rope"], ["--seconds", "0"], ["--sequences", "300"]):
            self.assertEqual(weft("bench", model(), "--profile", *wrong)[0], 2, wrong)
        self.assertEqual(weft("bench", "--profile")[0], 2)

    def test_check_large(self):
        """The cases that are timed can be checked; only when they are asked for."""
        case = ["check", "--op", "rms_norm", "--case", "rms_norm 4096 T=8 "]
        self.assertEqual(weft(*case, "--large")[:2], (0, b"1 passed, 0 failed, 0 skipped\n"))
        self.assertEqual(weft(*case)[:2], (1, b"0 passed, 0 failed, 0 skipped\n"))
        self.assertEqual(weft(*case, "--large", "--quick")[0], 2)


if __name__ == "__main__":
    run_tests(__doc__)
