#!/usr/bin/env bash
# Boots a real systemd in a container, installs the package and the unit there, and asserts what the service promises
# under it, with the real engine:
#
#   service/test-in-nspawn.sh [PYTHON]
#
# PYTHON: of an environment with the dependencies (default .venv/bin/python); it is bound into the container read-only.
# Needs root, and debootstrap and systemd-container, which apt-get can install; without them it says so and does nothing.
# The container is made once (about two minutes) and kept in /var/tmp/fawkesd-nspawn; each run works on a copy.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(realpath -s "${1:-.venv/bin/python}")
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
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" | head -n 1)
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3-systemd \
        "$release" "$base" "$mirror" >"$root/debootstrap.log" 2>&1 || { tail "$root/debootstrap.log"; exit 1; }
    touch "$base/complete"
fi
cp -a --reflink=auto "$base/." "$root"

# The package as a user gets it, from a wheel; its dependencies from the environment outside.
program=$root/opt/fawkesd
interpreter=$(realpath "$python")
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$interpreter" -m venv --without-pip "$program"
ln -sfn "$interpreter" "$program/bin/python"
inside=$(echo "$program"/lib/python*/site-packages)
mkdir "$root/tmp/source"
cp -a pyproject.toml README.md LICENSE daemon fawkes_engine service "$root/tmp/source"  # a build leaves files behind
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$root/tmp" "$root/tmp/source"
"$python" -m zipfile -e "$root"/tmp/fawkesd-*.whl "$inside"
printf '%s\n' /opt/dependencies /usr/lib/python3/dist-packages >"$inside/dependencies.pth"

# Where the interpreter lies outside, anyone must be able to get to it inside.
mkdir -p "$root/root" "$root/var/log/journal" "$root/work"
chmod 755 "$root/root"
# Six photos that differ: a copy of a published one would be published without the engine.
"$python" -c 'from skimage import data; from PIL import Image; import sys
for number, name in enumerate("abcdef"):
    Image.fromarray(data.astronaut()[number:]).save(f"{sys.argv[1]}/{name}.jpg", quality=95)' "$root/work"
install -m 755 service/test-inside.sh "$root/work/test-inside.sh"
cat >"$root/etc/systemd/system/test-inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/work/test-inside.sh
StandardOutput=append:/work/result
StandardError=append:/work/result
ExecStopPost=systemctl --no-block poweroff
UNIT
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -s ../test-inside.service "$root/etc/systemd/system/default.target.wants/test-inside.service"

binds=(--bind-ro="$site:/opt/dependencies")
[ "$prefix" = /usr ] || binds+=(--bind-ro="$prefix")
timeout 1800 systemd-nspawn --quiet -D "$root" -b --register=no --keep-unit --console=read-only "${binds[@]}" \
    </dev/null >"$root/work/console" 2>&1 || { tail -n 30 "$root/work/console"; }
cat "$root/work/result"
if ! grep -q '^all [0-9]* assertions hold$' "$root/work/result"; then
    journalctl -D "$root/var/log/journal" -u fawkesd -o cat --no-pager | tail -n 60
    exit 1
fi
# The journal, read from outside: each kind of event is found by its id, with its fields.
journalctl -D "$root/var/log/journal" -o json --no-pager MESSAGE_ID=a16ed9a0f0e04e3da36419ef1b404d5d >"$root/work/published"
grep -q '"FAWKESD_FOLDER":"/home/alice/Pictures/outbox"' "$root/work/published"
grep -q '"FAWKESD_STAGE":"publishing"' "$root/work/published"
echo "ok: the journal has published photos by MESSAGE_ID, with folder and stage"
