#!/bin/sh
# apt-get does not install a package file whose version is installed, and says that all is well.
#
# Behaviour: `apt-get install ./x.deb` with a file of the version that is installed already ends with exit code 0, and leaves everything
# as it is, even where the file has another content than what is installed. `dpkg --install` of the same file installs it.
# Most would guess: a file that is named on the command line is installed, or the exit code says that it was not.
#
# Shown with Debian 12's apt 2.6.1. Needs root, apt-get and dpkg; writes only below a temporary directory, where it has a dpkg database
# of its own.
set -eu
VERSION=2.6.1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "apt=$VERSION" "libapt-pkg6.0=$VERSION"
for package in ./*.deb; do dpkg-deb -x "$package" tools; done
rm ./*.deb
export LD_LIBRARY_PATH="$work/tools/usr/lib/$(uname -m)-linux-gnu"
mkdir -p apt/etc/apt/apt.conf.d apt/etc/apt/preferences.d apt/var/lib/apt/lists/partial apt/var/cache/apt/archives/partial apt/var/log/apt \
    system/var/lib/dpkg/info system/var/lib/dpkg/updates
: >apt/etc/apt/sources.list
: >system/var/lib/dpkg/status
cat >get.conf <<END_OF_CONF
Dir "$work/apt/";
Dir::State::status "$work/system/var/lib/dpkg/status";
Dir::Bin::methods "$work/tools/usr/lib/apt/methods";
DPkg::Options { "--root=$work/system"; "--force-script-chrootless"; };
APT::Sandbox::User "root";
END_OF_CONF
export APT_CONFIG="$work/get.conf"
apt_get() { tools/usr/bin/apt-get --yes install "$1"; }
tools/usr/bin/apt-get --version | head -n1

# Makes NAME.deb of version 1.0 with this content; nothing else in them differs.
package() {
    mkdir -p "$1/DEBIAN" "$1/usr/share/finding"
    echo "$2" >"$1/usr/share/finding/content"
    printf 'Package: finding\nVersion: 1.0\nArchitecture: all\nMaintainer: m <m@example.org>\nDescription: d\n' >"$1/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$1" "$1.deb" >/dev/null
}
package first "the first"
package other "another"
installed() { cat system/usr/share/finding/content; }

apt_get ./first.deb >log 2>&1 || { cat log; exit 1; }
echo "apt-get install ./first.deb: installed is \"$(installed)\""
code=0
apt_get ./other.deb >log 2>&1 || code=$?
grep 'newest version' log || true
by_apt=$(installed)
echo "apt-get install ./other.deb: exit code $code, installed is \"$by_apt\""
dpkg --root="$work/system" --install other.deb >log 2>&1 || { cat log; exit 1; }
by_dpkg=$(installed)
echo "dpkg --install other.deb: installed is \"$by_dpkg\""
if [ "$code" -ne 0 ] || [ "$by_apt" != "the first" ] || [ "$by_dpkg" != another ]; then
    echo "This has changed: apt-get installs the file, or says that it did not." >&2
    exit 1
fi
echo "As described: apt-get says that all is well, and has installed nothing."
