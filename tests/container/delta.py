"""Writes a delta as docs/wire/delta.md says, for nobody's instructions, with few of the ways that there are: bytes of the old program,
some of them changed, and bytes on their own."""

T = [1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901,
     3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094]
SQUASH = {x: (T[(x >> 7) + 16] * (128 - (x & 127)) + T[(x >> 7) + 17] * (x & 127) + 64) >> 7 for x in range(-2047, 2048)}
STRETCH = [next((x for x in range(-2047, 2048) if SQUASH[x] >= c), 2047) for c in range(4096)]
BLOCK = 32


class Coder:
    """Bits, and what is known of each: chances and weights by their names, even ones at first."""

    def __init__(self):
        self.low, self.range, self.held, self.out, self.chances, self.weights = 0, 0xFFFFFFFF, [0], bytearray(), {}, {}

    def code(self, bit, one):
        bound = (self.range >> 16) * one
        self.low += 0 if bit else bound
        self.range = bound if bit else self.range - bound
        while self.range < 1 << 24:
            self.range <<= 8
            self.shift()

    def shift(self):
        """The highest byte can't change any more unless it is 255, behind which a carry may come."""
        if self.low >= 1 << 32 or self.low < 0xFF << 24:
            self.out += bytes((byte + (self.low >> 32)) & 255 for byte in self.held)
            self.held = []
        self.held.append(self.low >> 24 & 255)
        self.low = self.low << 8 & 0xFFFFFFFF

    def one(self, name):
        return sum(self.chances.setdefault(name, [32768, 32768])) >> 1

    def learn(self, name, bit):
        self.chances[name] = [it + (65535 - it >> n) if bit else it - (it >> n) for it, n in zip(self.chances[name], (4, 6))]

    def bit(self, name, bit):
        self.code(bit, self.one(name))
        self.learn(name, bit)

    def tree(self, name, bits, value):
        for at in range(bits - 1, -1, -1):
            self.bit((name, bits, (1 << bits | value) >> at + 1), value >> at & 1)

    def number(self, name, value):
        value += 1
        high = value.bit_length() - 1
        first, below = min(3, high), value ^ 1 << high
        self.tree(name, 6, high)
        self.tree((name, high), first, below >> high - first)
        for at in range(high - first - 1, -1, -1):
            self.code(below >> at & 1, 32768)

    def mixed(self, kind, tables, value):
        for at in range(7, -1, -1):
            node, bit = (256 | value) >> at + 1, value >> at & 1
            names = [(kind, i, table, node) for i, table in enumerate(tables)]
            s = [STRETCH[self.one(name) >> 4] for name in names]
            w = self.weights.setdefault((kind, node), [32768, 32768, 16384])
            c = SQUASH[max(-2047, min(2047, sum(w[i] * s[i] >> 16 for i in range(3))))]
            self.code(bit, 16 * c + 8)
            for i, name in enumerate(names):
                w[i] = max(-1 << 19, min(1 << 19, w[i] + (s[i] * ((bit << 12) - c) + 8192 >> 12)))
                self.learn(name, bit)


def segments(old, new):
    """(old place, length, gap) of rows of blocks that are mostly equal."""
    places = {old[at:at + BLOCK]: at for at in range(0, len(old) - BLOCK + 1, BLOCK)}
    at, place, length, gap = 0, 0, 0, 0
    while at < len(new):
        here = places.get(new[at:at + BLOCK])
        if here is None or at == len(new):
            at, gap = at + 1, gap + 1
            continue
        yield place, length, gap
        place, length, gap, right = here, BLOCK, 0, 0
        while at + length < len(new) and place + length < len(old) and (
                sum(a == b for a, b in zip(new[at + length:at + length + 8], old[place + length:place + length + 8])) > 4):
            length += 1
        at += length
    yield place, length, gap


def delta(old, new):
    coder, ways, history, p, end = Coder(), [0] * 4, 0, 0, 0
    coder.tree("machine", 2, 0)
    for place, length, gap in segments(old, new):
        if length + gap == 0:
            continue
        way = place - p
        which = ways.index(way) if way in ways else 4
        for i in range(min(which + 1, 4)):
            coder.bit(("way", i), i == which)
        if which == 4:
            coder.bit("before", place < end)
            coder.number(("jump", place < end), abs(place - end))
        ways = [way] + [other for i, other in enumerate(ways) if i != min(which, 3)]
        coder.number("length", length)
        at, end = place, place + length
        while at < end:
            if history == 0:
                run, off = 0, [0] * 8
                while at + run < end and new[p + run] == old[at + run]:
                    run += 1
                coder.number("run", run)
                p, at = p + run, at + run
                if at == end:
                    break
            else:
                coder.bit(("other", history), new[p] != old[at])
            by = (new[p] - old[at]) & 255
            if by:
                coder.mixed("byte", (off[0], off[7], old[at]), by)
            history, off = (history << 1 | (by != 0)) & 4095, [by] + off[:7]
            p, at = p + 1, at + 1
        coder.number("gap", gap)
        for _ in range(gap):
            a, b = (new[p - 1] if p > 0 else 0), (new[p - 2] if p > 1 else 0)
            coder.bit("before?", 0)
            coder.mixed("literal", (a, ((a << 8 | b) * 0x9E3779B1 >> 9) & 1023, a), new[p])
            p += 1
    for _ in range(5):
        coder.shift()
    return bytes(coder.out)
