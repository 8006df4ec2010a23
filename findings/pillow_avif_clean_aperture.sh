#!/bin/sh
# Pillow gives the whole picture of an AVIF that has a clean aperture (`clap`, ISO/IEC 14496-12, 12.1.4).
#
# Versions: Pillow 13.0.0, pillow-heif 1.8.1 (2026-11-29).
# Likely guess: an opened photo is what viewers show. Chromium 150 shows the 64 x 96 px of the aperture, and pillow-heif gives
# the same 64 x 96 px of a HEIC with the same property.
# What happens: 128 x 96 px, with what was cropped away, and not a word in `info`. libavif, which Pillow uses, leaves the
# cropping to its caller.
# Output seen: "AVIF (128, 96), HEIC (64, 96); info of the AVIF: ['duration', 'timestamp']".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-heif==1.8.1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct

import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()


def cropped(data: bytes) -> bytes:
    """The file with an aperture of its left half, a property of its one item, which lies in one piece in `mdat`."""
    clap = struct.pack(">I4s8i", 40, b"clap", 64, 1, 96, 1, -32, 1, 0, 1)
    grown = bytearray(data)
    ipco, ipma = data.index(b"ipco") - 4, data.index(b"ipma") - 4
    ipco_end, ipma_end = (at + struct.unpack_from(">I", data, at)[0] for at in (ipco, ipma))
    properties, at = 1, ipco + 8
    while at < ipco_end:
        properties, at = properties + 1, at + struct.unpack_from(">I", data, at)[0]
    grown[ipma + 18] += 1  # how many properties the item has
    grown[ipma_end:ipma_end] = bytes([0x80 | properties])
    grown[ipco_end:ipco_end] = clap
    for kind, more in ((b"ipma", 1), (b"ipco", 40), (b"iprp", 41), (b"meta", 41)):
        at = grown.index(kind) - 4
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", grown, at)[0] + more)
    place = data.index(b"mdat") + 4
    struct.pack_into(">I", grown, grown.index(struct.pack(">I", place), grown.index(b"iloc")), place + 41)
    return bytes(grown)


picture = Image.new("RGB", (128, 96), (200, 40, 40))
sizes = {}
for name in ("AVIF", "HEIF"):
    out = io.BytesIO()
    picture.save(out, name)
    with Image.open(io.BytesIO(cropped(out.getvalue()))) as again:
        again.load()
        assert again.format == name
        sizes[name] = again.size
        told = sorted(again.info) if name == "AVIF" else told
print(f"AVIF {sizes['AVIF']}, HEIC {sizes['HEIF']}; info of the AVIF: {told}")
assert sizes == {"AVIF": (128, 96), "HEIF": (64, 96)}, "it changed"
assert not any("clap" in key or "aperture" in key for key in told), "it changed"
PYTHON
