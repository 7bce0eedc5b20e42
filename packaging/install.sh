#!/bin/sh
# Installs uplift where there is no dpkg, from the archive in which this lies; busybox is enough.
#
#     ./install.sh [--root DIR]                installs, or upgrades what an archive has installed
#     ./install.sh [--root DIR] --uninstall    takes away what was installed; keeps configuration, state, accounts and programs
#
# DIR is the root directory of another system, such as an image. A configuration that is there is kept. Nothing is started but what
# `systemctl enable` would start at the next boot: the rescue, which finds nothing to do before the first upgrade. The daemon and its
# upload server wait for a person who has configured them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=''
action=install
doc=/usr/share/doc/uplift
# What was installed, one path a line; in the installed system, so that a later version knows what an earlier one had.
list=$doc/installed-files
configuration=/etc/uplift/uplift.toml
wants=/etc/systemd/system
all_units="uplift.service uplift-channels.service uplift-ftp.socket uplift-ftp.service uplift-rescue.timer uplift-rescue-deadline.service uplift-rescue.service"

say() { echo "$*"; }
fail() {
    echo "install.sh: $*" >&2
    exit 1
}
usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
    case $1 in
    --root)
        [ $# -gt 1 ] || fail "--root needs a directory"
        root=$2
        shift
        ;;
    --root=*) root=${1#--root=} ;;
    --uninstall) action=uninstall ;;
    -h | --help) usage && exit 0 ;;
    *) fail "there is no option $1; hint: ./install.sh --help" ;;
    esac
    shift
done
if [ -n "$root" ]; then
    [ -d "$root" ] || fail "$root is not a directory"
    root=$(cd "$root" && pwd)
    [ "$root" != / ] || root=''
fi
is_booted() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# A link to an absolute path would lead out of another system's directory, into this one.
stays_inside() { # PATH
    [ -n "$root" ] || return 0
    above=$1
    while [ "$above" != / ] && [ -n "$above" ]; do
        if [ -h "$root$above" ]; then
            case $(readlink "$root$above") in
            /*) fail "$root$above is a link to an absolute path, which leads out of $root; hint: run install.sh in there, with chroot" ;;
            esac
        fi
        above=${above%/*}
    done
}

# A directory, with those above it, as they would be by hand. Says nothing of those that are there.
make_directory() { # PATH
    [ -d "$root$1" ] || (umask 022 && mkdir -p "$root$1")
}

# Under another name first: a program that runs can't be written to, and a loss of power leaves the old file or the new one.
put() { # FILE PATH
    stays_inside "${2%/*}"
    make_directory "${2%/*}"
    cp -p "$1" "$root$2.uplift-new"
    chown 0:0 "$root$2.uplift-new"
    mv -f "$root$2.uplift-new" "$root$2"
}

next_free() { # FILE: a number below 1000 that neither accounts nor groups have, as for all system accounts
    awk -F: '{ taken[$3] } END { for (id = 999; id > 99; id--) if (!(id in taken)) { print id; exit } }' "$root/etc/passwd" "$root/etc/group"
}
has() { grep -q "^$2:" "$root/etc/$1" 2>/dev/null; }
add_line() { # FILE LINE
    stays_inside "/etc/$1"
    cp -p "$root/etc/$1" "$root/etc/$1.uplift-new"
    # What another program wrote may lack the end of its last line.
    [ -z "$(tail -c 1 "$root/etc/$1")" ] || echo >>"$root/etc/$1.uplift-new"
    echo "$2" >>"$root/etc/$1.uplift-new"
    mv -f "$root/etc/$1.uplift-new" "$root/etc/$1"
}
add_group() { # NAME [ID]
    has group "$1" && return
    add_line group "$1:x:${2:-$(next_free)}:"
    [ ! -e "$root/etc/gshadow" ] || has gshadow "$1" || add_line gshadow "$1:!::"
    say "made the group $1"
}
add_user() { # NAME ABOUT HOME
    has passwd "$1" && return
    has group "$1" || add_group "$1"
    id=$(awk -F: -v name="$1" '$1 == name { print $3 }' "$root/etc/group")
    ! awk -F: '{ print $3 }' "$root/etc/passwd" | grep -qx "$id" || fail "the group $1 has the number of another account"
    add_line passwd "$1:x:$id:$id:$2:$3:/usr/sbin/nologin"
    [ ! -e "$root/etc/shadow" ] || has shadow "$1" || add_line shadow "$1:!*:::::::"
    say "made the account $1"
}
# By systemd's own tool where this system has it; else the same lines in the files.
make_accounts() {
    if [ -z "$root" ] && command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers /usr/lib/sysusers.d/uplift.conf
        return
    fi
    for file in passwd group; do
        [ -e "$root/etc/$file" ] || fail "$root/etc/$file is missing"
    done
    while read -r kind name _ about; do
        case $kind in
        g) add_group "$name" ;;
        u)
            # "what it is" /its/home
            home=${about##* }
            about=${about#\"}
            add_user "$name" "${about%%\"*}" "$home"
            ;;
        esac
    done <"$here/files/usr/lib/sysusers.d/uplift.conf"
}

make_upload_area() {
    [ ! -d "$root/upgrade" ] || return 0
    if [ -z "$root" ] && command -v systemd-tmpfiles >/dev/null 2>&1; then
        systemd-tmpfiles --create /usr/lib/tmpfiles.d/uplift.conf
        return
    fi
    stays_inside /upgrade
    mkdir -m 700 "$root/upgrade"
    chown "$(awk -F: '$1 == "uplift-ftp" { print $3 ":" $4 }' "$root/etc/passwd")" "$root/upgrade"
}

# What `systemctl enable` does.
enable_at_boot() { # UNIT TARGET
    stays_inside "$wants/$2.wants"
    make_directory "$wants/$2.wants"
    ln -sf "/lib/systemd/system/$1" "$root$wants/$2.wants/$1"
}

new_list() { (cd "$here/files" && find . -type f -o -type l) | sed 's/^\.//' | grep -vx "$configuration" | sort; }

# Paths of a list that the other has not: taken away, with directories that are empty then.
take_away() {
    while read -r path; do
        case $path in /*) ;; *) continue ;; esac
        stays_inside "${path%/*}"
        rm -f "$root$path"
        directory=${path%/*}
        while [ -n "$directory" ] && rmdir "$root$directory" 2>/dev/null; do
            directory=${directory%/*}
        done
    done
}

can_install() {
    [ -d "$here/files" ] || fail "the archive's directory 'files' is not beside install.sh"
    [ "$(id -u)" = 0 ] || fail "be root: it writes to $root/usr/bin and makes accounts"
    [ ! -e "$root/var/lib/dpkg/info/uplift.list" ] || fail "dpkg has installed uplift in $root/; hint: use its package there"
    # Another system's machine may be of another kind.
    [ -n "$root" ] || "$here/files/usr/bin/uplift" --version >/dev/null ||
        fail "its programs don't run here; hint: they are for $(cat "$here/ARCHITECTURE"), and for a C library of glibc 2.31 or later"
}

install_all() {
    can_install
    is_new=yes
    [ ! -e "$root$list" ] || is_new=''
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    new_list >"$work/new"
    while read -r path; do
        put "$here/files$path" "$path"
    done <"$work/new"
    put "$0" "$doc/install.sh"
    echo "$doc/install.sh" >>"$work/new"
    if [ -z "$is_new" ]; then
        cp "$root$list" "$work/old"
        grep -vxF -f "$work/new" "$work/old" | take_away || true
    fi
    put "$work/new" "$list"
    say "installed $(wc -l <"$work/new") files in $root/usr and $root/lib"

    if [ -e "$root$configuration" ]; then
        say "kept $root$configuration"
    else
        put "$here/files$configuration" "$configuration"
        say "wrote $root$configuration: it has to be filled in"
    fi
    make_accounts
    make_upload_area
    if [ -n "$is_new" ]; then
        enable_at_boot uplift-rescue.service basic.target
        enable_at_boot uplift-rescue.timer timers.target
        say "enabled the rescue, for the next boot"
    fi
    if is_booted; then
        systemctl daemon-reload
        ! systemctl --quiet is-active uplift.service || say "the daemon still runs as it was: systemctl restart uplift.service"
        [ ! -d /run/udev ] || udevadm control --reload || true
    fi
    [ -z "$is_new" ] || say "nothing was started. Next: fill in $configuration, then: uplift config check && systemctl enable --now uplift"
}

uninstall_all() {
    [ "$(id -u)" = 0 ] || fail "be root"
    [ -e "$root$list" ] || fail "no archive has installed uplift in $root/ ($list is missing)"
    if is_booted; then
        # shellcheck disable=SC2086 # word splitting is wanted
        systemctl stop $all_units 2>/dev/null || true
    fi
    for unit in $all_units; do
        rm -f "$root$wants"/*.wants/"$unit"
    done
    # Before the list is gone.
    files=$(cat "$root$list")
    echo "$files" | take_away
    echo "$list" | take_away
    is_booted && systemctl daemon-reload
    say "took away uplift. Kept: $root/etc/uplift, $root/var/lib/uplift, $root/upgrade, accounts, and the programs with .uplift beside them"
}

"${action}_all"
