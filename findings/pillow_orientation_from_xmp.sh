#!/bin/sh
# Pillow takes a photo's orientation from the first `tiff:Orientation` anywhere in the text of its XMP.
#
# Version: Pillow 13.0.0 (2026-11-29).
# Likely guess: getexif() is the EXIF block, and exif_transpose() turns a photo as viewers do.
# What happens: getexif() searches the XMP by a regular expression where EXIF has no orientation. The orientation of *another*
# picture, here of the one this was derived from (xmpMM:DerivedFrom), turns the photo on its side. Chromium 150 turns
# none of these four files, nor one with `tiff:Orientation` of its own in XMP alone; exiftool 12.57 names no orientation in them.
# Exif().load(image.info["exif"]) reads the block alone.
# Output seen: "getexif: JPEG 6, PNG 6, WEBP 6, AVIF 6 ; turned to (60, 100)".
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/">
<xmpMM:DerivedFrom rdf:parseType="Resource"><tiff:Orientation>6</tiff:Orientation></xmpMM:DerivedFrom>
</rdf:Description></rdf:RDF></x:xmpmeta>"""

seen, sizes = {}, set()
for name in ("JPEG", "PNG", "WEBP", "AVIF"):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP)
    out = io.BytesIO()
    Image.new("RGB", (100, 60)).save(out, name, **({"pnginfo": info} if name == "PNG" else {"xmp": XMP.encode()}))
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert "exif" not in image.info
        seen[name] = image.getexif().get(0x0112)
        sizes.add(ImageOps.exif_transpose(image).size)
print("getexif:", ", ".join(f"{name} {value}" for name, value in seen.items()), "; turned to", *sizes)
assert set(seen.values()) == {6}, "it changed"
assert sizes == {(60, 100)}, "it changed"
PYTHON
