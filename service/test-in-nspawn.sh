#!/usr/bin/env bash
# Boots a real systemd in a container, installs the package and the unit there, and asserts what the service promises
# under it, with the real engine:
#
#   service/test-in-nspawn.sh [PYTHON]
#
# PYTHON: of an environment with the dependencies (default .venv/bin/python); it is bound into the container read-only.
# Needs root, and debootstrap and systemd-container, which apt-get can install; without them it says so and does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(realpath -s "${1:-.venv/bin/python}")
. service/nspawn.sh

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
mkdir -p "$root/root"
chmod 755 "$root/root"
make_photos "$python" a b c d e f
"$python" -c 'from PIL import Image; import sys; Image.linear_gradient("L").save(sys.argv[1])' "$root/work/faceless.jpg"

binds=(--bind-ro="$site:/opt/dependencies")
[ "$prefix" = /usr ] || binds+=(--bind-ro="$prefix")
boot service/test-inside.sh "${binds[@]}"
# The journal, read from outside: each kind of event is found by its id, with its fields.
journalctl -D "$root/var/log/journal" -o json --no-pager MESSAGE_ID=a16ed9a0f0e04e3da36419ef1b404d5d >"$root/work/published"
grep -q '"FAWKESD_FOLDER":"/home/alice/Pictures/outbox"' "$root/work/published"
grep -q '"FAWKESD_STAGE":"publishing"' "$root/work/published"
echo "ok: the journal has published photos by MESSAGE_ID, with folder and stage"
