#!/usr/bin/env python3
"""Asks a model a question from Python, through ctypes alone: answer.py MODEL QUESTION [DEVICE]

The shared library is found by the system, or named by WEFT_LIBRARY. Structs of options are filled by name; the layout of those declared
here is that of weft 0.1's headers, which the version is checked against.
"""
import ctypes as c
import ctypes.util
import os
import sys


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 500)]


class Logprob(c.Structure):
    _fields_ = [("id", c.c_int32), ("logprob", c.c_float)]


class Piece(c.Structure):
    _fields_ = [("text", c.POINTER(c.c_char)), ("size", c.c_size_t), ("token", c.c_int32), ("chosen", Logprob),
                ("top", c.POINTER(Logprob)), ("n_top", c.c_size_t), ("last", c.c_bool), ("finish", c.c_int), ("n_left", c.c_size_t),
                ("reserved", c.c_uint64 * 7)]


class EngineOptions(c.Structure):
    """Its first member, and room for all others, which stay zero: their defaults."""
    _fields_ = [("device", c.c_char_p), ("rest", c.c_uint64 * 63)]


OK, USER = 0, 1


class Weft:
    """The functions of the library; a status that is not WEFT_OK is raised with its message."""

    def __init__(self, path):
        self.library = c.CDLL(path)
        version = self.library.weft_version
        version.restype = c.c_uint32
        if version() >> 8 != 1:
            raise RuntimeError(f"{path} is not weft 0.1")

    def __call__(self, function, *arguments):
        error = Error()
        if getattr(self.library, function)(*arguments, c.byref(error)) != OK:
            raise RuntimeError(error.message.decode())

    def made(self, function, *arguments):
        handle = c.c_void_p()
        self(function, *arguments, c.byref(handle))
        return handle

    def end(self, function, handle):
        getattr(self.library, function)(handle)


def answer(weft, path, question, device):
    """Yields the text of the answer, in pieces of bytes."""
    handles = []

    def made(end, function, *arguments):
        handles.append((end, weft.made(function, *arguments)))
        return handles[-1][1]

    try:
        runtime = made("weft_runtime_destroy", "weft_runtime_create", None)
        model = made("weft_model_close", "weft_model_open", runtime, os.fsencode(path))
        options = EngineOptions(device=device.encode())
        engine = made("weft_engine_destroy", "weft_engine_create", model, c.byref(options))
        session = made("weft_session_destroy", "weft_session_create", engine, None)
        weft("weft_session_say", session, USER, question.encode())
        piece, n_tokens = Piece(), 0
        while not piece.last:
            weft("weft_session_next", session, c.byref(piece))
            n_tokens += 1
            if n_tokens == 200:
                weft.library.weft_session_cancel(session)
            yield piece.text[:piece.size]
    finally:
        for end, handle in reversed(handles):
            weft.end(end, handle)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: answer.py MODEL QUESTION [DEVICE]")
    try:
        weft = Weft(os.environ.get("WEFT_LIBRARY") or ctypes.util.find_library("weft") or "libweft.so.0.1")
        for text in answer(weft, sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "auto"):
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        print()
    except (OSError, RuntimeError) as failure:
        sys.exit(f"answer.py: {failure}")


if __name__ == "__main__":
    main()
