"""What only a product's title or description says: patterns that read features out of them."""

from __future__ import annotations

import re

from envs.importers.icecat_rule import INK, PRINTING, UPS

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
