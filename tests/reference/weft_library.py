"""The part of weft's public interface that the reference scripts call through ctypes."""
import ctypes as c


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 500)]


class Model:
    """An open model file: vocabulary and tokenizer."""

    def __init__(self, library, path):
        self.lib = c.CDLL(library)
        self.error = Error()
        self.runtime, self.model = c.c_void_p(), c.c_void_p()
        self.lib.weft_tokenize.argtypes = [c.c_void_p, c.c_char_p, c.c_size_t, c.c_bool, c.c_void_p, c.c_size_t, c.c_void_p, c.c_void_p]
        self.lib.weft_detokenize.argtypes = [c.c_void_p, c.c_void_p, c.c_size_t, c.c_bool, c.c_void_p, c.c_size_t, c.c_void_p, c.c_void_p]
        self.check(self.lib.weft_runtime_create(None, c.byref(self.runtime), c.byref(self.error)))
        self.check(self.lib.weft_model_open(self.runtime, str(path).encode(), c.byref(self.model), c.byref(self.error)))

    def check(self, status):
        if status:
            raise RuntimeError(self.error.message.decode(errors="replace"))

    def tokenize(self, text, special=False):
        capacity = len(text) + 8
        tokens, count = (c.c_int32 * capacity)(), c.c_size_t()
        self.check(self.lib.weft_tokenize(self.model, text, len(text), special, tokens, capacity, c.byref(count), c.byref(self.error)))
        if count.value > capacity:
            raise RuntimeError(f"{len(text)} bytes became {count.value} tokens")
        return tokens[:count.value]

    def detokenize(self, ids, special=False):
        tokens, size = (c.c_int32 * len(ids))(*ids), c.c_size_t()
        self.check(self.lib.weft_detokenize(self.model, tokens, len(ids), special, None, 0, c.byref(size), c.byref(self.error)))
        text = c.create_string_buffer(size.value + 1)
        self.check(self.lib.weft_detokenize(self.model, tokens, len(ids), special, text, size.value, c.byref(size), c.byref(self.error)))
        return text.raw[:size.value]
