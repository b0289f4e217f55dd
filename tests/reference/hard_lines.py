"""Lines that are hard for tokenizers, made from a seed."""
import random
import unicodedata

CONTRACTIONS = ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Re", "rE", "VE", "M", "LL", "lL", "D", "\u017f", "x", "em", "tis"]
SPACES = [" ", " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u180e",
          "\u2000", "\u2003", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", " \n", "\n ",
          " \t\n", "    ", "        ", " " * 17]
SCRIPTS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x58F), (0x5D0, 0x5EA), (0x600, 0x6FF),
           (0x700, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE01, 0xE5B), (0xF00, 0xFBC), (0x10A0, 0x10FF),
           (0x1100, 0x11FF), (0x1200, 0x135A), (0x1780, 0x17F9), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x3041, 0x3096), (0x30A1, 0x30FA),
           (0x3105, 0x312F), (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xAC00, 0xD7A3), (0xF900, 0xFA6D), (0xFB00, 0xFDFF), (0xFE70, 0xFEFC),
           (0xFF01, 0xFFEF), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x12000, 0x12399), (0x13000, 0x1342E), (0x1D400, 0x1D7FF),
           (0x1E900, 0x1E943), (0x20000, 0x2A6DF), (0x2B740, 0x2B81D)]
MARKS = ["\u0300", "\u0301", "\u0308", "\u0323", "\u0327", "\u05b4", "\u064e", "\u0651", "\u093e", "\u094d", "\u0e31", "\u20dd", "\u302a",
         "\ufe0e", "\ufe0f", "\u200d", "\u200c", "\u200e", "\u200f", "\u202e", "\u2066"]
NUMBERS = ["\u0660", "\u0667", "\u06f3", "\u0967", "\u09ea", "\u0be7", "\u0e53", "\u0f23", "\u00b2", "\u00bd", "\u2155", "\u2167", "\u217b",
           "\u2460", "\u2488", "\u3007", "\u3021", "\u3220", "\u3289", "\uff11", "\U0001d7d8", "\U00010107", "\U0001f101"]
EMOJI = ["\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\u2764\ufe0f\u200d\U0001f525",
         "\U0001f1f5\U0001f1f9", "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
         "\U0001f9d1\U0001f3ff\u200d\U0001f680", "\u2603", "\u2192", "\u221e"]
MARKERS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start|>user\n", "<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>",
           "<|start_header_id|>system<|end_header_id|>\n\n", "<|reserved_special_token_7|>", "<repo_name>", "<s>", "</s>", "<unk>", "<0x0A>",
           "[INST]", "<<SYS>>", "<|im_end", "|>", "<|", "<|<|im_end|>|>", "[PAD151646]"]
CODE = ["for (int i = 0; i < n; i++) {\n\tsum += a[i];\n}", "def f(x):\n    return x**2  # square\n\n\n", "if __name__ == '__main__':", "SELECT * FROM t WHERE a='b''c';",
        "#include <stdio.h>", "x = {'a': [1, 2.5e-10], \"b\": None}", "https://example.org/a/b?c=d&e=%20f#g", "C:\\Users\\x\\n", "a->b.c::d()",
        "<div class=\"x\">&nbsp;</div>", "0xDEADBEEF 0b1010 1_000_000 3.14159f", "$x !== null ?: @$y;", "\\frac{a}{b} \\alpha_1^2", "!!!???...",
        "--flag=value", "++i; --j;", "///////", "===========", "-----", "....", "\"\"\"doc\"\"\"", "'''", "\\n\\t\\\\", "({[<>]})", "a,b;c:d"]
WORDS = ("the of and to in is that it was for on are with they be at one have this from by hot word but what some we can out other were all "
         "there when up use your how said an each she which do their time if will way about many then them write would like so these her long make "
         "thing see him two has look more day could go come did number sound no most people my over know water than call first who may down side "
         "been now find Schadenfreude naive na\u00efve caf\u00e9 co\u00f6perate stra\u00dfe \u00e7a \u017b\u00f3\u0142\u0107 Tokyo O'Neill rock'n'roll "
         "antidisestablishmentarianism NASA iPhone HTTPServer snake_case camelCase x86_64 UTF-8 Ko\u0308ln e\u0301te\u0301").split()


def word(r):
    return r.choice(WORDS)


def script(r):
    low, high = r.choice(SCRIPTS)
    return "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 6)))


def contraction(r):
    return r.choice(["I", "you", "it", "DON", "x", "9", "é", "", " ", "\u0645"]) + r.choice(["'", "'", "'", "\u2019", "''"]) + r.choice(CONTRACTIONS) + r.choice(["", " ", "x", "'s", "1"])


def digits(r):
    return r.choice(["", " ", "-", "$", "x"]) + "".join(r.choice("0123456789") for _ in range(r.choice([1, 2, 3, 4, 5, 7, 11, 20]))) + r.choice(["", ",000", ".5", "th", "%", " "])


def marked(r):
    return "".join(word(r) + r.choice(MARKS) for _ in range(r.randint(1, 2))) + r.choice(MARKS)


def control(r):
    return "".join(chr(r.choice([0, 1, 4, 6, 7, 8, 0x13, 0x14, 0x1B, 0x1C, 0x1D, 0x1F, 0x7F, 0x80, 0x9F, 0xAD, 0xFFFD, 0xE000, 0xFFFF])) for _ in range(r.randint(1, 3)))


def character(r):
    while True:
        c = chr(r.randint(0, 0x10FFFF) if r.random() < 0.3 else r.randint(0, 0xFFFF))
        if unicodedata.category(c) not in ("Cs", "Cn"):
            return c


def repeated(r):
    return r.choice(["a", "A", "=", "-", " ", "\n", "ab", "0", "é", "。", "😀", "ha", "!"]) * r.choice([2, 5, 16, 33, 40, 70])


PARTS = [word, word, word, word, lambda r: r.choice(SPACES), lambda r: r.choice(SPACES), script, contraction, digits, marked, control, character,
         repeated, lambda r: r.choice(NUMBERS), lambda r: r.choice(EMOJI), lambda r: r.choice(MARKERS), lambda r: r.choice(CODE),
         lambda r: r.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), lambda r: " " + word(r), lambda r: " " + word(r)]
# Each of these once, whatever the seed.
FIXED = ["", " ", "  ", "\n", "\r\n", "\t", "a", "'", "'s", " 's", "'S", "'\u017f", "\u180e", " \u180e ", "\u3000a", "1", "12", "123", "1234", "12345678",
         "a1b2c3", "\u00b2\u00b3", "x\n", "x \n", "x  \n  y", "\n\n\n", " \n \n ", "    x", "x    ", "x    1", "1    x", "\x00", "\U0010ffff", "\U00040000",
         "don't DON'T Don'T we'LL", "\u0130\u0131\u212a\u1e9e", "\ufb01\ufb05", "a" * 300, " " * 300, "\n" * 300, "é" * 100, "0" * 100]


def hard_lines(seed, count):
    """`count` texts (they may hold line ends), the same for the same seed."""
    r = random.Random(seed)
    lines = list(FIXED)
    while len(lines) < count:
        sep = r.choice(["", "", " ", " "])
        lines.append(sep.join(r.choice(PARTS)(r) for _ in range(r.randint(1, 12))))
    return lines


def every_character(context="a{0}b {0} 1{0}2  {0}\n{0}'{0}s ", per_line=64):
    """All characters of Unicode, each between others of several kinds."""
    characters = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]
    for i in range(0, len(characters), per_line):
        yield "".join(context.format(c) for c in characters[i:i + per_line])
