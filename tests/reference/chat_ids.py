#!/usr/bin/env python3
"""Compares the tokens of conversations, as `weft template` gives them, with those of the same templates run by Jinja2 and tokenized
by the reference.

usage: chat_ids.py WEFT CACHE [--count N] [--seed S]

WEFT is build/release/bin/weft, CACHE the folder of tokenizer_ids.py. Needs: pip install gguf tokenizers jinja2
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gguf import GGUFWriter  # noqa: E402
from hard_lines import hard_lines  # noqa: E402
from reference_tokenizer import Vocabulary, encoder  # noqa: E402
from templates import NOW, with_jinja2  # noqa: E402
from tokenizer_ids import fetch  # noqa: E402

KNOWN = {"SmolLM2", "Qwen2", "Qwen-Qwen2.5-7B-Instruct.jinja", "meta-llama-Llama-3.1-8B-Instruct.jinja", "meta-llama-Llama-3.2-3B-Instruct.jinja",
         "meta-llama-Llama-3.3-70B-Instruct.jinja"}


def write_file(path, vocabulary, template):
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def conversations(seed, count, specials):
    r = random.Random(seed)
    texts = [t for t in hard_lines(seed, 3000) if "\0" not in t and not any(s in t for s in specials)]
    for _ in range(count):
        messages = [{"role": "system", "content": r.choice(texts)}] if r.random() < 0.5 else []
        for i in range(r.choice([1, 1, 3, 5])):
            messages.append({"role": ["user", "assistant"][i % 2], "content": r.choice(texts)})
        yield messages


def tokens_of_weft(weft, path, messages):
    """The ids, or None where weft refuses."""
    file = path.parent / "messages.json"
    file.write_text(json.dumps(messages))
    done = subprocess.run([weft, "template", str(path), str(file), "--tokens", "--now", NOW.isoformat()], capture_output=True, check=False)
    return None if done.returncode else [json.loads(line)["id"] for line in done.stdout.splitlines()]


def check(weft, name, vocabulary, template, options):
    """True where weft's tokens are those of the template, None where no conversation was rendered."""
    specials = vocabulary.specials()
    encode = encoder(vocabulary, True)
    drop = 1 if vocabulary.add_bos else 0
    own = {"bos_token": vocabulary.tokens[vocabulary.bos]}
    wrong = n_rendered = 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.gguf"
        write_file(path, vocabulary, template)
        for messages in conversations(options.seed, options.count, specials):
            text, _ = with_jinja2(template, {"messages": messages}, own)
            ids, expected = tokens_of_weft(weft, path, messages), text if text is None else encode(text)[drop:]
            n_rendered += text is not None
            if ids != expected:
                wrong += 1
                if wrong <= 3:
                    print(f"{name}: {messages!r}\n  weft      {ids}\n  reference {expected}")
    print(f"{name}: {options.count - wrong} of {options.count} conversations agree, {options.count - n_rendered} of them refused by both")
    return wrong == 0 if n_rendered else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    _, llama3, qwen2, _, smollm2 = [Vocabulary(path) if path.name != "ggml-vocab-llama-spm.gguf" else None for path in fetch(options.cache)]
    jobs = [("SmolLM2", smollm2, smollm2.chat_template), ("Qwen2", qwen2, qwen2.chat_template)]
    for path in sorted(options.cache.glob("*.jinja")):
        template = path.read_text()
        if "<|im_start|>" in template or "<|start_header_id|>" in template:
            jobs.append((path.name, qwen2 if "<|im_start|>" in template else llama3, template))
    print(f"seed {options.seed}")
    results = {name: check(options.weft, name, vocabulary, template, options) for name, vocabulary, template in jobs}
    failed = [name for name, same in results.items() if same is False or (name in KNOWN and not same)]
    print("failed: " + ", ".join(failed) if failed else "all known templates agree")
    sys.exit(1 if failed or not KNOWN <= set(results) else 0)


if __name__ == "__main__":
    main()
