#!/bin/sh
# Pillow passes over EXIF 3.0's UTF-8 type, and makes question marks of other text when it writes EXIF anew.
#
# Version: Pillow 13.0.0 (2026-11-29).
# Likely guess: an Artist of type 129 (EXIF 3.0, CIPA DC-008-2023, 4.6.2) is read as text; if not, getexif() warns; and what
# getexif() returns comes back from tobytes() as it was.
# What happens: the tag is absent, with no warning (a debug line in the log). A Latin-1 or UTF-8 Artist of type 2 is read as Latin-1
# and written back as "Zo??": `exif_transpose`, and opening an AVIF with `irot`, do that to every photo they touch.
# Output seen: "type 129: None; type 2: 'ZoÃ«' -> b'Zo??'".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" -W error - <<'PYTHON'
import io
import struct

from PIL import Image

ARTIST, NAME = 0x013B, "Zoë".encode() + b"\0"


def opened(kind: int) -> Image.Image:
    data = NAME.ljust(6, b"\0")
    tags = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, ARTIST, kind, len(NAME), 26) + bytes(4) + data
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", exif=b"Exif\0\0" + tags)
    return Image.open(io.BytesIO(out.getvalue()))


new, old = (opened(kind).getexif() for kind in (129, 2))
text = old.get(ARTIST)
old[0x0131] = "anything"  # what was not touched is copied
written = old.tobytes()
shown = written[written.index(b"Zo") :].partition(b"\0")[0]
print(f"type 129: {new.get(ARTIST)}; type 2: {text!r} -> {shown!r}")
assert new.get(ARTIST) is None, "it changed"
assert text == NAME[:-1].decode("latin-1"), "it changed"
assert shown == b"Zo??", "it changed"
PYTHON
