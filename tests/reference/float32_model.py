#!/usr/bin/env python3
"""A float32 reference decoder for GGUF files of weft's families, in numpy alone.

usage: float32_model.py MODEL.gguf TEXT     (64 greedy tokens)

Weights are dequantised by the package gguf; everything is computed in float32. Written from the models' papers, the code in Hugging
Face's transformers and the GGUF specification, to be read and compared with, not for speed. Needs: pip install gguf numpy tokenizers
"""
import math
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

ADJACENT = ("llama", "granite", "granitemoe", "smollm3", "mistral3")  # rope rotates neighbours; elsewhere the two halves of a head
HALVES = ("qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmo2", "olmoe", "phi3", "gemma", "gemma2", "gemma3", "starcoder2")
UNNORMALISED = ("qwen2moe", "olmoe")  # the weights of a row's experts
GELU = ("gemma", "gemma2", "gemma3", "starcoder2")
PERIODS = {"gemma2": 2, "gemma3": 6, "olmo2": 4}  # of layers with windows, where the file does not say; the last of each has none


def gelu(x):
    x = x.astype(np.float32)
    return np.float32(0.5) * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)))


def half_gelu(x):
    """As llama.cpp computes it on processors: from a table of half floats, for half floats."""
    table = gelu(x.astype(np.float16)).astype(np.float16).astype(np.float32)
    return np.where(x <= -10, np.float32(0), np.where(x >= 10, x, table))


def silu(x):
    return x / (1 + np.exp(-x))


def cap(x, limit):
    return np.float32(limit) * np.tanh(x / np.float32(limit)) if limit else x


class Model:
    """Weights and hyperparameters of a file."""

    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.fields = self.reader.fields
        self.family = self.field("general.architecture")
        if self.family not in ADJACENT + HALVES:
            raise SystemExit(f"{path}: family {self.family} is not known here")
        self.n_layers = self.own("block_count")
        self.n_embd = self.own("embedding_length")
        self.n_heads = self.own("attention.head_count")
        self.n_kv_heads = self.own("attention.head_count_kv", self.n_heads)
        self.head_dim = self.own("attention.key_length", self.n_embd // self.n_heads)
        self.n_dims = self.own("rope.dimension_count", self.head_dim)
        self.layer_norm = self.family == "starcoder2"
        self.epsilon = np.float32(self.own("attention.layer_norm_epsilon" if self.layer_norm else "attention.layer_norm_rms_epsilon"))
        self.n_ctx_original = self.own("rope.scaling.original_context_length", self.own("context_length"))
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in self.reader.tensors}
        self.output = self.weights.get("output.weight", self.weights["token_embd.weight"])
        self.activation = gelu if self.family in GELU else silu
        self.split()
        self.read_scales()
        self.read_windows()

    def field(self, name, default=None):
        return self.fields[name].contents() if name in self.fields else default

    def own(self, name, default=None):
        value = self.field(f"{self.family}.{name}", default)
        if value is None:
            raise SystemExit(f"the file lacks {self.family}.{name}")
        return value

    def split(self):
        """Tensors that hold several parts."""
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        for layer in range(self.n_layers if self.family == "phi3" else 0):
            name = f"blk.{layer}."
            parts = np.split(self.weights[name + "attn_qkv.weight"], [q, q + kv])
            self.weights.update({f"{name}attn_{part}.weight": rows for part, rows in zip("qkv", parts)})
            gate, up = np.split(self.weights[name + "ffn_up.weight"], 2)
            self.weights.update({name + "ffn_gate.weight": gate, name + "ffn_up.weight": up})

    def read_scales(self):
        """Factors of the embedding, of what layers add, of scores and of logits, and the soft caps."""
        is_gemma, queries = self.family.startswith("gemma"), self.head_dim
        if self.family == "gemma2" and self.n_layers == 46 or self.family == "gemma3" and self.n_layers == 62:
            queries = self.n_embd / self.n_heads
        own = self.own if self.family in ("granite", "granitemoe") else lambda name, default: default
        self.embedding_scale = np.float32(math.sqrt(self.n_embd) if is_gemma else own("embedding_scale", 1))
        self.residual_scale = np.float32(own("residual_scale", 1))
        self.attention_scale = np.float32(own("attention.scale", 0) or 1 / math.sqrt(queries))
        self.logit_scale = np.float32(1 / own("logit_scale", 1))
        self.attention_cap = self.own("attn_logit_softcapping", 50) if self.family == "gemma2" else 0
        self.logit_cap = self.own("final_logit_softcapping", 30 if self.family == "gemma2" else 0) if is_gemma else 0

    def read_windows(self):
        size = self.own("attention.sliding_window", 4096 if self.family == "gemma2" else 0)
        if self.family not in (*PERIODS, "phi3", "starcoder2"):
            size = 0
        pattern = self.own("attention.sliding_window_pattern", PERIODS.get(self.family, 0))
        if not isinstance(pattern, list):
            pattern = [pattern == 0 or layer % pattern < pattern - 1 for layer in range(self.n_layers)]
        self.windows = [size if has_window else 0 for has_window in pattern]

    def frequencies(self, layer, n_ctx):
        """Of the layer's rope, and the factor of its sines and cosines."""
        base, scaling = self.own("rope.freq_base", 10000.0), self.own("rope.scaling.type", "none")
        factor = self.own("rope.scaling.factor", 1.0) if scaling in ("linear", "yarn") else 1.0
        if self.windows[layer] and self.family in ("gemma3", "olmo2"):
            base = self.own("rope.freq_base_swa", 10000.0 if self.family == "gemma3" else base)
            return base ** (-np.arange(0, self.n_dims, 2, dtype=np.float64) / self.n_dims), 1.0
        frequencies = base ** (-np.arange(0, self.n_dims, 2, dtype=np.float64) / self.n_dims)
        attention = self.own("rope.scaling.attn_factor", 1.0)
        for name in ("rope_freqs.weight", "rope_factors_long.weight" if n_ctx > self.n_ctx_original else "rope_factors_short.weight"):
            if name in self.weights:
                frequencies = frequencies / self.weights[name].astype(np.float64)
        if scaling != "yarn":
            return frequencies / factor, attention
        log = 0.1 * math.log(factor)
        attention *= (1 + log) / (1 + self.own("rope.scaling.yarn_log_multiplier", 0.0) * log)
        pair = [self.n_dims * math.log(self.n_ctx_original / (turns * 2 * math.pi)) / (2 * math.log(base))
                for turns in (self.own("rope.scaling.yarn_beta_fast", 32.0), self.own("rope.scaling.yarn_beta_slow", 1.0))]
        low, high = max(math.floor(pair[0]), 0), min(math.ceil(pair[1]), self.n_dims - 1)
        ramp = np.clip((np.arange(self.n_dims // 2) - low) / max(high - low, 0.001), 0, 1)
        return frequencies * (ramp / factor + 1 - ramp), attention


class Sequence:
    """A KV cache and the step that extends it."""

    def __init__(self, model, n_ctx):
        self.model, self.length, self.n_ctx = model, 0, n_ctx
        shape = (model.n_layers, model.n_kv_heads, n_ctx, model.head_dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def norm(self, x, name):
        weights = self.model.weights
        if name + ".weight" not in weights:
            return x
        if self.model.layer_norm:
            x = x - np.mean(x, axis=-1, keepdims=True, dtype=np.float32)
        mean = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
        y = x / np.sqrt(mean + self.model.epsilon) * weights[name + ".weight"]
        return y + weights[name + ".bias"] if name + ".bias" in weights else y

    def project(self, x, name):
        y = x @ self.model.weights[name + ".weight"].T
        return y + self.model.weights[name + ".bias"] if name + ".bias" in self.model.weights else y

    def heads(self, z, name, norm):
        """[T, heads, head_dim], normalised by head or whole where the file has such a norm."""
        y, weight = self.project(z, name), self.model.weights.get(norm + ".weight")
        shape = (len(z), -1, self.model.head_dim)
        if weight is not None and weight.size > self.model.head_dim:
            return self.norm(y, norm).reshape(shape)
        return self.norm(y.reshape(shape), norm)

    def rotate(self, x, layer, is_query):
        """x: [T, heads, head_dim] at the positions from self.length on."""
        model, n = self.model, self.model.n_dims
        if model.family == "smollm3" and layer % 4 == 3:
            return x
        positions = np.arange(self.length, self.length + len(x))
        frequencies, attention = model.frequencies(layer, self.n_ctx)
        turns = np.outer(positions, frequencies)
        cosine, sine = ((attention * f(turns)).astype(np.float32) for f in (np.cos, np.sin))
        pairs = (slice(0, n, 2), slice(1, n, 2)) if model.family in ADJACENT else (slice(0, n // 2), slice(n // 2, n))
        first, second, y = x[..., pairs[0]], x[..., pairs[1]], x.copy()
        y[..., pairs[0]] = first * cosine[:, None] - second * sine[:, None]
        y[..., pairs[1]] = first * sine[:, None] + second * cosine[:, None]
        if is_query and model.family == "mistral3":
            temperature = 1 + model.own("attention.temperature_scale", 0.0) * np.log(1 + positions // model.n_ctx_original)
            y *= temperature.astype(np.float32)[:, None, None]
        return y

    def attend(self, layer, q):
        """q: [T, heads, head_dim] at the last T positions of the cache."""
        model, t, end = self.model, q.shape[0], self.length + q.shape[0]
        group = model.n_heads // model.n_kv_heads
        y = np.empty_like(q)
        distance = np.arange(self.length, end)[:, None] - np.arange(end)[None, :]
        hidden = distance < 0
        if model.windows[layer]:
            hidden |= distance >= model.windows[layer]
        for head in range(model.n_heads):
            scores = cap(q[:, head] @ self.keys[layer, head // group, :end].T * model.attention_scale, model.attention_cap)
            scores[hidden] = -np.inf
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            y[:, head] = scores / scores.sum(axis=-1, keepdims=True) @ self.values[layer, head // group, :end]
        return y.reshape(t, -1)

    def routed(self, name, z):
        """The experts that each row has chosen, and the shared ones."""
        model, (gate, up, down) = self.model, (self.model.weights[f"{name}ffn_{part}_exps.weight"] for part in ("gate", "up", "down"))
        logits = self.project(z, name + "ffn_gate_inp")
        chosen = np.argsort(-logits, axis=-1, kind="stable")[:, :model.own("expert_used_count")]
        scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights = np.take_along_axis(scores, chosen, axis=-1)
        weights = weights / (scores if model.family in UNNORMALISED else weights).sum(axis=-1, keepdims=True)
        y = np.zeros_like(z)
        for row, (ids, row_weights) in enumerate(zip(chosen, weights)):
            for i, weight in zip(ids, row_weights):
                y[row] += weight * (down[i] @ (model.activation(gate[i] @ z[row]) * (up[i] @ z[row])))
        if name + "ffn_up_shexp.weight" not in model.weights:
            return y
        shared = self.project(model.activation(self.project(z, name + "ffn_gate_shexp")) * self.project(z, name + "ffn_up_shexp"),
                              name + "ffn_down_shexp")
        router = model.weights.get(name + "ffn_gate_inp_shexp.weight")
        return y + (shared if router is None else shared / (1 + np.exp(-(z @ router)))[:, None])

    def feed_forward(self, name, z):
        if name + "ffn_gate_inp.weight" in self.model.weights:
            return self.routed(name, z)
        up = self.project(z, name + "ffn_up")
        if name + "ffn_gate.weight" not in self.model.weights:
            return self.project(self.model.activation(up), name + "ffn_down")
        return self.project(self.model.activation(self.project(z, name + "ffn_gate")) * up, name + "ffn_down")

    def extend(self, tokens, all_logits=False):
        """Logits after each token, or after the last one only."""
        model, t = self.model, len(tokens)
        x = model.weights["token_embd.weight"][np.asarray(tokens)] * model.embedding_scale
        for layer in range(model.n_layers):
            name = f"blk.{layer}."
            z = self.norm(x, name + "attn_norm")
            q = self.rotate(self.heads(z, name + "attn_q", name + "attn_q_norm"), layer, True)
            k = self.rotate(self.heads(z, name + "attn_k", name + "attn_k_norm"), layer, False)
            v = self.project(z, name + "attn_v").reshape(t, -1, model.head_dim)
            self.keys[layer, :, self.length:self.length + t] = k.transpose(1, 0, 2)
            self.values[layer, :, self.length:self.length + t] = v.transpose(1, 0, 2)
            y = self.project(self.attend(layer, q), name + "attn_output")
            x = x + self.norm(y, name + "post_attention_norm") * model.residual_scale
            y = self.feed_forward(name, self.norm(x, name + "ffn_norm"))
            x = x + self.norm(y, name + "post_ffw_norm") * model.residual_scale
        self.length += t
        logits = self.norm(x if all_logits else x[-1:], "output_norm") @ model.output.T
        return cap(logits * model.logit_scale, model.logit_cap)


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
