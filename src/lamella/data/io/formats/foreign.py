"""Formats that are known but not read: what they are, and how to make something of them that is. Kinds by content."""

import shlex
from pathlib import Path

from lamella.errors import DataError

_FIJI = (
    "Open it in Fiji (Bio-Formats comes with it), then File > Save As > Tiff; or type `bfconvert {file} {base}.tif`."
)
_PAINT = "Save it as PNG or TIFF with the program that made it, or with ImageMagick: `magick {file} {base}.png`."
_VECTOR = "It has no pixels of its own: export the picture itself as PNG or TIFF."

_MICROSCOPES = {
    ".czi": "a file of ZEISS ZEN",
    ".lif": "a project of Leica LAS X, which may hold many images",
    ".lof": "a file of Leica LAS X",
    ".xlef": "a project of Leica LAS X",
    ".nd2": "a file of Nikon NIS-Elements",
    ".oib": "a file of Olympus FluoView",
    ".oif": "a file of Olympus FluoView",
    ".oir": "a file of Olympus FluoView",
    ".vsi": "a slide of Olympus (Evident), which needs the folder that belongs to it",
    ".ims": "a file of Imaris",
    ".zvi": "a file of ZEISS AxioVision",
    ".mrxs": "a slide of 3DHISTECH, which needs the folder that belongs to it",
    ".ndpis": "a list of slides of Hamamatsu",
    ".dv": "a file of DeltaVision",
    ".r3d": "a file of DeltaVision",
    ".dm3": "a file of Gatan DigitalMicrograph",
    ".dm4": "a file of Gatan DigitalMicrograph",
    ".ser": "a file of FEI TIA",
    ".emd": "a file of Velox",
    ".emi": "a file of FEI TIA",
    ".sxm": "a file of a scanning probe",
    ".mha": "a MetaImage",
    ".mhd": "the head of a MetaImage",
    ".nrrd": "an NRRD volume",
    ".ics": "an Image Cytometry Standard file",
    ".ids": "the pixels of an Image Cytometry Standard file",
    ".am": "an Amira mesh",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".isyntax": "a slide of Philips",
    ".sld": "a file of SlideBook",
    ".lei": "a list of Leica's",
    ".flex": "a file of Opera",
    ".mvd2": "a library of Volocity",
}
_OTHERS = {
    ".gif": ("a GIF", _PAINT),
    ".webp": ("a WebP picture", _PAINT),
    ".heic": ("a HEIC picture of a phone", _PAINT),
    ".heif": ("a HEIF picture", _PAINT),
    ".avif": ("an AVIF picture", _PAINT),
    ".ico": ("an icon", _PAINT),
    ".jp2": ("a JPEG 2000 picture", _PAINT),
    ".j2k": ("a JPEG 2000 picture", _PAINT),
    ".jpx": ("a JPEG 2000 picture", _PAINT),
    ".jxl": ("a JPEG XL picture", _PAINT),
    ".jxr": ("a JPEG XR picture", _PAINT),
    ".ppm": ("a Netpbm picture", _PAINT),
    ".pgm": ("a Netpbm picture", _PAINT),
    ".pbm": ("a Netpbm picture", _PAINT),
    ".tga": ("a TGA picture", _PAINT),
    ".exr": ("an OpenEXR picture", _PAINT),
    ".psd": ("a Photoshop document", _PAINT),
    ".xcf": ("a GIMP document", "In GIMP: File > Export As, a name that ends in .png or .tif."),
    ".kra": ("a Krita document", _PAINT),
    ".dng": ("a raw photograph", _PAINT),
    ".cr2": ("a raw photograph", _PAINT),
    ".nef": ("a raw photograph", _PAINT),
    ".pdf": ("a PDF", _VECTOR),
    ".svg": ("a vector drawing (SVG)", _VECTOR),
    ".eps": ("a PostScript drawing", _VECTOR),
    ".ai": ("an Illustrator document", _VECTOR),
    ".avi": ("a film", _FIJI),
    ".mp4": ("a film", _FIJI),
    ".mov": ("a film", _FIJI),
    ".raw": (
        "pixels without a head",
        "In Fiji: File > Import > Raw, with their size and type; then File > Save As > Tiff.",
    ),
    ".mat": (
        "a MATLAB file",
        "In MATLAB: `imwrite(uint8(array), 'name.png')`, or `h5create` and `h5write` for a volume.",
    ),
    ".img": ("an Analyze volume", "Save it as NIfTI: `nibabel.save(nibabel.load('{name}'), '{stem}.nii')`."),
    ".hdr": (
        "the head of an Analyze volume",
        "Save it as NIfTI: `nibabel.save(nibabel.load('{name}'), '{stem}.nii')`.",
    ),
    ".ilp": ("a project of ilastik", "In ilastik: Prediction Export, format `multipage tiff` or `hdf5`."),
    ".qpdata": ("a file of a QuPath project", "In QuPath: File > Export objects as GeoJSON."),
    ".zip": ("an archive", "Unpack it. A .zip of outlines is read where it holds ImageJ's .roi files."),
    ".html": ("a web page", "A download that failed leaves one in place of the file: fetch it again."),
    ".lfs": ("a note of Git LFS on where the file is", "Fetch the file itself: `git lfs pull`."),
    ".rar": ("an archive", "Unpack it."),
    ".7z": ("an archive", "Unpack it."),
}
FOREIGN = {**{suffix: (what, _FIJI) for suffix, what in _MICROSCOPES.items()}, **_OTHERS}

# What the first bytes of a file say: where they stand, what they are, and the suffix of such files.
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", ".png"),
    (0, b"\xff\xd8\xff", "a JPEG picture", ".jpg"),
    (0, b"II*\0", "a TIFF", ".tif"),
    (0, b"MM\0*", "a TIFF", ".tif"),
    (0, b"II+\0", "a BigTIFF", ".tif"),
    (0, b"MM\0+", "a BigTIFF", ".tif"),
    (0, b"\x93NUMPY", "an array of NumPy", ".npy"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", ".h5"),
    (344, b"n+1\0", "NIfTI", ".nii"),
    (4, b"n+2\0", "NIfTI", ".nii"),
    (208, b"MAP ", "MRC", ".mrc"),
    (0, b"GIF8", "a GIF", ".gif"),
    (8, b"WEBP", "a WebP picture", ".webp"),
    (0, b"%PDF", "a PDF", ".pdf"),
    (4, b"ftyphei", "a HEIC picture of a phone", ".heic"),
    (4, b"ftypmif", "a HEIF picture", ".heif"),
    (4, b"ftypavif", "an AVIF picture", ".avif"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", ".jp2"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", ".j2k"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", ".jxl"),
    (0, b"\xff\x0a", "a JPEG XL picture", ".jxl"),
    (0, b"\0\0\1\0", "an icon", ".ico"),
    (0, b"8BPS", "a Photoshop document", ".psd"),
    (0, b"gimp xcf", "a GIMP document", ".xcf"),
    (0, b"ZISRAWFILE", "a file of ZEISS ZEN", ".czi"),
    (0, b"\xda\xce\xbe\x0a", "a file of Nikon NIS-Elements", ".nd2"),
    (128, b"DICM", "DICOM", ".dcm"),
    (0, b"PK\3\4", "a zip archive", ".zip"),
    (0, b"\xd0\xcf\x11\xe0", "a file of a microscope's program (OLE)", ".oib"),
    (0, b"BM", "a BMP picture", ".bmp"),  # last: two letters are little
)
_WORDS = ((b"<svg", ".svg"), (b"<!doctype html", ".html"), (b"<html", ".html"), (b"git-lfs.github.com", ".lfs"))
_ALIKE = (
    (".jpg", ".jpeg"),
    (".tif", ".tiff", ".btf", ".lsm", ".svs", ".ndpi", ".scn", ".stk"),
    (".h5", ".hdf5", ".hdf"),
)
_ZIPPED = (".zip", ".npz")


def foreign(path: Path) -> DataError | None:
    """The error over a file whose suffix is that of a known format which is not read, to be raised; else None."""
    what, way_out = FOREIGN.get(path.suffix.lower(), ("", ""))
    if not what:
        return None
    return DataError(f"{path} is {what}, which is not read here", _worded(way_out, path))


def misnamed(path: Path, read: tuple[str, ...]) -> DataError | None:
    """The error over a file whose content is of another known kind than its suffix says, to be raised; else None.

    Args:
        path: a file that could not be read as what it is named.
        read: the suffixes of all formats that are read.
    """
    head = _head(path)
    kinds = [(what, suffix) for start, magic, what, suffix in _MAGIC if head[start : start + len(magic)] == magic]
    kinds += [(FOREIGN[suffix][0], suffix) for words, suffix in _WORDS if words in head.lower()]
    if not kinds:
        return None
    what, suffix = kinds[0]
    own = path.suffix.lower()
    same = next((group for group in _ALIKE if suffix in group), _ZIPPED if suffix == ".zip" else (suffix,))
    if own in same or path.name.lower().endswith(suffix + ".gz"):
        return None
    if suffix in read:
        way_out = f"Give it the name {path.stem}{suffix}, and its pair the same stem."
    else:
        way_out = _worded(FOREIGN[suffix][1], path)
    return DataError(f"{path} is {what} by its content, whatever its name says", way_out)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(400)
    except OSError:
        return b""


def _worded(way_out: str, path: Path) -> str:
    """With the file's name and, quoted for a shell, its path with and without a suffix."""
    file, base = (shlex.quote(str(each)) for each in (path, path.with_suffix("")))
    return way_out.format(name=path.name, stem=path.stem, file=file, base=base)
