#!/bin/sh
# RAUC tells 100 % for an installation that has failed.
#
# Behaviour: `rauc install` prints its progress as percentages. For a bundle that it refuses (or can't install) the last of them is
# "100% Installing failed.", after steps such as " 40% Verifying signature failed."; only the exit code, 1, and the words tell.
# Most would guess: progress stops where the installation does, so that 100 % means that it is done.
#
# Shown with Debian 12's RAUC 1.8, on a bus of its own. Needs apt-get, dpkg-deb, openssl and the libraries of GLib, curl and libmount; writes
# only below a temporary directory.
set -eu
VERSION=1.8-2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "rauc=$VERSION" dbus-daemon=1.14.10-1~deb12u1 libglib2.0-bin=2.74.6-2+deb12u9 \
    squashfs-tools=1:4.5.1-1 libjson-glib-1.0-0=1.6.6-1 liblzo2-2=2.10-2
for package in ./*.deb; do dpkg-deb -x "$package" root; done
machine=$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="$work/root/usr/lib/$machine:$work/root/lib/$machine" PATH="$work/root/usr/bin:$PATH"
rauc --version

for name in trusted other; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/O=finding/CN=$name" -keyout "$name.key" -out "$name.pem" 2>/dev/null
done
mkdir bundle mnt
echo content >bundle/app.img
printf '[update]\ncompatible=finding\nversion=1\n[image.app]\nfilename=app.img\n' >bundle/manifest.raucm
rauc --cert other.pem --key other.key bundle bundle other.raucb >log 2>&1 || { cat log; exit 1; }
dd if=/dev/zero of=slot bs=1k count=64 status=none
cat >system.conf <<END_OF_CONF
[system]
compatible=finding
bootloader=noop
mountprefix=$work/mnt
statusfile=$work/status
[keyring]
path=$work/trusted.pem
[slot.rootfs.0]
device=$work/booted
type=raw
bootname=system0
[slot.app.0]
device=$work/slot
type=raw
END_OF_CONF
cat >bus.conf <<'END_OF_CONF'
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
END_OF_CONF
cat >install <<'END_OF_SCRIPT'
export DBUS_STARTER_BUS_TYPE=session
rauc --conf=system.conf --override-boot-slot=system0 service >service.log 2>&1 &
service=$!
gdbus wait --session --timeout 20 de.pengutronix.rauc
code=0
rauc install other.raucb || code=$?
kill "$service"
exit "$code"
END_OF_SCRIPT
code=0
dbus-run-session --config-file="$work/bus.conf" -- sh install >said 2>errors || code=$?
cat said
echo "exit code $code"
last=$(grep -o '^ *[0-9]*%' said | tail -n1)
if [ "$code" -ne 1 ] || [ "$last" != "100%" ] || ! grep -q '^100% Installing failed\.$' said; then
    cat errors service.log
    echo "This has changed: RAUC does not tell 100 % for what has failed." >&2
    exit 1
fi
echo "As described: the last percentage of an installation that has failed is 100."
