"""The worst stack of the bridge's callbacks, and of its thread: the compiler's figures along the
deepest path of calls, without the C library's and the vendor's functions.

stack.py GRAPH: what gcc -fcallgraph-info=su wrote."""

import functools
import re
import sys

CALLBACK_BYTES = 2048

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
own = {name: int(size) for name, size in
       re.findall(r'node: \{ title: "([^"]*)" label: "[^"]*\\n(\d+) bytes \(static\)', text)}
unbounded = re.findall(r'label: "(\w+)\\n[^"]*bytes \(dynamic', text)
calls = {}
for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', text):
    calls.setdefault(caller, set()).add(callee)


@functools.cache
def deepest(name):
    """Bytes, and the functions on the way. A recursion would not end here, and there must be none."""
    below = max((deepest(callee) for callee in calls.get(name, ())), default=(0, ()))
    return own.get(name, 0) + below[0], (name.rsplit(":", 1)[-1],) + below[1]


def worst(beginning):
    return max(deepest(name) for name in own if name.rsplit(":", 1)[-1].startswith(beginning))


callback, thread = worst("on_"), worst("run_bridge")
print(f"stack of a callback: {callback[0]} bytes at most ({' > '.join(callback[1])})")
print(f"stack of the bridge's thread: {thread[0]} bytes at most ({' > '.join(thread[1])})")
assert not unbounded, f"without a bound: {unbounded}"
assert callback[0] <= CALLBACK_BYTES, "a callback needs too much stack"
