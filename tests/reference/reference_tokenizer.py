"""Reference tokenizers from the vocabulary of a GGUF file: the package `tokenizers`, set up as the models' published
tokenizer.json does, and the package `sentencepiece`, given the vocabulary as a model of its own."""
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
LLAMA_3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split_by(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


PRE_TOKENIZERS = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama-bpe": lambda: split_by(LLAMA_3 % "{1,3}"),
    "qwen2": lambda: split_by(LLAMA_3 % ""),
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
}


class Vocabulary:
    def __init__(self, path):
        fields = GGUFReader(path).fields
        value = lambda key, default=None: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else default
        self.model, self.pre = value("model"), value("pre")
        self.tokens, self.types = value("tokens"), value("token_type")
        self.merges, self.scores = value("merges"), value("scores")
        self.bos, self.add_bos = value("bos_token_id"), value("add_bos_token", value("model") == "llama" or value("pre") == "llama-bpe")
        template = fields.get("tokenizer.chat_template")
        self.chat_template = template.contents() if template else None

    def specials(self):
        return [t for t, kind in zip(self.tokens, self.types) if kind in (UNKNOWN, CONTROL, USER_DEFINED)]


def byte_level_bpe(tokens, merges, pre, specials=()):
    vocabulary = {}
    for i, token in enumerate(tokens):
        vocabulary.setdefault(token, i)
    model = models.BPE(vocabulary, [tuple(m.split(" ")) for m in merges], ignore_merges=pre == "llama-bpe")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
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


def encoder(vocabulary, special):
    """A function from text to ids."""
    specials = vocabulary.specials() if special else ()
    if vocabulary.model == "llama":
        tokenizer = sentencepiece_bpe(vocabulary.tokens, vocabulary.scores, vocabulary.types, specials)
    else:
        tokenizer = byte_level_bpe(vocabulary.tokens, vocabulary.merges, vocabulary.pre, specials)
    bos = [vocabulary.bos] if special and vocabulary.add_bos else []
    return lambda text: bos + tokenizer.encode(text, add_special_tokens=False).ids
