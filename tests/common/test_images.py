"""Test reading images, masks and label maps: formats, ranges of values, and files that are refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sair.common import images
from sair.common.errors import InputError
from sair.common.images import read_labels, read_mask, read_rgb

SHAPE = (20, 32)
HOLE = np.zeros(SHAPE, bool)
HOLE[5:9, 3:20] = True


def values(*shape, most=65535, seed=0):
    return np.random.default_rng(seed).integers(0, most + 1, shape).astype(np.uint16 if most > 255 else np.uint8)


def eight_bits(pixels, top=65535):
    rounded = np.floor(pixels.astype(float) * 255 / top + 0.5).astype(np.uint8)
    return rounded if rounded.ndim == 3 else np.repeat(rounded[..., None], 3, axis=2)


def png(path, pixels, colour, depth=16, *chunks):
    """Write a PNG by the specification, because Pillow writes neither 16-bit colours nor greys of four bits."""
    if depth == 4:
        rows = [(row[0::2] << 4 | row[1::2]).astype(np.uint8).tobytes() for row in pixels]
    else:
        rows = [row.astype(f">u{depth // 8}").tobytes() for row in pixels]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    coded = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(coded))
    return path


def tiff(path, pixels, photometric=None, order="<", extra=None):
    """Write an uncompressed TIFF of any numeric type, with any kind of further channel."""
    bits, channels = 8 * pixels.dtype.itemsize, 1 if pixels.ndim == 2 else pixels.shape[2]
    photometric = (1 if channels < 3 else 2) if photometric is None else photometric
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    kinds = {"u": 1, "i": 2, "f": 3}
    entries = {256: pixels.shape[1], 257: pixels.shape[0], 259: 1, 262: photometric, 277: channels}
    entries |= {278: pixels.shape[0], 279: len(data)}
    lists = {258: [bits] * channels, 339: [kinds[pixels.dtype.kind]] * channels}
    if extra is not None:
        lists[338] = [extra]
    count = len(entries) + len(lists) + 1
    offset, tail, written = 8 + 2 + 12 * count + 4, b"", {}
    for tag, numbers in lists.items():
        packed = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(packed) <= 4:
            written[tag] = struct.pack(f"{order}HHI", tag, 3, len(numbers)) + packed.ljust(4, b"\0")
        else:
            written[tag] = struct.pack(f"{order}HHII", tag, 3, len(numbers), offset + len(tail))
            tail += packed + b"\0" * (len(packed) % 2)
    entries[273] = offset + len(tail)
    written |= {tag: struct.pack(f"{order}HHII", tag, 4, 1, number) for tag, number in entries.items()}
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, count) + b"".join(written[tag] for tag in sorted(written))
    path.write_bytes(head + struct.pack(f"{order}I", 0) + tail + data)
    return path


def fault(read, *arguments):
    with pytest.raises(InputError) as caught:
        read(*arguments)
    assert str(arguments[0]) in str(caught.value)
    return str(caught.value)


# Depth


def test_deep_pngs_are_scaled_by_their_range_and_rounded(tmp_path):
    grey, colours, opaque = values(*SHAPE), values(*SHAPE, 3), np.full((*SHAPE, 1), 65535, np.uint16)
    for colour, pixels in ((0, grey), (2, colours), (4, np.dstack([grey, opaque])), (6, np.dstack([colours, opaque]))):
        path = png(tmp_path / f"{colour}.png", pixels, colour)
        assert (read_rgb(path) == eight_bits(colours if colour & 2 else grey)).all(), colour


def test_deep_images_with_only_small_values_cause_one_warning(tmp_path, capsys):
    for number, most in enumerate((4095, 255, 4096, 0)):
        png(tmp_path / f"{number}.png", np.full(SHAPE, most, np.uint16), 0)
    for number in (3, 2):
        read_rgb(tmp_path / f"{number}.png")
    assert capsys.readouterr().err == ""
    for number in (0, 1):
        read_rgb(tmp_path / f"{number}.png")
    assert capsys.readouterr().err.count("If their white is 255 or 4095, scale them first") == 1


@pytest.mark.parametrize("order", "<>")
def test_deep_tiffs_are_scaled_by_their_range_and_rounded(tmp_path, order):
    grey, colours = values(*SHAPE), values(*SHAPE, 3)
    opaque = np.dstack([colours, np.full(SHAPE, 65535, np.uint16)])
    assert (read_rgb(tiff(tmp_path / "grey.tif", grey, order=order)) == eight_bits(grey)).all()
    assert (read_rgb(tiff(tmp_path / "rgb.tif", colours, order=order)) == eight_bits(colours)).all()
    for extra in (0, 1, 2):  # unnamed, premultiplied and plain alpha
        assert (read_rgb(tiff(tmp_path / "rgba.tif", opaque, order=order, extra=extra)) == eight_bits(colours)).all()


def test_compressed_deep_colours_are_read_like_plain_ones(tmp_path):
    from tifffile import imwrite

    colours = values(*SHAPE, 3)
    for order in "<>":
        imwrite(tmp_path / "a.tif", colours, photometric="rgb", compression="zlib", byteorder=order)
        assert (read_rgb(tmp_path / "a.tif") == eight_bits(colours)).all()


def test_deep_pgms_are_scaled_by_their_range(tmp_path):
    grey, colours = values(*SHAPE), values(*SHAPE, 3)
    (tmp_path / "a.pgm").write_bytes(b"P5 32 20 65535\n" + grey.astype(">u2").tobytes())
    (tmp_path / "a.ppm").write_bytes(b"P6 32 20 65535\n" + colours.astype(">u2").tobytes())
    assert (read_rgb(tmp_path / "a.pgm") == eight_bits(grey)).all()
    assert (read_rgb(tmp_path / "a.ppm") == eight_bits(colours)).all()


def test_a_tiff_whose_zero_is_white_is_inverted_at_every_depth(tmp_path):
    deep, shallow = values(*SHAPE), values(*SHAPE, most=255)
    assert (read_rgb(tiff(tmp_path / "deep.tif", deep, photometric=0)) == eight_bits(65535 - deep)).all()
    assert (read_rgb(tiff(tmp_path / "shallow.tif", shallow, photometric=0)) == eight_bits(255 - shallow, 255)).all()
    mask = tiff(tmp_path / "mask.tif", HOLE.astype(np.uint16) * 65535, photometric=0)
    assert (read_mask(mask) == ~HOLE).all()
    assert "0 is white" in fault(read_labels, tmp_path / "shallow.tif")


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint32, np.int16])
def test_values_of_unknown_range_are_refused(tmp_path, kind):
    message = fault(read_rgb, tiff(tmp_path / "a.tif", values(*SHAPE, most=255).astype(kind)))
    assert "scale the values to 0..255" in message and ("floats" if kind is np.float32 else "integers") in message


def test_deep_colours_stored_by_plane_are_refused(tmp_path):
    from tifffile import imwrite

    planes, path = values(3, *SHAPE), tmp_path / "a.tif"
    imwrite(path, planes, photometric="rgb", planarconfig="separate")
    assert "plane by plane" in fault(read_rgb, path)
    shallow = (planes >> 8).astype(np.uint8)
    imwrite(path, shallow, photometric="rgb", planarconfig="separate")
    assert (read_rgb(path) == np.moveaxis(shallow, 0, 2)).all()


def test_few_bits_are_scaled_for_images_and_kept_for_labels(tmp_path):
    ids = values(*SHAPE, most=15)
    grey = png(tmp_path / "grey.png", ids, 0, 4)
    palette = png(tmp_path / "palette.png", ids, 3, 4, (b"PLTE", values(48, most=255).tobytes()))
    assert (read_rgb(grey)[..., 0] == ids * 17).all()
    assert (read_labels(grey) == ids).all() and (read_labels(palette) == ids).all()


def test_labels_keep_their_ids_at_every_depth(tmp_path):
    ids = values(*SHAPE)
    assert (read_labels(png(tmp_path / "a.png", ids, 0)) == ids).all()
    assert (read_labels(tiff(tmp_path / "a.tif", ids.astype(np.int32) + 70000)) == ids.astype(int) + 70000).all()
    Image.fromarray(HOLE).save(tmp_path / "one.png")
    assert (read_labels(tmp_path / "one.png") == HOLE).all()
    for pixels in (values(*SHAPE, 3, most=255), values(*SHAPE, 4, most=255), values(*SHAPE, 2, most=255)):
        Image.fromarray(pixels).save(tmp_path / "b.png")
        assert "one channel" in fault(read_labels, tmp_path / "b.png")
    assert "floats" in fault(read_labels, tiff(tmp_path / "c.tif", ids.astype(np.float32)))


# Masks


@pytest.mark.parametrize("value", [1, 255, 65535])
def test_deep_masks_of_two_values_are_read(tmp_path, value):
    mask = HOLE.astype(np.uint16) * value
    for path in (
        png(tmp_path / "grey.png", mask, 0),
        png(tmp_path / "rgb.png", np.dstack([mask] * 3), 2),
        tiff(tmp_path / "grey.tif", mask),
        tiff(tmp_path / "int.tif", mask.astype(np.int32)),
        tiff(tmp_path / "float.tif", mask.astype(np.float32)),
    ):
        assert (read_mask(path) == HOLE).all(), path.name
        assert (read_mask(path, "black") == ~HOLE).all(), path.name


@pytest.mark.parametrize("value", [2, 254, 256, 30000, 65280])
def test_deep_masks_with_values_between_are_refused(tmp_path, value):
    mask = HOLE.astype(np.uint16) * value
    soft = HOLE.astype(np.uint16) * 65535
    soft[0] = value
    for pixels in (mask, soft):
        for path in (png(tmp_path / "grey.png", pixels, 0), png(tmp_path / "rgb.png", np.dstack([pixels] * 3), 2)):
            assert f"for example {value}" in fault(read_mask, path)
    assert "for example 0.6" in fault(read_mask, tiff(tmp_path / "float.tif", HOLE.astype(np.float32) * 0.6))
    assert "for example nan" in fault(read_mask, tiff(tmp_path / "a.tif", np.where(HOLE, np.nan, 0).astype(np.float32)))


GREY = np.where(HOLE, 255, 0).astype(np.uint8)
WHITE = np.full(SHAPE, 255, np.uint8)


def saved(*channels, palette=None, mode=None, **options):
    def save(path):
        image = Image.fromarray(np.dstack(channels) if len(channels) > 1 else channels[0])
        if palette:
            image = image.convert("P")
            image.putpalette(palette)
        (image.convert(mode) if mode else image).save(path, **options)

    return save


# A hole in the alpha channel, HOLE = opaque, in the ways in which programs leave it.
ALPHA = {
    "white.png": saved(WHITE, WHITE, WHITE, GREY),
    "white.tif": saved(WHITE, WHITE, WHITE, GREY),
    "white.webp": saved(WHITE, WHITE, WHITE, GREY, lossless=True, exact=True),
    "black.png": saved(WHITE * 0, WHITE * 0, WHITE * 0, GREY),
    "painted_on_an_empty_layer.png": saved(GREY, GREY, GREY, GREY),
    "grey.png": saved(WHITE, GREY),
    "palette.png": saved(HOLE.astype(np.uint8), palette=[255] * 6, transparency=0),
    "palette.gif": saved(HOLE.astype(np.uint8), palette=[0, 0, 0, 255, 255, 255], transparency=0),
    "key.png": saved(GREY, transparency=0),
    "bilevel_key.png": saved(HOLE, transparency=0),
    "colour_key.png": saved(GREY, mode="RGB", transparency=(0, 0, 0)),
    "deep_key.png": lambda path: png(path, GREY.astype(np.uint16) * 257, 0, 16, (b"tRNS", struct.pack(">H", 0))),
    "deep_grey.png": lambda path: png(path, np.dstack([WHITE, GREY]).astype(np.uint16) * 257, 4),
}


@pytest.mark.parametrize("name", ALPHA)
def test_a_hole_in_the_alpha_channel_is_declared_or_refused(tmp_path, name):
    path = tmp_path / name
    ALPHA[name](path)
    for hole in ("white", "black"):
        message = fault(read_mask, path, hole)
        assert "--hole transparent" in message and "--hole opaque" in message
    assert (read_mask(path, "opaque") == HOLE).all() and (read_mask(path, "transparent") == ~HOLE).all()


def test_an_alpha_channel_that_is_not_a_mask_is_refused(tmp_path):
    grey, opaque, path = GREY, WHITE, tmp_path / "a.png"
    Image.fromarray(np.dstack([grey, grey, grey, opaque])).save(path)
    assert (read_mask(path) == HOLE).all(), "opaque everywhere: the colours are the mask"
    for hole in ("transparent", "opaque"):  # never all hole, never none
        assert "equally transparent" in fault(read_mask, path, hole)
    Image.fromarray(grey).save(path)
    assert "equally transparent" in fault(read_mask, path, "transparent")
    Image.fromarray(np.dstack([grey, grey, grey, opaque * 0])).save(path)
    assert "transparent pixels" in fault(read_mask, path) and "equally transparent" in fault(read_mask, path, "opaque")
    half = np.where(HOLE, 255, 128).astype(np.uint8)
    Image.fromarray(np.dstack([opaque, opaque, opaque, half])).save(path)
    assert "half transparent (alpha 128 of 255)" in fault(read_mask, path, "opaque")
    other = np.roll(grey, 2)
    Image.fromarray(np.dstack([other, other, other, grey])).save(path)
    assert "may be another mask" in fault(read_mask, path, "opaque")


def test_an_undeclared_channel_is_not_dropped_silently(tmp_path):
    for pixels in (np.dstack([WHITE, WHITE, WHITE, GREY]), np.dstack([WHITE, GREY])):
        message = fault(read_mask, tiff(tmp_path / "a.tif", pixels, extra=0))
        assert "does not declare" in message or (
            pixels.shape[2] == 2 and "not a readable image" in message
        )  # Pillow 11


def test_a_transparent_colour_is_compared_at_full_depth(tmp_path):
    colours = values(*SHAPE, 3) & 0xFFFE
    absent = colours[0, 0].astype(int) + 1  # of the same high byte
    path = png(tmp_path / "a.png", colours, 2, 16, (b"tRNS", struct.pack(">HHH", *absent)))
    assert (read_rgb(path) == eight_bits(colours)).all()
    path = png(tmp_path / "a.png", colours, 2, 16, (b"tRNS", struct.pack(">HHH", *map(int, colours[0, 0]))))
    assert "transparent" in fault(read_rgb, path)
    ids = values(*SHAPE, most=14)
    assert "transparent" in fault(read_rgb, png(tmp_path / "b.png", ids, 0, 4, (b"tRNS", struct.pack(">H", 3))))
    assert read_rgb(png(tmp_path / "b.png", ids, 0, 4, (b"tRNS", struct.pack(">H", 15)))).shape == (*SHAPE, 3)


def test_an_unknown_polarity_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"`hole: white`.*`hole: black`.*`hole: transparent`.*`hole: opaque`"):
        read_mask(tmp_path / "a.png", "grey")


# Files


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_large_images_are_read_and_larger_ones_are_named(tmp_path):
    Image.new("1", (14000, 14000)).save(tmp_path / "scan.png")  # more than Pillow reads by default
    assert read_rgb(tmp_path / "scan.png").shape == (14000, 14000, 3)
    for side in (16385, 24000):  # of the second, Pillow would refuse the size, of the first only warn
        start = png(tmp_path / "larger.png", np.zeros((1, 1), np.uint8), 0, 8).read_bytes()
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        (tmp_path / "larger.png").write_bytes(
            start[:12] + header + struct.pack(">I", zlib.crc32(header)) + start[16 + 17 :]
        )
        for read in (read_rgb, read_mask, read_labels):
            assert "more than 268 megapixels, the limit" in fault(read, tmp_path / "larger.png")


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp", "gif", "ppm"])
def test_a_broken_file_is_named(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(values(64, 64, 3, most=255)).save(path)
    whole = path.read_bytes()
    assert read_rgb(path).shape == (64, 64, 3)
    for data in (whole[: len(whole) // 2], whole[:20], b"", b"<html>quota exceeded</html>"):
        path.write_bytes(data)
        for read in (read_rgb, read_mask):
            assert "not a readable image" in fault(read, path) and "fetch or export" in fault(read, path)


def test_only_the_declared_formats_are_opened(tmp_path):
    Image.fromarray(values(8, 8, 3, most=255)).save(tmp_path / "a.eps")  # Pillow starts Ghostscript to read it
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    assert "not a readable image" in fault(read_rgb, tmp_path / "a.png")
    assert "EPS" not in images.FORMATS


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "1", "LA", "RGBA"])
def test_other_modes_keep_their_colours(tmp_path, mode):
    image = Image.fromarray(values(16, 16, 3, most=1) * 255).convert(mode)
    image.save(tmp_path / "a.tif")
    assert (read_rgb(tmp_path / "a.tif") == np.array(image.convert("RGB"))).all()


def test_a_rotation_flag_turns_deep_colours_too(tmp_path):
    colours = values(20, 10, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = png(tmp_path / "a.png", np.rot90(colours), 2, 16, (b"eXIf", exif.tobytes()[6:]))
    assert (read_rgb(path) == eight_bits(colours)).all()


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(HOLE).save(tmp_path / "a.png")
    assert read_rgb("~/a.png").shape == (*SHAPE, 3)
    assert (read_mask("~/a.png") == HOLE).all() and (read_labels("~/a.png") == HOLE).all()


def test_a_bmp_whose_fourth_byte_may_hold_the_mask_is_refused(tmp_path):
    white = np.full((*SHAPE, 3), 255, np.uint8)
    Image.fromarray(np.dstack([white, np.where(HOLE, 0, 255).astype(np.uint8)])).save(tmp_path / "a.bmp")
    for hole in ("white", "black"):
        assert "a channel beside its colours" in fault(read_mask, tmp_path / "a.bmp", hole)
    assert (read_rgb(tmp_path / "a.bmp") == 255).all()
    drawn = np.repeat(HOLE[..., None] * np.uint8(255), 3, axis=2)
    Image.fromarray(np.dstack([drawn, np.full(SHAPE, 255, np.uint8)])).save(tmp_path / "b.bmp")
    assert (read_mask(tmp_path / "b.bmp") == HOLE).all()


def test_label_maps_whose_ids_are_not_kept_are_refused(tmp_path):
    ids = Image.fromarray(values(*SHAPE, most=18))
    ids.save(tmp_path / "a.png", "JPEG", quality=100)
    ids.save(tmp_path / "b.png", "TIFF", compression="jpeg")
    for name in ("a.png", "b.png"):
        assert "compressed as JPEG" in fault(read_labels, tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"P5\n%d %d\n18\n" % ids.size + ids.tobytes())
    assert "inverted or scaled" in fault(read_labels, tmp_path / "c.png")
