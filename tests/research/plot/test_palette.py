"""The colours of plots: any two that meet can be told apart by all kinds of sight, and each stands out from the page."""

import itertools

import numpy as np
import pytest

from tickmesh.research.plot.palette import DARK, DRAWN, INKS, LIGHT, STATES, style

# What those see who lack one kind of cones, in linear RGB: Machado, Oliveira and Fernandes (2009), table 1, severity 1.0.
SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# Oklab (Ottosson, 2020): cones from linear RGB, and the three numbers in which distances are as they are seen.
CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
APART = 0.10  # in Oklab; two neighbouring bars of this distance are told apart at a glance
CONTRAST = 3.0  # WCAG 2.2, 1.4.11, for graphics
STRIP_CONTRAST = 1.4  # of a state that is a whole strip, beside others


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2: from 1 (the same) to 21 (black on white)."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def distance(one: str, other: str, sight: str) -> float:
    first, second = (
        np.array(OKLAB) @ np.cbrt(np.array(CONES) @ np.clip(np.array(SIGHTS[sight]) @ linear(colour), 0, 1))
        for colour in (one, other)
    )
    return float(np.linalg.norm(first - second))


def test_the_measures_are_those_of_the_standards():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert distance("#000000", "#ffffff", "all cones") == pytest.approx(1, abs=1e-3)
    assert distance("#ff0000", "#00ff00", "deuteranopia") < distance("#ff0000", "#00ff00", "all cones") / 2


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("together", [DRAWN, STATES], ids=["drawn", "states"])
def test_any_two_are_told_apart_by_all_kinds_of_sight(colours, together):
    near = {
        (one, other, sight): round(found, 3)
        for one, other in itertools.combinations(together, 2)
        for sight in SIGHTS
        if (found := distance(colours[one], colours[other], sight)) < APART
    }
    assert not near


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_each_stands_out_from_the_page(colours):
    paper = colours["paper"]
    least = {name: CONTRAST for name in DRAWN} | {name: STRIP_CONTRAST for name in STATES}  # missing is hatched besides
    faint = {name: contrast(colours[name], paper) for name, most in least.items() if contrast(colours[name], paper) < most}
    assert not faint
    assert contrast(colours["ink"], paper) > 7 and contrast(colours["dim"], paper) > 4.5, "WCAG: text"


def test_the_page_has_each_of_them_for_both_kinds_of_page():
    assert set(LIGHT) == set(DARK) == {*INKS, *DRAWN, *STATES}
    light, dark = style().split("@media")
    for name in LIGHT:
        assert f"--{name}:{LIGHT[name]};" in light and f"--{name}:{DARK[name]};" in dark
