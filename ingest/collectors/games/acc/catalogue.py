"""Lists ACC's tracks and cars by the names that its own pages use.

The broadcasting protocol uses a track's full name and a car's number. The pages have no track
length. Each track and car has one name here, for both sources.
"""

from typing import NamedTuple


class CatalogueTrack(NamedTuple):
    """A track of the game, with its names in pages and broadcasts, and its length in m."""

    name: str
    full_name: str
    length_m: int


TRACKS = (
    CatalogueTrack("Barcelona", "Circuit de Barcelona-Catalunya", 4655),
    CatalogueTrack("brands_hatch", "Brands Hatch Circuit", 3908),
    CatalogueTrack("cota", "Circuit of the Americas", 5513),
    CatalogueTrack("donington", "Donington Park", 4020),
    CatalogueTrack("Hungaroring", "Hungaroring", 4381),
    CatalogueTrack("Imola", "Autodromo Enzo e Dino Ferrari", 4959),
    CatalogueTrack("indianapolis", "Indianapolis Motor Speedway", 4167),
    CatalogueTrack("Kyalami", "Kyalami Grand Prix Circuit", 4522),
    CatalogueTrack("Laguna_Seca", "WeatherTech Raceway Laguna Seca", 3602),
    CatalogueTrack("misano", "Misano World Circuit", 4226),
    CatalogueTrack("monza", "Monza Circuit", 5793),
    CatalogueTrack("mount_panorama", "Mount Panorama Circuit", 6213),
    CatalogueTrack("nurburgring", "Nürburgring", 5137),
    CatalogueTrack("nurburgring_24h", "24h Nürburgring", 25300),
    CatalogueTrack("oulton_park", "Oulton Park", 4307),
    CatalogueTrack("Paul_Ricard", "Circuit Paul Ricard", 5770),
    CatalogueTrack("red_bull_ring", "Red Bull Ring", 4318),
    CatalogueTrack("Silverstone", "Silverstone", 5891),
    CatalogueTrack("snetterton", "Snetterton Circuit", 4779),
    CatalogueTrack("Spa", "Circuit de Spa-Francorchamps", 7004),
    CatalogueTrack("Suzuka", "Suzuka Circuit", 5807),
    CatalogueTrack("Valencia", "Circuit Ricardo Tormo Valencia", 4005),
    CatalogueTrack("watkins_glen", "Watkins Glen International", 5552),
    CatalogueTrack("Zandvoort", "Circuit Zandvoort", 4252),
    CatalogueTrack("Zolder", "Circuit Zolder", 4011),
)

#: Number in the entry list → name in the static page.
CARS = {
    0: "porsche_991_gt3_r",
    1: "mercedes_amg_gt3",
    2: "ferrari_488_gt3",
    3: "audi_r8_lms",
    4: "lamborghini_huracan_gt3",
    5: "mclaren_650s_gt3",
    6: "nissan_gt_r_gt3_2018",
    7: "bmw_m6_gt3",
    8: "bentley_continental_gt3_2018",
    9: "porsche_991ii_gt3_cup",
    10: "nissan_gt_r_gt3_2017",
    11: "bentley_continental_gt3_2016",
    12: "amr_v12_vantage_gt3",
    13: "lamborghini_gallardo_rex",
    14: "jaguar_g3",
    15: "lexus_rc_f_gt3",
    16: "lamborghini_huracan_gt3_evo",
    17: "honda_nsx_gt3",
    18: "lamborghini_huracan_st",
    19: "audi_r8_lms_evo",
    20: "amr_v8_vantage_gt3",
    21: "honda_nsx_gt3_evo",
    22: "mclaren_720s_gt3",
    23: "porsche_991ii_gt3_r",
    24: "ferrari_488_gt3_evo",
    25: "mercedes_amg_gt3_evo",
    26: "ferrari_488_challenge_evo",
    27: "bmw_m2_cs_racing",
    28: "porsche_992_gt3_cup",
    29: "lamborghini_huracan_st_evo2",
    30: "bmw_m4_gt3",
    31: "audi_r8_lms_evo_ii",
    32: "ferrari_296_gt3",
    33: "lamborghini_huracan_gt3_evo2",
    34: "porsche_992_gt3_r",
    35: "mclaren_720s_gt3_evo",
    36: "ford_mustang_gt3",
    50: "alpine_a110_gt4",
    51: "amr_v8_vantage_gt4",
    52: "audi_r8_gt4",
    53: "bmw_m4_gt4",
    55: "chevrolet_camaro_gt4r",
    56: "ginetta_g55_gt4",
    57: "ktm_xbow_gt4",
    58: "maserati_mc_gt4",
    59: "mclaren_570s_gt4",
    60: "mercedes_amg_gt4",
    61: "porsche_718_cayman_gt4_mr",
    80: "audi_r8_lms_gt2",
    82: "ktm_xbow_gt2",
    83: "maserati_mc20_gt2",
    84: "mercedes_amg_gt2",
    85: "porsche_991_gt2_rs_mr",
    86: "porsche_935",
}

_BY_NAME = {name.casefold(): track for track in TRACKS for name in (track.name, track.full_name)}


def track_named(name: str) -> CatalogueTrack | None:
    """Return the track with that name, short or full, in any case: the game does not keep to one
    spelling.
    """
    return _BY_NAME.get(name.casefold())
