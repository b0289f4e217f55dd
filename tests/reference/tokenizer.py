"""The reference tokenizer of a GGUF file with a byte-level BPE vocabulary, built over the package tokenizers.

Needs: pip install tokenizers gguf
"""
import tokenizers
from tokenizers import models, pre_tokenizers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# What the models' own tokenizer.json files say, by the name in tokenizer.ggml.pre.
PRE_TOKENIZERS = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "llama-bpe": lambda: split(LLAMA3),
    "qwen2": lambda: split(LLAMA3.replace("{1,3}", "")),
}
CONTROL, USER_DEFINED = 3, 4


class Tokenizer:
    def __init__(self, reader):
        def field(name, default=None):
            return reader.fields[name].contents() if name in reader.fields else default

        if field("tokenizer.ggml.model") != "gpt2":
            raise SystemExit("only byte-level BPE vocabularies are known here")
        tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
        self.bpe = tokenizers.Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
        self.bpe.pre_tokenizer = PRE_TOKENIZERS[field("tokenizer.ggml.pre")]()
        self.bpe.decoder = tokenizers.decoders.ByteLevel()
        special = [t for t, kind in zip(tokens, types) if kind in (CONTROL, USER_DEFINED)]
        self.bpe.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in special])
        self.first = [field("tokenizer.ggml.bos_token_id")] if field("tokenizer.ggml.add_bos_token", False) else []
        ends = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>"}
        self.ends = {i for i, t in enumerate(tokens) if t in ends} | {field("tokenizer.ggml.eos_token_id")}

    def encode(self, text):
        """Ids of a text in which special tokens are recognised, with what the file says to add."""
        return self.first + self.bpe.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.bpe.decode(ids, skip_special_tokens=False)
