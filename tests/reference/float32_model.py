#!/usr/bin/env python3
"""A float32 reference decoder for GGUF files of the families llama and qwen2, in numpy alone.

usage: float32_model.py MODEL.gguf TEXT     (64 greedy tokens)

Weights are dequantised by the package gguf; everything is computed in float32. Written from the models' papers and the GGUF
specification, to be read and compared with, not for speed. Needs: pip install gguf numpy tokenizers
"""
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Model:
    """Weights and hyperparameters of a file."""

    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.fields = self.reader.fields
        self.family = self.field("general.architecture")
        if self.family not in ("llama", "qwen2"):
            raise SystemExit(f"{path}: family {self.family} is not known here")
        self.n_layers = self.own("block_count")
        self.n_embd = self.own("embedding_length")
        self.n_heads = self.own("attention.head_count")
        self.n_kv_heads = self.own("attention.head_count_kv", self.n_heads)
        self.head_dim = self.own("attention.key_length", self.n_embd // self.n_heads)
        self.n_dims = self.own("rope.dimension_count", self.head_dim)
        self.epsilon = np.float32(self.own("attention.layer_norm_rms_epsilon"))
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in self.reader.tensors}
        self.output = self.weights.get("output.weight", self.weights["token_embd.weight"])

    def field(self, name, default=None):
        return self.fields[name].contents() if name in self.fields else default

    def own(self, name, default=None):
        value = self.field(f"{self.family}.{name}", default)
        if value is None:
            raise SystemExit(f"the file lacks {self.family}.{name}")
        return value

    def angles(self, positions):
        """Cosines and sines, [positions, n_dims / 2], computed in double and rounded to float32."""
        frequencies = self.own("rope.freq_base", 10000.0) ** (-np.arange(0, self.n_dims, 2, dtype=np.float64) / self.n_dims)
        if "rope_freqs.weight" in self.weights:
            frequencies = frequencies / self.weights["rope_freqs.weight"].astype(np.float64)
        scaling = self.own("rope.scaling.type", "none")
        if scaling == "linear":
            frequencies = frequencies / self.own("rope.scaling.factor", 1.0)
        elif scaling != "none":
            raise SystemExit(f"rope scaling {scaling} is not known here")
        turns = np.outer(positions, frequencies)
        return np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)


class Sequence:
    """A KV cache and the step that extends it."""

    def __init__(self, model, n_ctx):
        self.model, self.length = model, 0
        shape = (model.n_layers, model.n_kv_heads, n_ctx, model.head_dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def norm(self, x, name):
        mean = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
        return x / np.sqrt(mean + self.model.epsilon) * self.model.weights[name]

    def project(self, x, name):
        y = x @ self.model.weights[name + ".weight"].T
        return y + self.model.weights[name + ".bias"] if name + ".bias" in self.model.weights else y

    def rotate(self, x, cosine, sine):
        """x: [T, heads, head_dim]. Family llama turns neighbours, qwen2 the two halves."""
        n = self.model.n_dims
        pairs = (slice(0, n, 2), slice(1, n, 2)) if self.model.family == "llama" else (slice(0, n // 2), slice(n // 2, n))
        first, second, y = x[..., pairs[0]], x[..., pairs[1]], x.copy()
        y[..., pairs[0]] = first * cosine[:, None] - second * sine[:, None]
        y[..., pairs[1]] = first * sine[:, None] + second * cosine[:, None]
        return y

    def attend(self, layer, q):
        """q: [T, heads, head_dim] at the last T positions of the cache."""
        model, t, end = self.model, q.shape[0], self.length + q.shape[0]
        group = model.n_heads // model.n_kv_heads
        y = np.empty_like(q)
        hidden = np.arange(end)[None, :] > np.arange(self.length, end)[:, None]
        for head in range(model.n_heads):
            scores = q[:, head] @ self.keys[layer, head // group, :end].T / np.float32(np.sqrt(model.head_dim))
            scores[hidden] = -np.inf
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            y[:, head] = scores / scores.sum(axis=-1, keepdims=True) @ self.values[layer, head // group, :end]
        return y.reshape(t, -1)

    def extend(self, tokens, all_logits=False):
        """Logits after each token, or after the last one only."""
        model, t = self.model, len(tokens)
        cosine, sine = model.angles(np.arange(self.length, self.length + t))
        x = model.weights["token_embd.weight"][np.asarray(tokens)]
        for layer in range(model.n_layers):
            name = f"blk.{layer}."
            z = self.norm(x, name + "attn_norm.weight")
            q = self.rotate(self.project(z, name + "attn_q").reshape(t, -1, model.head_dim), cosine, sine)
            k = self.rotate(self.project(z, name + "attn_k").reshape(t, -1, model.head_dim), cosine, sine)
            v = self.project(z, name + "attn_v").reshape(t, -1, model.head_dim)
            self.keys[layer, :, self.length:self.length + t] = k.transpose(1, 0, 2)
            self.values[layer, :, self.length:self.length + t] = v.transpose(1, 0, 2)
            x = x + self.project(self.attend(layer, q), name + "attn_output")
            z = self.norm(x, name + "ffn_norm.weight")
            gate = self.project(z, name + "ffn_gate")
            x = x + self.project(gate / (1 + np.exp(-gate)) * self.project(z, name + "ffn_up"), name + "ffn_down")
        self.length += t
        return self.norm(x if all_logits else x[-1:], "output_norm.weight") @ model.output.T


def main():
    from tokenizer import Tokenizer

    model = Model(sys.argv[1])
    tokenizer = Tokenizer(model.reader)
    tokens = tokenizer.encode(sys.argv[2])
    sequence = Sequence(model, len(tokens) + 64)
    logits = sequence.extend(tokens)[0]
    generated = []
    for _ in range(64):
        generated.append(int(np.argmax(logits)))
        logits = sequence.extend(generated[-1:])[0]
    print(tokenizer.decode(generated))


if __name__ == "__main__":
    main()
