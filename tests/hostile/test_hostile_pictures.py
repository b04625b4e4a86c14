"""Pictures of strangers: none is run as a program, and none takes much memory."""

import pytest
from refusals import refusal
from toys import in_child

from ffedge.data import read_image
from ffedge.errors import DataError


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    """Pillow would hand PostScript to Ghostscript."""
    pytest.importorskip("PIL", reason="needs Pillow")
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\nshowpage\n%%EOF\n"
    )
    text = refusal(DataError, read_image, tmp_path / "a.png", (6, 6))
    assert text == (
        f"{tmp_path}/a.png: is no picture that can be read (cannot identify image file '{tmp_path}/a.png'). "
        "Convert it to PNG."
    )


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    image.new("L", (4000, 4000)).save(tmp_path / "a.png")
    assert refusal(DataError, read_image, tmp_path / "a.png", (6, 6), resize=True) == (
        f"{tmp_path}/a.png: is 4000x4000 pixels (height x width), more than 12.6 million. Make it smaller first."
    )
    image.new("L", (4000, 4000)).save(tmp_path / "b.jpg", progressive=True)
    assert "b.jpg: is 4000x4000 pixels (height x width), more than 12.6 million." in refusal(
        DataError, read_image, tmp_path / "b.jpg", (6, 6), resize=True
    )
    image.new("CMYK", (3000, 3000)).save(tmp_path / "b.jpg", progressive=True)
    assert "b.jpg: is 3000x3000 pixels (height x width), more than 6.3 million." in refusal(
        DataError, read_image, tmp_path / "b.jpg", (6, 6), resize=True
    )
    image.new("RGB", (3000, 3000)).save(tmp_path / "w.png", "WEBP")
    assert "w.png: is 3000x3000 pixels (height x width), more than 6.3 million." in refusal(
        DataError, read_image, tmp_path / "w.png", (6, 6), resize=True
    )
    for slow in (b"P6 2000 2000 65535", b"P6 2000 2000 100", b"P3 2000 2000 255", b"P1 2000 2000"):
        (tmp_path / "p.png").write_bytes(slow + b"\n")
        assert "p.png: is 2000x2000 pixels (height x width), more than 3.1 million." in refusal(
            DataError, read_image, tmp_path / "p.png", (6, 6), resize=True
        )
    image.new("L", (4000, 4000), 90).save(tmp_path / "c.jpg")  # this one is decoded small
    assert (read_image(tmp_path / "c.jpg", (6, 6), resize=True) == 90).all()


def test_the_largest_pictures_take_less_than_200_megabytes(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    for mode in ("L", "RGB", "RGBA", "LA", "P", "I;16"):
        image.new(mode, (4096, 3072)).save(tmp_path / f"{mode}.png", compress_level=1)
    image.new("CMYK", (2048, 3072)).save(tmp_path / "CMYK.png", "JPEG", progressive=True)
    image.new("RGBA", (2048, 3072)).save(tmp_path / "WEBP.png", "WEBP", method=0)
    image.new("I;16", (4096, 3072)).save(tmp_path / "PPM.png", "PPM")
    script = """
        import sys
        from pathlib import Path
        from ffedge.data import read_image
        from ffedge.meter import rss_peak_bytes
        for path in sorted(Path(sys.argv[1]).glob("*.png")):
            read_image(path, (28, 28), resize=True)
            assert rss_peak_bytes() < 200_000_000, path
        print("read")
    """
    assert in_child(script, str(tmp_path)) == "read\n"
