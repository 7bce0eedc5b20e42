#!/bin/sh
# ProFTPD says that a transfer is over only once the client has closed the data connection too.
#
# Behaviour: at the end of a listing or a download ProFTPD shuts down its sending side of the data connection, and then waits for the
# client to close its own before it says 226 on the control connection, 10 seconds at most. A client that reads to the end of the
# data, and waits for 226 before it closes the socket (or holds a duplicate of it elsewhere), waits for these 10 seconds each time.
# Most would guess: 226 follows the last byte, whatever the client does with its socket; vsftpd, shown beside it, does that.
#
# Shown with Debian 12's ProFTPD 1.3.8 and vsftpd 3.0.3 on loopback. Needs root, apt-get, dpkg-deb, openssl and python3; writes only below a
# temporary directory.
set -eu
PROFTPD=1.3.8+dfsg-4+deb12u5
VSFTPD=3.0.3-13+b2

work=$(mktemp -d)
servers=
trap 'for server in $servers; do kill "$server" 2>/dev/null || true; done; rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "proftpd-core=$PROFTPD" "vsftpd=$VSFTPD" \
    libhiredis0.14=0.14.1-3 libmemcached11=1.1.4-1 libmemcachedutil2=1.1.4-1 libpcre2-posix3=10.42-1+deb12u2 \
    libsodium23=1.0.18-1+deb12u1 libwrap0=7.6.q-32
for package in ./*.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu"
mkdir home
echo content >home/file
chmod 755 . home
echo "anonymous:$(openssl passwd -5 secret):65534:65534::$work/home:/bin/sh" >users
chmod 600 users

cat >proftpd.conf <<END
ServerName "finding"
DefaultServer on
Port 42121
UseIPv6 off
User nobody
Group nogroup
ScoreboardFile $work/scoreboard
PidFile $work/pid
DelayTable none
AuthOrder mod_auth_file.c
AuthUserFile $work/users
RequireValidShell off
DefaultRoot ~
END
root/usr/sbin/proftpd --version
root/usr/sbin/proftpd --nodaemon --config "$work/proftpd.conf" >proftpd.log 2>&1 &
servers="$servers $!"
cat >vsftpd.conf <<END
listen=YES
listen_port=42122
listen_address=127.0.0.1
background=NO
anonymous_enable=YES
ftp_username=games
anon_root=$work/home
secure_chroot_dir=$work/home
seccomp_sandbox=NO
END
root/usr/sbin/vsftpd "$work/vsftpd.conf" >vsftpd.log 2>&1 &
servers="$servers $!"

cat >client.py <<'PYTHON'
"""Seconds from the end of a listing's data to 226, with the data socket held open, and after closing it at once."""
import re, socket, sys, time

port = int(sys.argv[1])

def connected():
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("the server does not listen")

def listing(closes_at_once):
    control = connected()
    lines = control.makefile("r", newline="\r\n")
    def reply():
        while True:
            line = lines.readline()
            if not line:
                sys.exit("the server hung up")
            if re.match(r"\d{3} ", line):
                return line.strip()
    def ask(command):
        control.sendall(command.encode() + b"\r\n")
        return reply()
    reply()
    ask("USER anonymous")
    answer = ask("PASS secret")
    assert answer.startswith("230"), answer
    numbers = [int(number) for number in re.search(r"\((.*)\)", ask("PASV")).group(1).split(",")]
    data = socket.create_connection(("127.0.0.1", numbers[4] * 256 + numbers[5]), timeout=30)
    assert ask("LIST").startswith("150")
    while data.recv(4096):
        pass
    began = time.monotonic()
    if closes_at_once:
        data.close()
    answer = reply()
    waited = time.monotonic() - began
    assert answer.startswith("226"), answer
    data.close()
    return waited

print(f"{listing(True):.1f} {listing(False):.1f}")
PYTHON
proftpd=$(python3 client.py 42121)
vsftpd=$(python3 client.py 42122)
echo "seconds from the end of the data to 226, socket closed at once and held open:"
echo "  ProFTPD $PROFTPD: $proftpd"
echo "  vsftpd $VSFTPD: $vsftpd"
awk -v p="$proftpd" -v v="$vsftpd" 'BEGIN { split(p, a); split(v, b); exit !(a[1] < 2 && a[2] > 5 && b[1] < 2 && b[2] < 2) }' || {
    echo "This has changed: ProFTPD does not wait for the client any more, or vsftpd does." >&2
    exit 1
}
echo "As described: ProFTPD waits for the client to close the data connection, vsftpd does not."
