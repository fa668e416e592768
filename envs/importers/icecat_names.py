"""Readers of names: colours, materials, processors, connectors, compatible models, standards.

Each one writes the maker's spelling the way people say it, and leaves out what would not read as
words (long lists, codes, sentences).
"""

from __future__ import annotations

import re

from envs.importers.icecat_values import (
    ABSENT,
    LONGEST_VALUE,
    NUMBER_WORDS,
    PRESENT,
    Product,
    Reader,
    Reading,
    plain_number,
)


def printed_colours(value: str, product: Product) -> Reading | None:
    """Read the colours of a cartridge: "cyan ink", "black toner", "four-colour ink"."""
    hints = f"{product.text} {product.features.get('print_technology', '').lower()}"
    stuff = "toner" if "toner" in hints or "laser" in hints else "ink"
    colours = sorted({part.strip().lower() for part in value.split(",") if part.strip()})
    if not 1 <= len(colours) <= 9 or any(len(colour) > 20 for colour in colours):
        return None
    if len(colours) == 1:
        colour = colours[0].replace("gray", "grey")
        if colour in ABSENT | PRESENT or not colour.replace(" ", "").isalpha():
            return None
        return Reading((f"{colour} {stuff}",))
    return Reading((f"{NUMBER_WORDS[len(colours)]}-colour {stuff}",))


def processor_name(value: str, product: Product) -> Reading | None:
    """Read "Intel Core i7-10xxx" as "Intel Core i7 processor"."""
    name = re.sub(r"(-\w*x+|\s+\d{4,5}|\s*[®™])", "", value).strip()
    if name.lower() in ABSENT or not 3 < len(name) <= LONGEST_VALUE or not name[0].isalpha():
        return None
    return Reading((f"{name} processor",))


CORES = {1: "single-core", 2: "dual-core", 4: "quad-core", 6: "six-core", 8: "eight-core"}


def processor_cores(value: str, product: Product) -> Reading | None:
    """Read a number of cores: 4 -> "quad-core processor"."""
    number = plain_number(value)
    if number is None or number != int(number) or not 2 <= number <= 128:
        return None
    return Reading((f"{CORES.get(int(number), f'{number:g}-core')} processor",), number)


def memory_type(value: str, product: Product) -> Reading | None:
    """Read "DDR4-SDRAM" as "DDR4 memory"."""
    match = re.match(r"((?:LP|G)?DDR\d?L?X?)\b", value.upper())
    return Reading((f"{match.group(1)} memory",)) if match else None


def socket(value: str, product: Product) -> Reading | None:
    """Read "LGA 775 (Socket T)" as "LGA 775 socket" and "Socket P" as "Socket P fit"."""
    match = re.search(r"LGA ?\d+|(?<=Socket )(?:AM\d\+?|\d{3,4})\b", value)
    if match:
        return Reading((f"{match.group(0)} socket",))
    match = re.search(r"Socket [A-Z]\b", value)
    return Reading((f"{match.group(0)} fit",)) if match else None


def link(value: str, product: Product) -> Reading | None:
    """Read the two ends of a cable: "HDMI connectors", "USB-A to USB-B connectors"."""
    ends = [plug(value), plug(product.features.get("connector_2", ""))]
    if not ends[0]:
        return None
    if not ends[1]:
        return Reading((f"{ends[0]} connector",))
    if ends[0] == ends[1]:
        return Reading((f"{ends[0]} connectors",))
    return Reading((f"{ends[0]} to {ends[1]} connectors",))


def plug(value: str) -> str:
    """Return a connector's everyday name, or ``""`` where there is none."""
    name = re.sub(r"\s*\([^)]*\)|^\d+ ?x ?|^\(\d+\)\s*", "", value).strip()
    name = re.sub(r"^USB (?:Type-)?(?=[ABC]$)", "USB-", name)
    name = re.sub(r"^HDMI Type A$", "HDMI", name)
    name = re.sub(r"^3\.5 ?mm.*", "3.5 mm", name).replace(" coupler", "").replace("–", "-")
    # Male and female ends are no name: "DB25M", "HDMI FM".
    name = re.sub(r"(?<=\w)\s*\b(?:FM|M|F)$|(?<=\d)[MF]$", "", name)
    short = 1 < len(name) <= 12 and len(name.split()) <= 2 and re.search("[A-Za-z]", name)
    return name if short and not re.search(r"[,;:/\\|]", name) else ""


def compatible_with(value: str, product: Product) -> Reading | None:
    """Read what a product fits: the first model of a short list."""
    # A lone digit at the end is the start of "2,8L" or "2 & 3".
    first = re.sub(r" \d$", "", re.split(r"[,;/\n(]", value)[0].strip(" -.*"))
    if first.lower() in ABSENT | {"universal"} or not 3 <= len(first) <= 26:
        return None
    if len(first.split()) > 4 or re.search(r"[:_|\\/]|\b(and|or|for|with|all)\b", first.lower()):
        return None
    return Reading((f"{first} compatibility", f"compatibility with {first}"))


def operating_system(value: str, product: Product) -> Reading | None:
    """Read an installed operating system: "Windows 10 Home", "Android 10"."""
    match = re.match(r"(Windows|Android|Chrome OS|Tizen|Mac OS X|iOS)( [\w.]+)*", value)
    if not match or len(match.group(0)) > LONGEST_VALUE:
        return None
    name = match.group(0).removesuffix(".0")
    return Reading((name if " " in name else f"{name} operating system",))


def gigabit(value: str, product: Product) -> Reading | None:
    """Read Ethernet rates in Mbit/s ("10,100,1000") or names by the fastest of them."""
    if "10 Gigabit" in value:
        return Reading(("10 Gigabit Ethernet",), 10_000.0)
    if "2.5 Gigabit" in value:
        return Reading(("2.5 Gigabit Ethernet",), 2500.0)
    rates = re.findall(r"\d+", value)
    if "Gigabit" in value or "1000" in rates:
        return Reading(("Gigabit Ethernet",), 1000.0)
    if "Fast" in value or "100" in rates:
        return Reading(("Fast Ethernet",), 100.0)
    return None


def shade(value: str, product: Product) -> Reading | None:
    """Read colours: "black colour", "black and silver colours"."""
    spelled = value.lower().replace("gray", "grey").replace("multicolour", "multicoloured")
    colours = [part.strip().removesuffix(" colour") for part in spelled.split(",") if part.strip()]
    if not 1 <= len(colours) <= 2 or not all(
        colour.replace(" ", "").isalpha() and len(colour) <= 16 and colour not in ABSENT | PRESENT
        for colour in colours
    ):
        return None
    if len(colours) == 1:
        kind = "look" if colours[0] in ("multicoloured", "transparent") else "colour"
        return Reading((f"{colours[0]} {kind}", f"{colours[0]} design"))
    return Reading((f"{colours[0]} and {colours[1]} colours",))


MATERIALS = {
    "acrylonitrile butadiene styrene": "ABS plastic",
    "abs synthetics": "ABS plastic",
    "abs": "ABS plastic",
    "polypropylene": "polypropylene",
    "polyvinyl chloride": "PVC",
    "pvc": "PVC",
    "cellulose": "cellulose paper",
    "aluminum": "aluminium",
    "hips": "polystyrene",
    "pu plastic": "PU plastic",
}


def matter(noun: str) -> Reader:
    """Read the first material of a list: "aluminium housing"."""

    def read(value: str, product: Product) -> Reading | None:
        first = re.sub(r"\s*\([^)]*\)", "", value.split(",")[0]).strip()
        # Abbreviations such as TPU keep their capitals.
        name = MATERIALS.get(first.lower(), first if first.isupper() else first.lower())
        letters = name.replace(" ", "").replace("-", "")
        if name.lower() in ABSENT | PRESENT or not letters.isalpha() or len(name) > 22:
            return None
        return Reading((f"{name} {noun}",))

    return read


def resistance(value: str, product: Product) -> Reading | None:
    """Read the first named protection: "Scratch resistant" -> "scratch resistance"."""
    first = re.split(r"[,;]", value)[0].strip().lower().replace("-", " ")
    match = re.fullmatch(r"([a-z]+) (?:resistant|resistance|proof)", first)
    if match:
        return Reading((f"{match.group(1)} resistance",))
    return Reading(("waterproof build",)) if first == "waterproof" else None


def wifi(value: str, product: Product) -> Reading | None:
    """Read the newest Wi-Fi generation of a list."""
    generations = [int(g) for g in re.findall(r"Wi-Fi (\d)", value)]
    if generations:
        return Reading((f"Wi-Fi {max(generations)}",), float(max(generations)))
    letters = [g for g in "gab" if f"802.11{g}" in value]
    return Reading((f"802.11{letters[0]} Wi-Fi",), 1.0) if letters else None


def bluetooth(value: str, product: Product) -> Reading | None:
    """Read "5.0" or "2.1+EDR" as "Bluetooth 5.0"."""
    match = re.match(r"\d\.\d", value)
    return Reading((f"Bluetooth {match.group(0)}",), float(match.group(0))) if match else None


def speaker_channels(value: str, product: Product) -> Reading | None:
    """Read "7.1" channels."""
    match = re.match(r"[2-9]\.\d", value)
    return Reading((f"{match.group(0)}-channel audio",), float(match.group(0))) if match else None


def battery_free(value: str, product: Product) -> Reading | None:
    """Read the one boolean whose "false" is good news."""
    return Reading(("battery-free play",)) if value.lower() == "false" else None
