#!/usr/bin/env python3
"""Makes tests/data/tokenizer.inc, which tests/test_tokenizer.c includes: two small vocabularies, and lines with the ids that the
package `tokenizers` gives them with each pre-tokenizer and with SentencePiece's BPE.

usage: tokenizer_data.py [--check]

With --check the file is compared with the results of the installed package (exit 1 on a difference).
Needs: pip install gguf tokenizers
"""
import json
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from hard_lines import WORDS, hard_lines  # noqa: E402
from reference_tokenizer import BYTE, CONTROL, NORMAL, PRE_TOKENIZERS, UNKNOWN, byte_level_bpe, sentencepiece_bpe  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "tokenizer.inc"
SCHEMES = ["gpt-2", "llama-bpe", "qwen2", "smollm"]
SEED = 7


def corpus():
    r = random.Random(SEED)
    lines = [" ".join(r.choice(WORDS) for _ in range(12)) for _ in range(300)]
    return lines + ["\n\n", "    ", "\r\n\r\n", "2024 1999 100", "é à ü ñ", "日本語 日本", "привет мир", "don't I'm we're it's"] * 20


def byte_alphabet():
    """GPT-2's: byte -> character."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + n) for n, b in enumerate(others)}}


def trained(pre_tokenizer, alphabet, merges):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + merges, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return [tuple(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]]


def bpe_vocabulary():
    alphabet = byte_alphabet()
    merges = trained(pre_tokenizers.ByteLevel(add_prefix_space=False), list(alphabet.values()), 420)
    tokens = [alphabet[b] for b in range(256)] + ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    for left, right in merges:
        if left + right not in tokens:
            tokens.append(left + right)
    return tokens, [" ".join(m) for m in merges]


def spm_vocabulary():
    letters = sorted(set("".join(corpus()).replace(" ", "").replace("\n", "").replace("\r", "")) - {"語"}) + ["\u2581"]
    merged = [l + r for l, r in trained(pre_tokenizers.Metaspace(prepend_scheme="always"), letters, 300)]
    pieces = list(dict.fromkeys(m for m in merged if len(m) > 1)) + letters
    pieces += ["\u2581\u2581", "\u2581\u2581\u2581\u2581"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces)
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    return tokens, scores, types


def literal(data):
    """A C string of these bytes; octal escapes always have three digits, so that what follows cannot join them."""
    names = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 92: "\\\\"}
    return '"' + "".join(names.get(b) or (chr(b) if 32 <= b < 127 and b != 63 else f"\\{b:03o}") for b in data) + '"'


def main():
    tokens, merges = bpe_vocabulary()
    pieces, scores, types = spm_vocabulary()
    encoders = [byte_level_bpe(tokens, merges, scheme) for scheme in SCHEMES] + [sentencepiece_bpe(pieces, scores, types)]
    lines = [line for line in hard_lines(SEED, 110) if len(line) <= 100]
    same = lambda ids: [ids[0]] + [i if i != ids[k] else "=" for k, i in enumerate(ids[1:])]
    out = ["/* Made by tests/reference/tokenizer_data.py. */", "static const char *const bpe_merges[] = {"]
    out += [f"    {literal(m.encode())}," for m in merges]
    out += ["};", "static const char *const bpe_tokens[] = { /* after the 256 bytes */"]
    out += [f"    {literal(t.encode())}," for t in tokens[256:]]
    out += ["};", "static const struct {", "    const char *piece;", "    float score;", "} spm_pieces[] = { /* after <unk>, <s>, </s> and the 256 bytes */"]
    out += [f"    {{{literal(p.encode())}, {s:.1f}F}}," for p, s in list(zip(pieces, scores))[259:]]
    out += ["};", "/* Ids of each of " + ", ".join(SCHEMES) + " and SentencePiece; \"=\": as those before. */", "static const struct {", "    const char *text;",
            "    size_t size;", "    const char *ids[5];", "} lines[] = {"]
    for line in lines:
        data = line.encode()
        ids = same([" ".join(map(str, e.encode(line, add_special_tokens=False).ids)) for e in encoders])
        out += [f"    {{{literal(data)}, {len(data)},", "     {" + ", ".join(f'"{i}"' for i in ids) + "}},"]
    out += ["};", ""]
    text = "\n".join(out)
    if "--check" in sys.argv[1:]:
        same = OUT.read_text() == text
        print(f"{OUT.name} is {'what' if same else 'NOT what'} the package gives")
        sys.exit(not same)
    OUT.write_text(text)
    print(f"{OUT.name}: {len(lines)} lines, {len(text)} bytes")


if __name__ == "__main__":
    assert set(SCHEMES) == set(PRE_TOKENIZERS)
    main()
