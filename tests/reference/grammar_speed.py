#!/usr/bin/env python3
"""Times masks (of the thread, not by the clock): for each token of a given text, twice, so that the second time shows what is kept.

    python3 tests/reference/grammar_speed.py build/release/lib/libweft.so MODEL.gguf ...

A MODEL.gguf may be a vocabulary alone.
"""
import ctypes
import sys
import time

NOTATION, JSON, SCHEMA = range(3)
PERSON = """{"type": "object", "properties": {"name": {"type": "string", "maxLength": 100}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
 "email": {"type": "string", "format": "email"}, "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
 "note": {"type": "string"}}, "required": ["name", "age"]}"""
TEXT = ('{"name": "Ana María Sousa", "age": 47, "email": "ana.sousa@example.com", "tags": ["swimming", "chess, on Sundays", "jazz"], '
        '"note": "She moved to Porto in 2019.\\nHer second book is about \\"small\\" rivers, and it sold well."}')
WORDS = 'root ::= word ([ ,] word)* "."\nword ::= [a-zA-Z]+'
SUM = 'root ::= part ([-+*/] part)*\npart ::= [a-z] [a-z0-9_]* | [0-9]+ | "(" root ")"'
CASES = [("any JSON", JSON, "", TEXT), ("a schema of five properties", SCHEMA, PERSON, TEXT),
         ("words", NOTATION, WORDS, "The quick brown fox jumps over the lazy dog,and then it rests."),
         ("sums", NOTATION, SUM, "width*(height+2)-border_left*(column+index)/12")]


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 500)]


weft = ctypes.CDLL(sys.argv[1])
weft.weft_grammar_mask_words.restype = ctypes.c_size_t


def call(name, *arguments):
    error = Error()
    if getattr(weft, name)(*arguments, ctypes.byref(error)):
        sys.exit(f"{name}: {error.message.decode()}")


def made(name, *arguments):
    handle = ctypes.c_void_p()
    call(name, *arguments, ctypes.byref(handle))
    return handle


def tokens_of(model, text):
    data = text.encode()
    tokens, count = (ctypes.c_int32 * (len(data) + 8))(), ctypes.c_size_t()
    call("weft_tokenize", model, data, ctypes.c_size_t(len(data)), False, tokens, ctypes.c_size_t(len(tokens)), ctypes.byref(count))
    return tokens[:count.value]


def masks(grammar, tokens):
    matcher, times = made("weft_matcher_create", grammar), []
    n_words = weft.weft_grammar_mask_words(grammar)
    bits = (ctypes.c_uint64 * n_words)()
    for token in tokens:
        start = time.thread_time()
        call("weft_matcher_mask", matcher, ctypes.c_int64(4000), bits, ctypes.c_size_t(n_words))
        times.append((time.thread_time() - start) * 1e3)
        if not bits[token // 64] >> token % 64 & 1:
            sys.exit(f"token {token} is not allowed")
        call("weft_matcher_accept", matcher, ctypes.c_int32(token))
    weft.weft_matcher_destroy(matcher)
    return times


def main():
    runtime = made("weft_runtime_create", None)
    print("| vocabulary | grammar | create, ms | masks | first time: mean, max, ms | then: mean, max, ms |\n| --- | --- | --- | --- | --- | --- |")
    for path in sys.argv[2:]:
        model = made("weft_model_open", runtime, path.encode())
        for name, kind, text, answer in CASES:
            start = time.thread_time()
            grammar = made("weft_grammar_create", model, kind, text.encode(), ctypes.c_size_t(len(text.encode())))
            create = (time.thread_time() - start) * 1e3
            tokens = tokens_of(model, answer)
            first, then = masks(grammar, tokens), masks(grammar, tokens)
            n = len(tokens)
            size = weft.weft_grammar_mask_words(grammar) * 64
            print(f"| {size:,} | {name} | {create:.1f} | {n} | {sum(first) / n:.3f}, {max(first):.2f} | {sum(then) / n:.4f}, {max(then):.3f} |")
            weft.weft_grammar_destroy(grammar)
        weft.weft_model_close(model)
    weft.weft_runtime_destroy(runtime)


if __name__ == "__main__":
    main()
