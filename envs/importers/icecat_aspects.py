"""Which Icecat features become facts: the aspect each belongs to and the phrase that states it.

Icecat writes values without units, and one key can carry several (``internal_memory`` is GB for a
notebook and MB for a printer). A *reader* below turns one raw value into a phrase a person would
say, or into ``None`` where the value is nonsense, absent ("N/A") or ambiguous: no fact is better
than a wrong one. ``RULES`` then lists, aspect by aspect, which keys are read by which reader; the
first rule that gives a reading wins, so each aspect is ordered from most to least informative.
Phrases are noun phrases that fit "Pick it for its {phrase}.", and each aspect has its own wording,
so that a phrase names one aspect only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Longest value, in characters, that is quoted in a phrase; longer ones are sentences.
LONGEST_VALUE = 30
#: Most words of a phrase.
MOST_WORDS = 6

ABSENT = frozenset(
    {
        *("n/a", "na", "n", "none", "no", "not available", "not supported", "unspecified"),
        *("unknown", "false", "other", "-", ""),
    }
)
PRESENT = frozenset({"true", "y", "yes"})


@dataclass(frozen=True)
class Product:
    """What a reader may look at beside the value itself."""

    #: Product class, as in the file.
    kind: str
    #: Title and description in lower case: they often state the unit that a value lacks.
    text: str
    #: Cleaned features by key.
    features: Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """One value as phrases (the first is canonical) and, if it can be compared, a number."""

    phrases: tuple[str, ...]
    amount: float | None = None


Reader = Callable[[str, Product], Reading | None]


@dataclass(frozen=True)
class Rule:
    """Keys of one aspect that share a reader."""

    aspect: str
    keys: tuple[str, ...]
    read: Reader
    #: +1 more is better, -1 less is better; only for readings with an amount.
    good: int = 1
    #: Product classes the rule holds for; empty means all.
    only: frozenset[str] = frozenset()
    #: Product classes the rule does not hold for.
    never: frozenset[str] = frozenset()


# --- Reading values ---------------------------------------------------------------------------


def plain_number(value: str) -> float | None:
    """Return the number a value consists of, or ``None``."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def tidy(number: float, digits: int = 4) -> str:
    """Write a number as a person would: 3 not 3.0, 2,500 not 2500.0, ``digits`` significant."""
    if number >= 1000:
        return f"{round(number):,}"
    return f"{float(f'{number:.{digits}g}'):g}"


def amount(*templates: str, low: float, high: float, scale: float = 1.0, digits: int = 4) -> Reader:
    """Read a number; ``{n}`` in a template is the number times ``scale`` ("2,500").

    ``{p}`` is the same without the comma, as is usual before MHz and dpi.

    Numbers outside ``[low, high]`` (in the raw unit) are absurd or of another unit: no reading.
    """

    def read(value: str, product: Product) -> Reading | None:
        number = plain_number(value)
        if number is None or not low <= number <= high:
            return None
        n = tidy(number * scale, digits)
        p = n.replace(",", "")
        return Reading(tuple(template.format(n=n, p=p) for template in templates), number)

    return read


def flag(*phrases: str) -> Reader:
    """Read a true boolean; a false one is no fact."""

    def read(value: str, product: Product) -> Reading | None:
        return Reading(phrases) if value.lower() in PRESENT else None

    return read


def choice(known: Mapping[str, str]) -> Reader:
    """Read a value whose lower case starts with a known beginning (first match wins)."""

    def read(value: str, product: Product) -> Reading | None:
        lowered = value.lower()
        for beginning, phrase in known.items():
            if lowered.startswith(beginning):
                return Reading((phrase,))
        return None

    return read


def words(template: str, *, lower: bool = False) -> Reader:
    """Read a short single value as it stands; a list counts as absent unless it has one member."""

    def read(value: str, product: Product) -> Reading | None:
        text = re.sub(r"\s*\([^)]*\)", "", value).strip(" .;-*")
        if text.lower() in ABSENT or text.lower() in PRESENT or len(text) > LONGEST_VALUE:
            return None
        if re.search(r"[,;:|_\n]", text) or not re.search("[A-Za-z]", text):
            return None
        return Reading((template.format(v=text.lower() if lower else text),))

    return read


NUMBER_WORDS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def counted(one: str, many: str, *, most: int = 96, least: int = 1) -> Reader:
    """Read a whole number of things: "HDMI port", "two HDMI ports", "24 HDMI ports"."""

    def read(value: str, product: Product) -> Reading | None:
        number = plain_number(value)
        if number is None or not least <= number <= most or number != int(number):
            return None
        n = int(number)
        said = NUMBER_WORDS[n] if n < len(NUMBER_WORDS) else f"{n:,}"
        return Reading((one if n == 1 else f"{said} {many}",), float(n))

    return read


# --- Values whose unit must be worked out -----------------------------------------------------


def mass(value: str, product: Product) -> Reading | None:
    """Read a weight in grams: 90 -> "90 g weight", 1200 -> "1.2 kg weight"."""
    grams = plain_number(value)
    if grams is None or not 1 <= grams <= 500_000:
        return None
    # 999.9 g would be rounded to "1000 g".
    said = f"{tidy(grams, 3)} g" if grams < 999.5 else f"{tidy(grams / 1000, 3)} kg"
    return Reading((f"{said} weight", f"weight of {said}"), grams)


#: Sizes below 1 GB that modules and drives are made in.
COMMON_MB = (2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 320, 384, 512, 640, 768)


def said_capacity(gigabytes: float) -> str:
    """Write a capacity in the unit people use: 0.0625 -> "64 MB", 1000 or 1024 -> "1 TB".

    Fractions of a GB occur binary, decimal and rounded (0.125, 0.128 and 0.12 are one module), so
    the nearest common size within 5 % is meant.
    """
    if gigabytes < 1:
        nearest_size = min(COMMON_MB, key=lambda size: abs(size - gigabytes * 1024))
        close = abs(nearest_size - gigabytes * 1024) <= 0.05 * nearest_size
        return f"{nearest_size if close else round(gigabytes * 1000)} MB"
    if gigabytes < 1000:
        return f"{tidy(gigabytes)} GB"
    return f"{tidy(gigabytes / (1024 if gigabytes % 1024 == 0 else 1000))} TB"


def stated_unit(number: float, product: Product) -> str:
    """Return "g" or "m" where the product's text states ``number`` with GB or MB, else ""."""
    said = re.search(rf"(?<![\d.]){re.escape(f'{number:g}')} ?([gm])b\b", product.text)
    return said.group(1) if said else ""


def gigabytes_of(number: float, product: Product) -> float | None:
    """Return a memory value in GB, or ``None`` where its unit cannot be told.

    Icecat drops the unit. The title or description often states the number with it; failing that,
    fractions are of a GB, printers count in MB, and 64 and more elsewhere could be either.
    """
    unit = stated_unit(number, product)
    if unit:
        return number if unit == "g" else number / 1024
    if number < 1:
        return number
    if product.kind == "printers":
        return number / 1024
    return number if number < 64 else None


def memory(*templates: str) -> Reader:
    """Read working memory; see ``gigabytes_of`` for its unit."""

    def read(value: str, product: Product) -> Reading | None:
        number = plain_number(value)
        size = None if number is None else gigabytes_of(number, product)
        if size is None or not 0.002 <= size <= 4096:
            return None
        n = said_capacity(size)
        return Reading(tuple(template.format(n=n) for template in templates), size)

    return read


def storage(*templates: str) -> Reader:
    """Read a drive size in GB: 512 -> "512 GB", 1000 -> "1 TB"."""

    def read(value: str, product: Product) -> Reading | None:
        size = plain_number(value)
        if size is None or not 0.06 <= size <= 50_000:
            return None
        if stated_unit(size, product) == "m":
            return None
        n = said_capacity(size)
        return Reading(tuple(template.format(n=n) for template in templates), size)

    return read


def clock(template: str) -> Reader:
    """Read a processor clock: below 10 it is in GHz, from 100 in MHz, between it is unclear."""

    def read(value: str, product: Product) -> Reading | None:
        number = plain_number(value)
        if number is None or not (0.1 <= number <= 6 or 100 <= number <= 4000):
            return None
        megahertz = number * 1000 if number <= 6 else number
        ghz = f"{tidy(megahertz / 1000, 3)} GHz"
        said = f"{tidy(megahertz)} MHz" if megahertz < 1000 else ghz
        return Reading((template.format(n=said),), megahertz)

    return read


def data_rate(value: str, product: Product) -> Reading | None:
    """Read a data rate in Mbit/s; small numbers may be Gbit/s or MB/s and are left out."""
    rate = plain_number(value)
    if rate is None or not 50 <= rate <= 100_000:
        return None
    said = f"{tidy(rate)} Mbit/s" if rate < 1000 else f"{tidy(rate / 1000)} Gbit/s"
    return Reading((f"{said} data rate", f"data rate of {said}"), rate)


def length(template: str) -> Reader:
    """Read a length in metres: 0.3 -> "30 cm", 1.8 -> "1.8 m"."""

    def read(value: str, product: Product) -> Reading | None:
        metres = plain_number(value)
        if metres is None or not 0.02 <= metres <= 1000:
            return None
        said = f"{tidy(metres * 100, 3)} cm" if metres < 1 else f"{tidy(metres, 3)} m"
        return Reading((template.format(n=said),), metres)

    return read


def reach(value: str, product: Product) -> Reading | None:
    """Read a transfer distance in metres: 300 -> "300 m reach", 15000 -> "15 km reach"."""
    metres = plain_number(value)
    if metres is None or not 5 <= metres <= 200_000:
        return None
    said = f"{tidy(metres, 3)} m" if metres < 1000 else f"{tidy(metres / 1000, 3)} km"
    return Reading((f"{said} reach",), metres)


def milliamp_hours(value: str, product: Product) -> Reading | None:
    """Read a battery charge: below 20 it is in Ah, otherwise in mAh."""
    number = plain_number(value)
    if number is None or not 1 <= number <= 60_000:
        return None
    if number < 20:
        return Reading((f"{tidy(number)} Ah battery",), number * 1000)
    return Reading((f"{tidy(number)} mAh battery",), number)


def pounds(value: str, product: Product) -> Reading | None:
    """Read a weight in pounds, where no metric one is given; 1 lb = 453.592 g."""
    number = plain_number(value)
    return None if number is None else mass(str(number * 453.592), product)


SIDES = re.compile(r"\s*[x×]\s*")


def numbers_of(value: str) -> list[float]:
    """Return the numbers of "1920 x 1080" or "0 - 40", or ``[]`` if anything else is in there."""
    parts = [plain_number(part) for part in SIDES.split(value.strip())]
    return [part for part in parts if part is not None] if None not in parts else []


def said_size(sides: list[float]) -> str:
    """Write lengths in mm as "114x36x103 mm", or in cm from 300 mm on."""
    if max(sides) < 300:
        return "x".join(tidy(round(side, 1), 3) for side in sides) + " mm"
    return "x".join(tidy(round(side / 10, 1), 3) for side in sides) + " cm"


def body_size(value: str, product: Product) -> Reading | None:
    """Read "W x D x H" (or W x H) in mm; smaller volumes are more compact."""
    sides = numbers_of(value)
    if len(sides) not in (2, 3) or min(sides) < 1 or max(sides) > 3000:
        return None
    # A face cannot be compared with a volume.
    return Reading((f"{said_size(sides)} size",), math.prod(sides) if len(sides) == 3 else None)


def label_size(value: str, product: Product) -> Reading | None:
    """Read a label's width in mm beside its height."""
    width, height = plain_number(value), plain_number(product.features.get("label_height", ""))
    if width is None or height is None or not (5 <= width <= 500 and 5 <= height <= 500):
        return None
    return Reading((f"{tidy(width)}x{tidy(height)} mm label size",))


def pixels(*templates: str, least: int = 100) -> Reader:
    """Read "1920 x 1080" as "1920x1080"; more pixels or dots are better."""

    def read(value: str, product: Product) -> Reading | None:
        sides = numbers_of(value)
        if len(sides) != 2 or not all(least <= side <= 20_000 for side in sides):
            return None
        n = "x".join(f"{side:.0f}" for side in sides)
        return Reading(tuple(template.format(n=n) for template in templates), math.prod(sides))

    return read


RANGE = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*-\s*(-?\d+(?:\.\d+)?)\s*$")


def celsius(template: str) -> Reader:
    """Read "0 - 40" in degrees Celsius; ranges that look like Fahrenheit are left out."""

    def read(value: str, product: Product) -> Reading | None:
        match = RANGE.match(value)
        if not match:
            return None
        low, high = float(match.group(1)), float(match.group(2))
        # 59 - 86 and 41 - 104 are 15 - 30 and 5 - 40 in Fahrenheit, which Icecat also holds.
        if not -60 <= low < high <= 125 or low > 30 or (low >= 20 and high > 70):
            return None
        return Reading((template.format(n=f"{low:g} to {high:g} °C"),), high - low)

    return read


def widest_angle(template: str) -> Reader:
    """Read an angle, or the whole travel of a range such as "-5 - 25"."""

    def read(value: str, product: Product) -> Reading | None:
        match = RANGE.match(value)
        angle = float(match.group(2)) - float(match.group(1)) if match else plain_number(value)
        if angle is None or not 5 <= angle <= 360:
            return None
        return Reading((template.format(n=f"{angle:g}°"),), angle)

    return read


def contrast(value: str, product: Product) -> Reading | None:
    """Read "1000:1"."""
    match = re.fullmatch(r"(\d{3,7}):1", value.strip())
    if not match:
        return None
    return Reading((f"{int(match.group(1)):,}:1 contrast",), float(match.group(1)))


def sound_power(value: str, product: Product) -> Reading | None:
    """Read a sound power in bel, "6.8 B(A)", as decibels: 1 B = 10 dB."""
    match = re.match(r"(\d\.\d) B\(A\)", value)
    if not match:
        return None
    decibels = float(match.group(1)) * 10
    return Reading((f"{tidy(decibels)} dB sound power",), decibels)


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


def water_resistance(value: str, product: Product) -> Reading | None:
    """Read a true flag."""
    return Reading(("water resistance",)) if value.lower() in PRESENT else None


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


def rack_units(value: str, product: Product) -> Reading | None:
    """Read "42U"."""
    match = re.fullmatch(r"(\d{1,2}) ?U", value.strip(), re.IGNORECASE)
    return Reading((f"{match.group(1)}U rack space",), float(match.group(1))) if match else None


def speaker_channels(value: str, product: Product) -> Reading | None:
    """Read "7.1" channels."""
    match = re.match(r"[2-9]\.\d", value)
    return Reading((f"{match.group(0)}-channel audio",), float(match.group(0))) if match else None


def frequency_response(value: str, product: Product) -> Reading | None:
    """Read "12 - 22000" Hz; the wider the better."""
    match = RANGE.match(value)
    if not match or not (float(match.group(1)) <= 200 and float(match.group(2)) >= 5000):
        return None
    low, high = match.groups()
    return Reading(
        (f"{float(low):g} Hz-{float(high) / 1000:g} kHz sound",), float(high) / max(float(low), 1)
    )


def battery_free(value: str, product: Product) -> Reading | None:
    """Read the one boolean whose "false" is good news."""
    return Reading(("battery-free play",)) if value.lower() == "false" else None


def cells(value: str, product: Product) -> Reading | None:
    """Read a number of battery cells."""
    number = plain_number(value)
    if number is None or not 2 <= number <= 20:
        return None
    return Reading((f"{number:g}-cell battery",), number)


# --- The table --------------------------------------------------------------------------------

LESS, MORE = -1, 1
UPS = frozenset({"ups & power"})
# "maximum_resolution" is in dots an inch for what prints or scans and a video mode for these.
VIDEO = frozenset({"adapters & hubs", "cables", "graphics cards", "motherboards", "networking",
                   "network switches", "mice & input", "notebooks"})  # fmt: skip
PRINTING = frozenset({"printers", "scanners"})
SCREENS = frozenset({"monitors", "tvs", "projectors", "notebooks", "storage"})
INK = frozenset({"toner & ink"})
SUPPLIES = frozenset({"toner & ink", "labels & paper"})
DRIVES = frozenset({"storage", "memory", "notebooks", "desktops & servers", "networking"})
# A replacement battery or UPS states its service life in years under the same keys.
YEARS_NOT_HOURS = frozenset({"ups & power", "batteries & chargers"})


def rule(
    aspect: str,
    keys: str,
    read: Reader,
    good: int = MORE,
    only: frozenset[str] = frozenset(),
    never: frozenset[str] = frozenset(),
) -> Rule:
    """Build a rule from keys separated by spaces."""
    return Rule(aspect, tuple(keys.split()), read, good, only, never)


RULES: tuple[Rule, ...] = (
    # screen, resolution, brightness
    rule("screen", "display_diagonal", amount("{n}-inch screen", "{n}-inch display",
         low=0.8, high=120)),
    rule("screen", "display_type panel_type display_technology", choice({
        "ips": "IPS panel", "oled": "OLED panel", "samoled": "AMOLED panel",
        "amoled": "AMOLED panel", "qled": "QLED panel", "plasma": "plasma panel",
        "va": "VA panel", "led": "LED panel", "lcd": "LCD panel", "tft": "TFT panel"})),
    rule("screen", "built_in_display", flag("built-in display")),
    rule("resolution", "display_resolution projector_native_resolution",
         pixels("{n} pixels", "{n} resolution")),
    rule("resolution", "maximum_resolution", pixels("{n} dpi printing"),
         only=frozenset({"printers"})),
    rule("resolution", "optical_scanning_resolution", pixels("{n} dpi scanning")),
    rule("resolution", "maximum_resolution", pixels("{n} dpi scanning"),
         only=frozenset({"scanners"})),
    rule("resolution", "movement_resolution", amount("{p} dpi tracking", low=200, high=30_000)),
    rule("resolution", "maximum_resolution", pixels("{n} video output", least=240),
         only=VIDEO),
    rule("resolution", "hd_type", choice({"full hd": "Full HD picture", "4k": "4K picture",
         "wqhd": "Quad HD picture", "quad": "Quad HD picture", "hd": "HD picture"})),
    rule("brightness", "projector_brightness", amount("{n} lumens brightness",
         low=20, high=50_000)),
    rule("brightness", "display_brightness__typical_ display_brightness",
         amount("{n} cd/m² brightness", low=50, high=6000)),
    rule("brightness", "contrast_ratio__typical_ contrast_ratio__dynamic_", contrast),
    rule("brightness", "led_backlight", flag("LED backlight")),
    rule("brightness", "lamp_type", choice({lamp: f"{lamp.upper()} lamp technology"
         for lamp in ("uhe", "uhp", "nsh", "p-vip", "shp")})),
    rule("brightness", "screen_surface", words("{v} screen surface", lower=True)),
    rule("brightness", "viewing_angle__horizontal", widest_angle("{n} viewing angle")),
    rule("brightness", "printing_material_brightness", choice({
        f"{n}%": f"{n}% paper brightness" for n in range(80, 121)})),
    # what computes and how fast
    rule("screen", "diagonal", amount("{n}-inch projection surface", low=30, high=400),
         only=frozenset({"projectors"})),
    rule("processor", "processor_family", processor_name),
    rule("processor", "processor_cores", processor_cores),
    rule("processor", "motherboard_chipset", words("{v} chipset")),
    rule("processor", "intel_64", flag("64-bit processing")),
    rule("speed", "print_speed__black__normal_quality__a4_us_letter_ "
         "print_speed__black__best_quality__a4_ "
         "print_speed__black__draft_quality__a4_us_letter_",
         amount("{n} ppm printing", "{n} pages per minute", low=1, high=200)),
    rule("speed", "processor_frequency", clock("{n} clock speed"), never=PRINTING),
    rule("speed", "processor_boost_frequency", clock("{n} boost clock")),
    rule("speed", "memory_clock_speed", amount("{p} MHz memory clock", low=66, high=20_000)),
    rule("speed", "hdd_speed", amount("{p} rpm drive", low=3000, high=20_000)),
    rule("speed", "maximum_refresh_rate", amount("{n} Hz refresh rate", low=50, high=500)),
    rule("speed", "response_time", amount("{n} ms response time", low=0.5, high=50), LESS,
         only=SCREENS),
    rule("speed", "ethernet_interface_type ethernet_lan_data_rates "
         "basic_switching_rj_45_ethernet_ports_type", gigabit),
    rule("speed", "data_transfer_rate maximum_data_transfer_rate", data_rate),
    rule("speed", "dvd_write_speed", amount("{n}x DVD writing", low=2, high=24)),
    rule("speed", "frequency", amount("{p} MHz bandwidth", low=50, high=2000),
         only=frozenset({"cables"})),
    rule("memory", "internal_memory ram_capacity",
         memory("{n} memory", "{n} of memory"),
         never=frozenset({"monitors", "projectors", "office supplies"})),
    rule("memory", "discrete_graphics_adapter_memory", memory("{n} graphics memory")),
    rule("memory", "maximum_internal_memory maximum_memory", memory("memory up to {n}")),
    rule("memory", "internal_memory_type memory_type graphics_adapter_memory_type", memory_type),
    rule("memory", "number_of_dimm_slots number_of_memory_slots",
         counted("memory slot", "memory slots", most=32)),
    rule("storage", "ssd_capacity total_ssds_capacity",
         storage("{n} SSD", "{n} solid-state drive")),
    rule("storage", "total_storage_capacity internal_storage_capacity hdd_capacity "
         "native_capacity", storage("{n} storage", "{n} of storage")),
    rule("storage", "capacity", storage("{n} storage", "{n} of storage"), only=DRIVES),
    rule("storage", "optical_drive_type", choice({"dvd super": "DVD writer", "dvd±": "DVD writer",
         "dvd-rw": "DVD writer", "dvd-rom": "DVD drive", "blu-ray": "Blu-ray drive"})),
    rule("storage", "compatible_memory_cards", choice({"microsd": "microSD card slot",
         "sd": "SD card slot", "mmc,sd": "SD card slot", "memory stick": "Memory Stick slot"})),
    rule("storage", "card_reader_integrated", flag("built-in card reader")),
    rule("storage", "recording_time", amount("{n}-minute recording time", low=10, high=1000)),
    # energy
    rule("battery", "battery_life__max_ battery_life continuous_audio_playback_time",
         amount("{n}-hour battery life", low=0.5, high=400), never=YEARS_NOT_HOURS),
    rule("battery", "typical_backup_time_at_half_load typical_backup_time_at_full_load",
         amount("{n}-minute backup time", low=1, high=600)),
    rule("battery", "battery_capacity__watt_hours_", amount("{n} Wh battery", low=1, high=500)),
    rule("battery", "battery_capacity", milliamp_hours, never=UPS),
    rule("battery", "number_of_battery_cells", cells),
    rule("battery", "battery_technology", choice({"lithium-ion": "lithium-ion battery",
         "lithium polymer": "lithium-polymer battery", "sealed lead": "sealed lead battery",
         "alkaline": "alkaline battery", "nickel-metal": "NiMH battery",
         "lithium": "lithium battery", "zinc": "zinc battery", "silver": "silver-oxide battery"})),
    rule("battery", "battery_recharge_time charging_time",
         amount("{n}-hour charging", low=0.2, high=30), LESS),
    rule("battery", "rechargeable", flag("rechargeable battery")),
    rule("battery", "battery_type", choice({"rechargeable": "rechargeable battery"})),
    rule("power", "output_power_capacity", amount("{n} VA output", low=100, high=500_000)),
    rule("power", "output_power ac_adapter_power", amount("{n} W power output",
         low=5, high=100_000)),
    rule("power", "power", amount("{n} W rated power", low=1, high=5000)),
    rule("power", "bulb_power lamp_power", amount("{n} W lamp", low=5, high=1000)),
    rule("power", "power_supply", amount("{n} W power supply", low=100, high=2500)),
    rule("power", "power_over_ethernet__poe_", flag("Power over Ethernet")),
    rule("power", "quick_charge", flag("quick charging")),
    rule("power", "output_voltage", amount("{n} V power output", low=3, high=60)),
    rule("power", "output_current", amount("{n} A power output", low=0.3, high=60)),
    rule("power", "maximum_current", amount("{n} A current rating", low=1, high=200)),
    rule("power", "batteries_required", battery_free, only=frozenset({"toys & games"})),
    rule("power", "power_source power_source_type", choice({"ac/battery": "mains and battery power",
         "ac,battery": "mains and battery power", "battery/solar": "solar power",
         "usb": "USB power"})),
    rule("power", "ac_input_voltage input_voltage", choice({
        "100 - 240": "worldwide mains voltage", "100-240": "worldwide mains voltage"})),
    rule("power", "battery_voltage", amount("{n} V battery voltage", low=1, high=60)),
    rule("power", "ac_adapter_included", flag("power adapter in the box")),
    rule("energy saving", "energy_star_certified", flag("Energy Star certification")),
    rule("energy saving", "power_consumption__standby_",
         amount("{n} W standby power", low=0.05, high=100), LESS),
    rule("energy saving", "power_consumption__typical_ power_consumption",
         amount("{n} W power draw", low=0.3, high=3000), LESS),
    rule("energy saving", "thermal_design_power__tdp_",
         amount("{n} W thermal design power", low=1, high=400), LESS),
    rule("energy saving", "efficiency", amount("{n}% efficiency", low=70, high=99.9)),
    rule("energy saving", "enhanced_intel_speedstep_technology", flag("SpeedStep power saving")),
    rule("energy saving", "auto_power_off", flag("automatic power-off")),
    rule("energy saving", "led_bulb_s_", flag("LED lighting")),
    rule("environment", "pefc_certified", flag("PEFC-certified paper")),
    rule("environment", "halogen_free", flag("halogen-free build")),
    rule("environment", "cartridge_return___recycling", flag("cartridge recycling")),
    rule("environment", "conflict_free_processor", flag("conflict-free sourcing")),
    rule("environment", "rohs_compliance", flag("RoHS compliance")),
    rule("environment", "certification", choice({"rohs": "RoHS compliance",
         "pefc": "PEFC-certified paper", "fsc": "FSC-certified paper",
         "ce, rohs": "RoHS compliance", "ce, reach": "REACH compliance"})),
    # connections
    rule("wireless", "top_wi_fi_standard wi_fi_standards", wifi),
    rule("wireless", "bluetooth_version", bluetooth),
    rule("wireless", "wi_fi", flag("Wi-Fi")),
    rule("wireless", "bluetooth", flag("Bluetooth")),
    rule("wireless", "device_interface interface connectivity_technology", choice({
        "rf wireless": "wireless connection", "wireless": "wireless connection",
        "bluetooth": "Bluetooth", "ir wireless": "infrared remote link",
        "wlan": "Wi-Fi"})),
    rule("wireless", "mobile_network_generation", choice({g: f"{g.upper()} mobile network"
         for g in ("5g", "4g", "3g")})),
    rule("wireless", "gps__satellite_", flag("GPS positioning")),
    rule("wireless", "wireless_technology", choice({"ieee 802.11a/b/g": "802.11g Wi-Fi",
         "ieee 802.11b/g": "802.11g Wi-Fi", "802.11b/g": "802.11g Wi-Fi",
         "ieee 802.11b": "802.11b Wi-Fi", "bluetooth": "Bluetooth"})),
    rule("ports", "basic_switching_rj_45_ethernet_ports_quantity",
         counted("Ethernet port", "Ethernet ports")),
    rule("ports", "ac_outlets_quantity", counted("AC outlet", "AC outlets", most=60)),
    rule("ports", "usb_3_2_gen_1__3_1_gen_1__type_c_ports_quantity usb_type_c_ports_quantity",
         counted("USB Type-C port", "USB Type-C ports", most=12)),
    rule("ports", "hdmi_ports_quantity", counted("HDMI port", "HDMI ports", most=12)),
    rule("ports", "displayports_quantity", counted("DisplayPort output", "DisplayPort outputs",
         most=12)),
    rule("ports", "usb_3_2_gen_1__3_1_gen_1__type_a_ports_quantity",
         counted("USB 3.2 port", "USB 3.2 ports", most=12)),
    rule("ports", "connector_1", link),
    rule("ports", "usb_connector_type", choice({"usb type-c": "USB Type-C connector",
         "usb type-a": "USB Type-A connector", "micro-usb": "Micro-USB connector",
         "usb type-b": "USB Type-B connector", "mini-usb": "Mini-USB connector"})),
    rule("ports", "dvi_d_ports_quantity dvi_i_ports_quantity",
         counted("DVI port", "DVI ports", most=12)),
    rule("ports", "usb_2_0_ports_quantity usb_2_0_connectors",
         counted("USB 2.0 port", "USB 2.0 ports", most=24)),
    rule("ports", "ethernet_lan__rj_45__ports", counted("Ethernet port", "Ethernet ports")),
    rule("ports", "ports_quantity", counted("", "ports", least=2)),
    rule("ports", "number_of_sata_connectors", counted("SATA connector", "SATA connectors",
         most=24)),
    rule("ports", "esata_ports_quantity", counted("eSATA port", "eSATA ports", most=12)),
    rule("ports", "host_interface output_interface", words("{v} interface")),
    rule("ports", "device_interface", choice({"usb type-a+ps/2": "USB and PS/2 plugs",
         "usb + ps/2": "USB and PS/2 plugs", "usb": "USB connection",
         "ps/2": "PS/2 connection"})),
    rule("ports", "interface standard_interfaces", choice({"usb 2.0": "USB 2.0 interface",
         "usb": "USB interface", "serial ata": "SATA interface", "sas": "SAS interface",
         "pci express": "PCI Express interface", "ethernet,usb": "Ethernet and USB interfaces",
         "ethernet": "Ethernet interface"})),
    rule("ports", "i_o_ports", choice({"usb 2.0": "USB 2.0 interface", "usb": "USB interface"})),
    rule("ports", "named_connection", words("{v} connection")),
    rule("ports", "3_5_mm_connector", flag("3.5 mm plug")),
    rule("ports", "headphone_connectivity", choice({"3.5": "3.5 mm plug"})),
    rule("ports", "vga__d_sub__ports_quantity", counted("VGA port", "VGA ports", most=12)),
    rule("ports", "usb_port", flag("USB connection")),
    rule("ports", "ethernet_lan", flag("Ethernet connection")),
    rule("ports", "serial_ports_quantity", counted("serial port", "serial ports", most=32)),
    rule("ports", "pci_express_x16_slots", counted("PCIe x16 slot", "PCIe x16 slots", most=8)),
    rule("cable", "cable_length cord_length", length("{n} cable"),
         never=frozenset({"light & electrical"})),
    rule("cable", "cable_standard cable_type cabling_technology", choice({
        "cat6a": "Cat6a wiring", "cat6": "Cat6 wiring", "cat5e": "Cat5e wiring",
        "ofc": "oxygen-free copper wiring", "copper": "copper wiring",
        "10/100/1000": "1000BASE-T wiring", "10/100": "100BASE-T wiring"})),
    rule("cable", "maximum_transfer_distance", reach),
    rule("cable", "cable_shielding", choice({"u/utp": "unshielded twisted pairs",
         "s/ftp": "shielded twisted pairs", "sf/utp": "shielded twisted pairs",
         "f/utp": "foil-shielded pairs", "u/ftp": "foil-shielded pairs"})),
    rule("cable", "connectivity_technology", choice({"wired & wireless": "wired and wireless use",
         "wired": "wired connection"})),
    rule("cable", "cables_included", choice({"usb": "included USB cable",
         "ac": "included power cable", "sata": "included SATA cable",
         "micro-usb": "included USB cable"})),
    # what it goes with, what it is for
    rule("compatibility", "operating_system_installed", operating_system),
    rule("compatibility", "processor_socket", socket),
    rule("compatibility", "maximum_screen_size_compatibility",
         amount("room for {n}-inch laptops", low=7, high=20), only=frozenset({"bags & cases"})),
    rule("compatibility", "maximum_screen_size_compatibility",
         amount("screen support to {n} inches", low=5, high=120),
         never=frozenset({"bags & cases"})),
    rule("compatibility", "compatibility compatible_products", compatible_with),
    rule("compatibility", "brand_compatibility", compatible_with),
    rule("compatibility", "mac_compatibility", flag("Mac support")),
    rule("compatibility", "windows_operating_systems_supported", choice({
        "y": "Windows support", "windows": "Windows support"})),
    rule("compatibility", "component_for", choice({
         "server/workstation": "server and workstation fit", "pc/server": "PC and server fit",
         "pc/notebook": "PC and notebook fit", "pc": "PC fit", "notebook": "notebook fit",
         "slr": "SLR camera fit",
         "milc/slr": "SLR camera fit", "server": "server fit"})),
    rule("use", "recommended_age__min_", amount("fun from age {n}", low=1, high=18)),
    rule("use", "print_technology", choice({"laser/inkjet": "laser and inkjet printer use",
         "laser": "laser printer use", "inkjet": "inkjet printer use",
         "thermal inkjet": "inkjet printer use", "led": "LED printer use"}),
         only=SUPPLIES),
    rule("use", "type", choice({"original": "original supplies"}), only=INK),
    rule("use", "device_compatibility", choice({"laser": "laser printer use",
         "inkjet": "inkjet printer use", "dot matrix": "dot-matrix printer use",
         "large format": "large-format printer use", "scanner": "scanner use"})),
    rule("use", "service_time__hours_x_days_", choice({"24x7": "round-the-clock service",
         "9x5": "office-hours service"})),
    rule("use", "next_business_day__nbd_", flag("next-business-day service")),
    rule("use", "market_positioning recommended_usage purpose suitable_for", choice({
        "gaming": "gaming use", "business": "business use", "home & office": "home and office use",
        "office": "office use", "home": "home use", "indoor & outdoor": "indoor and outdoor use",
        "indoor": "indoor use", "inkjet": "inkjet printer use", "laser": "laser printer use",
        "travel": "travel use", "computer case": "computer case use", "monitor": "monitor use",
        "pc/server": "PC and server use", "pc": "PC use", "notebook": "notebook use",
        "tv": "TV use", "tablet": "tablet use", "universal": "universal use"})),
    rule("use", "market_segment hp_segment", choice({
         "srv": "server use", "mbl": "mobile computing use",
         "business": "business use", "home": "home use", "enterprise": "enterprise use",
         "dt": "desktop computing use"})),
    rule("use", "form_factor", choice({"ambidextrous": "ambidextrous shape",
         "right-hand": "right-handed shape"})),
    rule("use", "case_type", choice({"backpack": "backpack style", "sleeve": "sleeve style",
         "briefcase": "briefcase style", "messenger": "messenger style", "folio": "folio style",
         "trolley": "trolley style", "cover": "cover style", "shell": "shell style"})),
    rule("use", "wearing_style", choice({"in-ear": "in-ear wearing style",
         "head-band": "headband wearing style", "ear-hook": "ear-hook wearing style",
         "neck-band": "neckband wearing style"})),
    # printing
    rule("lifespan", "black_toner_page_yield colour_toner_page_yield page_yield "
         "approximate_page_yield__a4_", amount("{n}-page yield", "yield of {n} pages",
         low=50, high=1_000_000)),
    rule("lifespan", "service_life_of_lamp service_life_of_light_source",
         amount("{n}-hour lamp life", low=100, high=60_000)),
    rule("lifespan", "maximum_duty_cycle", amount("{n}-page monthly duty", low=100,
         high=2_000_000)),
    rule("lifespan", "cartridge_capacity", choice({"high": "high-yield cartridge",
         "extra": "extra high-yield cartridge"})),
    rule("lifespan", "keyboard_keys_operating_life",
         amount("{n} million keystrokes", low=1, high=200)),
    rule("lifespan", "mean_time_between_failures__mtbf_",
         amount("{n}-hour failure-free running", low=10_000, high=5_000_000)),
    rule("lifespan", "number_of_years", counted("one-year service", "years of service", most=10)),
    rule("printing", "printing_colours", printed_colours, only=INK),
    rule("printing", "duplex_printing", flag("two-sided printing")),
    rule("printing", "colour", flag("colour printing"), only=frozenset({"printers"})),
    rule("printing", "maximum_iso_a_series_paper_size", choice({"a3": "A3 printing"})),
    rule("printing", "print_technology", choice({"laser/inkjet": "laser and inkjet printing",
         "laser": "laser printing", "inkjet": "inkjet printing", "led": "LED printing",
         "thermal inkjet": "inkjet printing", "direct thermal": "direct thermal printing",
         "thermal": "thermal printing", "dot matrix": "dot-matrix printing"}),
         never=SUPPLIES),
    rule("printing", "colour_scanning", flag("colour scanning")),
    rule("printing", "printable", flag("printable surface")),
    rule("printing", "adhesive_type", choice({"permanent": "permanent adhesive",
         "removable": "removable adhesive"})),
    rule("capacity", "total_input_capacity maximum_input_capacity",
         amount("{n}-sheet paper input", low=10, high=10_000)),
    rule("capacity", "water_tank_capacity", amount("{n} l water tank", low=0.2, high=10)),
    rule("capacity", "capacity_in_cups", amount("{n}-cup capacity", low=2, high=30)),
    rule("capacity", "capacity", amount("{n} l bag space", low=4, high=100),
         only=frozenset({"bags & cases"})),
    rule("capacity", "minimum_number_of_players", counted("", "players and more", least=2, most=9)),
    rule("capacity", "license_quantity", amount("licence for {n} users", low=2, high=100_000)),
    rule("capacity", "rack_capacity", rack_units),
    rule("capacity", "colour_ink_volume", amount("{n} ml ink volume", low=2, high=5000)),
    rule("capacity", "mac_address_table", amount("{n} MAC addresses", low=500, high=1_000_000)),
    rule("pack size", "labels_per_pack", amount("pack of {n} labels", low=2, high=100_000)),
    rule("pack size", "media_sheets_per_package sheets_per_pack",
         amount("pack of {n} sheets", low=2, high=10_000)),
    rule("pack size", "number_of_batteries_included", amount("set of {n} batteries",
         low=2, high=100)),
    rule("pack size", "quantity_per_pack number_of_products_included quantity_per_box",
         amount("pack of {n}", low=2, high=500)),
    # sound and pictures
    rule("sound", "rms_rated_power speaker_power", amount("{n} W speakers", low=1, high=1000)),
    rule("sound", "audio_output_channels", speaker_channels),
    rule("sound", "audio_system audio_included", choice({"dolby atmos": "Dolby Atmos sound",
         "dolby": "Dolby sound", "high definition": "high-definition audio",
         "bang": "Bang & Olufsen sound", "sonicmaster": "SonicMaster sound",
         "maxxaudio": "MaxxAudio sound", "integrated hd": "high-definition audio",
         "integrated high": "high-definition audio", "stereo": "stereo sound"})),
    rule("sound", "driver_unit", amount("{n} mm sound drivers", low=5, high=120)),
    rule("sound", "headphone_frequency frequency_range", frequency_response),
    rule("sound", "headphone_sensitivity", amount("{n} dB sensitivity", low=60, high=140)),
    rule("sound", "number_of_built_in_speakers number_of_speakers",
         counted("built-in speaker", "built-in speakers", most=12)),
    rule("sound", "built_in_speaker_s_", flag("built-in speakers")),
    rule("sound", "built_in_microphone", flag("built-in microphone")),
    rule("sound", "fm_radio", flag("FM radio")),
    rule("sound", "signal_to_noise_ratio__snr_", amount("{n} dB signal-to-noise ratio",
         low=40, high=140)),
    rule("sound", "headphone_outputs", counted("headphone output", "headphone outputs", most=4)),
    rule("sound", "audible_alarm_s_", flag("audible alarm")),
    rule("camera", "rear_camera_resolution__numeric_ megapixel",
         amount("{n} MP camera", low=0.3, high=200)),
    rule("camera", "optical_zoom", amount("{n}x optical zoom", low=2, high=100)),
    rule("camera", "image_stabilizer", flag("image stabilisation")),
    rule("camera", "closest_focusing_distance", length("{n} close focus"), LESS),
    rule("camera", "filter_size", amount("{n} mm filter thread", low=20, high=120)),
    rule("camera", "front_camera built_in_camera", flag("built-in camera")),
    rule("camera", "digital_zoom", amount("{n}x digital zoom", low=2, high=100)),
    rule("camera", "sensor_type", choice({"cmos": "CMOS sensor", "ccd": "CCD sensor",
         "cis": "CIS sensor", "dual cis": "CIS sensor"})),
    # body
    rule("noise", "noise_level noise_level__high_speed_ sound_pressure_level__printing_ "
         "acoustic_pressure_emissions", amount("{n} dB noise level", low=12, high=90), LESS),
    rule("noise", "acoustic_power_emissions", sound_power, LESS),
    rule("noise", "cooling_type", choice({"passive": "fanless cooling",
         "heatsink": "heatsink cooling", "active": "active cooling"})),
    rule("noise", "fan_diameter", amount("{n} mm fan", low=20, high=300)),
    rule("protection", "surge_energy_rating", amount("{n} J surge protection", low=50,
         high=20_000)),
    rule("protection", "international_protection__ip__code", words("{v} protection")),
    rule("protection", "protection_features", resistance),
    rule("protection", "water_resistant waterproof", water_resistance),
    rule("protection", "fingerprint_reader", flag("fingerprint reader")),
    rule("protection", "trusted_platform_module__tpm_", flag("TPM security chip")),
    rule("protection", "cable_lock_slot", flag("cable lock slot")),
    rule("protection", "surge_protection", flag("surge protection")),
    rule("protection", "ecc", flag("ECC error correction")),
    rule("protection", "snagless_cable_boot", flag("snagless cable boot")),
    rule("protection", "magnetically_shielded", flag("magnetic shielding")),
    rule("protection", "child_lock", flag("child lock")),
    rule("protection", "execute_disable_bit", flag("Execute Disable protection")),
    rule("protection", "security_algorithms", choice({"wpa2": "WPA2 encryption",
         "wpa": "WPA encryption", "256-bit aes": "256-bit AES encryption",
         "128-bit aes": "128-bit AES encryption", "128-bit ssl": "128-bit SSL encryption"})),
    rule("protection", "password_protection", flag("password protection")),
    rule("mounting", "maximum_weight_capacity", amount("{n} kg load capacity", low=1, high=2000)),
    rule("mounting", "panel_mounting_interface maximum_vesa_mount",
         pixels("VESA {n} mounting", least=50)),
    rule("mounting", "rack_mounting", flag("rack mounting")),
    rule("mounting", "mounting_type", choice({"wall": "wall mounting", "desk": "desk mounting",
         "ceiling": "ceiling mounting", "floor": "floor mounting"})),
    rule("mounting", "height_adjustment", flag("height adjustment")),
    rule("mounting", "height_adjustment", amount("{n} mm height adjustment", low=20, high=900)),
    rule("mounting", "swivel_angle swivel_angle_range", widest_angle("{n} swivel")),
    rule("mounting", "tilt_angle_range", widest_angle("{n} tilt range")),
    rule("mounting", "vesa_mounting", flag("VESA mounting")),
    rule("mounting", "desktop_stand", flag("desktop stand")),
    rule("mounting", "shoulder_strap", flag("shoulder strap")),
    rule("mounting", "carrying_handle_s_ handle_s_", flag("carrying handle")),
    rule("ease of use", "touchscreen", flag("touchscreen")),
    rule("ease of use", "numeric_keypad", flag("numeric keypad")),
    rule("ease of use", "handheld_remote_control", flag("remote control")),
    rule("ease of use", "keyboard_backlit backlight", flag("backlit keys"),
         only=frozenset({"keyboards", "notebooks", "mice & input"})),
    rule("ease of use", "wrist_rest", flag("wrist rest")),
    rule("ease of use", "mouse_included", flag("included mouse")),
    rule("ease of use", "removable_water_tank", flag("removable water tank")),
    rule("ease of use", "dishwasher_proof_parts easy_to_clean", flag("easy cleaning")),
    rule("ease of use", "scroll_type", choice({"wheel": "scroll wheel"})),
    rule("ease of use", "buttons_quantity", amount("{n}-button layout", low=2, high=40)),
    rule("ease of use", "keyboard_layout", words("{v} layout")),
    rule("ease of use", "volume_control", choice({"digital": "digital volume control",
         "rotary": "rotary volume control", "buttons": "volume buttons"})),
    rule("ease of use", "switch_type", choice({"managed": "managed switching",
         "unmanaged": "plug-and-go switching"})),
    rule("ease of use", "hot_swap_battery", flag("hot-swap battery change")),
    rule("ease of use", "auto_focus", flag("automatic focus")),
    rule("ease of use", "plug_and_play", flag("plug-and-play setup")),
    rule("ease of use", "led_indicators", choice({"y": "status lights", "power": "status lights",
         "link": "status lights", "activity": "status lights"})),
    rule("ease of use", "lightscribe", flag("LightScribe labelling")),
    rule("ease of use", "manual", flag("printed manual")),
    rule("material", "housing_material", matter("housing")),
    rule("material", "material", matter("material")),
    rule("material", "connector_contacts_plating", choice({"gold": "gold-plated contacts",
         "nickel": "nickel-plated contacts", "chrome": "chrome-plated contacts"})),
    rule("material", "finish_type", choice({"matt": "matte finish", "high-gloss": "glossy finish",
         "gloss": "glossy finish", "semi-gloss": "semi-gloss finish",
         "semi-matt": "semi-matte finish", "satin": "satin finish"})),
    rule("material", "ink_type", choice({"pigment": "pigment-based ink", "dye": "dye-based ink"})),
    rule("material", "magnet_type", choice({"neodymium": "neodymium magnets",
         "ferrite": "ferrite magnets"})),
    rule("material", "jacket_material", choice({"polyvinyl": "PVC cable jacket",
         "low smoke": "low-smoke cable jacket"})),
    rule("material", "media_weight print_media_weight", amount("{n} g/m² paper",
         low=40, high=600)),
    rule("colour", "product_colour cable_colour colour_name", shade),
    rule("weight", "weight weight__with_stand_ keyboard_weight weight_with_stand", mass, LESS),
    rule("weight", "weight__imperial_", pounds, LESS),
    rule("size", "number_of_puzzle_pieces", amount("{n}-piece puzzle", low=6, high=20_000)),
    rule("size", "label_width", label_size),
    rule("size", "label_dimensions", pixels("{n} mm label size", least=4)),
    rule("size", "roll_width sheet_width", amount("{n} mm paper width", low=20, high=2000)),
    rule("size", "motherboard_form_factor", choice({"micro atx": "Micro ATX format",
         "mini": "Mini ITX format", "extended": "Extended ATX format", "atx": "ATX format"})),
    rule("size", "body_size keyboard_dimensions__wxdxh_ mouse_dimensions__wxdxh_", body_size, LESS),
    rule("size", "paper_size format", choice({"a4": "A4 format", "a3": "A3 format"})),
    rule("size", "memory_form_factor", choice({"so-dimm": "SO-DIMM format",
         "240-pin": "240-pin DIMM format", "288-pin": "288-pin DIMM format",
         "200-pin": "200-pin SO-DIMM format"})),
    rule("size", "battery_type", choice({"aaa": "AAA format", "aa": "AA format",
         "cr2032": "CR2032 format", "lr54": "LR54 format", "lr44": "LR44 format"})),
    rule("size", "tape_length", length("{n} tape"),
         only=frozenset({"labels & paper", "office supplies", "other"})),
    rule("size", "optical_disc_diameter diameter",
         amount("{n} mm diameter", low=5, high=600), LESS),
    rule("size", "processor_lithography", amount("{n} nm process", low=3, high=250), LESS),
    rule("temperature", "operating_temperature__t_t_ recommended_operating_temperature_range__t_t_",
         celsius("{n} operation")),
    rule("temperature", "storage_temperature__t_t_", celsius("{n} storage range")),
    rule("temperature", "maximum_operating_temperature tcase",
         amount("heat tolerance to {n} °C", low=30, high=125)),
)  # fmt: skip

#: Aspect names in the order of the rules.
ASPECTS: tuple[str, ...] = tuple(dict.fromkeys(r.aspect for r in RULES))

#: True of nearly everything and persuasive of little: they give way where facts are too many.
EVERYDAY = frozenset({"colour", "size", "weight", "temperature", "environment", "ease of use"})

# --- What only the title says -----------------------------------------------------------------

SHADES = (
    "Black|White|Grey|Gray|Silver|Blue|Red|Green|Pink|Beige|Yellow|Orange|Purple|Brown|Gold|Ivory"
    "|Multicolour|Transparent"
)
PAPER = frozenset({"labels & paper", "other", "office supplies"})
CABLES = frozenset({"cables", "adapters & hubs"})
BAGS = frozenset({"bags & cases"})
COMPUTERS = frozenset({"processors", "notebooks", "desktops & servers", "memory"})
# Elsewhere "wireless" often names what a product is used with.
PERSONAL = frozenset({"mice & input", "keyboards", "headphones & headsets", "speakers & audio"})
ANY: frozenset[str] = frozenset()

#: (key, pattern, replacement, classes): where a product has no such key, its value is read from
#: the title or, failing that, the description. A sixth of the products has hardly any features,
#: yet a title that states them.
TITLE_PATTERNS: tuple[tuple[str, re.Pattern[str], str, frozenset[str]], ...] = tuple(
    (key, re.compile(pattern), value, classes)
    for key, pattern, value, classes in (
        ("product_colour", rf"\b({SHADES})(?:,[\w,]*)?$", r"\1", ANY),
        ("product_colour", rf"\b({SHADES})\b", r"\1", CABLES | PAPER | BAGS),
        ("printing_colours", r"(?i)\b((?:light |photo |matte )?(?:black|cyan|magenta|yellow))\b"
         r"(?!.*\b(?:cyan|magenta|yellow)\b)", r"\1", INK),
        ("page_yield", r"(?i)\b(\d{3,6})[- ]?pages?\b", r"\1", INK),
        ("type", r"\b(Original)\b", r"\1", INK),
        ("print_technology", r"(?i)\b(laser|inkjet)", r"\1", INK | PRINTING),
        ("maximum_resolution", r"\b(\d{3,4} x \d{3,4}) DPI", r"\1", PRINTING),
        ("paper_size", r"\b(A[34])\b", r"\1", PAPER | PRINTING),
        ("label_dimensions", r"\b(\d{2,3}(?:\.\d)?) ?x ?(\d{2,3}(?:\.\d)?) mm", r"\1 x \2", PAPER),
        ("finish_type", r"(?i)\b(matte?|gloss|satin)", r"\1", PAPER),
        ("material", r"(?i)\b(paper|polyester|vinyl|canvas)\b", r"\1", PAPER),
        ("media_weight", r"\b(\d{2,3}) ?g/m", r"\1", PAPER),
        ("media_sheets_per_package", r"(?i)\b(\d{2,4}) sheets\b", r"\1", PAPER),
        ("labels_per_pack", r"(?i)labels.*\b(\d{1,5}) pcs", r"\1", PAPER),
        ("quantity_per_pack", r"\b(\d{1,3}) (?:pc\(s\)|pcs\.?|pieces)$", r"\1", ANY),
        ("quantity_per_pack", r"(?i)\b(\d{1,2})[- ]pack\b|pack of (\d{1,2})\b", r"\1\2", ANY),
        ("cable_length", r"\b(\d{1,2}(?:\.\d{1,2})?) ?m(?:eters?|etres?)?\b(?! ?x)", r"\1", CABLES),
        ("cable_standard", r"(?i)\b(cat ?(?:5e|6a|6))\b", r"\1", CABLES),
        ("cable_standard", r"(?i)\bcategory (5e|6a|6)\b", r"Cat\1", CABLES),
        ("named_connection", r"\b((?:LC|SC|ST)/(?:LC|SC|ST))\b", r"\1", CABLES),
        ("named_connection", r"\b(HDMI|DisplayPort|DVI|VGA|FireWire|eSATA|SATA|SCSI|USB 3\.0"
         r"|USB 2\.0|USB|Thunderbolt|PS/2|RJ-?45|DB-?9|Fibre Channel|PCI Express|PCI|RCA)\b",
         r"\1", ANY),
        ("snagless_cable_boot", r"(?i)\b(snagless)\b", "True", CABLES),
        ("switch_type", r"\b(Managed|Unmanaged)\b", r"\1", frozenset({"network switches"})),
        ("ethernet_interface_type", r"\b(Gigabit|Fast) Ethernet\b", r"\1 Ethernet", ANY),
        ("ports_quantity", r"(?i)\b(\d{1,2})[- ]ports?\b", r"\1", ANY),
        ("connectivity_technology", r"(?i)\b(wireless)\b", "wireless", PERSONAL),
        ("bluetooth", r"\b(Bluetooth)\b", "True", PERSONAL),
        ("internal_memory", r"\b(\d{1,4}(?:\.\d+)?) ?[GM]B\b", r"\1", frozenset({"memory"})),
        ("internal_memory_type", r"\b(DDR[2-5]?)\b", r"\1", frozenset({"memory"})),
        ("memory_clock_speed", r"\b(\d{3,4}) MHz", r"\1", frozenset({"memory"})),
        ("total_storage_capacity", r"\b(\d{1,4}(?:\.\d+)?) ?GB\b", r"\1",
         frozenset({"storage"})),
        ("processor_frequency", r"\b(\d\.\d{1,2}) GHz", r"\1", COMPUTERS),
        ("megapixel", r"\b(\d{1,2}(?:\.\d)?) (?:MP|megapixel)", r"\1", frozenset({"cameras"})),
        ("sensor_type", r"\b(CMOS|CCD)\b", r"\1", frozenset({"cameras"})),
        ("material", r"(?i)\b(leather|nylon|neoprene|silicone|alumini?um|steel)\b", r"\1", ANY),
        ("material", r"(?i)\b(gel)\b", r"\1", frozenset({"keyboards", "mice & input"})),
        ("power", r"\b(\d{2,4}) ?W\b", r"\1", ANY),
        ("output_power_capacity", r"\b(\d{3,5}) ?VA\b", r"\1", UPS),
        ("battery_technology", r"(?i)\b(lithium-ion|li-ion|alkaline)\b", r"\1", ANY),
        ("battery_type", r"\b(AAA?)\b", r"\1", frozenset({"batteries & chargers"})),
        ("display_diagonal", r"\((\d{2}(?:\.\d)?)[\"”]\)", r"\1",
         frozenset({"monitors", "tvs", "notebooks"})),
        ("diagonal", r"\((\d{2,3})[\"”]\)", r"\1", frozenset({"projectors"})),
        ("maximum_screen_size_compatibility", r"\b(1[0-9](?:\.\d)?)[\"”]", r"\1",
         frozenset({"bags & cases"})),
        ("number_of_years",
         r"(?i)^(?=.*(?:service|supp|warrant|contract|licen)).*?\b([1-5])[- ]?y(?:ears?|rs?)?\b",
         r"\1", ANY),
        ("next_business_day__nbd_", r"(?i)(next ?bus(?:iness)? ?day|\bNBD\b)", "True", ANY),
        ("mounting_type", r"(?i)\b(wall|desk|ceiling) ?mount", r"\1", ANY),
        ("rack_mounting", r"(?i)\b(rack ?mount)", "True", ANY),
        ("recommended_age__min_", r"\b(\d{1,2})\+", r"\1", frozenset({"toys & games"})),
        # A model has digits ("for EF 17-35mm", "for LaserJet 4240n"); "for Men" has none.
        ("compatibility", r"(?<!not )(?<!NOT )\b[Ff]or (?!The )((?:[A-Z][\w-]* ){0,2}(?=[\w-]*\d)"
         r"(?=[\w-]*[A-Za-z]|\d{3})[A-Z\d][\w-]*)", r"\1", ANY),
    )
)  # fmt: skip


def title_features(title: str, description: str, kind: str, brand: str) -> dict[str, str]:
    """Return the features that a product's title or description states, by Icecat key."""
    # Original ink and toner fit the printers of their maker.
    found = {"brand_compatibility": brand} if kind in INK and "Original" in title else {}
    for text in (title, description):
        for key, pattern, value, classes in TITLE_PATTERNS:
            if key not in found and (not classes or kind in classes):
                match = pattern.search(text)
                if match:
                    found[key] = match.expand(value)
    return found


LOGISTICS = re.compile(
    r"pallet|master__outer|carton|shipping_|^package_|^packaging_|_packaging_|gtin|ean_upc|ean_code"
    r"|hs__code|_ark_id$|^ark_id$|_map$|^last_change$|^12_?nc|oem_code|unspsc|minimum_order"
    r"|tare_weight|gross_weight|images_type|country_of_origin"
)


def is_logistics(key: str) -> bool:
    """Whether a key describes boxes, pallets or article numbers rather than the product."""
    return LOGISTICS.search(key) is not None


def readings(product: Product) -> list[tuple[Rule, str, Reading]]:
    """Return the first reading of each aspect as (rule, key, reading), in the order of RULES."""
    found: dict[str, tuple[Rule, str, Reading]] = {}
    for one in RULES:
        if one.aspect in found or (one.only and product.kind not in one.only):
            continue
        if product.kind in one.never:
            continue
        for key in one.keys:
            value = product.features.get(key)
            reading = one.read(value, product) if value is not None else None
            if reading is not None:
                found[one.aspect] = (one, key, reading)
                break
    return list(found.values())
