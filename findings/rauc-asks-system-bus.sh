#!/bin/sh
# RAUC asks the system bus, whatever bus it was started on.
#
# Behaviour: under `dbus-run-session` the address of the session's bus is in the environment, and programs that use the session bus find it.
# `rauc install` does not: it connects to the system bus, and fails where there is none. With DBUS_STARTER_BUS_TYPE=session, which
# a bus sets for services that it starts itself, and dbus-run-session takes out of the environment, it asks the session's.
# Most would guess: `dbus-run-session -- rauc install FILE` has a bus of its own to talk on.
#
# Shown with Debian 12's RAUC 1.8. Needs apt-get, dpkg-deb and the libraries of GLib, curl and libmount; writes only below a temporary directory.
set -eu
VERSION=1.8-2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "rauc=$VERSION" dbus-daemon=1.14.10-1~deb12u1 libjson-glib-1.0-0=1.6.6-1
for package in ./*.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu" PATH="$work/root/usr/bin:$PATH"
rauc --version
cat >bus.conf <<END_OF_CONF
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=$work</listen>
  <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
END_OF_CONF
touch file.raucb

# There is no system bus, and on the session's nobody has RAUC's name: the message tells which was asked.
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$work/none"
asked() {
    dbus-run-session --config-file="$work/bus.conf" -- env "$@" rauc install file.raucb 2>&1 | grep -E '^(Error|Failed) ' || true
}
plain=$(asked)
session=$(asked DBUS_STARTER_BUS_TYPE=session)
echo "as dbus-run-session starts it: $plain"
echo "with DBUS_STARTER_BUS_TYPE=session: $session"
case $plain in *"Could not connect: No such file or directory"*) ;; *) changed=yes ;; esac
case $session in *ServiceUnknown*) ;; *) changed=yes ;; esac
if [ "${changed:-no}" = yes ]; then
    echo "This has changed: RAUC asks another bus than was seen." >&2
    exit 1
fi
echo "As described: the session's bus is asked only with DBUS_STARTER_BUS_TYPE=session."
