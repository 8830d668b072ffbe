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
    Patch,
    disc,
    ellipse,
    ramp,
    segment,
    unit,
)
from sair.data.embedded.faces.colours import BLACK, EYE_COLOURS, WHITE, Shade, column, mix, rgb, shaded
from sair.data.embedded.faces.traits import Look

EYE_V = -0.012  # v coordinate of the eyes, in head coordinates


def outline(u: np.ndarray, v: np.ndarray, look: Look, aside: float = 0.0, above: float = 0.0) -> np.ndarray:
    """Return the distance to the outline of the head, enlarged by ``aside`` sideways and ``above`` up and down."""
    a, b = look.half_width + aside, look.half_height + above
    y = v / b
    chin = np.maximum(y, 0.0)
    # The lower half narrows towards the chin, which moves with the yaw.
    x = (u - 0.022 * look.pose.yaw * (0.4 + y)) / (a * (1.0 - look.jaw * chin * chin))
    return (np.sqrt(x * x + y * y) - 1.0) * (0.5 * (a + b))


def lit(look: Look, light: np.ndarray) -> Shade:
    """Return the shade of skin between shadow (light 0) and glow (light 1)."""
    low, high = column(look.shadow), column(look.glow)
    return lambda covered: low + (high - low) * ramp(light.take(covered))


def neck_foot(look: Look) -> tuple[float, float]:
    """Return the point (x, y) where the neck meets the collar, in upright coordinates."""
    pose = look.pose
    return 0.5 + 0.6 * (pose.x - 0.5), pose.y + pose.scale * 0.335


def paint_neck(canvas: Canvas, look: Look) -> None:
    """Paint the neck with the shadow of the chin."""
    pose = look.pose
    foot_x, foot_y = neck_foot(look)
    patch = canvas.body(foot_x - 0.3, pose.y, foot_x + 0.3, 1.0)
    fall = (patch.v - pose.y) / (foot_y - pose.y)
    middle = pose.x + (foot_x - pose.x) * fall
    flare = np.maximum(patch.v - (foot_y - 0.05), 0.0)
    half = (0.104 if look.kind == "man" else 0.086) * pose.scale + 5.0 * flare * flare
    distance = np.abs(patch.u - middle) - half
    side = look.pose.light * (patch.u - middle) / half
    # The shadow of the chin points away from the light.
    chin = ramp((foot_y - 0.01 - 0.25 * pose.light * (patch.u - middle) - patch.v) / 0.035)
    patch.fill(distance, lit(look, 0.5 + 0.6 * side - 0.6 * chin), NECK)


def paint_ears(canvas: Canvas, look: Look) -> None:
    """Paint the ears, if the hair does not cover them."""
    if not look.shows_ears:
        return
    for side in (-1.0, 1.0):
        # The ear on the side that the face turns to disappears behind the cheek.
        u = side * (look.half_width + 0.012 - 0.03 * max(0.0, side * look.pose.yaw)) - 0.012 * look.pose.yaw
        patch = canvas.head(u - 0.05, -0.07, u + 0.05, 0.11)
        x, y = patch.u - u + side * 0.12 * (patch.v - 0.02), patch.v - 0.02
        light = 0.5 + 0.4 * side * look.pose.light
        patch.fill(ellipse(x, y, 0.034, 0.062), mix(look.shadow, look.glow, light), EARS)
        patch.fill(ellipse(x - side * 0.004, y + 0.004, 0.018, 0.038), look.shadow, opacity=0.8, blur=0.008)


def paint_head(canvas: Canvas, look: Look) -> None:
    """Paint the head's skin with its shading and the blush of the cheeks."""
    patch = canvas.head(-0.27, -0.32, 0.27, 0.32)
    u, v = patch.u, patch.v
    distance = outline(u, v, look)
    # Roughly the shading of a sphere: brightest at the top towards the light, darkest at the far cheek and the jaw.
    light = 0.62 + look.pose.light * 2.0 * u - 0.55 * v - 14.0 * (u * u * u * u + v * v * v * v) / 0.25
    patch.fill(distance, lit(look, light), SKIN)
    blush = mix(look.skin, rgb(0xE0554F), 0.45)
    for side in (-1.0, 1.0):
        cheek = canvas.head(side * 0.115 - 0.12, -0.03, side * 0.115 + 0.12, 0.2)
        x = cheek.u - side * 0.115 - 0.03 * look.pose.yaw
        cheek.fill(disc(x, cheek.v - 0.085, 0.04), blush, opacity=0.3, blur=0.07)


def eye_place(look: Look, side: float) -> tuple[float, float]:
    """Return the horizontal centre and half width of an eye; the far one is foreshortened."""
    turned = max(0.0, side * look.pose.yaw)
    return side * look.eye_gap * (1.0 - 0.1 * turned) + 0.03 * look.pose.yaw, look.eye_width * (1.0 - 0.12 * turned)


def paint_eyes(canvas: Canvas, look: Look) -> None:
    """Paint both eyes."""
    for side in (-1.0, 1.0):
        u, width = eye_place(look, side)
        patch = canvas.head(u - 0.085, EYE_V - 0.075, u + 0.085, EYE_V + 0.06)
        _paint_eye(patch, patch.u - u, patch.v - EYE_V, side, width, look)


def _paint_eye(patch: Patch, x: np.ndarray, y: np.ndarray, side: float, width: float, look: Look) -> None:
    gaze_x, gaze_y = x - 0.013 * look.gaze[0], y + 0.004 - 0.006 * look.gaze[1]
    y = y + side * 0.06 * x  # only the lids slant: both irises look the same
    upper_height, lower_height = 0.034 * look.eye_open, 0.022 * (0.5 + 0.5 * look.eye_open)
    bow = 1.0 - (x / width) * (x / width)
    slope = 2.0 * upper_height * x / (width * width)
    steep = np.sqrt(1.0 + slope * slope)
    upper, lower = (-y - upper_height * bow) / steep, (y - lower_height * bow) / steep
    almond = np.maximum(upper, lower)
    patch.fill(ellipse(x, y + 0.008, 1.25 * width, 0.042), look.shadow, opacity=0.45, blur=0.03)
    patch.fill(almond, rgb(0xF7F4F0), EYES)

    iris = np.maximum(disc(gaze_x, gaze_y, 0.0265), almond)
    colour = EYE_COLOURS[look.eye_name]
    patch.fill(iris, mix(colour, BLACK, 0.45), EYES)
    patch.fill(iris + 0.004, shaded(colour, 0.12 + 10.0 * gaze_y), EYES)
    patch.fill(np.maximum(disc(gaze_x, gaze_y, 0.0125), almond), BLACK)
    patch.fill(np.maximum(almond, -upper - 0.012), rgb(0x53444A), opacity=0.35, blur=0.008)
    patch.fill(disc(gaze_x - 0.009 * look.pose.light, gaze_y + 0.009, 0.0075), WHITE)

    line = mix(mix(look.hair_colour, look.skin, 0.1), BLACK, 0.65)
    lash = 0.0062 if look.kind == "woman" else 0.0042
    # The thickness is negative beyond the corners, so the line ends there.
    patch.line(upper, lash * np.minimum(0.35 + 1.2 * bow, 1.0), line, label=EYES)
    if look.kind == "woman":
        wing = (side * width * 0.93, -0.002, side * (width + 0.014), -0.016)
        patch.fill(segment(x, y, wing, 0.0038), line, EYES)
    crease = (-y - 0.013 - upper_height * bow) / steep
    patch.line(crease, 0.003 * np.minimum(2.5 * bow, 1.0), look.shadow, opacity=0.8, blur=0.002)


def paint_brows(canvas: Canvas, look: Look) -> None:
    """Paint both brows."""
    colour = mix(look.hair_colour, BLACK, 0.3 if look.hair_name != "black" else 0.1)
    for side in (-1.0, 1.0):
        u, width = eye_place(look, side)
        half = 1.3 * width
        patch = canvas.head(u - 0.1, -0.14, u + 0.1, -0.02)
        x = side * (patch.u - u) / half  # -1 at the nose, 1 at the temple
        arc = patch.v + 0.082 - look.brow_tilt * 0.1 * x + look.brow_arch * (1.0 - x * x) - 0.006
        thickness = look.brow_thick * unit(0.95 - 0.55 * np.maximum(x, 0.0))
        distance = np.maximum(np.abs(arc) - thickness, (np.abs(x) - 1.0) * half)
        patch.fill(distance, colour, BROWS, blur=0.003)


def paint_nose(canvas: Canvas, look: Look) -> None:
    """Paint the nose with its shadows and highlight."""
    patch = canvas.head(-0.12, -0.06, 0.12, 0.15)
    light, yaw = look.pose.light, look.pose.yaw
    tip, width = look.nose_length - 0.005, look.nose_width
    along = unit((patch.v + 0.03) / (tip + 0.03))
    x = patch.u - yaw * (0.03 + 0.022 * along)
    y = patch.v - tip
    bridge = np.maximum(np.abs(x) - 0.013 - (0.6 * width - 0.013) * along * along, np.maximum(y, -0.03 - patch.v))
    wings = ellipse(x, y - 0.004, width, 0.021)
    nose = np.minimum(bridge, np.minimum(wings, disc(x, y, 0.027)))
    # The shaded side and the cast shadow below, both away from the light.
    patch.fill(ellipse(x + 0.012 * light, y - 0.022, 1.05 * width, 0.016), look.shadow, opacity=0.6, blur=0.022)
    patch.fill(nose, lit(look, 0.62 + light * 14.0 * x - 3.0 * np.maximum(y, 0.0)), NOSE, blur=0.006)
    patch.fill(np.maximum(nose, 0.002 + light * x), look.shadow, opacity=0.5, blur=0.014)
    tinge = mix(look.skin, rgb(0xD9544D), 0.4)
    patch.fill(ellipse(x, y - 0.002, 0.8 * width, 0.02), tinge, opacity=0.35, blur=0.02)
    dark = mix(look.shadow, BLACK, 0.5)
    for side in (-1.0, 1.0):
        patch.fill(ellipse(x - side * 0.45 * width, y - 0.016, 0.0095, 0.0055), dark, opacity=0.8, blur=0.003)
    patch.fill(disc(x - 0.006 * light, y + 0.006, 0.008), mix(look.glow, WHITE, 0.6), opacity=0.6, blur=0.012)


def paint_mouth(canvas: Canvas, look: Look) -> None:
    """Paint the mouth: lips, and teeth and tongue if it is open."""
    patch = canvas.head(-0.14, 0.08, 0.14, 0.23)
    width = look.mouth_width * (1.0 - 0.06 * abs(look.pose.yaw)) * (0.8 if look.mouth == "open" else 1.0)
    x = (patch.u - 0.036 * look.pose.yaw) / width
    bow = 1.0 - x * x
    curl = {"smiling": 0.021, "closed": 0.004, "open": 0.008}[look.mouth]
    y = patch.v - 0.152 - curl * (bow - 0.5)
    gap = {"smiling": 0.0, "closed": 0.0, "open": 0.024}[look.mouth]
    ends = (np.abs(x) - 1.0) * width
    lip = mix(mix(look.skin, rgb(0xB8323F), 0.6 if look.kind == "woman" else 0.38), BLACK, 0.05)

    # Cupid's bow dips in the middle; both lips vanish at the corners.
    dip = 1.0 - 0.35 * np.maximum(1.0 - 9.0 * x * x, 0.0)
    upper = -y - (0.4 * gap + look.lip * dip) * bow
    lower = y - (gap + 1.25 * look.lip) * bow
    shape = np.maximum(np.maximum(upper, lower), ends)
    patch.fill(ellipse(x * width, y - gap - 0.034, 0.04, 0.008), look.shadow, opacity=0.5, blur=0.018)
    patch.fill(shape - 0.001, shaded(lip, -0.12 + 6.0 * y), MOUTH)
    shine = ellipse(x * width - 0.012 * look.pose.light, y - gap - 0.6 * look.lip, 0.018, 0.003)
    patch.fill(shine, mix(lip, WHITE, 0.6), opacity=0.6, blur=0.008)
    if gap:
        inside = np.maximum(np.maximum(-y - 0.4 * gap * bow, y - gap * bow), ends)
        patch.fill(inside, rgb(0x5A1A22), MOUTH)
        patch.fill(np.maximum(inside, y - 0.3 * gap), rgb(0xFBF8F3))
        patch.fill(np.maximum(inside, ellipse(x * width, y - gap * 1.1, 0.032, 0.014)), rgb(0xCC5F66))
    else:
        patch.line(y, 0.0034 * np.minimum(2.0 * bow + 0.3, 1.0), mix(lip, BLACK, 0.6))
