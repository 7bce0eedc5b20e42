#!/bin/sh
# Go's linker fills a stripped program with zeros behind its last part.
#
# Behaviour: `go build -ldflags='-s -w'` writes ELF files that go on behind everything that their headers, segments and sections name.
# What follows is zeros, up to the next page of the linker; how many depends on machine and program. Without the two flags there are none.
# Most would guess: the furthest end that an ELF file names is the end of the file, so that bytes behind it are something appended,
# or a sign of a file that was tampered with.
#
# Shown with Debian 12's Go 1.19. Needs apt-get, dpkg-deb and python3; writes only below a temporary directory.
set -eu
VERSION=1.19.8-2

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "golang-1.19-go=$VERSION" "golang-1.19-src=$VERSION"
for package in ./*.deb; do dpkg-deb -x "$package" root; done
# The package links to its sources by relative names, which hold below any root.
cp -rL root/usr/lib/go-1.19 goroot
export GOROOT="$work/goroot" GOPATH="$work/path" GOCACHE="$work/cache" GOFLAGS=-mod=mod GOTOOLCHAIN=local GO111MODULE=off CGO_ENABLED=0
go="$GOROOT/bin/go"
"$go" version
printf 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("V01.00.00.00") }\n' >hello.go

cat >tail.py <<'PYTHON'
"""How many bytes lie behind the last part that an ELF file names, and whether they are all zeros."""
import struct, sys
data = open(sys.argv[1], "rb").read()
wide = data[4] == 2
if wide:
    phoff, shoff = struct.unpack_from("<QQ", data, 32)
    phsize, phnum, shsize, shnum = struct.unpack_from("<HHHH", data, 54)
else:
    phoff, shoff = struct.unpack_from("<II", data, 28)
    phsize, phnum, shsize, shnum = struct.unpack_from("<HHHH", data, 42)
ends = [phoff + phsize * phnum, shoff + shsize * shnum]
for i in range(phnum):
    at = phoff + i * phsize
    offset, size = (struct.unpack_from("<Q", data, at + 8)[0], struct.unpack_from("<Q", data, at + 32)[0]) if wide else \
        (struct.unpack_from("<I", data, at + 4)[0], struct.unpack_from("<I", data, at + 16)[0])
    ends.append(offset + size)
for i in range(shnum):
    at = shoff + i * shsize
    kind = struct.unpack_from("<I", data, at + 4)[0]
    offset, size = struct.unpack_from("<QQ", data, at + 24) if wide else struct.unpack_from("<II", data, at + 16)
    if kind not in (0, 8):  # SHT_NULL and SHT_NOBITS take no place in the file
        ends.append(offset + size)
behind = data[max(ends):]
print(len(behind), "zeros" if not any(behind) else "other bytes")
PYTHON

changed=no
for arch in amd64 arm64 arm 386; do
    GOARCH=$arch GOOS=linux "$go" build -o whole hello.go
    GOARCH=$arch GOOS=linux "$go" build -ldflags='-s -w' -o stripped hello.go
    whole=$(python3 tail.py whole)
    stripped=$(python3 tail.py stripped)
    printf '%-6s as built: %s bytes behind the end (%s); with -s -w: %s (%s)\n' \
        "$arch" "${whole% *}" "${whole#* }" "${stripped%% *}" "${stripped#* }"
    case $stripped in "0 zeros") changed=yes ;; *" zeros") ;; *) changed=yes ;; esac
done
[ "$changed" = no ] || { echo "This has changed: a stripped program ends where its headers say, or in something else than zeros." >&2; exit 1; }
echo "As described: stripped Go programs end in zeros that nothing in the file names."
