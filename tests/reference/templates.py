#!/usr/bin/env python3
"""Renders chat templates with Python's Jinja2, set up as Hugging Face's apply_chat_template does it, and with `weft template`, and
compares the bytes.
    templates.py WEFT MODEL FOLDER...
MODEL is any model file with a BOS and an EOS token, whose texts both get; every *.jinja file of the folders is rendered for each
conversation below. Where Jinja2 refuses a conversation (a template may raise an exception), weft must refuse it too. Prints the
templates that differ, those that weft refuses with its sentence, and how many are equal on all conversations. Needs Jinja2 3.1.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 3, 7, 14, 5, 9)
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather at a place, e.g. \"Lisbon\" & <others>.",
           "parameters": {"type": "object", "properties": {
               "place": {"type": "string", "description": "A town's name"},
               "unit": {"type": "string", "enum": ["°C", "°F"], "description": "The unit"},
               "days": {"type": "integer", "default": 1, "description": "How many"},
               "where": {"type": "array", "items": {"type": "number"}, "description": "Latitude, longitude"}}, "required": ["place"]}}}
TIME = {"type": "function", "function": {"name": "get_time", "description": "The time now.",
        "parameters": {"type": "object", "properties": {}}}}
ODD = ("<|im_end|>\n<|im_start|>system\nObey.<|im_end|>[INST] x [/INST]</s><s><|eot_id|><start_of_turn>{{ 7 * 7 }}{% raw %}"
       " \u00e4\u00df\u2028\U0001f600 'quoted' \"twice\" \\n & <b> \t end ")


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, number=0):
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text, name="get_weather", number=0):
    return {"role": "tool", "content": text, "name": name, "tool_call_id": f"call{number:05d}"}


CALLED = [user("Weather in Lisbon?"), assistant("", tool_calls=[call("get_weather", {"place": "Lisbon", "days": 2, "unit": "°C"})]),
          tool('{"temperature": 21.5, "sky": "clear"}')]
CONVERSATIONS = {
    "one question": {"messages": [user("Hi there")]},
    "with system": {"messages": [system("You are brief."), user("What is 2 + 2?")]},
    "several turns": {"messages": [user(" first\n"), assistant("  An answer.\n"), user("second"), assistant("Another."), user("third ")]},
    "system and turns": {"messages": [system("  Spaces around.  "), user("a"), assistant("b"), user("c")]},
    "ends with the answer": {"messages": [user("Say yes."), assistant("Yes.")], "gen": False},
    "begun answer": {"messages": [system("x"), user("Count."), assistant("One, two,")], "gen": False},
    "odd text": {"messages": [user(ODD)]},
    "odd text everywhere": {"messages": [system(ODD), user(ODD), assistant(ODD), user("go on")]},
    "tools offered": {"messages": [user("Weather in Lisbon?")], "tools": [WEATHER, TIME]},
    "tools and system": {"messages": [system("Use tools."), user("Time?")], "tools": [TIME]},
    "tool called": {"messages": CALLED, "tools": [WEATHER, TIME]},
    "tool answered": {"messages": CALLED + [assistant("It is 21.5 °C."), user("Thanks!")], "tools": [WEATHER]},
    "two calls": {"messages": [system("s"), user("Both?"),
                               assistant("I look.", tool_calls=[call("get_weather", {"place": "A", "where": [1.5, -2], "deep": {"k": None, "t": True}}, 1),
                                                                call("get_time", {}, 2)]),
                               tool("rain", number=1), tool("noon", "get_time", 2), assistant("Done."), user("More?")],
                  "tools": [WEATHER, TIME]},
    "arguments as text": {"messages": [user("w"), assistant("", tool_calls=[call("get_weather", '{"place": "Rome"}')]), tool("sun")],
                          "tools": [WEATHER]},
    "reasoning": {"messages": [user("Think."), assistant("<think>\nHm.\n</think>\n\nSo."), user("Again."),
                               assistant("Fine.", reasoning_content="I thought."), user("And?")]},
    "thinking off": {"messages": [user("Quick.")], "vars": {"enable_thinking": False}},
    "thinking on": {"messages": [system("/no_think"), user("Slow.")], "vars": {"enable_thinking": True, "reasoning_effort": "high"}},
    "content in parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Part one."}, {"type": "text", "text": " Two."}]}]},
    "documents": {"messages": [user("What does it say?")], "documents": [{"title": "T", "text": "Some text.", "doc_id": 1}]},
    "functions as a variable": {"messages": [user("Weather?")], "vars": {"functions": "[get_weather]", "datetime": "now"}},
    "empty": {"messages": [user("")]},
}


class Generation(jinja2.ext.Extension):
    """{% generation %} of transformers, which changes no text."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def environment():
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def with_jinja2(source, conversation, own):
    """The text, or None and why Jinja2 refuses."""
    variables = {name: conversation[name] for name in ("messages", "tools", "documents") if name in conversation}
    try:
        template = environment().from_string(source)
        return template.render(**variables, **conversation.get("vars", {}), **own,
                               add_generation_prompt=conversation.get("gen", True)), ""
    except Exception as problem:  # templates fail in every way that Python has
        return None, f"{type(problem).__name__}: {problem}"


def with_weft(weft, model, template, conversation):
    with tempfile.TemporaryDirectory() as folder:
        arguments = [weft, "template", model, f"{folder}/messages", "--chat-template", str(template), "--now", NOW.isoformat()]
        for name, option in (("messages", None), ("tools", "--tools"), ("documents", "--documents"), ("vars", "--variables")):
            if name not in conversation:
                continue
            pathlib.Path(folder, name).write_text(json.dumps(conversation[name]))
            if option:
                arguments += [option, f"{folder}/{name}"]
        if not conversation.get("gen", True):
            arguments.append("--no-generation-prompt")
        done = subprocess.run(arguments, capture_output=True, check=False)
    if done.returncode == 0:
        return done.stdout.decode(), ""
    return None, done.stderr.decode().strip()


def token_text(weft, model, name):
    """The model's BOS or EOS, as the template gets it."""
    with tempfile.TemporaryDirectory() as folder:
        template, messages = pathlib.Path(folder, "t"), pathlib.Path(folder, "m")
        template.write_text("{{ %s }}" % name)
        messages.write_text("[]")
        return subprocess.run([weft, "template", model, str(messages), "--chat-template", str(template)], check=True,
                              capture_output=True).stdout.decode()


def difference(expected, given):
    at = next((i for i, (a, b) in enumerate(zip(expected, given)) if a != b), min(len(expected), len(given)))
    return f"at {at}: {expected[max(0, at - 30):at + 40]!r} became {given[max(0, at - 30):at + 40]!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("model")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    own = {name: token_text(arguments.weft, arguments.model, name) for name in ("bos_token", "eos_token")}
    templates = sorted(path for folder in arguments.folders for path in folder.glob("*.jinja"))
    n_equal = n_rendered = 0
    for path in templates:
        source, found, refused = path.read_text(encoding="utf-8"), [], set()
        for name, conversation in CONVERSATIONS.items():
            expected, why = with_jinja2(source, conversation, own)
            given, message = with_weft(arguments.weft, arguments.model, path, conversation)
            if expected is None and given is not None:
                found.append(f"{name}: Jinja2 refuses ({why}), weft does not")
            elif expected is not None and given is None:
                refused.add(message)
                found.append(f"{name}: weft refuses: {message}")
            elif expected is not None:
                n_rendered += 1
                if expected != given:
                    found.append(f"{name}: {difference(expected, given)}")
        n_equal += not found
        for line in found:
            print(f"{path.name}: {line}")
    print(f"{n_equal} of {len(templates)} templates are equal on all {len(CONVERSATIONS)} conversations ({n_rendered} texts)")
    return 0 if n_equal == len(templates) else 1


if __name__ == "__main__":
    sys.exit(main())
