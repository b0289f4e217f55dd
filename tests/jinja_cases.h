/* Templates with what Jinja 3.1 makes of them, set up as tests/reference/templates.py does it, of the messages below; and templates
 * that it refuses. */
#ifndef WEFT_TESTS_JINJA_CASES_H
#define WEFT_TESTS_JINJA_CASES_H

#define JINJA_MESSAGES                                                                                                             \
    "[{\"role\": \"user\", \"content\": \"Hi <|im_end|> \xc3\xa9\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"}]"

static const struct {
    const char *template, *text;
} jinja_cases[] = {
    {"{{ 1 + 2 * 3 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % -3 }}|{{ 2 ** 10 }}|{{ 1 / 2 }}|{{ 4 / 2 }}|{{ 2 ** -1 }}|{{ -2 ** 2 }}",
     "7|3|-4|-2|1024|0.5|2.0|0.5|4"},
    {"{{ 1.0 }}|{{ 1e16 }}|{{ 1e15 }}|{{ 0.1 + 0.2 }}|{{ 1e-5 }}|{{ 0.0001 }}|{{ 123456789.125 }}|{{ 1e100 }}|{{ 5e-324 }}|{{ -0.0 "
     "}}|{{ 1_000 }}|{{ 1.5e3 }}",
     "1.0|1e+16|1000000000000000.0|0.30000000000000004|1e-05|0.0001|123456789.125|1e+100|5e-324|-0.0|1000|1500.0"},
    {"{{ true }}{{ false }}{{ none }}{{ True }}{{ None }}|{{ [1, 'a', none, true, 1.5, [], (), (1,), {}, {'a': \"b'c\"}] }}",
     "TrueFalseNoneTrueNone|[1, 'a', None, True, 1.5, [], (), (1,), {}, {'a': \"b'c\"}]"},
    {"{{ 'it\\'s' }}|{{ [\"it's\", 'q\"', 'both\\'\"', '\\n\\t\\\\', '\xc3\xa9', '\\x7f', '\\u200b'] }}",
     "it's|[\"it's\", 'q\"', 'both\\'\"', '\\n\\t\\\\', '\xc3\xa9', '\\x7f', '\\u200b']"},
    {"{{ 1 < 2 < 3 }}|{{ 1 < 3 < 2 }}|{{ 1 == 1.0 }}|{{ true == 1 }}|{{ 'a' < 'b' }}|{{ [1, 2] < [1, 3] }}|{{ (1,) == [1] }}|{{ "
     "none == none }}|{{ 'a' != 'b' }}",
     "True|False|True|True|True|True|False|True|True"},
    {"{{ 1 in [1, 2] }}|{{ 'b' in 'abc' }}|{{ 'x' not in {'x': 1} }}|{{ 3 in (1, 2) }}|{{ not 1 in [1] }}|{{ '' in '' }}",
     "True|True|False|False|False|True"},
    {"{{ 'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1] ~ missing }}|{{ 'a' + 'b' }}|{{ 'ab' * 3 }}|{{ 3 * 'x' }}|{{ [1] * 2 + [3] }}|{{ (1, 2) "
     "+ (3,) }}",
     "a1NoneTrue1.5[1]|ab|ababab|xxx|[1, 1, 3]|(1, 2, 3)"},
    {"{{ 1 if true else 2 }}|{{ 1 if false }}|{{ 'x' if 0 else 'y' if 0 else 'z' }}|{{ 0 or 'a' and 'b' }}|{{ none or [] }}|{{ not "
     "0 }}|{{ 1 and 0 }}",
     "1||z|b|[]|True|0"},
    {"{{ missing }}|{{ missing is defined }}|{{ missing is undefined }}|{{ missing | default('d') }}|{{ '' | default('d') }}|{{ '' "
     "| default('d', true) }}|{{ missing | length }}|{{ missing == other }}|{{ missing is none }}",
     "|False|True|d||d|0|True|False"},
    {"{{ 'abcdef'[1] }}|{{ 'abcdef'[-1] }}|{{ 'abcdef'[1:3] }}|{{ 'abcdef'[::-1] }}|{{ 'abcdef'[:-2] }}|{{ 'abcdef'[-3:] }}|{{ "
     "'abcdef'[10] }}|{{ 'abcdef'[::2] }}|{{ '\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80'[2:4] }}|{{ "
     "'\xc3\xa4\xc3\xb6\xc3\xbc'[::-1] }}|{{ 'abc'[5:1] }}",
     "b|f|bc|fedcba|abcd|def||ace|\xc3\xbc\xe2\x82\xac|\xc3\xbc\xc3\xb6\xc3\xa4|"},
    {"{{ [1, 2, 3, 4][1:] }}|{{ [1, 2, 3, 4][-2] }}|{{ [1, 2, 3, 4][::-2] }}|{{ [1][5] }}|{{ [1, 2, 3][9:0:-1] }}|{{ (1, 2, 3)[1:] "
     "}}|{{ [1,2,3].0 }}",
     "[2, 3, 4]|3|[4, 2]||[3, 2]|(2, 3)|1"},
    {"{{ {'a': 1}.a }}|{{ {'a': 1}['a'] }}|{{ {'a': 1}.b }}|{{ {'a': {'b': 2}}.a.b }}|{{ {'a': 1}.get('x', 5) }}|{{ {'a': "
     "1}.get('x') }}|{{ {1: 2}[1] }}|{{ {'items': 3}['items'] }}",
     "1|1||2|5|None|2|3"},
    {"{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }}{{ ',' if not loop.last }}{% endfor %}|{{ {'a': 1}.items() }}|{{ "
     "{'a': 1}.keys() }}|{{ {'a': 1}.values() | list }}",
     "a=1,b=2|dict_items([('a', 1)])|dict_keys(['a'])|[1]"},
    {"{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last "
     "}}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('o', 'e') }};{% endfor %}",
     "1032TrueFalse32o;2121FalseFalse313e;3210FalseTrue32o;"},
    {"{% for x in [] %}x{% else %}none{% endfor %}|{% for x in [1, 2, 3, 4] if x is even %}{{ loop.index }}:{{ x }} {% endfor "
     "%}|{% for x in [1, 2, 3] if x > 5 %}{% else %}no{% endfor %}",
     "none|1:2 2:4 |no"},
    {"{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}|{{ "
     "range(2, 8, 3) | list }}|{{ range(5, 0, -2) | list }}|{{ range(3)[1] }}",
     "02|[2, 5]|[5, 3, 1]|1"},
    {"{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}|{% set ns = namespace(n=0, a='q') %}{% for "
     "i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{{ ns.a }}{{ ns.b is defined }}",
     "231|6qFalse"},
    {"{% set a, b = 1, 2 %}{{ a }}{{ b }}|{% set t = 1, 2 %}{{ t }}|{% set c %}block {{ a }}{% endset %}{{ c }}|{% set d | upper "
     "%}shout{% endset %}{{ d }}|{% if true %}{% set inside = 5 %}{% endif %}{{ inside }}",
     "12|(1, 2)|block 1|SHOUT|5"},
    {"{% macro m(a, b='B', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=3) }}{{ m() }}{{ m(b=1, "
     "a=2) }}|{{ m(1) | length }}",
     "[1BNone][12None][1B3][BNone][21None]|8"},
    {"{% macro v() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v(1, 2, k=3) }}|{% macro outer() %}<{{ caller() }}>{% endmacro %}{% "
     "call outer() %}in{% endcall %}|{% macro each(l) %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(x) "
     "each([1, 2]) %}({{ x }}){% endcall %}",
     "(1, 2){'k': 3}|<in>|(1)(2)"},
    {"{% macro deep(n) %}{{ n }}{% if n > 0 %}{{ deep(n - 1) }}{% endif %}{% endmacro %}{{ deep(3) }}|{% macro uses() %}{{ later "
     "}}{% endmacro %}{% set later = 'L' %}{{ uses() }}",
     "3210|L"},
    {"{% with a = 1, b = 2 %}{{ a + b }}{% set q = 3 %}{% endwith %}{{ q is defined }}|{% filter upper %}loud {{ 'x' }}{% "
     "endfilter %}|{% generation %}gen{% endgeneration %}",
     "3False|LOUD X|gen"},
    {"{% for n in [{'v': 1, 'c': [{'v': 2, 'c': []}]}] recursive %}{{ n.v }}({{ loop(n.c) }}){{ loop.depth }}{% endfor %}",
     "1(2()2)1"},
    {"{% raw %}{{ not run }} {% if %}{% endraw %}|{# a comment #}|{#- trimmed -#}  |  {%- if true -%}   x   {%- endif -%}  |",
     "{{ not run }} {% if %}|||x|"},
    {"{{ 'Hello World' | upper }}|{{ 'Hello' | lower }}|{{ 'hello wORLD' | capitalize }}|{{ \"foo bar-baz (qux) o'neil\" | title "
     "}}|{{ \"they're bill's\" .title() }}|{{ 'stra\xc3\x9f"
     "e \xc3\x84\xc3\x96 \xc3\xa9\xc3\x9f \xc5\x89 \xc7\x86' | upper }}|{{ '\xc3\x80\xc3\x89\xc3\x8e \xc4\xb0 "
     "\xce\x91\xce\x92\xce\x93' | lower }}",
     "HELLO WORLD|hello|Hello world|Foo Bar-Baz (Qux) O'neil|They'Re Bill'S|STRASSE \xc3\x84\xc3\x96 \xc3\x89SS \xca\xbcN "
     "\xc7\x84|\xc3\xa0\xc3\xa9\xc3\xae i\xcc\x87 \xce\xb1\xce\xb2\xce\xb3"},
    {"{{ '  x ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ ' \\u3000\\u00a0a\\u2003'.strip() }}|{{ 'abcba'.strip('ab') }}|{{ "
     "'xay'.lstrip('xy') }}|{{ 'xay'.rstrip('xy') }}|{{ '\\x1fa\\x85'.strip() }}|",
     "x|a|a|c|ay|xa|a|"},
    {"{{ 'a-b-c' | replace('-', '+') }}|{{ 'aaa' | replace('a', 'b', 2) }}|{{ 'abc'.replace('', '.') }}|{{ "
     "'\xc3\xa4\xc3\xb6'.replace('', '-') }}|{{ 'aXbX'.replace('X', '') }}|{{ 'aaaa'.replace('aa', 'b') }}|{{ 12 | replace(1, 3) "
     "}}",
     "a+b+c|bba|.a.b.c.|-\xc3\xa4-\xc3\xb6-|ab|bb|32"},
    {"{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.split(' ', 1) }}|{{ ' a b  c '.split(none, 1) }}|{{ "
     "'a.b.c'.rsplit('.', 1) }}|{{ 'a=b=c'.partition('=') }}|{{ 'abc'.rpartition('=') }}|{{ 'a\\nb\\r\\nc\\n'.splitlines() }}|{{ "
     "''.split('x') }}|{{ ''.split() }}",
     "['a', 'b', '', 'c']|['a', 'b']|['a', 'b c']|['a', 'b  c ']|['a.b', 'c']|('a', '=', 'b=c')|('', '', 'abc')|['a', 'b', "
     "'c']|['']|[]"},
    {"{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith(('x', 'bc')) }}|{{ 'abcabc'.find('c') }}|{{ '\xc3\xa4"
     "bc'.find('c') }}|{{ 'abcabc'.rfind('c') }}|{{ 'abc'.find('x') }}|{{ 'abab'.count('ab') }}|{{ 'abc'.count('') }}|{{ "
     "'abc'.index('b') }}|{{ 'pre-x'.removeprefix('pre-') }}|{{ 'x.y'.removesuffix('.y') }}",
     "True|True|2|2|5|-1|2|4|1|x|x"},
    {"{{ 'abc'.isdigit() }}|{{ '12'.isdigit() }}|{{ 'ab1'.isalnum() }}|{{ 'ab'.isalpha() }}|{{ ' \\n'.isspace() }}|{{ "
     "'AB'.isupper() }}|{{ 'ab'.islower() }}|{{ '12'.isupper() }}|{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'a'.ljust(3, '.') "
     "}}|{{ 'a'.rjust(3) }}",
     "False|True|True|True|True|True|True|False|007|-007|a..|  a"},
    {"{{ '{} {} {{}}'.format(1, 'b') }}|{{ '{1}{0}'.format('a', 'b') }}|{{ '{x}'.format(x=2) }}|{{ '%s-%d-%s%%' % ('a', 5, [1]) "
     "}}|{{ '%s' % 'x' }}|{{ '%s and %s' | format('a', 'b') }}|{{ 'a'.join(['x', 'y']) }}",
     "1 b {}|ba|2|a-5-[1]%|x|a and b|xay"},
    {"{{ [3, 1, 2] | sort }}|{{ ['b', 'A', 'c'] | sort }}|{{ ['b', 'A', 'c'] | sort(case_sensitive=true) }}|{{ [3, 1, 2] | "
     "sort(reverse=true) }}|{{ [{'a': 2}, {'a': 1}] | sort(attribute='a') }}|{{ {'b': 1, 'a': 2} | dictsort }}|{{ {'b': 1, 'a': 2} "
     "| dictsort(by='value') }}|{{ {'b': 1, 'A': 2} | dictsort(false, 'key', true) }}",
     "[1, 2, 3]|['A', 'b', 'c']|['A', 'b', 'c']|[3, 2, 1]|[{'a': 1}, {'a': 2}]|[('a', 2), ('b', 1)]|[('b', 1), ('a', 2)]|[('b', "
     "1), ('A', 2)]"},
    {"{{ [1, 2, 3] | join(', ') }}|{{ [] | join }}|{{ 'abc' | join('-') }}|{{ [{'n': 'a'}, {'n': 'b'}] | join('+', attribute='n') "
     "}}|{{ [1, none, 'x'] | join }}|{{ [3, 1] | first }}|{{ 'abc' | last }}|{{ [] | first }}|{{ [1, 2] | last }}|{{ [1, 2] | "
     "reverse | list }}|{{ 'abc' | reverse }}",
     "1, 2, 3||a-b-c|a+b|1Nonex|3|c||2|[2, 1]|cba"},
    {"{{ [1, 2, 3] | map('string') | list }}|{{ ['a', 'b'] | map('upper') | join }}|{{ [{'a': {'b': 1}}, {'a': {}}] | "
     "map(attribute='a.b', default=0) | list }}|{{ [[1, 2]] | map(attribute=1) | list }}|{{ ['a'] | map('replace', 'a', 'z') | "
     "list }}",
     "['1', '2', '3']|AB|[1, 0]|[2]|['z']"},
    {"{{ [1, 2, 3, 4] | select('even') | list }}|{{ [0, 1, ''] | select | list }}|{{ [1, 2] | reject('equalto', 2) | list }}|{{ "
     "[{'a': 1}, {'a': 2}, {}] | selectattr('a', 'eq', 2) | list }}|{{ [{'a': 1}, {}] | selectattr('a', 'defined') | list | length "
     "}}|{{ [{'a': 0}, {'a': 1}] | rejectattr('a') | list }}|{{ [{'a': 1}] | selectattr('a', 'in', [1]) | list }}",
     "[2, 4]|[1]|[1]|[{'a': 2}]|1|[{'a': 0}]|[{'a': 1}]"},
    {"{{ [1, 2, 2, 1] | unique | list }}|{{ ['a', 'A'] | unique | list }}|{{ [3, 1] | min }}|{{ [3, 1] | max }}|{{ [1, 2] | sum "
     "}}|{{ [{'p': 1}, {'p': 2}] | sum(attribute='p', start=10) }}|{{ range(7) | batch(3) | list }}|{{ range(4) | batch(3, 'x') | "
     "list }}",
     "[1, 2]|['a']|1|3|3|13|[[0, 1, 2], [3, 4, 5], [6]]|[[0, 1, 2], [3, 'x', 'x']]"},
    {"{{ 'a' | length }}|{{ '\xc3\xa4\xc3\xb6' | count }}|{{ {'a': 1} | length }}|{{ '42' | int }}|{{ 'x' | int }}|{{ '3.9' | int "
     "}}|{{ 'x' | int(7) }}|{{ 3.7 | int }}|{{ ' 12 ' | int }}|{{ '1.5' | float }}|{{ 'x' | float }}|{{ 2 | float }}|{{ -3 | abs "
     "}}|{{ true | int }}|{{ '-5' | int }}",
     "1|2|1|42|0|3|7|3|12|1.5|0.0|2.0|3|1|-5"},
    {"{{ 2.5 | round }}|{{ 2.567 | round(2) }}|{{ 2.1 | round(method='ceil') }}|{{ 2.9 | round(0, 'floor') }}|{{ 3 | round }}|{{ "
     "1234.5 | round }}|{{ 0.5 | round | int }}",
     "2.0|2.57|3.0|2.0|3|1234.0|0"},
    {"{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(2, blank=true) }}|{{ 'a\\nb' | "
     "indent('>>') }}|{{ 'x' | center(5) }}|{{ 'xy' | center(5) }}|{{ 'a\\n' | indent }}|",
     "a\n    b\n\n    c|  a\n  b|a\n  \n  b|a\n>>b|  x  |  xy |a\n|"},
    {"{{ '<a href=\"x\">&\\'' | e }}|{{ ('a' | safe) + '<b>' }}|{{ '<' + ('b' | safe) }}|{{ ('<' | safe) ~ '<' }}|{{ \"'\"|safe + "
     "{'a': \"x\"} | tojson }}",
     "&lt;a href=&#34;x&#34;&gt;&amp;&#39;|a&lt;b&gt;|&lt;b|<<|'{&#34;a&#34;: &#34;x&#34;}"},
    {"{{ {'a': [1, 2.5, none, true], 'b': {}, 'c': [], '\xc3\xbc': '\xc3\xa9\\n\"\\\\/\\t\\x01\\x7f'} | tojson }}|{{ 'x' | tojson "
     "}}|{{ 1.0 | tojson }}|{{ '\xc3\xa9\xf0\x9f\x98\x80' | tojson(ensure_ascii=true) }}|{{ (1, 2) | tojson }}|{{ {1: 2, none: 3, "
     "true: 4} | tojson }}",
     "{\"a\": [1, 2.5, null, true], \"b\": {}, \"c\": [], \"\xc3\xbc\": "
     "\"\xc3\xa9\\n\\\"\\\\/\\t\\u0001\x7f\"}|\"x\"|1.0|\"\\u00e9\\ud83d\\ude00\"|[1, 2]|{\"1\": 4, \"null\": 3}"},
    {"{{ {'a': [1, {'b': 2}], 'c': {}, 'd': []} | tojson(indent=2) }}|{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}|{{ [1, 2] | "
     "tojson(separators=(',', ':')) }}|{{ {'a': 1} | tojson(indent=0) }}|{{ [1] | tojson(indent='--') }}",
     "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}|{\"a\": 2, \"b\": 1}|[1,2]|{\n\"a\": "
     "1\n}|[\n--1\n]"},
    {"{{ 1 is number }}|{{ 'a' is string }}|{{ [] is sequence }}|{{ {} is mapping }}|{{ 'a' is iterable }}|{{ 5 is odd }}|{{ none "
     "is none }}|{{ true is boolean }}|{{ 1 is boolean }}|{{ 1.5 is float }}|{{ 1 is integer }}|{{ true is integer }}|{{ missing "
     "is sequence }}|{{ 'A' is upper }}|{{ 4 is divisibleby 2 }}|{{ 1 is eq 1 }}|{{ 1 is not none }}|{{ range is callable }}|{{ 1 "
     "is in [1] }}|{{ true is sameas true }}|{{ true is true }}|{{ 0 is false }}",
     "True|True|True|True|True|True|True|True|False|True|True|False|True|True|True|True|True|True|True|True|True|False"},
    {"{{ dict(a=1, b=2) }}|{{ dict([('x', 1)], y=2) }}|{{ dict({'q': 1}) }}|{{ {'a': 1, 'a': 2} }}|{{ strftime_now('%Y-%m-%d "
     "%H:%M:%S %b %B %a %A %j %p %I %y %e') }}",
     "{'a': 1, 'b': 2}|{'x': 1, 'y': 2}|{'q': 1}|{'a': 2}|2025-03-07 14:05:09 Mar March Fri Friday 066 PM 02 25  7"},
    {"{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}|{% if '' %}a{% elif [] %}b{% else %}c{% endif %}|{% if none is not none or 1 "
     "%}t{% endif %}",
     "b|c|t"},
    {"{{ messages[0].role }}|{{ messages[0]['content'] }}|{{ messages | length }}|{{ messages[-1].content[:3] }}|{{ messages[0] "
     "}}|{{ messages[1:] }}|{{ messages[0] | tojson }}|{{ messages[0].items() | list }}",
     "user|Hi <|im_end|> \xc3\xa9|2|Yes|{'role': 'user', 'content': 'Hi <|im_end|> \xc3\xa9'}|[{'role': 'assistant', 'content': "
     "'Yes.'}]|{\"role\": \"user\", \"content\": \"Hi <|im_end|> \xc3\xa9\"}|[('role', 'user'), ('content', 'Hi <|im_end|> "
     "\xc3\xa9')]"},
    {"{{ 'a' 'b' \"c\" }}|{{ '\\u00e9\\x41\\101\\q' }}|{{ 'line\\\nnext' }}|{{ \"\\a\\b\" | tojson }}",
     "abc|\xc3\xa9"
     "AA\\q|linenext|\"\\u0007\\b\""},
    {"{{ (1, 2) | first }}|{{ 1, 2 }}|{{ (1) }}|{{ () }}|{{ (1,) }}|{{ [1,] }}|{{ {'a': 1,} }}|{{ [[1, 2], [3]][0][1] }}",
     "1|(1, 2)|1|()|(1,)|[1]|{'a': 1}|2"},
    {"{{ 'x' if missing is defined and missing.y else 'n' }}|{{ (missing or {}).y is defined }}|{{ messages[0].nothing is defined "
     "}}|{{ messages[0].nothing }}|{{ messages[9] }}|{{ none.x }}",
     "n|False|False|||"},
    {"{% set x = {'a': 1} %}{% set y = dict(x, b=2) %}{{ y }}{{ x }}|{{ 'a'.upper().lower() }}|{{ ('a' ~ 'b') | upper }}|{{ -1 | "
     "abs }}|{{ 'a' | upper ~ 'b' }}|{{ 2 * 3 ~ 4 }}",
     "{'a': 1, 'b': 2}{'a': 1}|a|AB|1|Ab|64"},
    {"{% for a in [[1, [2, 3]]] %}{% set x, (y, z) = a %}{{ x }}{{ y }}{{ z }}{% endfor %}|{% for (a, b), c in [((1, 2), 3)] %}{{ "
     "a }}{{ b }}{{ c }}{% endfor %}",
     "123|123"},
    {"{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}|{{ messages | "
     "map(attribute='role') | unique | list }}|{{ none | map('upper') | list }}",
     "Hi <|im_end|> \xc3\xa9|['user', 'assistant']|[]"},
    {"{{ loop is defined }}|{% for x in 'ab' %}{% for y in 'cd' %}{{ loop.index }}{{ x }}{{ y }}{% endfor %}{{ loop.index }}{% "
     "endfor %}|{% for i in [1, 1, 2] %}{% if loop.changed(i) %}{{ i }}{% endif %}{% endfor %}",
     "False|1ac2ad11bc2bd2|12"},
    {"{{ {'a': 1} == {'a': 1.0} }}|{{ [1, [2]] == [1, [2]] }}|{{ 'a' in missing }}|{{ 1.5 // 1 }}|{{ 5.5 % 2 }}|{{ true + true "
     "}}|{{ 10 ** 3 }}",
     "True|True|False|1.0|1.5|2|1000"},
    {"{{ -1 ** 2 }}|{{ - 5 | abs }}|{{ +3 }}|{{ 2 ** 3 ** 2 }}|{{ not true or true }}|{{ 1 == 1 and 2 == 2 }}|{{ 'a' if 1 else 'b' "
     "~ 'c' }}|{{ [1 if true else 2, 3] }}",
     "1|5|3|64|True|True|a|[1, 3]"},
    {"{% if true %}\n  a\n{% endif %}\nb\n", "  a\nb"},
    {"  {% if true %}  \n a{% endif %}\n", "  \n a"},
    {"x  {% if true %}y{% endif %}", "x  y"},
    {"a\n   {# c #}\nb", "a\nb"},
    {"a\n   {{ 'x' }}\nb\n\n", "a\n   x\nb\n"},
    {"a \n {%- if true %}\n b {%- endif %} c", "a b c"},
    {"{%+ if true %} x {% endif +%}\n y", " x \n y"},
    {"a\n  {%+ if true %}x{%+ endif %}\n", "a\n  x"},
    {"{{- 'a' -}}  \n  b", "ab"},
    {"a  {{- 'x' }}  b", "ax  b"},
    {"a\r\nb\rc\r\n{% if true %}\r\nd{% endif %}", "a\nb\nc\nd"},
    {"  {% set x = 1 %}\n  {{ x }}\n", "  1"},
    {"\n\n{% if true %}\n\n\nx{% endif %}\n\n", "\n\n\n\nx"},
    {"{% raw %}\n  a {{ x }}\n{% endraw %}\nb", "\n  a {{ x }}\nb"},
    {"a {%- raw -%}  b  {%- endraw -%} c", "abc"},
    {"{% for x in [1,2] %}\n  - {{ x }}\n  {% endfor %}\nend", "  - 1\n  - 2\nend"},
    {"{#- a -#}  b", "b"},
    {"a {#- b -#}  c", "ac"},
    {"\t{% if true %}x{% endif %}\t\n", "x\t"},
    {"\xc2\xa0{% if true %}x{% endif %}", "x"},
    {"a\n\xe2\x80\x83 {% if true %}x{% endif %}", "a\nx"},
    {"{{ {'a': {'b': 1}}['a']['b'] }}", "1"},
    {"{{'{{'}}{{ '}}' }}", "{{}}"},
    {"{% if true -%}\n  x\n{%- endif %}\ny", "xy"},
    {"{{ 1 }}\n{{ 2 }}\n", "1\n2"},
    {"", ""},
    {"\n", ""},
    {"plain", "plain"},
    {"{%if true%}tight{%endif%}", "tight"},
    {"{{+ 1 }}", "1"},
    {"a\n  {#+ c #}\nb", "a\n  b"},
    {"{% set x %}\n  y\n{% endset %}[{{ x }}]", "[  y\n]"},
    {"{% macro m() %}\n  z\n{% endmacro %}[{{ m() }}]", "[  z\n]"},
    {"{% print 1, 2 %}", "12"},
    {"{% if true %}{% raw %}{% endif %}{% endraw %}{% endif %}", "{% endif %}"},
    {"{% set x = 'a' %}{% macro m(x) %}{{ x }}{% endmacro %}{{ m('b') }}{{ x }}", "ba"},
};

static const char *const jinja_refused[] = {
    "{{ missing.x }}",
    "{{ 1 + 'a' }}",
    "{{ 'a' + 1 }}",
    "{{ raise_exception('no') }}",
    "{{ [].append(1) }}",
    "{{ {}.pop('a') }}",
    "{{ 1 / 0 }}",
    "{{ 'a'.nothing() }}",
    "{% for x in 5 %}{% endfor %}",
    "{{ missing() }}",
    "{{ 'a' | nofilter }}",
    "{{ 'a' is notest }}",
    "{{ }}",
    "{{ 1 +",
    "{% if %}{% endif %}",
    "{% if true %}",
    "{% endif %}",
    "{% for %}",
    "{{ 'abc }}",
    "{{ (1 }}",
    "{{ [1 }}",
    "{% set %}",
    "{% set x.y = 1 %}",
    "{% set x = {} %}{% set x.y = 1 %}",
    "{% break %}",
    "{{ 1 < 'a' }}",
    "{{ none + 1 }}",
    "{{ 'x' * 'y' }}",
    "{{ range(200000) }}",
    "{{ {'a': missing} | tojson }}",
    "{{ range | tojson }}",
    "{{ 1 | map('upper') | list }}",
    "{{ 5 | length }}",
    "{{ [1] | map('upper') | length }}",
    "{{ [[]: 1] }}",
    "{{ {[]: 1} }}",
    "{{ a b }}",
    "{{ 1 2 }}",
    "{% macro %}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{# open",
    "{% raw %}",
    "{% include 'x' %}",
    "{{ x | }}",
    "{{ 'a'.format }",
    "{{ '{}'.format() }}",
    "{{ '%s %s' % 'a' }}",
    "{{ [3, 'a'] | sort }}",
    "{{ 1 is in 5 }}",
    "{{ ) }}",
    "{{ {'a' 1} }}",
    "{{ 'a' in 5 }}",
    "{{ 5 in 'a' }}",
    "{{ strftime_now() }}",
    "{{ 'a'[missing:] }}",
    "{{ - 'a' }}",
    "{{ $ }}",
    "{% unknown %}",
    "{{ m(a=1, 2) }}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% set a, b = [1] %}",
    "{{ 01 }}",
    "{{ ns.x.y }}",
    "{{ 'a' is divisibleby }}",
    "{{ 1 | tojson(1, 2, 3, 4, 5) }}",
};

#endif
