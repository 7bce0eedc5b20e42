#!/bin/sh
# swupdate ignores an `identify` list inside `suricatta`, and then never tells its attributes.
#
# Behaviour: `swupdate -u` asks the server again and again. A server that wants the device's attributes (the link `configData`) hears them only
# where the configuration has a list `identify` beside the section `suricatta`; one inside it, where all else of that client is configured, is
# passed over without an error, and no empty list is sent either.
# Most would guess: the list belongs into the client's section, and a server that asks is answered.
#
# Shown with Debian 12's SWUpdate 2022.12. Needs apt-get, dpkg-deb, python3, openssl and the libraries of swupdate; writes only below a temporary
# directory.
set -eu
VERSION=2022.12+dfsg-4+deb12u3

work=$(mktemp -d)
trap 'rm -rf "$work"; kill "$server" 2>/dev/null || true' EXIT
server=
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "swupdate=$VERSION" "libswupdate0.1=$VERSION"
for package in ./*.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu" TMPDIR="$work"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=finding -keyout key.pem -out cert.pem 2>/dev/null

cat >server.py <<'END_OF_PROGRAM'
"""Asks for attributes at each poll; ends at the third poll, or when attributes came."""
import http.server, json, os

polls = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        global polls
        polls += 1
        if polls > 3:
            print("nothing", flush=True)
            os._exit(0)
        url = "http://" + self.headers["Host"] + self.path + "/configData"
        self.answer({"config": {"polling": {"sleep": "00:00:01"}}, "_links": {"configData": {"href": url}}})

    def do_PUT(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("attributes", json.dumps(told["data"]), flush=True)
        os._exit(0)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
END_OF_PROGRAM

list='identify : ( { name = "board"; value = "one"; } );'
# Prints what a device tells that is configured so, with this inside the section and that beside it.
told() {
    rm -f said
    mkfifo said
    python3 server.py >said &
    server=$!
    exec 3<said
    read -r port <&3
    printf 'globals : { };\nsuricatta : { tenant = "DEFAULT"; id = "D"; url = "http://127.0.0.1:%s"; polldelay = 1; %s };\n%s\n' "$port" "$1" "$2" >conf
    root/usr/bin/swupdate -f conf -k cert.pem -u '' >log 2>&1 &
    client=$!
    read -r what <&3 || what=nobody
    exec 3<&-
    kill "$client" 2>/dev/null || true
    wait "$client" 2>/dev/null || true
    echo "$what"
}
inside=$(told "$list" '')
echo "inside suricatta: $inside"
beside=$(told '' "$list")
echo "beside suricatta: $beside"
if [ "$inside" != nothing ] || [ "$beside" != 'attributes {"board": "one"}' ]; then
    cat log
    echo "This has changed: swupdate takes the list inside the section, or says that it does not." >&2
    exit 1
fi
echo "As described: the list inside the section is passed over."
