#!/bin/sh
# swupdate deletes files in TMPDIR that have the names of files in its archive, also where it unpacks none of them there.
#
# Behaviour: an image with `installed-directly = true` is written to its place as it comes, and no copy of it is made in TMPDIR. Behind the
# installation a file of the image's name in TMPDIR is gone all the same, whoever put it there: such as the image from which the archive was
# made, where somebody builds and tries an archive in one directory.
# Most would guess: it deletes what it has unpacked.
#
# Shown with Debian 12's SWUpdate 2022.12. Needs apt-get, dpkg-deb, cpio, openssl and the libraries of swupdate; writes only below a temporary
# directory.
set -eu
VERSION=2022.12+dfsg-4+deb12u3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "swupdate=$VERSION" "libswupdate0.1=$VERSION"
for package in ./*.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=finding -keyout key.pem -out cert.pem 2>/dev/null

mkdir archive tmp
head -c 100000 /dev/urandom >archive/image.bin
: >"$work/place"
cat >archive/sw-description <<END
software = {
    version = "1.0";
    hardware-compatibility: [ "1" ];
    images: ( {
        filename = "image.bin"; type = "raw"; device = "$work/place"; installed-directly = true;
        sha256 = "$(sha256sum archive/image.bin | cut -d' ' -f1)";
    } );
}
END
openssl cms -sign -in archive/sw-description -out archive/sw-description.sig -signer cert.pem -inkey key.pem -outform DER -nosmimecap -binary
(cd archive && printf '%s\n' sw-description sw-description.sig image.bin | cpio -o -H crc --quiet >../image.swu)

echo "nobody's business of swupdate" >tmp/image.bin
echo "another name" >tmp/other.bin
TMPDIR="$work/tmp" root/usr/bin/swupdate -H board:1 -k cert.pem -i image.swu >log 2>&1 || { cat log; exit 1; }
echo "SWUpdate $VERSION"
cmp archive/image.bin place && echo "the image is at its place"
echo "left in TMPDIR: $(ls tmp | tr '\n' ' ')"
[ ! -e tmp/image.bin ] && [ -e tmp/other.bin ] || { echo "the behaviour has changed"; exit 1; }
