#!/usr/bin/env python3
"""Tests what the command tells of devices: their list, which one a model gets, models that are too large.

    python3 tests/command_devices.py build/release/bin/weft
"""
import json
import pathlib
import re
import unittest

import command


class Devices(unittest.TestCase):
    def devices(self, **environment):
        code, out, err = command.weft("devices", "--json", environment=environment)
        self.assertEqual((code, err, out.count(b"\n")), (0, b"", 1))
        return json.loads(out)

    def test_list(self):
        code, out, err = command.weft("devices")
        self.assertEqual((code, err), (0, b""))
        got = self.devices()
        self.assertEqual(len(got), len({entry["id"] for entry in got}))
        for entry in got:
            self.assertIn(entry["id"].encode(), out)
            self.assertTrue(entry["id"].startswith(entry["backend"] + ":"), entry)
            self.assertEqual(entry["usable"], entry["unusable"] is None, entry)
            if not entry["usable"]:
                self.assertIn(entry["unusable"].encode(), out)
            elif entry["backend"] != "null":
                self.assertTrue(0 < entry["memory_free"] <= entry["memory_total"], entry)
                self.assertTrue(entry["name"] and entry["features"], entry)
                self.assertTrue(entry["driver"] or entry["backend"] == "cpu", entry)
            uuid = re.fullmatch(entry["backend"] + r":[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", entry["stable_id"])
            self.assertTrue(uuid or entry["stable_id"] == entry["id"], entry)
            if "llvmpipe" in (entry["name"] or ""):
                self.assertEqual((entry["kind"], bool(uuid)), ("software gpu", True), entry)
        cpu = next(entry for entry in got if entry["backend"] == "cpu")
        self.assertTrue(cpu["usable"] and cpu["host_memory"] and cpu["host_processor"])
        self.assertEqual((cpu["kind"], cpu["stable_id"]), ("cpu", cpu["id"]))
        self.assertEqual([entry["backend"] for entry in got if entry["kind"] == "nothing"], ["null"])
        usable = [entry["usable"] for entry in got]
        self.assertEqual(usable, sorted(usable, reverse=True), "usable ones come first")

    def test_choice(self):
        """With a model: what it needs on each device, and which one is chosen, and why. Without --backend it runs there."""
        plain = self.devices()
        code, out, err = command.weft("devices", command.model(), "--json", "--cache-folder", "")
        self.assertEqual((code, err), (0, b""))
        got = json.loads(out)
        same = ["id", "stable_id", "backend", "name", "kind", "unusable", "automatic", "driver", "features"]
        self.assertEqual([[entry[key] for key in same] for entry in got], [[entry[key] for key in same] for entry in plain])
        [chosen] = [entry for entry in got if entry["chosen"]]
        self.assertTrue(chosen["automatic"] and chosen["fits"] and chosen["kind"] not in ("software gpu", "nothing"), chosen)
        needs = {entry["id"]: entry for entry in json.loads(command.weft("inspect", command.model(), "--json", "--cache-folder", "")[1])["devices"]}
        for entry in got:
            self.assertTrue(entry["reason"], entry)
            if entry["usable"] and entry["id"] in needs:
                self.assertEqual([entry[key] for key in ("bytes_used", "weights", "states", "arena", "rings")],
                                 [needs[entry["id"]][key] for key in ("bytes_used", "weights", "states", "arena", "rings")])
        if not any(entry["automatic"] for entry in got if entry["backend"] != "cpu"):
            self.assertEqual((chosen["id"], chosen["weight_bytes_per_s"]), ("cpu:0", None))
        code, out, err = command.weft("devices", command.model(), "--cache-folder", "")
        self.assertEqual((code, err), (0, b""))
        self.assertEqual(out.count(b" chosen: ") - out.count(b"not chosen: "), 1)
        for arguments, expected in [(["--backend", "cpu"], b"it was named"), (["--backend", "nowhere"], None)]:
            code, out, err = command.weft("devices", command.model(), *arguments)
            self.assertEqual(code, 0 if expected else 1)
            self.assertIn(expected or b"there is no device", out if expected else err)

    def test_too_large(self):
        """What is needed and free, in numbers, before anything is loaded; what is advised fits."""
        ctx = ["--ctx", "16000000", "--backend", "cpu"]
        code, out, err = command.weft("run", command.model(), *ctx, "--raw", "-p", "abc", "-n", "1")
        self.assertEqual((code, out), (1, b""))
        found = re.search(rb"weft: ([0-9.]+) GB needed and ([0-9.]+) free on cpu:0: weights ([0-9.]+), KV cache of 16000000 "
                          rb"positions ([0-9.]+), scratch ([0-9.]+); a context \(n_ctx\) of (\d+) positions fits", err)
        if not found:
            self.skipTest("this machine has the memory")
        needed, free, *parts = [float(number) for number in found.groups()[:5]]
        self.assertAlmostEqual(needed, sum(parts), delta=0.02)
        self.assertGreater(needed, free)
        self.assertIn(b"--ctx N makes it smaller", err)
        [entry] = json.loads(command.weft("devices", command.model(), "--json", *ctx)[1])
        self.assertEqual((entry["fits"], entry["chosen"]), (False, False))
        [entry] = json.loads(command.weft("devices", command.model(), "--json", "--backend", "cpu", "--ctx", str(entry["n_ctx_fits"] // 2))[1])
        self.assertEqual((entry["fits"], entry["chosen"]), (True, True))

    def test_stable_id(self):
        """It opens the device that it was listed for."""
        for entry in self.devices():
            if entry["usable"] and entry["backend"] != "null":
                code, out, err = command.weft("check", "--ops", "--op", "add", "--quick", "--json", "--cache-folder", "", "--on",
                                      entry["stable_id"])
                self.assertEqual((code, err), (0, b""), entry)
                self.assertEqual(json.loads(out)["devices"][0]["id"], entry["id"])

    def test_no_driver(self):
        """A backend whose driver finds nothing is listed with the reason, and the status is 0."""
        before = {entry["backend"] for entry in self.devices()}
        got = self.devices(VK_DRIVER_FILES="/nonexistent", VK_ICD_FILENAMES="/nonexistent", CUDA_VISIBLE_DEVICES="")
        self.assertEqual({entry["backend"] for entry in got}, before)
        for entry in got:
            if entry["backend"] in ("vulkan", "cuda"):
                self.assertFalse(entry["usable"], entry)
                self.assertTrue(entry["unusable"], entry)

    def test_cache_folder(self):
        """Shaders are kept in the folder named, else in the user's cache folder; not being able to is an error where it was named."""
        if not any(entry["backend"] == "vulkan" and entry["usable"] for entry in self.devices()):
            self.skipTest("no Vulkan device")
        check = ["check", "--ops", "--on", "vulkan", "--op", "add", "--quick"]
        named, home, xdg = command.FOLDER / "named" / "folder", command.FOLDER / "home", command.FOLDER / "xdg"
        for arguments, environment, expected in [
            (["--cache-folder", named], {}, named),
            ([], {"XDG_CACHE_HOME": str(xdg)}, xdg / "weft"),
            ([], {"XDG_CACHE_HOME": "relative", "HOME": str(home)}, home / ".cache" / "weft"),
        ]:
            code, _, err = command.weft(*check, *arguments, environment=environment)
            self.assertEqual((code, err), (0, b""))
            self.assertEqual(len(list(expected.glob("weft-vulkan-*.cache"))), 1, expected)
        for environment in [{"XDG_CACHE_HOME": "/proc/none"}, {"XDG_CACHE_HOME": "", "HOME": ""}]:
            self.assertEqual(command.weft(*check, environment=environment)[0], 0)
        self.assertEqual(command.weft(*check, "--cache-folder", "", environment={"XDG_CACHE_HOME": str(command.FOLDER / "unused")})[0], 0)
        self.assertFalse((command.FOLDER / "unused").exists() or pathlib.Path("relative").exists())
        code, out, err = command.weft(*check, "--cache-folder", __file__)
        self.assertEqual((code, out), (2, b""))
        self.assertIn(b"--cache-folder", err)


if __name__ == "__main__":
    command.run_tests(__doc__)
