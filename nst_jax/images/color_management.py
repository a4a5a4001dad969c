"""From any of Pillow's modes, with or without an ICC profile, to sRGB in [0, 1].

Every function takes an image that is loaded. Errors carry no path: `images.load_image` adds it.
"""

import io

import numpy as np
from PIL import Image, ImageCms

from nst_jax.errors import ImageError
from nst_jax.images.srgb_profile import SRGB_PROFILE

# One grey channel of more than 8 bits. Pillow has no deep colour: 16-bit RGB, RGBA and grey with
# alpha reach us as 8 bits.
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
GREY_MODES = frozenset({"1", "L", "LA", "La"})

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF 6.0, section 8
WHITE_IS_ZERO = 0  # PHOTOMETRIC's value for inverted grey


def simplify(image: Image.Image) -> Image.Image:
    """Give an 8-bit image a mode that resizes well: L, LA, RGB, RGBA, CMYK or LAB.

    Palettes and 1-bit images must not be resized as they are; transparency kept outside the
    pixels (PNG's tRNS, a GIF's transparent entry) becomes an alpha channel.
    """
    if image.mode in ("CMYK", "LAB"):
        return image
    mode = "L" if image.mode in GREY_MODES else "RGB"
    if image.has_transparency_data:
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def to_srgb(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """Convert what `simplify` gives to sRGB, and lay it on white where it is transparent.

    Args:
        image: of mode L, LA, RGB, RGBA, CMYK or LAB.
        profile: the file's ICC profile; a broken one, or one for another colour space, is ignored.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    if image.mode not in ("LA", "RGBA"):
        return _unit(_to_rgb(image, profile))
    alpha = _unit(image.getchannel("A"))[..., None]
    colors = _unit(_to_rgb(image.convert(image.mode[:-1]), profile))
    return colors * alpha + (1 - alpha)


def deep_grey(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """Read a grey image of more than 8 bits at its full depth.

    Floats count as sRGB values in [0, 1], 32-bit integers as 16-bit ones. With a profile the
    values follow its curve, known at 256 points and interpolated between them.

    Returns:
        (H, W, 1) float32 in [0, 1]; white where a PNG names the value transparent.

    Raises:
        ImageError: values are out of range or not finite.
    """
    grey = np.asarray(image).astype(np.float32)
    transparent = grey == image.info.get("transparency", -1)
    grey /= _white_level(image, grey)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts only 8 bits
        grey = 1 - grey
    if profile is not None:
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        curve = to_srgb(ramp, profile)[0, :, 1]
        grey = np.interp(grey, np.linspace(0, 1, 256), curve).astype(np.float32)
    grey[transparent] = 1
    return grey[..., None]


def _white_level(image: Image.Image, grey: np.ndarray) -> float:
    """The value that means white, all values being between 0 and it."""
    white = 1.0 if image.mode == "F" else 65535.0
    if image.mode.startswith("I;16"):  # a TIFF may hold 12 bits in 16
        white = 2.0 ** getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0] - 1
    low, high = grey.min(), grey.max()
    if not (low >= 0 and high <= white):  # not the other way round: NaN must fail
        raise ImageError(
            f"has grey values from {low:g} to {high:g} where 0 to {white:g} is wanted; "
            "rescale it, or save it with 8 or 16 bits"
        )
    return white


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image without alpha to RGB, by its profile if that can be used."""
    if profile is not None and profile != SRGB_PROFILE:  # ours; its pixels stay as they are
        try:
            return _apply_profile(image, profile)
        except (OSError, ImageCms.PyCMSError):
            pass  # a wrong profile is no reason to refuse a picture; viewers ignore it too
    return image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB: relative colorimetric with black point compensation.

    The perceptual intent is left to each profile's maker and may shift colours that sRGB holds;
    this keeps them, and maps white to white and black to black, as image editors do by default.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
        image = image.convert("RGB")
    elif image.mode == "L":
        flags |= ImageCms.Flags.NOOPTIMIZE  # lcms's 33-point table is 10/255 off in linear shadows
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=flags,
    )
    assert converted is not None  # None is for inPlace=True only
    return converted


def _unit(image: Image.Image) -> np.ndarray:
    """The 8-bit values as float32 in [0, 1]."""
    values = np.array(image, np.float32)
    values /= 255
    return values
