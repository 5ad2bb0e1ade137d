"""What stands in a folder of MIDI files: every entry, in order, with what is to become of it.

Conventions: nothing is opened here. A link to a folder is not followed, so a folder that contains
itself has an end; a file behind a link counts if it lies within the folder. What macOS puts beside
the files of an archive (``__MACOSX/``, ``._name.mid``, ``.DS_Store``) is no music, whatever its
name ends with. Other names that begin with a dot are left out, unless they end like MIDI.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from musiclib.midi import printable

MIDI_SUFFIXES = {".mid", ".midi", ".rmi", ".kar"}

_ENDINGS = ", ".join(sorted(MIDI_SUFFIXES))
LEAVES = "a link that leaves the folder"
MACOS = "written by macOS beside the music, no music itself"
NO_MIDI = f"not a MIDI file by its name ({_ENDINGS})"
NOT_FOLLOWED = "a link to a folder that is read in its own place"


class Entry(NamedTuple):
    """One entry of a folder.

    Attributes
    ----------
    path : pathlib.Path
        Where it is.
    file : str
        Its path within the folder, ``/`` between folders, as one line of printable text.
    is_midi : bool
        Whether its name ends like a MIDI file's, and it is no folder.
    problem : str
        Why it is not to be opened; empty if it is.
    refused : bool
        Whether music may be lost by that.
    """

    path: Path
    file: str
    is_midi: bool
    problem: str = ""
    refused: bool = False


def list_entries(
    source: str | os.PathLike[str], *, leave_out: str | os.PathLike[str] | None = None
) -> list[Entry]:
    """List all entries below a folder but its subfolders, sorted by name.

    Parameters
    ----------
    source : path
        A folder.
    leave_out : path, optional
        A folder within it that is none of it: where results go.

    Returns
    -------
    list of Entry
        A subfolder that cannot be listed is an entry with a problem.

    Raises
    ------
    FileNotFoundError
        When `source` is no folder, or holds no file with a MIDI ending.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"corpus folder {source} does not exist or is no folder; name one")
    root, without = source.resolve(), leave_out and Path(leave_out).resolve()
    found: list[Entry] = []
    folders = [source]
    while folders:
        folder = folders.pop()
        try:
            inside = list(os.scandir(folder))
        except OSError as error:
            reason = f"a folder that cannot be read: {(error.strerror or str(error)).lower()}"
            found.append(Entry(folder, _file(folder, source), False, reason, True))
            continue
        for item in inside:
            path = folder / item.name
            if item.is_dir(follow_symlinks=False):
                if not (without and item.name == without.name and path.resolve() == without):
                    folders.append(path)
            elif (entry := _entry(item, path, source, root)) is not None:
                found.append(entry)
    if not any(entry.is_midi for entry in found):
        raise FileNotFoundError(f"corpus folder {source} holds no MIDI file (ending {_ENDINGS})")
    return sorted(found, key=lambda entry: os.fsencode(entry.path))


def find_midi(source: str | os.PathLike[str]) -> list[Path]:
    """List the MIDI files below a folder, in a fixed order; links to folders are not followed.

    Parameters
    ----------
    source : path
        A folder.

    Returns
    -------
    list of pathlib.Path
        By name alone: whether they can be read is not known yet.

    Raises
    ------
    FileNotFoundError
        When `source` is no folder, or holds no file with a MIDI ending.
    """
    return [entry.path for entry in list_entries(source) if entry.is_midi]


def is_of_macos(file: str) -> bool:
    """Tell whether macOS wrote a file beside the music: a resource fork, a folder's settings.

    `file` is its path within the folder, ``/`` between folders.
    """
    *folders, name = file.split("/")
    return "__MACOSX" in folders or name.startswith("._") or name == ".DS_Store"


def _entry(item: os.DirEntry, path: Path, source: Path, root: Path) -> Entry | None:
    """Return what is no folder of its own; None for what belongs to the system."""
    file, is_midi = _file(path, source), path.suffix.lower() in MIDI_SUFFIXES
    if is_of_macos(file):
        return Entry(path, file, False, MACOS)
    linked = item.is_symlink()
    leaves = linked and not _stays(path, root)
    if linked and _is_folder(item):
        return Entry(path, file, False, LEAVES if leaves else NOT_FOLLOWED, leaves)
    if not is_midi:
        hidden = item.name.startswith(".") or "/." in f"/{file}"
        return None if hidden else Entry(path, file, False, NO_MIDI)
    return Entry(path, file, True, LEAVES if leaves else "", leaves)


def _is_folder(item: os.DirEntry) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _stays(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # the same circle, as Python 3.12 and older say it
        return True  # it leads nowhere, and opening it says so


def _file(path: Path, source: Path) -> str:
    return printable(path.relative_to(source).as_posix())
