"""How many nanometres a unit of length has, by all names that files give it."""

NANOMETRES = {
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
    "cm": 1e7,
    "centimeter": 1e7,
    "centimetre": 1e7,
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "um": 1e3,
    "\u00b5m": 1e3,  # the micro sign
    "\u03bcm": 1e3,  # the Greek letter
    "\\u00b5m": 1e3,  # as ImageJ spells it where letters must be ASCII
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "micrometers": 1e3,
    "micrometres": 1e3,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "nanometers": 1.0,
    "nanometres": 1.0,
    "pm": 1e-3,
    "picometer": 1e-3,
    "a": 0.1,
    "\u00e5": 0.1,
    "\u212b": 0.1,
    "angstrom": 0.1,
    "angstroms": 0.1,
    "inch": 2.54e7,
    "inches": 2.54e7,
    "in": 2.54e7,
}
