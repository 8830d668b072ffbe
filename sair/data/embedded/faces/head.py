"""Paint neck, head and ears, and the features of the face: eyes, brows, nose and mouth."""

from __future__ import annotations

import numpy as np

from sair.data.embedded.faces.canvas import (
    BROWS,
    EARS,
    EYES,
    MOUTH,
    NECK,
    NOSE,
    SKIN,
    Canvas,
    Covered,
    Patch,
    Shade,
    disc,
    ellipse,
    ramp,
    segment,
    shaded,
    unit,
)
from sair.data.embedded.faces.colours import BLACK, WHITE, mix, rgb
from sair.data.embedded.faces.looks import Looks

EYE_V = -0.012  # v coordinate of the eyes, in head coordinates


def outline(u: np.ndarray, v: np.ndarray, looks: Looks, aside: float = 0.0, above: float = 0.0) -> np.ndarray:
    """Return the distance to the outline of the head, enlarged by ``aside`` sideways and ``above`` up and down."""
    return _outline(u, v, looks.half_width + aside, looks.half_height + above, 0.022 * looks.yaw, looks.jaw)


def outline_at(covered: Covered, patch: Patch, looks: Looks, inner: float) -> np.ndarray:
    """Return the distance to the outline of the head, reduced by ``inner``, at the covered pixels of a patch, (K,)."""
    traits = looks.half_width, looks.half_height, 0.022 * looks.yaw, looks.jaw
    return _outline(covered.of(patch.u), covered.of(patch.v), *map(covered.of, traits)) + inner


def _outline(
    u: np.ndarray, v: np.ndarray, a: np.ndarray, b: np.ndarray, aside: np.ndarray, jaw: np.ndarray
) -> np.ndarray:
    """Return the distance to an outline of half width ``a`` and half height ``b``, moved by ``aside`` at the chin."""
    y = v / b
    chin = np.maximum(y, 0.0)
    # The lower half narrows towards the chin, which moves with the yaw.
    x = (u - aside * (0.4 + y)) / (a * (1.0 - jaw * chin * chin))
    x *= x
    y *= y
    x += y
    np.sqrt(x, out=x)
    x -= 1.0
    x *= 0.5 * (a + b)
    return x


def lit(looks: Looks, light: np.ndarray | Shade) -> Shade:
    """Return the shade of skin between shadow (light 0) and glow (light 1).

    Args:
        looks: the portraits.
        light: of each pixel, or a function that computes it for the covered pixels only.
    """
    low, span = looks.shadow, looks.glow - looks.shadow

    def shade(covered: Covered) -> np.ndarray:
        share = ramp(light(covered) if callable(light) else covered.of(light))
        return covered.colour(low) + covered.colour(span) * share

    return shade


def neck_foot(looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """Return the point (x, y) where the neck meets the collar, in upright coordinates."""
    return 0.5 + 0.6 * (looks.x - 0.5), looks.y + looks.scale * 0.335


def paint_neck(canvas: Canvas, looks: Looks) -> None:
    """Paint the neck with the shadow of the chin."""
    foot_x, foot_y = neck_foot(looks)
    patch = canvas.body(looks, foot_x - 0.3, looks.y, foot_x + 0.3, 1.0)
    fall = (patch.v - looks.y) / (foot_y - looks.y)
    middle = looks.x + (foot_x - looks.x) * fall
    flare = np.maximum(patch.v - (foot_y - 0.05), 0.0)
    half = np.where(looks.man, 0.104, 0.086) * looks.scale + 5.0 * flare * flare
    distance = np.abs(patch.u - middle) - half
    side = looks.light * (patch.u - middle) / half
    # The shadow of the chin points away from the light.
    chin = ramp((foot_y - 0.01 - 0.25 * looks.light * (patch.u - middle) - patch.v) / 0.035)
    patch.fill(distance, lit(looks, 0.5 + 0.6 * side - 0.6 * chin), NECK)


def paint_ears(canvas: Canvas, looks: Looks) -> None:
    """Paint the ears, if the hair does not cover them."""
    if not looks.words["shows_ears"]:
        return
    for side in (-1.0, 1.0):
        # The ear on the side that the face turns to disappears behind the cheek.
        u = side * (looks.half_width + 0.012 - 0.03 * np.maximum(0.0, side * looks.yaw)) - 0.012 * looks.yaw
        patch = canvas.head(looks, u - 0.05, -0.07, u + 0.05, 0.11)
        x, y = patch.u - u + side * 0.12 * (patch.v - 0.02), patch.v - 0.02
        light = 0.5 + 0.4 * side * looks.light
        patch.fill(ellipse(x, y, 0.034, 0.062), mix(looks.shadow, looks.glow, light), EARS)
        patch.fill(ellipse(x - side * 0.004, y + 0.004, 0.018, 0.038), looks.shadow, opacity=0.8, blur=0.008)


def paint_head(canvas: Canvas, looks: Looks) -> None:
    """Paint the head's skin with its shading and the blush of the cheeks."""
    patch = canvas.head(looks, -0.27, -0.32, 0.27, 0.32)

    def light(covered: Covered) -> np.ndarray:
        # Roughly the shading of a sphere: brightest at the top towards the light, darkest at the far cheek and the jaw.
        u, v = covered.of(patch.u), covered.of(patch.v)
        steep = u * u * u * u + v * v * v * v
        return 0.62 + covered.of(looks.light * 2.0) * u - 0.55 * v - 14.0 * steep / 0.25

    patch.fill(outline(patch.u, patch.v, looks), lit(looks, light), SKIN)
    blush = mix(looks.skin, rgb(0xE0554F), 0.45)
    for side in (-1.0, 1.0):
        cheek = canvas.head(looks, side * 0.115 - 0.12, -0.03, side * 0.115 + 0.12, 0.2)
        x = cheek.u - side * 0.115 - 0.03 * looks.yaw
        cheek.fill(disc(x, cheek.v - 0.085, 0.04), blush, opacity=0.3, blur=0.07)


def eye_place(looks: Looks, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the horizontal centre and half width of an eye; the far one is foreshortened."""
    turned = np.maximum(0.0, side * looks.yaw)
    return side * looks.eye_gap * (1.0 - 0.1 * turned) + 0.03 * looks.yaw, looks.eye_width * (1.0 - 0.12 * turned)


def paint_eyes(canvas: Canvas, looks: Looks) -> None:
    """Paint both eyes."""
    for side in (-1.0, 1.0):
        u, width = eye_place(looks, side)
        patch = canvas.head(looks, u - 0.085, EYE_V - 0.075, u + 0.085, EYE_V + 0.06)
        _paint_eye(patch, patch.u - u, patch.v - EYE_V, side, width, looks)


def _paint_eye(patch: Patch, x: np.ndarray, y: np.ndarray, side: float, width: np.ndarray, looks: Looks) -> None:
    gaze_x, gaze_y = x - 0.013 * looks.gaze[0], y + 0.004 - 0.006 * looks.gaze[1]
    y = y + side * 0.06 * x  # only the lids slant: both irises look the same
    upper_height, lower_height = 0.034 * looks.eye_open, 0.022 * (0.5 + 0.5 * looks.eye_open)
    bow = 1.0 - (x / width) * (x / width)
    slope = 2.0 * upper_height * x / (width * width)
    steep = np.sqrt(1.0 + slope * slope)
    upper, lower = (-y - upper_height * bow) / steep, (y - lower_height * bow) / steep
    almond = np.maximum(upper, lower)
    patch.fill(ellipse(x, y + 0.008, 1.25 * width, 0.042), looks.shadow, opacity=0.45, blur=0.03)
    patch.fill(almond, rgb(0xF7F4F0), EYES)

    iris = np.maximum(disc(gaze_x, gaze_y, 0.0265), almond)
    patch.fill(iris, mix(looks.eye, BLACK, 0.45), EYES)
    patch.fill(iris + 0.004, shaded(looks.eye, 0.12 + 10.0 * gaze_y), EYES)
    patch.fill(np.maximum(disc(gaze_x, gaze_y, 0.0125), almond), BLACK)
    patch.fill(np.maximum(almond, -upper - 0.012), rgb(0x53444A), opacity=0.35, blur=0.008)
    patch.fill(disc(gaze_x - 0.009 * looks.light, gaze_y + 0.009, 0.0075), WHITE)

    line = mix(mix(looks.hair, looks.skin, 0.1), BLACK, 0.65)
    lash = 0.0042 if looks.words["kind"] == "man" else 0.0062
    # The thickness is negative beyond the corners, so the line ends there.
    patch.line(upper, lash * np.minimum(0.35 + 1.2 * bow, 1.0), line, label=EYES)
    if looks.words["kind"] == "woman":
        wing = (side * width * 0.93, -0.002, side * (width + 0.014), -0.016)
        patch.fill(segment(x, y, wing, 0.0038), line, EYES)
    crease = (-y - 0.013 - upper_height * bow) / steep
    patch.line(crease, 0.003 * np.minimum(2.5 * bow, 1.0), looks.shadow, opacity=0.8, blur=0.002)


def paint_brows(canvas: Canvas, looks: Looks) -> None:
    """Paint both brows."""
    for side in (-1.0, 1.0):
        u, width = eye_place(looks, side)
        half = 1.3 * width
        patch = canvas.head(looks, u - 0.1, -0.14, u + 0.1, -0.02)
        x = side * (patch.u - u) / half  # -1 at the nose, 1 at the temple
        arc = patch.v + 0.082 - looks.brow_tilt * 0.1 * x + looks.brow_arch * (1.0 - x * x) - 0.006
        thickness = looks.brow_thick * unit(0.95 - 0.55 * np.maximum(x, 0.0))
        distance = np.maximum(np.abs(arc) - thickness, (np.abs(x) - 1.0) * half)
        patch.fill(distance, looks.brow, BROWS, blur=0.003)


def paint_nose(canvas: Canvas, looks: Looks) -> None:
    """Paint the nose with its shadows and highlight."""
    patch = canvas.head(looks, -0.12, -0.06, 0.12, 0.15)
    light, yaw = looks.light, looks.yaw
    tip, width = looks.nose_length - 0.005, looks.nose_width
    along = unit((patch.v + 0.03) / (tip + 0.03))
    x = patch.u - yaw * (0.03 + 0.022 * along)
    y = patch.v - tip
    bridge = np.maximum(np.abs(x) - 0.013 - (0.6 * width - 0.013) * along * along, np.maximum(y, -0.03 - patch.v))
    wings = ellipse(x, y - 0.004, width, 0.021)
    nose = np.minimum(bridge, np.minimum(wings, disc(x, y, 0.027)))
    # The shaded side and the cast shadow below, both away from the light.
    patch.fill(ellipse(x + 0.012 * light, y - 0.022, 1.05 * width, 0.016), looks.shadow, opacity=0.6, blur=0.022)
    patch.fill(nose, lit(looks, 0.62 + light * 14.0 * x - 3.0 * np.maximum(y, 0.0)), NOSE, blur=0.006)
    patch.fill(np.maximum(nose, 0.002 + light * x), looks.shadow, opacity=0.5, blur=0.014)
    tinge = mix(looks.skin, rgb(0xD9544D), 0.4)
    patch.fill(ellipse(x, y - 0.002, 0.8 * width, 0.02), tinge, opacity=0.35, blur=0.02)
    dark = mix(looks.shadow, BLACK, 0.5)
    for side in (-1.0, 1.0):
        patch.fill(ellipse(x - side * 0.45 * width, y - 0.016, 0.0095, 0.0055), dark, opacity=0.8, blur=0.003)
    patch.fill(disc(x - 0.006 * light, y + 0.006, 0.008), mix(looks.glow, WHITE, 0.6), opacity=0.6, blur=0.012)


def paint_mouth(canvas: Canvas, looks: Looks) -> None:
    """Paint the mouth: lips, and teeth and tongue if it is open."""
    patch = canvas.head(looks, -0.14, 0.08, 0.14, 0.23)
    mouth = looks.words["mouth"]
    width = looks.mouth_width * (1.0 - 0.06 * np.abs(looks.yaw)) * (0.8 if mouth == "open" else 1.0)
    x = (patch.u - 0.036 * looks.yaw) / width
    bow = 1.0 - x * x
    curl = {"smiling": 0.021, "closed": 0.004, "open": 0.008}[mouth]
    y = patch.v - 0.152 - curl * (bow - 0.5)
    gap = {"smiling": 0.0, "closed": 0.0, "open": 0.024}[mouth]
    ends = (np.abs(x) - 1.0) * width
    lip = mix(mix(looks.skin, rgb(0xB8323F), np.where(looks.man, 0.38, 0.6)), BLACK, 0.05)

    # Cupid's bow dips in the middle; both lips vanish at the corners.
    dip = 1.0 - 0.35 * np.maximum(1.0 - 9.0 * x * x, 0.0)
    upper = -y - (0.4 * gap + looks.lip * dip) * bow
    lower = y - (gap + 1.25 * looks.lip) * bow
    shape = np.maximum(np.maximum(upper, lower), ends)
    patch.fill(ellipse(x * width, y - gap - 0.034, 0.04, 0.008), looks.shadow, opacity=0.5, blur=0.018)
    patch.fill(shape - 0.001, shaded(lip, -0.12 + 6.0 * y), MOUTH)
    shine = ellipse(x * width - 0.012 * looks.light, y - gap - 0.6 * looks.lip, 0.018, 0.003)
    patch.fill(shine, mix(lip, WHITE, 0.6), opacity=0.6, blur=0.008)
    if gap:
        inside = np.maximum(np.maximum(-y - 0.4 * gap * bow, y - gap * bow), ends)
        patch.fill(inside, rgb(0x5A1A22), MOUTH)
        patch.fill(np.maximum(inside, y - 0.3 * gap), rgb(0xFBF8F3))
        patch.fill(np.maximum(inside, ellipse(x * width, y - gap * 1.1, 0.032, 0.014)), rgb(0xCC5F66))
    else:
        patch.line(y, 0.0034 * np.minimum(2.0 * bow + 0.3, 1.0), mix(lip, BLACK, 0.6))
