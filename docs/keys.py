"""The keys of memoized functions, for programs in Python: `render("user:<>:<>", "acme", 7)`."""

import hashlib
import re

PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"


def leaf(text, ends):
    return "".join(chr(b) if b in PLAIN and b != ends else "%%%02X" % b for b in text.encode())


def part(value, ends):
    each = lambda values: [part(one, ends) or "%" for one in values]
    match value:
        case None: return "~"
        case bool(): return leaf(str(value).lower(), ends)
        case tuple(): return "(" + ",".join(each(value)) + ")"
        case list(): return "[" + ",".join(each(value)) + "]"
        case set() | frozenset(): return "{" + ",".join(sorted(each(value))) + "}"
        case dict(): return "{" + ",".join(sorted(f"{part(k, ends)}={part(v, ends)}" for k, v in value.items())) + "}"
        case _: return leaf(str(value), ends)


def render(template, *values, namespace=""):
    """Each `<>` of the template stands for a value; the namespace comes before the key."""
    first, *literals = template.split("<>")
    key = first
    for value, literal in zip(values, literals, strict=True):
        ends = re.search(r"[!-/:-@[-`{-~]", re.sub("[~&%]", " ", literal))
        key += part(value, ord(ends[0]) if ends else None) + literal
    key = (namespace and namespace + ":") + (key or "%")
    is_short = len(key) < 250 or len(key) == 250 and key[217] != "#"
    return key if is_short else key[:217] + "#" + hashlib.sha256(key.encode()).hexdigest()[:32].upper()
