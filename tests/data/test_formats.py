"""Each reader returns what was written, and refuses a damaged file by one error that names it."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from vi_jax.data import formats

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
IDX = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + IMAGES.tobytes()


def written(tmp_path, content):
    file = tmp_path / "file"
    file.write_bytes(content)
    return file


# Without the time of day, which would be part of the names of tests.
ZIPPED = gzip.compress(IDX, mtime=0)


@pytest.mark.parametrize("content", [IDX, ZIPPED], ids=["idx", "idx.gz"])
def test_idx_is_read_whatever_its_name(tmp_path, content):
    found = formats.read_idx(written(tmp_path, content))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IMAGES)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (IDX[:10], "unpack_from"),
        (IDX[:-1], r"\(2, 3, 4\), and 23 bytes follow"),
        (IDX + b"\0", r"\(2, 3, 4\), and 25 bytes follow"),
        (b"\1" + IDX[1:], "01000803, where 00 00 08"),
        (IDX[:2] + b"\x0d" + IDX[3:], "00000d03, where 00 00 08"),
        (ZIPPED[:-9], "end-of-stream"),
        (ZIPPED[:-8] + bytes(8), "CRC"),
        (b"<!DOCTYPE html>", "where 00 00 08|unpack_from"),
    ],
)
def test_damaged_idx_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=f"(?s)file is no readable idx file: .*{reason}.*replace it"):
        formats.read_idx(written(tmp_path, content))


def test_a_file_that_cannot_be_opened_is_the_same_error(tmp_path):
    with pytest.raises(ValueError, match="no readable idx file: .*No such file"):
        formats.read_idx(tmp_path / "absent")


@pytest.mark.parametrize("text", [b"0 1 1\n1 0 0\n", b"0 1 1 \r\n1 0 0 \r\n", b"0 1 1\n1 0 0"])
def test_amat_is_rows_of_bits(tmp_path, text):
    found = formats.read_amat(written(tmp_path, text), 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "line 1 holds 0"),
        (b"\n", "line 1 holds 0"),
        (b"0 1 1\n1 0", "line 2 holds 2 numbers, not 3"),
        (b"0 1 1 0\n1 0\n", "line 1 holds 4"),
        (b"0 1 2\n", "other characters"),
    ],
)
def test_damaged_amat_is_refused(tmp_path, text, reason):
    with pytest.raises(ValueError, match=f"no readable amat file: .*{reason}"):
        formats.read_amat(written(tmp_path, text), 3)


@pytest.fixture
def archive(tmp_path):
    np.savez(tmp_path / "archive.npz", a=IMAGES, b=IMAGES[0], f=np.zeros((2, 2)), s=np.zeros(2, np.uint8))
    return tmp_path / "archive.npz"


def test_npz_gives_the_arrays_asked_for(archive):
    found = formats.read_npz(archive, ("b", "a"))
    assert list(found) == ["b", "a"]
    np.testing.assert_array_equal(found["a"], IMAGES)


@pytest.mark.parametrize(
    ("key", "reason"), [("c", "lacks c and has a, b, f, s"), ("f", r"f is float64\[2, 2\]"), ("s", r"s is uint8\[2\]")]
)
def test_npz_with_other_arrays_is_refused(archive, key, reason):
    with pytest.raises(ValueError, match=reason):
        formats.read_npz(archive, ("a", key))


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_damaged_npz_is_refused(archive, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ValueError, match="archive.npz is no readable npz file: it is no zip archive"):
        formats.read_npz(archive, ("a",))


def test_npz_with_a_changed_byte_is_refused(archive):
    content = bytearray(archive.read_bytes())
    content[content.index(IMAGES.tobytes()) + 3] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="no readable npz file: .*CRC"):
        formats.read_npz(archive, ("a",))


@pytest.fixture
def matlab(tmp_path):
    savemat(tmp_path / "data.mat", {"data": IMAGES[0], "other": IMAGES[1]}, do_compression=True)
    return tmp_path / "data.mat"


def test_mat_gives_the_variables_asked_for(matlab):
    found = formats.read_mat(matlab, ("data",))
    assert list(found) == ["data"]
    np.testing.assert_array_equal(found["data"], IMAGES[0])


def test_mat_without_a_variable_is_refused(matlab):
    with pytest.raises(ValueError, match="lacks testdata and has data"):
        formats.read_mat(matlab, ("data", "testdata"))


@pytest.mark.parametrize("keep", [0, 60, 150, -10])
def test_damaged_mat_is_refused(matlab, keep):
    matlab.write_bytes(matlab.read_bytes()[:keep])
    with pytest.raises(ValueError, match="data.mat is no readable mat file"):
        formats.read_mat(matlab, ("data", "other"))


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, '{"a": [1]}')
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [b'{"a": [1]}', gzip.compress(b'{"a": [1]}', mtime=0), zipped("a.json")], ids=["bare", "gzip", "zip"]
)
def test_json_is_read_whatever_it_is_packed_in(tmp_path, content):
    assert formats.read_json(written(tmp_path, content)) == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": [1', "Expecting"),
        (gzip.compress(b'{"a": [1]}', mtime=0)[:-9], "end-of-stream|Compressed"),
        (zipped("a.json")[:-9], "not a zip file"),
        (zipped("a.json", "b.json"), "too many values"),
    ],
    ids=["empty", "bare", "gzip", "zip", "several"],
)
def test_damaged_json_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=f"file is no readable json file: .*({reason})"):
        formats.read_json(written(tmp_path, content))


def test_integers_stand_between_commas_or_blanks(tmp_path):
    commas = formats.read_integers(written(tmp_path, b"x,y\n1,-2\n3,4\n"), 2, num_headers=1)
    blanks = formats.read_integers(written(tmp_path, b"   1  -2 \n   3   4 \n"), 2, num_headers=0)
    assert commas.dtype == np.int16
    np.testing.assert_array_equal(commas, [[1, -2], [3, 4]])
    np.testing.assert_array_equal(blanks, commas)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it has no rows"),
        (b"x,y\n", "it has no rows"),
        (b"x,y\n1,2\n3\n", "row 2 does not hold 2 numbers"),
        (b"x,y\n1,2.5\n", "2.5"),
        (b"x,y\n1,99999\n", "99999"),
        (b"x,y\n\xff,1", "0xff"),
    ],
)
def test_damaged_table_is_refused(tmp_path, text, reason):
    with pytest.raises(ValueError, match=f"file is no readable table file: .*{reason}"):
        formats.read_integers(written(tmp_path, text), 2, num_headers=1)
