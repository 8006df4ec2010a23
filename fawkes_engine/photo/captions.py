"""Rights, caption, dates and rating in XMP and IPTC, built anew from an allow-list of properties.

Left out on purpose, as is everything not named here: thumbnails, extended XMP (depth maps, second pictures),
face regions, persons shown, keywords (photo managers put people's names there), places, edit history.
"""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from PIL import Image, ImageFile, IptcImagePlugin

from fawkes_engine.photo.exif import CONTROLS, LONGEST_TEXT

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_META = "{adobe:ns:meta/}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_CONTAINERS = {f"{_RDF}{name}" for name in ("Alt", "Bag", "Seq")}
_PREFIXES = {
    "x": "adobe:ns:meta/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
}
_PROPERTIES = frozenset(
    f"{{{_PREFIXES[prefix]}}}{name}"
    for prefix, names in {
        "dc": ("creator", "description", "rights", "title"),
        "xmp": ("CreateDate", "Rating"),
        "xmpRights": ("Marked", "UsageTerms", "WebStatement"),
        "photoshop": ("Credit", "DateCreated", "Headline", "Source"),
    }.items()
    for name in names
)
_MOST_ITEMS = 16  # languages or creators of one property
# Letters of all captions together: no picture hides in many of them, and a JPEG segment (64 KB) holds any script.
_MOST_TEXT = 4 * LONGEST_TEXT
_IS_LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,32}")

_UTF8 = b"\x1b%G"  # IPTC's name for it, in data set 1:90
_DATA_SETS = (
    *((2, 5), (2, 55), (2, 60), (2, 62), (2, 63)),  # title; dates and times of creation and digitisation
    *((2, 80), (2, 105), (2, 110), (2, 115), (2, 116), (2, 120)),  # by-line, headline, credit ... caption
)


def read_xmp(image: Image.Image) -> bytes:
    """Return what may be published of a photo's XMP as a new packet, or nothing.

    Raises:
        ET.ParseError, ValueError: a damaged packet.
    """
    packet = image.info.get("xmp", b"")
    text = packet.decode("utf-8-sig", "strict") if isinstance(packet, bytes) else str(packet)
    if not text:
        return b""
    if "<!DOCTYPE" in text:
        raise ValueError("XMP has no use for a document type")
    root = ET.fromstring(text.strip("\0 \r\n"))  # noqa: S314 - see the import
    kept = _within(element for about in root.iter(f"{_RDF}Description") for element in _kept(about))
    return _packet(kept) if kept else b""


def read_iptc(image: ImageFile.ImageFile) -> bytes:
    """Return what may be published of a photo's IPTC records as new ones, or nothing.

    Raises:
        Exception: of many kinds, from Pillow, on damaged records.
    """
    found = IptcImagePlugin.getiptcinfo(image) or {}
    utf8 = found.get((1, 90)) == _UTF8
    records = b""
    left = _MOST_TEXT
    for record, number in _DATA_SETS:
        values = found.get((record, number), [])
        for value in (values if isinstance(values, list) else [values])[:_MOST_ITEMS]:
            letters = value.translate(None, CONTROLS).decode("utf-8" if utf8 else "latin-1", "replace")
            cut = _bounded(letters)[:left]
            left -= len(cut)
            if text := cut.encode():
                records += struct.pack(">BBBH", 0x1C, record, number, len(text)) + text
    if not records:
        return b""
    return struct.pack(">BBBH", 0x1C, 1, 90, len(_UTF8)) + _UTF8 + records


def iptc_segment(iptc: bytes) -> bytes:
    """Return the JPEG segment for IPTC records: a Photoshop block with this one resource."""
    resource = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iptc)) + iptc
    resource += bytes(len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(resource) + 2) + resource


def _kept(description: ET.Element) -> Iterable[ET.Element]:
    for name, text in description.attrib.items():
        if name in _PROPERTIES:
            yield _property(name, text)
    for child in description:
        if child.tag not in _PROPERTIES:
            continue
        container = next((inner for inner in child if inner.tag in _CONTAINERS), None)
        if container is None:
            yield _property(child.tag, child.text)
        else:
            element = ET.Element(child.tag)
            element.append(_items(container))
            yield element


def _within(properties: Iterable[ET.Element]) -> list[ET.Element]:
    """Return the first of each property, as far as there is room for its text."""
    kept: dict[str, ET.Element] = {}
    left = _MOST_TEXT
    for element in properties:
        length = sum(map(len, element.itertext()))
        if element.tag not in kept and length <= left:
            kept[element.tag] = element
            left -= length
    return list(kept.values())


def _items(container: ET.Element) -> ET.Element:
    new = ET.Element(container.tag)
    left = _MOST_TEXT
    for item in container.findall(f"{_RDF}li")[:_MOST_ITEMS]:
        language = item.get(_LANGUAGE, "")
        attributes = {_LANGUAGE: language} if _IS_LANGUAGE.fullmatch(language) else {}
        text = _bounded(item.text)[:left]
        left -= len(text)
        ET.SubElement(new, f"{_RDF}li", attributes).text = text
    return new


def _property(name: str, text: str | None) -> ET.Element:
    element = ET.Element(name)
    element.text = _bounded(text)
    return element


def _bounded(text: str | None) -> str:
    return (text or "")[:LONGEST_TEXT]


def _packet(properties: Iterable[ET.Element]) -> bytes:
    for prefix, uri in _PREFIXES.items():
        ET.register_namespace(prefix, uri)
    root = ET.Element(f"{_META}xmpmeta")
    description = ET.SubElement(ET.SubElement(root, f"{_RDF}RDF"), f"{_RDF}Description", {f"{_RDF}about": ""})
    description.extend(properties)
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return (begin + ET.tostring(root, encoding="unicode") + '<?xpacket end="w"?>').encode()
