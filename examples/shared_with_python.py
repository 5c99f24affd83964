"""The other side of `shared_with_python.rs`: reads a value of Rust's, and stores one."""

import json
import pathlib
import sys

from pymemcache.client.base import Client

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "docs"))

from keys import render  # noqa: E402

client = Client(sys.argv[1])

# The template of the function, with `<>` for each placeholder: values are escaped alike.
key = render("user:<>:<>", "r&d", 7)
print(f"Python  reads {key}: {json.loads(client.get(key))}")

user = {"id": 8, "name": "Guido", "languages": ["Python", "C"]}
client.set(render("user:<>:<>", "r&d", 8), json.dumps(user), expire=300)
print(f"Python  stores {user}")

# The client's integers are text, as memcached's own.
client.set("visits", 41)
client.incr("visits", 1)
