#!/usr/bin/env python3
"""Plants faults in a copy of the tree, one at a time. `weft check` must find each fault and name the node.

    planted_faults.py [--on cpu,vulkan,cuda] [--only PART] [--nvcc PATH | --emulated]
    planted_faults.py --on cuda,vulkan --build-only DIR     builds the commands with their faults, for another machine
    planted_faults.py --run-only DIR                        runs the commands in DIR, which also has this script

A missing barrier between phases cannot show on a Vulkan driver that runs everything in order: there the command runs under the layer
tests/layer_reversed.c. On a GPU it must show without the layer. --emulated runs the faults of cuda without a GPU, on the
device of tests/emulator."""
import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass
class Fault:
    backend: str
    name: str
    file: str
    old: str  # occurs once in the file
    new: str
    check: str  # "ops": the op table's cases; "model": every node of a model's steps
    names: str  # a pattern of what must be named
    reversed: bool = False  # on drivers for the processor, under the layer
    quick: bool = True  # shows in the quick cases alone, on any device


FAULTS = [
    Fault("cpu", "scale of attention", "backends/cpu/ops/attention.c", "c->scale = params->scale;", "c->scale = params->scale * 1.01f;",
          "ops", "attention"),
    Fault("cpu", "page table off by one", "backends/cpu/attention.c",
          "weft_cpu_kv_page(kv, block->sequence, entry, block->head)", "weft_cpu_kv_page(kv, block->sequence, entry + 1, block->head)", "model", r"attention"),
    Fault("cpu", "barrier of the pool", "backends/cpu/pool.c", "    wait_done(pool, count);\n}", "    (void)wait_done;\n}", "ops", r"\w+"),
    Fault("vulkan", "scale of attention", "shaders/common/attention_range.glsl", "combined(lane) * p.scale", "combined(lane) * (p.scale * 1.01)",
          "ops", "attention"),
    Fault("vulkan", "page table off by one", "shaders/common/attention_range.glsl",
          "page_of(visible.sequence, position)", "page_of(visible.sequence, position + 1u)",
          "model", r"attention"),
    Fault("vulkan", "barrier in attention", "shaders/common/attention_range.glsl",
          "    exponentials[own] = score;\n    barrier();", "    exponentials[own] = score;", "ops", "attention"),
    Fault("vulkan", "barrier before ranges are combined", "backends/vulkan/ops/attention.c",
          "        weft_vulkan_record_barrier(recorder);\n", "", "ops", "attention", True, False),
    Fault("vulkan", "barrier in sums of lanes", "shaders/common/lanes.glsl", "void combine_lanes() {\n    barrier();",
          "void combine_lanes() {", "ops", "rms_norm|soft_max|norm_|mul_mat"),
    Fault("vulkan", "barrier in products", "shaders/parts/mul_mat_lanes.comp",
          "w[i / 4u][i % 4u];\n    }\n    barrier();", "w[i / 4u][i % 4u];\n    }", "ops", "mul_mat|norm_", False, False),
    Fault("vulkan", "barrier between phases", "backends/vulkan/plan.c", "if (must_wait) weft_vulkan_record_barrier(recorder);",
          "(void)must_wait;", "model", r"\w+", True),
    Fault("cuda", "scale of attention", "kernels/attention.cu", "weights[half] = sum * scale;", "weights[half] = sum * (scale * 1.01f);",
          "ops", "attention"),
    Fault("cuda", "page table off by one", "kernels/attention.cu", "weft_kv_place(kv, sequence, index, head) : -1",
          "weft_kv_place(kv, sequence, index + 1, head) : -1", "model", r"attention"),
    Fault("cuda", "barrier in rms_norm", "kernels/common.h", "    __syncthreads();\n    float scale = shared_scale;",
          "    float scale = shared_scale;", "ops", "norm"),
    Fault("cuda", "barrier in attention", "kernels/attention.cu",
          "        __syncthreads();\n        for (int w = 0; w < n_warps", "        for (int w = 0; w < n_warps",
          "ops", "attention"),
    Fault("cuda", "edges of the graph", "backends/cuda/plan.c", "    kernel->record(r, phase);",
          "    r->after[0] = begin, r->n_after = 1;\n    kernel->record(r, phase);", "model", r"\w+"),
]


def label(fault):
    return f"{fault.backend}-{fault.name.replace(' ', '-')}"


def run(command, **more):
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          **more)


class Tree:
    """A copy of the tree, configured for one backend."""

    def __init__(self, folder, backend, nvcc, emulated):
        self.source, self.build = folder / "source", folder / f"build-{backend}"
        if not self.source.exists():
            listed = run(["git", "-C", ROOT, "ls-files"]).stdout.split("\n")
            for name in filter(None, listed):
                (self.source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.source / name)
        options = [f"-DWEFT_BACKENDS={'cpu' if backend == 'cpu' else 'cpu;' + backend}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                   f"-DWEFT_TESTS={'ON' if backend == 'vulkan' else 'OFF'}", "-DWEFT_CUDA_ARCHITECTURES=90",
                   "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=$ORIGIN:$ORIGIN/../lib"]
        if nvcc:
            options.append(f"-DWEFT_NVCC={nvcc}")
        if emulated:
            options.append("-DWEFT_CUDA_EMULATED=ON")
        done = run(["cmake", "-G", "Ninja", "-S", self.source, "-B", self.build, *options])
        if done.returncode:
            sys.exit(done.stdout)
        self.targets = ["weft_command"] + (["layer_reversed"] if backend == "vulkan" else [])
        self.targets += ["weft_emulator"] if backend == "cuda" and emulated else []

    def make(self):
        done = run(["cmake", "--build", self.build, "--target", *self.targets])
        if done.returncode:
            sys.exit(done.stdout[-4000:])

    def plant(self, fault):
        path = self.source / fault.file
        text = path.read_text()
        if text.count(fault.old) != 1:
            sys.exit(f"{fault.file}: the text that {label(fault)} replaces is there {text.count(fault.old)} times")
        path.write_text(text.replace(fault.old, fault.new))
        self.make()
        path.write_text(text)
        os.utime(path)


def synth(command, folder):
    model = pathlib.Path(folder) / "tiny.gguf"
    if not model.exists():
        run([command, "synth", "tiny-qwen2", model, "--type", "Q4_K_M"], check=True)
    return model


def judge(fault, command, folder, layers, emulator):
    """What the check says of a planted fault: whether it is caught, and the line that names a node."""
    words = [command, "check", "--cache-folder=", "--on", fault.backend]
    words += ["--ops"] + ["--quick"] * fault.quick if fault.check == "ops" else [synth(command, folder), "--page-size", "8"]
    environment = dict(os.environ)
    if fault.reversed and layers:
        environment.update(VK_LAYER_PATH=str(layers), VK_INSTANCE_LAYERS="VK_LAYER_WEFT_reversed")
    if emulator:
        environment["LD_LIBRARY_PATH"] = str(emulator)
    try:
        done = run(words, env=environment, timeout=300)
    except subprocess.TimeoutExpired:
        return False, "ran for more than 300 s"
    pattern = re.compile(r"^FAIL  \S*(" + fault.names + ")|^the first node over its limit is \\S*(" + fault.names + ")", re.M)
    found = pattern.search(done.stdout)
    line = done.stdout[found.start():].split("\n")[0] if found else (done.stdout.strip().split("\n") or [""])[-1]
    return done.returncode != 0 and found is not None, " ".join(line.split())[:110]


def keep(fault, tree, out):
    """The command and its library, stripped, in a folder of their own."""
    place = pathlib.Path(out) / label(fault)
    place.mkdir(parents=True, exist_ok=True)
    library = tree.build / "lib" / os.readlink(tree.build / "lib/libweft.so")  # under the name that the command looks for
    for made in (tree.build / "bin/weft", library):
        shutil.copy(made, place / made.name)
        run(["strip", place / made.name], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", default="cpu,vulkan")
    parser.add_argument("--only", default="", help="faults whose label has this part")
    parser.add_argument("--nvcc", default="")
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--build-only", metavar="DIR")
    parser.add_argument("--run-only", metavar="DIR")
    chosen = parser.parse_args()
    backends = chosen.on.split(",")
    faults = [f for f in FAULTS if (chosen.run_only or f.backend in backends) and chosen.only in label(f)]
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder, trees = pathlib.Path(scratch), {}
        print(f"{'fault':40} {'check':6} caught  what it says", flush=True)
        for fault in faults:
            layers = emulator = None
            if chosen.run_only:
                command = pathlib.Path(chosen.run_only).resolve() / label(fault) / "weft"
                if not command.exists():
                    continue
            else:
                if fault.backend not in trees:
                    trees[fault.backend] = Tree(folder, fault.backend, chosen.nvcc, chosen.emulated)
                tree = trees[fault.backend]
                tree.plant(fault)
                command, layers = tree.build / "bin/weft", tree.build / "layers"
                emulator = tree.build / "emulator" if chosen.emulated else None
            if chosen.build_only:
                keep(fault, tree, chosen.build_only)
                print(label(fault), "built", flush=True)
                continue
            caught, line = judge(fault, command, folder, layers, emulator)
            missed += not caught
            print(f"{label(fault):40} {fault.check:6} {'yes' if caught else 'NO ':7} {line}", flush=True)
    if missed:
        sys.exit(f"{missed} not caught")


if __name__ == "__main__":
    main()
