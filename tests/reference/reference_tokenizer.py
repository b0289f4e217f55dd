"""Reference tokenizers from the vocabulary of a GGUF file: the package `tokenizers`, set up as the models' published
tokenizer.json does, and the package `sentencepiece`, given the vocabulary as a model of its own."""
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
LLAMA_3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377"
    "\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4"
    "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d"
    "\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06"
    "\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
ASIAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def split_by(*patterns):
    return pre_tokenizers.Sequence([*(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def digits():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


# One name for each way to cut text; weft's table has the other names.
PRE_TOKENIZERS = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": digits,
    "llama-bpe": lambda: split_by(LLAMA_3 % "{1,3}"),
    "glm4": lambda: split_by(LLAMA_3 % "{1,3}"),
    "dbrx": lambda: split_by(LLAMA_3 % "{1,3}"),
    "minicpm5": lambda: split_by(r"\p{N}{1,3}", LLAMA_3 % "+"),
    "qwen2": lambda: split_by(LLAMA_3 % ""),
    "qwen35": lambda: split_by(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + TAIL),
    "seed-coder": lambda: split_by(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + TAIL),
    "bailingmoe": lambda: split_by(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
    "tekken": lambda: split_by(CASED % ("", "", "")),
    "gpt-4o": lambda: split_by(CASED % (CONTRACTION + "?", CONTRACTION + "?", "{1,3}")),
    "deepseek-llm": lambda: split_by(r"[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+",
                                     "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", ASIAN, r"\p{N}+"),
    "deepseek-coder": lambda: split_by(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", ASIAN, r"\p{N}"),
    "deepseek-v3": lambda: split_by(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                                    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + TAIL),
    "falcon": lambda: split_by(r"[\p{P}\$\+<=>\^~\|`]+", GPT_2, "[0-9][0-9][0-9]"),
    "bloom": lambda: split_by(BLOOM),
    "viking": lambda: split_by(BLOOM, r"\p{N}"),
    "jais-2": lambda: split_by(LLAMA_3.rsplit(r"|\s+(?!", 1)[0] % "{1,3}" + "".join(rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2"))
                               + r"|\s{1}"),
    "ufakzeka": lambda: split_by(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL),
    "laguna": lambda: split_by(r"[^\n]+|[\n]+", LLAMA_3 % ""),
    "exaone-moe": lambda: split_by(CONTRACTION + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
                                   r"|\s*[\r\n]|\s+(?!\S)|\s+"),
    "youtu": lambda: split_by("[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f"
                              "\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                              CASED % (CONTRACTION + "?", CONTRACTION + "?", "")),
    "kimi-k2": lambda: split_by(r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
                                + CONTRACTION + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
                                r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + CONTRACTION + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL),
    "spark2_5": lambda: split_by(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                                 r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]"
                                 r"|\s+(?!\S)|\s+", r"\p{N}"),
}
SAME = {"command-r": "smollm", "refact": "smollm", "starcoder": "smollm", "mpt": "gpt-2"}
IGNORE_MERGES = {"llama-bpe", "glm4", "minicpm5", "tekken", "youtu"}
ADD_BOS = {"llama-bpe", "tekken"}


class Vocabulary:
    def __init__(self, path):
        fields = GGUFReader(path).fields
        value = lambda key, default=None: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else default
        self.model, self.pre = value("model"), value("pre")
        self.tokens, self.types = value("tokens"), value("token_type")
        self.merges, self.scores = value("merges"), value("scores")
        self.bos, self.add_bos = value("bos_token_id"), value("add_bos_token", value("model") == "llama" or value("pre") in ADD_BOS)
        template = fields.get("tokenizer.chat_template")
        self.chat_template = template.contents() if template else None

    def specials(self, control=True):
        kinds = (UNKNOWN, CONTROL, USER_DEFINED) if control else (USER_DEFINED,)
        return [t for t, kind in zip(self.tokens, self.types) if kind in kinds]


def byte_level_bpe(tokens, merges, pre, specials=()):
    vocabulary = {}
    for i, token in enumerate(tokens):
        vocabulary.setdefault(token, i)
    model = models.BPE(vocabulary, [tuple(m.split(" ")) for m in merges], ignore_merges=pre in IGNORE_MERGES)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[SAME.get(pre, pre)]()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    return tokenizer


def merges_by_score(tokens, scores, types):
    """All pairs of pieces that make a piece, best score first, then the shorter left piece."""
    ids = {t: i for i, t in enumerate(tokens) if types[i] == NORMAL}
    found = []
    for token, i in ids.items():
        found += [(-scores[i], ids[token[:k]], ids[token[k:]], token[:k], token[k:])
                  for k in range(1, len(token)) if token[:k] in ids and token[k:] in ids]
    return [f[3:] for f in sorted(found)]


def sentencepiece_bpe(tokens, scores, types, specials=()):
    """SentencePiece's BPE as the package `tokenizers` has it."""
    model = models.BPE({t: i for i, t in enumerate(tokens)}, merges_by_score(tokens, scores, types), unk_token="<unk>", fuse_unk=True,
                       byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    return tokenizer


def sentencepiece_processor(tokens, scores, types):
    """The package `sentencepiece` itself."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    kinds = {NORMAL: 1, UNKNOWN: 2, CONTROL: 3, USER_DEFINED: 4, UNUSED: 5, BYTE: 6}
    proto = pb.ModelProto()
    for token, score, kind in zip(tokens, scores, types):
        proto.pieces.add(piece=token, score=score, type=kinds[kind])
    proto.trainer_spec.model_type = 2  # BPE
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.escape_whitespaces = True
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def character_bpe(tokens, merges, specials=()):
    """Gemma 4's: merges of characters, bytes for those that the vocabulary lacks."""
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges], unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    return tokenizer


def encoder(vocabulary, special):
    """A function from text to ids."""
    specials = vocabulary.specials(special)
    if vocabulary.model == "llama":
        tokenizer = sentencepiece_bpe(vocabulary.tokens, vocabulary.scores, vocabulary.types, specials)
    elif vocabulary.model == "gemma4":
        tokenizer = character_bpe(vocabulary.tokens, vocabulary.merges, specials)
    else:
        tokenizer = byte_level_bpe(vocabulary.tokens, vocabulary.merges, vocabulary.pre, specials)
    bos = [vocabulary.bos] if special and vocabulary.add_bos else []
    return lambda text: bos + tokenizer.encode(text, add_special_tokens=False).ids
