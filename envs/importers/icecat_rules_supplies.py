"""Rules of fit and supplies: compatibility, use, lifespan, printing, capacity and pack size.

Within an aspect the first rule that gives a reading wins: most informative first.
"""

from __future__ import annotations

from envs.importers.icecat_names import compatible_with, operating_system, printed_colours, socket
from envs.importers.icecat_rule import INK, Rule, rule
from envs.importers.icecat_units import rack_units
from envs.importers.icecat_values import amount, choice, counted, flag

SUPPLIES = INK | {"labels & paper"}

SUPPLY_RULES: tuple[Rule, ...] = (
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
)  # fmt: skip
