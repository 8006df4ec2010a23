#!/usr/bin/env bash
# Builds dist/fawkesd_VERSION_all.deb from a wheel of this source tree, with debhelper:
#
#   service/debian/build.sh PYTHON [VERSION]
#
# PYTHON: of the environment that has fawkesd and its build tools. VERSION: of the package (default: that of fawkesd).
set -euo pipefail
python=$(realpath -s "$1")
cd "$(dirname "$0")/../.."
command -v dpkg-buildpackage dh >/dev/null || { echo "debhelper and dpkg-dev are missing: apt-get install debhelper" >&2; exit 1; }

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
package=$build/fawkesd
mkdir -p "$package" dist
cp -a pyproject.toml README.md LICENSE daemon fawkes_engine service "$build"  # a build leaves files behind
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$package" "$build"
version=${2:-$(echo "$package"/fawkesd-*.whl | sed 's/.*fawkesd-\([^-]*\)-.*/\1/')}
cp -a service/debian "$package/debian"
cp -a constraints.txt service/fawkesd.catalog "$package"
PYTHONPATH=$PWD "$python" service/debian/unit.py >"$package/debian/fawkesd.service"
cat >"$package/debian/changelog" <<CHANGELOG
fawkesd ($version) unstable; urgency=medium

  * See CHANGELOG.md in the source.

 -- The fawkesd maintainers <maintainers@fawkesd.invalid>  $(date -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
CHANGELOG
(cd "$package" && dpkg-buildpackage --build=binary --no-sign >"$build/log" 2>&1) || { cat "$build/log"; exit 1; }
cp "$build/fawkesd_${version}_all.deb" dist/
echo "dist/fawkesd_${version}_all.deb"
