# What the tests in systemd-nspawn share; sourced. Sets $root, a copy of a Debian with systemd that is made once (about
# two minutes) and kept in /var/tmp/fawkesd-nspawn. Where that cannot be, it says so and ends with 0.
base=/var/tmp/fawkesd-nspawn
root=$(mktemp -d /var/tmp/fawkesd-nspawn-run.XXXXXX)
trap 'rm -rf "$root"' EXIT

skip() { echo "SKIPPED the test in a container: $1"; exit 0; }

[ "$(id -u)" = 0 ] || skip "it needs root"
if ! { command -v systemd-nspawn && command -v debootstrap; } >/dev/null; then
    command -v apt-get >/dev/null || skip "it needs systemd-nspawn and debootstrap"
    apt-get update -qq >/dev/null &&
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends systemd-container debootstrap >/dev/null ||
        skip "systemd-container and debootstrap cannot be installed"
fi

if [ ! -e "$base/complete" ]; then
    rm -rf "$base"
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" | sed -n 1p)
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3-systemd \
        "$release" "$base" "$mirror" >"$root/debootstrap.log" 2>&1 || { tail "$root/debootstrap.log"; exit 1; }
    touch "$base/complete"
fi
cp -a --reflink=auto "$base/." "$root"
mkdir -p "$root/var/log/journal" "$root/work"

# make_photos PYTHON NAME...: photos in /work that differ, since a copy of a published one needs no engine
make_photos() {
    "$1" -c 'from skimage import data; from PIL import Image; import sys
for number, name in enumerate(sys.argv[2:]):
    Image.fromarray(data.astronaut()[number:]).save(f"{sys.argv[1]}/{name}.jpg", quality=95)' "$root/work" "${@:2}"
}

# boot SCRIPT OPTION...: run a script inside, as a unit of its systemd, and print what it says; fails where it does
boot() {
    install -m 755 "$1" "$root/work/test"
    cat >"$root/etc/systemd/system/test-inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/work/test
StandardOutput=append:/work/result
StandardError=append:/work/result
ExecStopPost=systemctl --no-block poweroff
UNIT
    mkdir -p "$root/etc/systemd/system/default.target.wants"
    ln -s ../test-inside.service "$root/etc/systemd/system/default.target.wants/test-inside.service"
    timeout 1800 systemd-nspawn --quiet -D "$root" -b --register=no --keep-unit --console=read-only "${@:2}" \
        </dev/null >"$root/work/console" 2>&1 || { tail -n 30 "$root/work/console"; }
    cat "$root/work/result"
    grep -q '^all [0-9]* assertions hold$' "$root/work/result" && return
    journalctl -D "$root/var/log/journal" -u fawkesd -o cat --no-pager | tail -n 60
    return 1
}
