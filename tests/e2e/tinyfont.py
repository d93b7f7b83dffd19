"""A TrueType font of a kilobyte, whose glyphs are all the same box."""

import struct


def font(characters, fs_type=0):
    """Has `characters`, and the licence `fs_type` (OpenType specification, OS/2)."""
    codes = sorted(map(ord, characters))
    glyphs = 1 + len(codes)
    glyph = struct.pack(">hhhhhHH4B8h", 1, 50, 0, 550, 700, 3, 0, 1, 1, 1, 1,
                        50, 500, 0, -500, 0, 0, 700, 0)
    groups = b"".join(
        struct.pack(">III", code, code, number) for number, code in enumerate(codes, 1))
    tables = {
        b"OS/2": struct.pack(">H6xH86x", 4, fs_type),
        b"cmap": struct.pack(">HHHHIHHIII", 0, 1, 3, 10, 12, 12, 0, 16 + len(groups), 0, len(codes))
        + groups,
        b"glyf": glyph * glyphs,
        b"head": struct.pack(">IIIIHH16x4h6xhh", 0x10000, 0, 0, 0x5F0F3CF5, 0, 1000, 50, 0, 550, 700, 1, 0),
        b"hhea": struct.pack(">Ihh26xH", 0x10000, 800, -200, glyphs),
        b"hmtx": struct.pack(">Hh", 600, 50) * glyphs,
        b"loca": struct.pack(f">{glyphs + 1}I", *(len(glyph) * at for at in range(glyphs + 1))),
        b"maxp": struct.pack(">IHHH22x", 0x10000, glyphs, 4, 1),
    }
    file = struct.pack(">IHHHH", 0x10000, len(tables), 0, 0, 0)
    offset = len(file) + 16 * len(tables)
    bodies = b""
    for tag, table in sorted(tables.items()):
        file += struct.pack(">4sIII", tag, 0, offset + len(bodies), len(table))
        bodies += table + bytes(-len(table) % 4)
    return file + bodies
