"""The config file: reads it with errors that name the place, and changes values. Knows no setting by name."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from qme.errors import SettingsError

GENERAL = "qme"
EXECUTOR = "executor."


def read(path: Path) -> dict[str, dict[str, str]]:
    """Give the sections of a config file; none when there is no file. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"cannot read {path}: it is not UTF-8 text") from error
    return parse(text, path)


def parse(text: str, path: Path) -> dict[str, dict[str, str]]:
    """Give the sections in the text of a config file; ``path`` is for the error. Raises SettingsError."""
    import configparser  # 2 ms, and most people have no config file

    # No section is special ("" can't be written), so that [DEFAULT] is refused and not mixed into all others.
    parser = configparser.RawConfigParser(interpolation=None, default_section="")
    parser.optionxform = _key  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text, str(path))
    except configparser.MissingSectionHeaderError as error:
        where = f"{path} line {error.lineno}"
        raise SettingsError(f"{where}: {str(error.line).strip()!r} stands before any [section]") from error
    except configparser.ParsingError as error:
        line = error.errors[0][0]
        content = text.split("\n")[line - 1].strip()
        raise SettingsError(f"{path} line {line}: not 'key = value': {content!r}") from error
    except configparser.DuplicateSectionError as error:
        raise SettingsError(f"{path} line {error.lineno}: [{error.section}] is there twice") from error
    except configparser.DuplicateOptionError as error:
        where = f"{path} line {error.lineno}"
        raise SettingsError(f"{where}: [{error.section}] {error.option} is set twice") from error
    for section in parser.sections():
        if section != GENERAL and not section.startswith(EXECUTOR):
            raise SettingsError(f"{path}: unknown section [{section}]; allowed: [qme] and [executor.NAME]")
    return {section: dict(parser.items(section)) for section in parser.sections()}


def change(path: Path, section: str, values: Mapping[str, str]) -> None:
    """Set values in a section of a config file, all or none; everything else in it stays as it is.

    The file becomes readable by its owner only, and its folder is made the same way. Two writers wait for
    each other; a reader sees the old file or the new one. Safe to repeat. Raises SettingsError with nothing
    changed.
    """
    path = Path(os.path.realpath(path))  # a config that is a link into somebody's dotfiles stays a link
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(path.with_name(path.name + ".lock")):
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            wanted = parse(text, path)
            wanted.setdefault(section, {}).update(values)
            for key, value in values.items():
                text = _edit(text, section, key, value)
            # A value that INI can't hold would read back as something else: find out before anything is lost.
            if parse(text, path) != wanted:
                raise SettingsError(f"{path}: [{section}] can't hold {' or '.join(values)} as given")
            _replace(path, text)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error
    except UnicodeError as error:
        raise SettingsError(f"cannot write {path}: it would not be UTF-8 text") from error


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    # A file of its own: the config itself is replaced, and a lock on it would go with the old one.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    # One name is enough under the lock, and a crash leaves one such file at most.
    new = path.with_name(path.name + ".new")
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _edit(text: str, section: str, key: str, value: str) -> str:
    """Set one value in the text, line by line: configparser's own writer would drop the comments."""
    lines = text.rstrip("\n").split("\n") if text.strip() else []
    entry = f"{key} = {value}".rstrip()
    places = [place for place in _places(lines) if place.section == section]
    if not places:
        return "\n".join([*lines, *([""] if lines else []), f"[{section}]", entry, ""])
    for place in places:
        if place.key == key:
            indent = lines[place.start][: -len(lines[place.start].lstrip())]
            return "\n".join([*lines[: place.start], indent + entry, *lines[place.stop :], ""])
    end = places[-1].stop
    return "\n".join([*lines[:end], entry, *lines[end:], ""])


class _Place(NamedTuple):
    """The lines of a section's header (key None) or of one value, those that continue it included."""

    section: str | None
    key: str | None
    start: int
    stop: int


def _places(lines: list[str]) -> list[_Place]:
    """Find what stands where, by configparser's rule: a line further to the right continues the value above it."""
    places: list[_Place] = []
    section, level = None, -1
    for at, line in enumerate(lines):
        body = line.strip()
        indent = len(line) - len(line.lstrip())
        if not body or body[0] in "#;":
            continue
        if places and places[-1].key is not None and indent > level:
            places[-1] = places[-1]._replace(stop=at + 1)
        elif body.startswith("["):
            section, level = body[1:].rpartition("]")[0], indent
            places.append(_Place(section, None, at, at + 1))
        else:
            level = indent
            places.append(
                _Place(section, _key(body.replace(":", "=").partition("=")[0].rstrip()), at, at + 1)
            )
    return places
