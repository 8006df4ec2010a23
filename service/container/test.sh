#!/usr/bin/env bash
# Builds the image from the Containerfile, runs it as compose.yaml says, under another number than 1000, and asserts that
# a photo goes through, with the real engine:
#
#   service/container/test.sh [PYTHON]
#
# PYTHON: of an environment with pip and PyYAML (default .venv/bin/python). Needs root, podman, runc, catatonit and debootstrap, which
# apt-get can install; without them it says so and does nothing. No registry of images: debootstrap makes the base. The build
# has no index of packages either, but wheels that pip downloads here, so that pip's settings on this machine apply. It takes
# PyTorch's CUDA build (22 GB of disk while it runs): wheels of the CPU build are at PyTorch's own index alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=$(realpath -s "${1:-.venv/bin/python}")
skip() { echo "SKIPPED the test of the container: $1"; exit 0; }
fail() { echo "FAILED: $1"; pod logs fawkesd 2>&1 | tail -n 40; exit 1; }
ok() { echo "ok: $1 ($SECONDS s)"; }
# within SECONDS CONDITION...: wait until it holds
within() {
    local until=$((SECONDS + $1)); shift
    until "$@"; do [ $SECONDS -lt $until ] || return 1; sleep 0.5; done
}

[ "$(id -u)" = 0 ] || skip "it needs root"
if ! { command -v podman && command -v runc && command -v catatonit && command -v debootstrap; } >/dev/null; then
    command -v apt-get >/dev/null || skip "it needs podman, runc, catatonit and debootstrap"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends podman runc catatonit debootstrap; } \
        >/dev/null 2>&1 || skip "podman, runc, catatonit and debootstrap cannot be installed"
fi
[ "$(df --output=avail -B1G /var/tmp | tail -n 1)" -ge 24 ] || skip "it needs 24 GB of disk in /var/tmp"
work=$(mktemp -d /var/tmp/fawkesd-container.XXXXXX)
# runc, since crun refuses the hybrid cgroups that some machines have; limits, since podman raises them where it may not
limits=(--ulimit "nofile=$(ulimit -n):$(ulimit -n)" --ulimit nproc=4096:4096)
pod() {
    podman --log-level fatal --root "$work/storage" --runroot "$work/runroot" --tmpdir "$work/tmp" --runtime runc \
        --cgroup-manager cgroupfs "$@"
}
clean() {
    pod rm --force --all >/dev/null 2>&1 || true
    pod rmi --force --all >/dev/null 2>&1 || true
    umount -q "$work/storage/overlay" || true
    rm -rf --one-file-system "$work"
}
trap clean EXIT

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" | sed -n 1p)
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$work/base" "$mirror" \
    >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }
mkdir -p "$work/base/var/cache/apt/archives/partial"
version=$(chroot "$work/base" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
tar -C "$work/base" --one-file-system --exclude='./proc/*' --exclude='./sys/*' -c . | pod import - localhost/base >"$work/run.log" 2>&1 ||
    skip "podman stores no image here: $(tail -n 1 "$work/run.log")"
rm -rf --one-file-system "$work/base"
pod run --rm "${limits[@]}" --network none localhost/base true 2>"$work/run.log" || skip "podman runs nothing here: $(tail -n 1 "$work/run.log")"
ok "debootstrap made a base, with Python $version"

# What the image installs, as wheels; fawkesd itself is built inside.
mkdir "$work/source" "$work/wheels"
cp -a pyproject.toml README.md LICENSE daemon fawkes_engine service "$work/source"  # a build leaves files behind
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work" "$work/source"
"$python" -m pip download --quiet --dest "$work/wheels" --python-version "$version" --only-binary=:all: -c constraints.txt \
    "$(echo "$work"/fawkesd-*.whl)[web]" 'setuptools>=77' wheel 2>"$work/pip.log" || { tail "$work/pip.log"; exit 1; }
printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$work/pip.conf"
# Layers are written to disk three times: compressed, they need 5 GB less.
pod build --quiet --format docker --layers=false --disable-compression=false --isolation chroot --network host "${limits[@]}" \
    --ignorefile service/container/Containerfile.dockerignore --file service/container/Containerfile \
    --build-arg BASE=localhost/base --build-arg VARIANT=cuda --tag localhost/fawkesd \
    --volume "$work/wheels:/wheels:ro" --volume "$work/pip.conf:/etc/pip.conf:ro" . >"$work/build.log" 2>&1 ||
    { tail -n 40 "$work/build.log"; exit 1; }
rm -rf "$work/wheels"
ok "the Containerfile builds: $(pod images --format '{{.Size}}' localhost/fawkesd)"

# The folders of compose.yaml, in another place and of another owner than its default; the models as they are here.
export PUID=4321 PGID=4322 OUTBOX=$work/outbox PUBLISHED=$work/published STATE=$work/state MODELS=$work/models
mkdir -p "$OUTBOX" "$PUBLISHED/sync" "$STATE" "$MODELS"
models=$("$python" -c 'from fawkes_engine.weights.catalog import default_folder; print(default_folder())')
[ ! -d "$models" ] || cp -a "$models/." "$MODELS"
chown -R "$PUID:$PGID" "$OUTBOX" "$MODELS"
arguments() { "$python" service/container/podman-arguments.py "$1" >"$work/arguments" && mapfile -t arguments <"$work/arguments"; }
start() { pod run --detach --name fawkesd "${limits[@]}" "${arguments[@]}" localhost/fawkesd >/dev/null; }
stop() { pod stop --time 45 fawkesd >/dev/null && [ "$(pod wait fawkesd)" = 0 ]; }
inside() { pod exec fawkesd "$@"; }
said() { pod logs fawkesd 2>&1 | grep -c "$1" >/dev/null; }
page_answers() {
    "$python" -c 'import socket, sys; page = socket.socket(socket.AF_UNIX); page.connect(sys.argv[1])
page.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); sys.exit(b" 200 " not in page.recv(64))' \
        "$STATE/page.sock" 2>/dev/null
}
works_on() { inside fawkesd status | grep -c "in work: $1" >/dev/null; }
drop() {
    "$python" -c 'from skimage import data; from PIL import Image; import sys
Image.fromarray(data.astronaut()[int(sys.argv[2]):]).save(sys.argv[1], quality=95)' "$work/photo.jpg" "$2"
    mv "$work/photo.jpg" "$OUTBOX/$1"
}

arguments models
if [ -n "$(ls "$MODELS")" ]; then
    pod run --rm "${limits[@]}" "${arguments[@]}" localhost/fawkesd models fetch >"$work/fetch.log" 2>&1 || { cat "$work/fetch.log"; fail "models fetch"; }
    ok "the service \`models\` is content with models that are there, without a network"
fi

arguments fawkesd
start && [ "$(pod wait fawkesd)" = 75 ] || fail "a state folder of root's did not end it with 75"
said "the state directory /state cannot be used: Permission denied (its mode is .*, its owner root; fawkesd runs as 4321)" ||
    fail "a state folder of root's is not told"
pod rm fawkesd >/dev/null
chown -R "$PUID:$PGID" "$STATE"
start
within 60 said "/published/sync cannot be used: Permission denied (its mode is .*, its owner root; fawkesd runs as 4321)" ||
    fail "a sync folder of root's is not told"
inside fawkesd status --check >/dev/null && fail "a sync folder that cannot be used is healthy"
ok "volumes of another owner are told, with both numbers, and are not healthy"

chown -R "$PUID:$PGID" "$PUBLISHED"
drop a.jpg 0
within 300 test -s "$PUBLISHED/sync/a.jpg" || fail "a.jpg was not published"
cmp -s "$OUTBOX/a.jpg" "$PUBLISHED/sync/a.jpg" && fail "the original was published"
[ "$(stat -c %u:%g "$PUBLISHED/sync/a.jpg")" = 4321:4322 ] || fail "owner: $(stat -c %u:%g "$PUBLISHED/sync/a.jpg")"
ok "a dropped photo is cloaked, and belongs to PUID and PGID"
within 60 pod healthcheck run fawkesd >/dev/null || fail "not healthy: $(inside fawkesd status)"
ok "the health check of the image is content"
[ "$(inside ls /sys/class/net)" = lo ] || fail "there is a network"
inside sh -c 'id -u; touch /x /opt/fawkesd/x /etc/x /outbox/x /models/x' >"$work/tried" 2>&1 && fail "something of it is writable"
grep -qx 4321 "$work/tried" && [ "$(grep -c 'Read-only file system' "$work/tried")" = 5 ] || fail "$(cat "$work/tried")"
[ -z "$(inside sh -c "grep -L '^CapEff:\s*0000000000000000$' /proc/[0-9]*/status")" ] || fail "there are capabilities"
[ -z "$(inside sh -c "grep -L '^NoNewPrivs:\s*1$' /proc/[0-9]*/status")" ] || fail "new privileges can be had"
ok "no network, no root, no capabilities; root, outbox and models are read-only"

drop b.jpg 1
within 60 works_on b.jpg || fail "b.jpg is not in work"
stop || fail "SIGTERM: $(pod wait fawkesd)"
said "ended by SIGTERM" || fail "the end is not told"
ok "SIGTERM in the middle of the work ends it with 0"
pod start fawkesd >/dev/null
within 300 test -s "$PUBLISHED/sync/b.jpg" || fail "b.jpg was not published after a restart"
[ "$(find "$PUBLISHED/sync" -name '*.jpg' | wc -l)" = 2 ] || fail "not each photo once"
ok "a restart goes on: the photo is published, once"
within 120 inside fawkesd status --check >/dev/null || fail "not healthy after a restart: $(inside fawkesd status)"
stop || fail "the stop without work"
pod start fawkesd >/dev/null
pod stop --time 45 fawkesd >/dev/null
[ "$(pod wait fawkesd)" != 137 ] || fail "a stop right after the start was not heard: it had to be killed"
ok "a stop without work, and one right after the start, are heard"

pod rm fawkesd >/dev/null
sed '$a web: {listen: "unix:/state/page.sock"}' service/container/fawkesd.yaml >"$work/fawkesd.yaml"
arguments=("${arguments[@]/#--volume=*fawkesd.yaml*/--volume=$work/fawkesd.yaml:/etc/fawkesd/fawkesd.yaml:ro}")
start
within 120 page_answers || fail "the page does not answer at its socket"
ok "the page answers at a socket in the state folder, without a network"
stop || fail "the stop with the page"
echo "the container passes"
