#!/bin/sh
# PyInstaller's one-file program keeps its archive in a section of the ELF file, not behind the program's end.
#
# Behaviour: `pyinstaller --onefile` makes a program whose archive is the section `pydata`. Nothing stands behind the table of sections, which
# is the file's end. So bytes that are appended do no harm, and neither does `strip`, which would throw away what is appended to a program.
# Most would guess: the archive is appended, as in other self-contained programs, so that it is lost by `strip` and must stay the last thing
# in the file.
#
# Shown with PyInstaller 6.22.3 from PyPI. Needs python3 with venv and a shared libpython, readelf and strip; writes only below a temporary
# directory.
set -eu
VERSION=6.22.3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip -q install --disable-pip-version-check "pyinstaller==$VERSION"
echo 'print("V01.00.00.00")' >sensor.py
venv/bin/pyinstaller --onefile --log-level ERROR sensor.py
echo "PyInstaller $(venv/bin/pyinstaller --version)"

section=$(readelf -SW dist/sensor | sed -n 's/.*\] \(pydata\) .*/\1/p')
end=$(readelf -hW dist/sensor | awk '/Start of section headers/ { at = $5 } /Size of section headers/ { size = $5 }
    /Number of section headers/ { count = $5 } END { print at + size * count }')
echo "section: ${section:-none}; bytes of the file: $(stat -c %s dist/sensor), end of its ELF: $end"
cp dist/sensor stripped
strip stripped
cp dist/sensor longer
head -c 1000 /dev/urandom >>longer
echo "as it was made: $(dist/sensor), stripped: $(./stripped), with 1000 bytes behind it: $(./longer)"
[ "$section" = pydata ] && [ "$end" = "$(stat -c %s dist/sensor)" ] && [ "$(./stripped)" = V01.00.00.00 ] && [ "$(./longer)" = V01.00.00.00 ] ||
    { echo "the behaviour has changed"; exit 1; }
