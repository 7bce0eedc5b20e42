#!/bin/sh
# zstd's --patch-from passes over the window that it is told, without a word: the frame's window is as large as the files.
#
# Behaviour: `zstd --zstd=wlog=22` writes frames whose window has 4 MiB, so that whoever decodes them needs little memory. With `--patch-from`
# beside it the same option has no effect. The window covers the whole file, so that the memory for decoding grows with the program.
# Most would guess: an explicit window holds here, too, and the patch only becomes larger where it would have to reach farther back.
#
# Shown with zstd 1.5.4 of Debian 12. Needs apt-get, dpkg-deb and python3; writes only below a temporary directory.
set -eu
VERSION='1.5.4*'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -q download "zstd=$VERSION" >/dev/null 2>&1 || { echo "zstd $VERSION is no longer there"; exit 1; }
dpkg-deb -x zstd_*.deb there
zstd=there/usr/bin/zstd
"$zstd" --version

# Programs of 12 MiB that differ in one byte.
python3 -c '
import random
random.seed(1)
content = bytearray(random.randbytes(12 << 20))
open("old", "wb").write(content)
content[5 << 20] ^= 1
open("new", "wb").write(content)'
window() { "$zstd" -lv "$1" 2>/dev/null | sed -n 's/^Window Size: .*(\([0-9]*\) B)$/\1/p'; }
"$zstd" -q -19 --zstd=wlog=22 new -o whole.zst
"$zstd" -q -19 --zstd=wlog=22 --patch-from=old new -o patch.zst 2>said
echo "window asked for: 4194304 bytes; of the whole: $(window whole.zst), of the patch: $(window patch.zst)"
echo "said of the window: $(grep -ci window said || true) lines"
[ "$(window whole.zst)" = 4194304 ] && [ "$(window patch.zst)" = 12582912 ] && ! grep -qi window said ||
    { echo "the behaviour has changed"; exit 1; }
