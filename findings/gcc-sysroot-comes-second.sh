#!/bin/sh
# Debian's native gcc takes the machine's own C library although --sysroot names another, and says nothing.
#
# Behaviour: `gcc --sysroot=DIR` looks for crt1.o, libc.so and all other libraries beside itself first, below /usr/lib/gcc/MACHINE/12/../../..,
# which is this machine's /usr/lib. DIR has them all, and is not asked. So a program that should run with DIR's older C library asks for
# symbols of this machine's. It needs `-BDIR/usr/lib/MACHINE -BDIR/lib/MACHINE` as well. Clang takes those of DIR with --sysroot alone.
# Most would guess: what --sysroot names comes first, or alone.
#
# Shown with Debian 12's gcc 12.2.0 (packages gcc-12 and gcc), on amd64, and a directory with Debian 12's libc6-dev, which is only
# unpacked. Needs apt-get, dpkg-deb and gcc; writes only below a temporary directory.
set -eu
VERSION=2.36-9+deb12u14

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "libc6-dev=$VERSION" "libc6=$VERSION"
for package in ./*.deb; do dpkg-deb -x "$package" other; done
machine=$(gcc -dumpmachine)
gcc --version | head -n 1
taken() { realpath "$(gcc "$@" -print-file-name="$file")"; }
for file in crt1.o libc.so; do
    [ -e "other/usr/lib/$machine/$file" ]
    plain=$(taken "--sysroot=$work/other")
    named=$(taken "--sysroot=$work/other" "-B$work/other/usr/lib/$machine")
    echo "$file with --sysroot: $plain"
    echo "$file with -B as well: ${named#"$work"/}"
    [ "$plain" = "/usr/lib/$machine/$file" ] && [ "$named" = "$work/other/usr/lib/$machine/$file" ] || { echo "the behaviour has changed"; exit 1; }
done
echo 'int main(void) { return 0; }' >program.c
used=$(gcc "--sysroot=$work/other" program.c -o program -Wl,--trace 2>&1)
echo "linked with --sysroot, files of the directory: $(echo "$used" | grep -c "$work/other" || true) of $(echo "$used" | wc -l)"
! echo "$used" | grep -q "$work/other" || { echo "the behaviour has changed"; exit 1; }
