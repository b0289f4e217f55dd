#!/usr/bin/env python3
"""Random texts that masks of JSON Schemas allow, checked by the package jsonschema (PyPI). Each text is also cut by a random number
of tokens, and must fit then, too.

    python3 tests/reference/schema_outputs.py build/release/lib/libweft.so MODEL.gguf [seed [texts]]

MODEL.gguf may be a vocabulary alone.
"""
import ctypes
import json
import random
import sys

import jsonschema

NOTATION, JSON, SCHEMA = range(3)
SCHEMAS = [
    {},
    True,
    {"type": "integer"},
    {"type": ["string", "null"]},
    {"type": "object"},
    {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3, "minProperties": 1},
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                                      "tags": {"type": "array", "items": {"enum": ["a", "b\"c", 1, None, {"x": [1.5]}]}}}, "required": ["name"]},
    {"properties": {"a": {"const": 1}, "ab": {"const": "x"}, "b": True}, "additionalProperties": {"type": "boolean"}, "required": ["b", "z"]},
    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": {"type": "null"}, "maxItems": 5},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    {"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                        "required": ["value", "next"]}}, "$ref": "#/$defs/node"},
    {"allOf": [{"properties": {"a": {"type": "number"}}, "required": ["a"]}, {"properties": {"a": {"minimum": 3, "maximum": 70}, "b": {"type": "string"}}}]},
    {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"],
     "anyOf": [{"properties": {"kind": {"const": "x"}, "x": {"type": "integer"}}, "required": ["x"]}, {"properties": {"kind": {"const": "y"}}}]},
    {"oneOf": [{"type": "string", "minLength": 3, "maxLength": 5}, {"type": "boolean"}]},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{3,5}$"},
    {"type": "string", "pattern": "a+b|^c"},
    {"type": "string", "pattern": "^(?:\\w+\\s?)*\\.?[^x\"]$"},
    *({"type": "string", "format": f} for f in ("date", "time", "date-time", "uuid", "ipv4", "hostname", "email")),
    *({"type": t, **dict(zip(("minimum", "maximum"), b))} for t in ("integer", "number") for b in ((0, 9), (-17, 23), (5, 5), (100, 1234), (-300, -20), (-5, 0), (7,))),
    *({"type": "number", lo: a, hi: b} for lo in ("minimum", "exclusiveMinimum") for hi in ("maximum", "exclusiveMaximum") for a, b in ((0, 1), (-1, 0), (-3, 2), (10, 101))),
    {"type": "integer", "exclusiveMinimum": 2.5, "exclusiveMaximum": 10},
    {"type": "integer", "maximum": 12},
    {"enum": [1, "two", None, [3, {"four": "\n\u00e9"}]]},
    {"type": "object", "properties": {"d": False, "e": {"type": "boolean"}}, "additionalProperties": False},
]


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 500)]


weft = ctypes.CDLL(sys.argv[1])
for name in ("weft_matcher_may_end", "weft_matcher_must_end", "weft_token_ends"):
    getattr(weft, name).restype = ctypes.c_bool
weft.weft_matcher_tokens_needed.restype = ctypes.c_int64
weft.weft_grammar_mask_words.restype = ctypes.c_size_t


def call(name, *arguments):
    error = Error()
    if getattr(weft, name)(*arguments, ctypes.byref(error)):
        sys.exit(f"{name}: {error.message.decode()}")


def made(name, *arguments):
    handle = ctypes.c_void_p()
    call(name, *arguments, ctypes.byref(handle))
    return handle


def text_of(model, token):
    text, size = ctypes.create_string_buffer(1024), ctypes.c_size_t()
    call("weft_detokenize", model, ctypes.byref(ctypes.c_int32(token)), ctypes.c_size_t(1), True, text, ctypes.c_size_t(1024), ctypes.byref(size))
    return text.raw[:size.value]


def write(model, grammar, limit):
    matcher, text = made("weft_matcher_create", grammar), b""
    n_words = weft.weft_grammar_mask_words(grammar)
    bits = (ctypes.c_uint64 * n_words)()
    left = max(limit, weft.weft_matcher_tokens_needed(matcher))
    while left > 0 and not weft.weft_matcher_must_end(matcher):
        call("weft_matcher_mask", matcher, ctypes.c_int64(left), bits, ctypes.c_size_t(n_words))
        words = [i for i in range(n_words) if bits[i]]
        word = random.choice(words)
        token = word * 64 + random.choice([b for b in range(64) if bits[word] >> b & 1])
        call("weft_matcher_accept", matcher, token)
        if weft.weft_token_ends(model, token):
            break
        text += text_of(model, token)
        left -= 1
    assert weft.weft_matcher_may_end(matcher), text
    weft.weft_matcher_destroy(matcher)
    return text


def main():
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    n_texts = int(sys.argv[4]) if len(sys.argv) > 4 else 50
    random.seed(seed)
    print("seed", seed)
    runtime = made("weft_runtime_create", None)
    model = made("weft_model_open", runtime, sys.argv[2].encode())
    failed = 0
    for schema in SCHEMAS:
        text = json.dumps(schema).encode()
        grammar = made("weft_grammar_create", model, SCHEMA, text, ctypes.c_size_t(len(text)))
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        for _ in range(n_texts):
            answer = write(model, grammar, random.randrange(60))
            try:
                validator.validate(json.loads(answer.decode()))
            except Exception as why:  # of either package
                failed += 1
                print(json.dumps(schema), answer, str(why).splitlines()[0], sep="\n  ")
                break
        weft.weft_grammar_destroy(grammar)
    weft.weft_model_close(model)
    weft.weft_runtime_destroy(runtime)
    print(f"{len(SCHEMAS)} schemas, {n_texts} texts each; {failed} schemas failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
