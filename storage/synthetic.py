"""Images that a model drew, and the marks by which they never come back as real ones (docs/decisions/0027).

Each PNG says so in its text chunks, once for us and once by the IPTC's vocabulary for whoever else looks; manifest.json
says it of a folder. Importers refuse both.
"""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

MARK = "labeler:synthetic"
MANIFEST = "manifest.json"
# ours is in the XMP as well: programs that write another format take the XMP along
XMP = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="{MARK}"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""
WHY = "a model drew it, it is no real image"


@dataclass(frozen=True)
class Origin:
    """What drew some images: a version of a project's model, the labels it had learned from, and how it was asked."""

    project: str
    version: int
    labels: int
    temperature: float
    rng_seed: int

    def told(self, **more: Any) -> dict[str, Any]:
        """As JSON values, with what else is known."""
        return {"application": "labeler", "synthetic": True, **asdict(self), **more}


def as_marked_png(image: np.ndarray, origin: Origin, **more: Any) -> bytes:
    """uint8 (H, W) or (H, W, 3) as PNG. `more`: what else its text is to tell, such as class=NAME."""
    text = PngInfo()
    text.add_itxt(MARK, json.dumps(origin.told(**more), ensure_ascii=False))
    text.add_itxt("XML:com.adobe.xmp", XMP)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def is_synthetic(data: bytes) -> bool:
    """Whether an image file bears our mark, whatever its format."""
    return MARK.encode() in data


def manifest(origin: Origin, **more: Any) -> str:
    return json.dumps(origin.told(**more), ensure_ascii=False, indent=2) + "\n"


def must_be_real(folder: Path) -> None:
    """ValueError where the folder's manifest says that a model drew what is in it."""
    try:
        said = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(said, dict) and said.get("synthetic") is True:
        raise ValueError(
            f"A model drew the images in {folder}, as its {MANIFEST} says. They are never imported as real ones: "
            "train on them elsewhere, or give a folder of real images."
        )
