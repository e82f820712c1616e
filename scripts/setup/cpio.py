"""A newc cpio archive, as Linux takes for an initramfs: device nodes without root, and no cpio program.

Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Archives may follow one another in a file.
"""
import stat


class Archive:
    """Writes entries to an open binary file; folders above an entry are made by themselves."""

    def __init__(self, file):
        self._file = file
        self._inode = 0
        self._folders = set()

    def folder(self, path):
        path = path.strip("/")
        if path and path not in self._folders:
            self._folders.add(path)
            self._entry(path, stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o644):
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor):
        self._entry(path, stat.S_IFCHR | 0o600, b"", major, minor)

    def end(self):
        self._entry("TRAILER!!!", 0)

    def _entry(self, path, mode, data=b"", major=0, minor=0):
        path = path.strip("/")
        parent = path.rpartition("/")[0]
        if parent:
            self.folder(parent)
        self._inode += 1
        name = path.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        for part in (header, data):
            self._file.write(part + b"\0" * (-len(part) % 4))
