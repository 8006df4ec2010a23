#!/usr/bin/env bash
# Builds the Debian package and, under a real systemd in a container, installs, uses, upgrades, removes and purges it:
#
#   service/debian/test.sh [PYTHON]
#
# PYTHON: of an environment with fawkesd and its build tools (default .venv/bin/python). pip fetches PyTorch inside, with
# the settings of pip out here: 5 GB of disk for three to six minutes. Where that is impossible it says so and ends with 0.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=$(realpath -s "${1:-.venv/bin/python}")
. service/nspawn.sh
if ! command -v dh >/dev/null; then
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends debhelper dpkg-dev >/dev/null ||
        skip "debhelper cannot be installed"
fi
[ "$(df --output=avail -B1G "$root" | tail -n 1)" -ge 12 ] || skip "it needs 12 GB of disk"

build() { service/debian/build.sh "$python" "$@" | tail -n 1; }  # prints the package's name
cp "$(build)" "$root/work/old.deb"
new=$(build "$("$python" -m pip show fawkesd | sed -n 's/^Version: //p')+1")
mv "$new" "$root/work/new.deb"
make_photos "$python" a b

# pip inside is set up as out here: an index on this disk, and the certificates of a proxy, are bound in.
"$python" -m pip config list | "$python" -c '
import ast, configparser, pathlib, sys
settings = {}
for line in sys.stdin:
    key, _, value = line.strip().partition("=")
    settings[key.removeprefix(":env:.").removeprefix("global.")] = ast.literal_eval(value)
if "cert" in settings:
    (root := pathlib.Path(sys.argv[1]) / "work/certificates").write_bytes(pathlib.Path(settings["cert"]).read_bytes())
    settings["cert"] = "/work/certificates"
places = {pathlib.Path(word.removeprefix("file://")) for value in settings.values() for word in value.split()}
# the files of an index lie beside its pages
folders = {place.parent if place.is_dir() and place.name == "simple" else place for place in places if place.is_absolute()}
print(*(f"--bind-ro={one}" for one in sorted(folders) if one.exists()), sep="\n")
config = configparser.ConfigParser(interpolation=None)
config["global"] = {key: value.replace("\n", " ") for key, value in settings.items()}
with open(f"{sys.argv[1]}/etc/pip.conf", "w") as file:
    config.write(file)
' "$root" >"$root/work/binds"
mapfile -t binds <"$root/work/binds"
boot service/debian/test-inside.sh --resolv-conf=copy-host "${binds[@]}"
grep -q SKIPPED "$root/work/result" || echo "ok: the Debian package, in $SECONDS s"
