"""Readers of quantities whose unit must be worked out: weights, capacities, rates, sizes, ranges.

Icecat drops the units, and one key can carry several (``internal_memory`` is GB for a notebook and
MB for a printer). Each reader states the units it assumes and the range in which that is safe.
"""

from __future__ import annotations

import math
import re

from envs.importers.icecat_values import Product, Reader, Reading, plain_number, tidy


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


def rack_units(value: str, product: Product) -> Reading | None:
    """Read "42U"."""
    match = re.fullmatch(r"(\d{1,2}) ?U", value.strip(), re.IGNORECASE)
    return Reading((f"{match.group(1)}U rack space",), float(match.group(1))) if match else None


def frequency_response(value: str, product: Product) -> Reading | None:
    """Read "12 - 22000" Hz; the wider the better."""
    match = RANGE.match(value)
    if not match or not (float(match.group(1)) <= 200 and float(match.group(2)) >= 5000):
        return None
    low, high = match.groups()
    return Reading(
        (f"{float(low):g} Hz-{float(high) / 1000:g} kHz sound",), float(high) / max(float(low), 1)
    )


def cells(value: str, product: Product) -> Reading | None:
    """Read a number of battery cells."""
    number = plain_number(value)
    if number is None or not 2 <= number <= 20:
        return None
    return Reading((f"{number:g}-cell battery",), number)
