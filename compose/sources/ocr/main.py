"""Sample source: read the text in a picture with RapidOCR. The models are in the wheel, nothing is downloaded."""

import base64
import binascii
import io
import threading

import onnxruntime
from ogpu.service import expose, init, logger, start
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, Field
from rapidocr_onnxruntime import RapidOCR

MAX_IMAGE_BYTES = 16 << 20
MAX_PIXELS = 40_000_000
GPU_PROVIDERS = ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "ROCMExecutionProvider")


class OcrInput(BaseModel):
    image: str = Field(
        min_length=1,
        max_length=MAX_IMAGE_BYTES * 4 // 3 + 4,
        description="A PNG or JPEG file, base64; a data: URL is accepted too.",
    )


class Line(BaseModel):
    text: str
    confidence: float = Field(ge=0, le=1)
    box: list[tuple[float, float]] = Field(
        description="Corners in pixels, clockwise from top left.", min_length=4, max_length=4
    )


class OcrOutput(BaseModel):
    lines: list[Line] = Field(description="From top to bottom.")
    device: str = Field(description="ONNX Runtime execution provider that did the work.")


class Reader:
    """The loaded models. RapidOCR keeps per-call state in its parts, so one picture at a time."""

    def __init__(self) -> None:
        # The CUDA libraries come as wheels; elsewhere this finds nothing and says so in the log only.
        if hasattr(onnxruntime, "preload_dlls") and "CUDAExecutionProvider" in _available():
            onnxruntime.preload_dlls(directory="")
        self._lock = threading.Lock()
        self._engine = RapidOCR()
        sessions = [part.session for part in (self._engine.text_det.infer, self._engine.text_cls.infer)] + [
            self._engine.text_rec.session.session
        ]
        wanted = [name for name in GPU_PROVIDERS if name in _available()]
        for session in sessions if wanted else []:
            session.set_providers([*wanted, "CPUExecutionProvider"])
        self.device: str = sessions[0].get_providers()[0]

    def read(self, image: Image.Image) -> list[Line]:
        with self._lock:
            found, _ = self._engine(image)
        return [
            Line(text=text, confidence=round(float(score), 4), box=[(float(x), float(y)) for x, y in box])
            for box, text, score in found or []
        ]


def _available() -> list[str]:
    return list(onnxruntime.get_available_providers())


_reader: list[Reader] = []


@init()
def load() -> None:
    _reader.append(Reader())
    logger.info(f"Models loaded on {_reader[0].device}")


def decode(text: str) -> Image.Image:
    """Raises ValueError for anything but a PNG or JPEG of bearable size."""
    try:
        raw = base64.b64decode(text.split(",", 1)[1] if text.startswith("data:") else text, validate=True)
        image = Image.open(io.BytesIO(raw), formats=("PNG", "JPEG"))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"picture is larger than {MAX_PIXELS} pixels")
        return image.convert("RGB")
    except (binascii.Error, IndexError, UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError("image is not a base64 PNG or JPEG") from error


@expose()
def ocr(data: OcrInput) -> OcrOutput:
    reader = _reader[0]
    return OcrOutput(lines=reader.read(decode(data.image)), device=reader.device)


if __name__ == "__main__":
    start()
