"""Files: found, verified, and downloaded whole or not at all, from a real local server."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from structure_net.data.files import RemoteFile, default_data_dir, download, locate, read_verified
from structure_net.errors import DatasetError

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``/whole``; ``/short`` announces more than it sends."""

    def do_GET(self) -> None:
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[:1000])

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_download_arrives_whole(server: str, tmp_path: Path) -> None:
    path = download(RemoteFile("file.bin", MD5, f"{server}/whole"), tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_download_may_be_read_by_whom_the_umask_lets(server: str, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = download(RemoteFile("file.bin", MD5, f"{server}/whole"), tmp_path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("page", "md5", "message"),
    [
        ("absent", MD5, "cannot be downloaded from .*Not Found"),
        ("short", MD5, "cannot be downloaded|sent another file"),
        ("whole", "0" * 32, "sent another file: its md5 is .*, expected 00000"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    server: str, tmp_path: Path, page: str, md5: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        download(RemoteFile("file.bin", md5, f"{server}/{page}"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert "\n" not in str(error.value)


def test_a_download_that_fails_leaves_the_file_that_was_there(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"old")
    with pytest.raises(DatasetError):
        download(RemoteFile("file.bin", "0" * 32, f"{server}/whole"), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b"old"


def test_a_server_that_is_not_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as free:
        port = free.server_port
    with pytest.raises(DatasetError, match="Connection refused"):
        download(RemoteFile("file.bin", MD5, f"http://127.0.0.1:{port}/whole"), tmp_path)


def test_a_folder_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(DatasetError, match="taken cannot be written"):
        download(RemoteFile("file.bin", MD5, f"{server}/whole"), tmp_path / "taken")


def test_a_file_without_an_address_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no public address; put it into"):
        download(RemoteFile("file.bin", MD5, None), tmp_path)


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert read_verified(tmp_path / "file.bin", MD5) == CONTENT


def test_one_changed_bit_is_found(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1] + b"\x00")
    with pytest.raises(DatasetError, match=rf"is damaged: its md5 is .*, the published .*{MD5}"):
        read_verified(tmp_path / "file.bin", MD5)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_verified(tmp_path / "absent.bin", MD5)


def test_the_first_folder_that_has_the_file_is_taken(tmp_path: Path) -> None:
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    folders = [tmp_path / name for name in "abc"]
    assert locate("file", folders) == tmp_path / "b" / "file"
    assert locate("other", folders) is None


def test_without_a_named_folder_it_is_one_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRUCTURE_NET_DATA")
    folder = default_data_dir()
    assert folder.parts[-2:] == ("structure-net", "data")
    assert folder.is_absolute() == (os.sep in str(folder))
