#!/bin/sh
# gooseBit takes attributes that a device leaves out for the default ones, and a version for another one that is written otherwise.
#
# Behaviour, each by `PUT configData`: without `hw_boardname` and `hw_revision` a device becomes one of the board "default", revision
# "default", whatever it told before and whatever its `mode` ("merge" is ignored); where software for other hardware is assigned, the answer is
# 422. And a device that has installed 3.0.0 (it said `closed`/`success`, and is offered nothing) is offered it again once it tells the
# `sw_version` V03.00.00.00 or 03.00.00.00: the text is compared.
# Most would guess: what is not told stays as it was, as at hawkBit; and versions are compared as versions, because those of its software are parsed.
#
# Shown with gooseBit 0.2.12 of the Python package index. Needs python3 with venv, curl and cpio; writes only below a temporary directory.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"; kill "$server" 2>/dev/null || true' EXIT
server=
cd "$work"
/usr/bin/python3 -m venv venv
venv/bin/pip install --quiet --no-deps --disable-pip-version-check --requirement "$here/tests/goosebit/requirements.txt"
mkfifo port
GOOSEBIT_DB_URI="sqlite:///$work/database" GOOSEBIT_ARTIFACTS_DIR="$work/artifacts" venv/bin/python3 "$here/tests/goosebit/serve.py" 0 >port 2>log &
server=$!
read -r port <port
url=http://127.0.0.1:$port
device=$url/DEFAULT/controller/v1/PAYLOAD0001
token=$(curl -sS --data username=a@example.org --data password=none-at-all "$url/setup" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

printf 'software = { version = "3.0.0"; hardware-compatibility: [ "1.0" ]; };\n' >sw-description
echo sw-description | cpio -o -H newc --quiet >software.swu
# Prints the status of an answer.
ask() { curl -sS --output answer --write-out '%{http_code}' --header 'Content-Type: application/json' "$@"; }
tell() { ask --request PUT --data "{\"mode\":\"merge\",\"data\":{$1}}" "$device/configData"; }
offered() { ask "$device" >status && grep -q deploymentBase answer && echo yes || echo no; }
hardware='"hw_boardname":"default","hw_revision":"1.0"'

ask "$device" >status
echo "all attributes: $(tell "$hardware,\"sw_version\":\"1.0.0\"")"
curl -sS --output answer --request PUT --header "Authorization: Bearer $token" --form file=@software.swu "$url/api/v1/software"
ask --request PATCH --header "Authorization: Bearer $token" --data '{"devices":["PAYLOAD0001"],"software":"1"}' "$url/api/v1/devices" >status
echo "offered before: $(offered)"
ask --data '{"status":{"execution":"closed","result":{"finished":"success"}}}' "$device/deploymentBase/1/feedback" >status
done=$(offered)
echo "offered after closed/success: $done"
part=$(tell '"sw_version":"3.0.0"')
echo "attributes without the hardware: $part, $(cat answer)"
tell "$hardware,\"sw_version\":\"V03.00.00.00\"" >status
again=$(offered)
echo "offered after sw_version V03.00.00.00: $again"
tell "$hardware,\"sw_version\":\"3.0.0\"" >status
same=$(offered)
echo "offered after sw_version 3.0.0: $same"
if [ "$done $part $again $same" != "no 422 yes no" ]; then
    cat log
    echo "This has changed: gooseBit keeps what is not told, or compares versions otherwise." >&2
    exit 1
fi
echo "As described: the hardware must be told each time, and the version as its software has it."
