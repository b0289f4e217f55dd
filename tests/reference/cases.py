#!/usr/bin/env python3
"""Runs the checks of a folder of small model files with unusual contents (cases.json and the files it names) through `weft`.

usage: cases.py FOLDER [--weft build/release/bin/weft] [--only NAME]

cases.json is a list of {"file", "checks"}. A check has the command's `args`, where MODEL is the file, and `stdin`; every other
member is something to hold:

  ids           the list that `tokenize --json` prints, or `tokens` of `run --json`
  prompt_ids    `prompt_tokens` of `run --json`
  prompt_text   what `detokenize --special` makes of them: one of a list
  prompt_count  [token, how often it is in the prompt]
  text, finish  of `run --json`
  stdout        of the command, white space at the ends apart
  json_value    [key, value] of the JSON object that is printed
  tty           the command runs on a terminal. never: bytes in hexadecimal that may not reach it; has: texts that must
  fails         exit status 1 or 2, and a message; says: words in the message
  or_refused    a refusal that names the template is right too

Without `fails` the exit status is 0. Exit 0: all hold; 1: some do not.
"""
import argparse
import json
import os
import pathlib
import pty
import subprocess
import sys

TIME_LIMIT = 120


def run_piped(command, stdin):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIME_LIMIT)
    return done.returncode, done.stdout, done.stderr


def run_on_terminal(command):
    """Standard output is a terminal; all that reaches it is read."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    out = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's end of file
            break
        if not piece:
            break
        out += piece
    os.close(ours)
    _, err = process.communicate(timeout=TIME_LIMIT)
    return process.returncode, out, err


def as_json(out):
    try:
        return json.loads(out)
    except ValueError:
        return None


def detokenized(weft, model, ids):
    return run_piped([weft, "detokenize", model, "--special"], json.dumps(ids).encode())[1].decode(errors="replace")


def compare(name, got, wanted):
    return [] if got == wanted else [f"{name} is {got!r}, not {wanted!r}"]


def differences(weft, model, check):
    """What does not hold, as a list of sentences."""
    command = [weft, *(str(model) if argument == "MODEL" else argument for argument in check["args"])]
    code, out, err = run_on_terminal(command) if check.get("tty") else run_piped(command, check.get("stdin", "").encode())
    message = err.decode(errors="replace").strip()
    if check.get("fails"):
        wrong = [] if code in (1, 2) and message else [f"exit status {code}, message {message!r}"]
        return wrong + [f"the message does not say {word!r}: {message!r}" for word in check.get("says", []) if word not in message]
    if check.get("or_refused") and code in (1, 2) and "template" in message:
        return []
    if code != 0:
        return [f"exit status {code}: {message}"]
    got, wrong = as_json(out), []
    fields = got if isinstance(got, dict) else {}
    prompt = fields.get("prompt_tokens", [])
    if "ids" in check:
        wrong += compare("ids", got if isinstance(got, list) else fields.get("tokens"), check["ids"])
    if "prompt_ids" in check:
        wrong += compare("prompt_ids", prompt, check["prompt_ids"])
    if "prompt_text" in check and (text := detokenized(weft, model, prompt)) not in check["prompt_text"]:
        wrong += [f"prompt_text is {text!r}, none of {check['prompt_text']!r}"]
    if "prompt_count" in check:
        token, count = check["prompt_count"]
        wrong += compare(f"the count of {token} in the prompt", prompt.count(token), count)
    if "text" in check:
        wrong += compare("text", fields.get("text"), check["text"])
    if "finish" in check:
        wrong += compare("finish", fields.get("finish_reason"), check["finish"])
    if "stdout" in check:
        wrong += compare("stdout", out.decode(errors="replace").strip(), check["stdout"].strip())
    if "json_value" in check:
        key, value = check["json_value"]
        wrong += compare(key, fields.get(key), value)
    wrong += [f"the bytes {bad} reach the terminal" for bad in check.get("never", []) if bytes.fromhex(bad) in out]
    wrong += [f"{text!r} is not printed" for text in check.get("has", []) if text.encode() not in out]
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--weft", default="build/release/bin/weft")
    parser.add_argument("--only", default="", metavar="NAME", help="only files whose name has this in it")
    options = parser.parse_args()
    n_checks = n_wrong = 0
    for case in json.loads((options.folder / "cases.json").read_text()):
        if options.only not in case["file"]:
            continue
        for check in case["checks"]:
            wrong = differences(options.weft, options.folder / case["file"], check)
            n_checks += 1
            n_wrong += bool(wrong)
            for sentence in wrong:
                print(f"{case['file']}: {' '.join(check['args'])} < {check.get('stdin', '')!r}: {sentence}")
    print(f"{n_checks} checks, {n_wrong} of them wrong")
    return 1 if n_wrong or not n_checks else 0


if __name__ == "__main__":
    sys.exit(main())
